"""What a strategy has left to train, without training anything."""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from ablation.base.errors import UserError
from ablation.params import Params
from ablation.run.runner import TrialRunner
from ablation.search.draws import BudgetedSearch
from ablation.search.space import Space
from ablation.search.strategies import STRATEGIES, Strategy, random, seed_of
from ablation.trial.recipe import Recipe
from ablation.trial.trials import Curves, Result, Trial

RANDOM = "random"
MOST_DRAWS = 5000  # of a forecast, so that it ends for any budget
EXACT = 10**9  # characters, where none are read yet: assumed scores have no noise
NO_CURVES = Curves([], [], [], [])
PERFECT = Result(1.0, NO_CURVES, 1.0, 0.0, diverged=False, parameters=0)
DIVERGED = Result(0.0, NO_CURVES, None, 0.0, diverged=True, parameters=0)


@dataclass(frozen=True)
class Forecast:
    """The trials of a strategy that are left to train.

    least, most: the fewer and the more of these: if all draws train to the end; and if all but as
    many as there are finalists are given up after the first look.
    cached: number of cached trials.
    winner: None if trials are missing, or if all draws failed.
    """

    least: tuple[Trial, ...]
    most: tuple[Trial, ...]
    cached: int
    winner: Recipe | None


def forecast(
    params: Params,
    model: str,
    strategy: str,
    cost: Callable[[Trial], float],
    runner: TrialRunner | None,
    classes: int,
) -> Forecast:
    """Go through a search with cached results, and assumed ones from the first missing trial on.

    From there on, uniform draws stand for those of a strategy that depend on the scores, so that
    the number of trials is an estimate.

    Args:
        strategy: a key of `STRATEGIES`.
        cost: of a training, in 10^15 operations.
        runner: gives access to the cache; None if there are no characters yet.
        classes: number of their classes.

    Raises:
        ParamsError: a family cannot be searched (`Params.check_search`).
        UserError: the budget does not pay for the first draw, or the strategy cannot be used.
    """
    space = Space.of(params, model)
    size = (classes, 1 / classes, EXACT)
    if runner:
        size = len(runner.classes), runner.largest, runner.count

    def replay(assumed_passes: int) -> tuple[dict[Trial, None], int, Recipe | None]:
        """assumed_passes: number of missing first looks assumed to be better than guessing."""
        missing: dict[Trial, None] = {}
        recalled: dict[Trial, Result] = {}

        def result_of(trial: Trial, purpose: str) -> Result:
            nonlocal assumed_passes
            if runner and (result := runner.cached_result(trial)):
                recalled[trial] = result
                return result
            missing[trial] = None
            if purpose != "first looks":
                return PERFECT
            assumed_passes -= 1
            return PERFECT if assumed_passes >= 0 else DIVERGED

        def recall(trials: list[Trial], purpose: str) -> dict[Trial, Result]:
            return {trial: result_of(trial, purpose) for trial in trials}

        generations = _generations(params, model, strategy, space, missing)
        found = BudgetedSearch(params, model, space, generations, cost, size, recall).run()
        try:
            return missing, len(recalled), None if missing else found.winner.recipe
        except UserError:
            return missing, len(recalled), None

    missing, cached, winner = replay(MOST_DRAWS)
    others = replay(params.search.finalists)[0] if missing else missing
    least, most = sorted((tuple(missing), tuple(others)), key=len)
    return Forecast(least, most, cached, winner)


def _generations(
    params: Params, model: str, strategy: str, space: Space, missing: Collection[Trial]
) -> Strategy:
    """Those of the strategy while no trial is missing, then uniform ones; at last empty ones."""
    seed, size = seed_of(params.seed, model, strategy), params.search.generation
    generations = STRATEGIES[strategy](space, seed, size)
    choices = next(generations)
    for _ in range(0, MOST_DRAWS, size):
        scores = yield choices
        if missing and strategy != RANDOM:
            strategy, generations = RANDOM, random(space, seed, size)
            choices = next(generations)
        else:
            choices = generations.send(scores)
    while True:
        yield []
