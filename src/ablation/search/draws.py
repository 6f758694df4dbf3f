"""Draws recipes with a strategy, trains them within a budget, and chooses the best.

A draw has a first look: a training of its own of a part of the epochs. If it is no better than
guessing, the draw is given up. Otherwise the recipe trains on the first repeat of selection, and
the best draws, the finalists, on all of them.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ablation.base.console import console
from ablation.base.errors import UserError
from ablation.base.formatting import counted
from ablation.data.splits import Repeat
from ablation.judge.collapse import has_collapsed
from ablation.params import PARAMS, Params
from ablation.run.runner import TrialRunner
from ablation.search.space import Choice, Space
from ablation.search.strategies import STRATEGIES, Strategy, seed_of
from ablation.study.inputs import make_trial, repeats_for
from ablation.study.trials import run_trials
from ablation.trial.recipe import Recipe
from ablation.trial.trials import Result, Trial

# A strategy that draws nothing new for so many generations has nothing left to draw.
MOST_IDLE = 10


@dataclass(frozen=True)
class Draw:
    """One draw of a strategy.

    first_look: score of the first look; nan where it has as many epochs as the training.
    score: of the training on the first repeat; nan where the draw was given up or the budget ended.
    cost: what its trainings cost, in 10^15 operations: 0 for those that were drawn before.
    spent: what this and all earlier draws cost.
    """

    choice: Choice
    recipe: Recipe
    first_look: float
    score: float
    diverged: bool
    collapsed: bool
    cost: float
    spent: float

    @property
    def failed(self) -> bool:
        """Whether it diverged or collapsed."""
        return self.diverged or self.collapsed

    @property
    def outcome(self) -> float:
        """What the strategy is told: the score of its last training."""
        return self.first_look if math.isnan(self.score) else self.score


@dataclass(frozen=True)
class Finalist:
    """A draw that ran on the repeats of selection.

    number: of the draw, from 1; results: of each repeat, or of the first one alone where the budget
    allows no more; failed: whether it diverged or collapsed.
    """

    number: int
    recipe: Recipe
    results: tuple[Result, ...]
    failed: bool

    @property
    def accuracy(self) -> float:
        """Its mean score."""
        return float(np.mean([result.score for result in self.results]))


@dataclass(frozen=True)
class SearchResult:
    """What a strategy found.

    finalists: the best draw first. paid, wanted: number of them that the budget pays for, and that
    there are without this limit; if it pays for none, the best draw is the only finalist, with its
    first repeat. spent: on everything, in 10^15 operations. results: of every trial.
    """

    space: Space
    draws: tuple[Draw, ...]
    finalists: tuple[Finalist, ...]
    paid: int
    wanted: int
    spent: float
    results: dict[Trial, Result]

    @property
    def winner(self) -> Finalist:
        """The finalist with the best mean; among equals the one that was drawn first.

        Raises:
            UserError: all of them failed.
        """
        if not self.finalists:
            raise UserError(
                f"none of {counted(len(self.draws), 'draw')} trained to the end without diverging "
                f"or collapsing; lower the learning rates in {PARAMS}, or raise search.budget"
            )
        able = [each for each in self.finalists if not each.failed]
        if not able:
            raise UserError(
                f"{counted(len(self.finalists), 'finalist')}: each diverged or collapsed on a "
                f"repeat of selection; raise search.finalists in {PARAMS}, or lower the learning "
                "rates"
            )
        return min(able, key=lambda each: (-each.accuracy, each.number))


@dataclass
class Account:
    """What has been spent; a trial is charged once.

    cost: of a training, in 10^15 operations, like all amounts.
    """

    cost: Callable[[Trial], float]
    limit: float
    spent: float = 0.0
    charged: set[Trial] = field(default_factory=set)

    def cost_of(self, trials: Iterable[Trial]) -> float:
        """What trials cost that are not charged yet."""
        return sum(self.cost(trial) for trial in dict.fromkeys(trials) if trial not in self.charged)

    def affords(self, trials: Iterable[Trial]) -> bool:
        return self.spent + self.cost_of(trials) <= self.limit

    def charge(self, trials: Iterable[Trial]) -> float:
        """Returns what was charged."""
        trials = [*trials]
        cost = self.cost_of(trials)
        self.charged.update(trials)
        self.spent += cost
        return cost


def search(
    runner: TrialRunner,
    params: Params,
    model: str,
    strategy: str,
    cost: Callable[[Trial], float],
) -> SearchResult:
    """Spend a strategy's budget on one family.

    The result depends neither on the number of workers nor on what is cached.

    Args:
        strategy: a key of `STRATEGIES`.
        cost: of a training, in 10^15 operations.

    Raises:
        ParamsError: a family cannot be searched (`Params.check_search`).
        UserError: the budget does not pay for the first draw, or the strategy cannot be used.
    """

    def train(trials: list[Trial], purpose: str) -> Mapping[Trial, Result]:
        results = run_trials(runner, trials, f"{model}, {strategy}: {purpose}")
        console.print(f"{searching.account.spent:.3g} of {searching.budget:g} PFLOP spent")
        return results

    space = Space.of(params, model)
    generations = STRATEGIES[strategy](
        space, seed_of(params.seed, model, strategy), params.search.generation
    )
    size = len(runner.classes), runner.largest, runner.count
    searching = BudgetedSearch(params, model, space, generations, cost, size, train)
    return searching.run()


# Runs trials for a purpose, such as `finalists`.
Train = Callable[[list[Trial], str], Mapping[Trial, Result]]


class BudgetedSearch:
    """How a budget is spent: on draws, then on finalists.

    Args:
        params, model: the content of params.yaml and the family.
        space, generations: what is drawn from, and the strategy that draws.
        cost: of a training, in 10^15 operations.
        size: number of classes, share of the largest one, number of characters.
        train: runs the trials.

    Raises:
        ParamsError: a family cannot be searched (`Params.check_search`).
    """

    def __init__(
        self,
        params: Params,
        model: str,
        space: Space,
        generations: Strategy,
        cost: Callable[[Trial], float],
        size: tuple[int, float, int],
        train: Train,
    ) -> None:
        self.budget = params.search_budget(model)
        self.account = Account(cost, self.budget * (1 - params.search.finalists_share))
        self._params = params
        self._model = model
        self._space = space
        self._generations = generations
        self._classes, self._largest, images = size
        self._repeats = repeats_for(params)
        self._characters = images * self._repeats[0].fraction
        self._train = train
        self._results: dict[Trial, Result] = {}

    def run(self) -> SearchResult:
        """Draw, train and choose.

        Raises:
            UserError: the budget does not pay for the first draw, or the strategy cannot be used.
        """
        draws = self._draws()
        best = self._best(draws)
        paid = self._paid(best)
        # If the budget pays for no finalist, the best draw wins with its first repeat.
        ran = paid or {recipe: self._repeats[:1] for recipe in [*best][:1]}
        return SearchResult(
            self._space,
            tuple(draws),
            tuple(self._finalists(best, ran)),
            len(paid),
            len(best),
            self.account.spent,
            self._results,
        )

    def _draws(self) -> list[Draw]:
        draws: list[Draw] = []
        choices, idle = next(self._generations), 0
        while idle < MOST_IDLE:
            before = self.account.spent
            generation = self._generation(choices)
            draws += generation
            if len(generation) < len(choices) or any(_is_cut(each) for each in generation):
                break
            idle = idle + 1 if self.account.spent == before else 0
            choices = self._generations.send([each.outcome for each in generation])
        self._generations.close()
        if not draws:
            least = self.account.cost_of(self._trials(self._space.recipe(choices[0])))
            share = self._params.search.finalists_share
            raise UserError(
                f"{PARAMS}: search.budget.{self._model}: {self.budget:g} does not pay for the "
                f"first draw, which takes {least:.3g}, as {share:g} of it is for finalists; use a "
                "larger one"
            )
        return draws

    def _trials(self, recipe: Recipe) -> tuple[Trial, Trial]:
        """The first look and the training of a draw; the same where there are few epochs."""
        trial = self._trial(recipe, self._repeats[0])
        epochs = max(1, round(trial.spec.epochs * self._params.search.first_look))
        spec = trial.spec.model_copy(update={"epochs": epochs})
        return replace(trial, spec=spec), trial

    def _trial(self, recipe: Recipe, repeat: Repeat) -> Trial:
        return make_trial(self._params, self._model, recipe, repeat)

    def _generation(self, choices: list[Choice]) -> list[Draw]:
        """Train the draws of a generation in their order, as far as the budget goes.

        A first look is taken where the budget would still pay for the draw's training, if all
        draws before it were given up.
        """
        account = self.account
        spent = account.spent
        recipes = [self._space.recipe(choice) for choice in choices]
        trials: list[tuple[Trial, Trial]] = []
        for look, full in map(self._trials, recipes):
            if not account.affords([*(first for first, _ in trials), look, full]):
                break
            trials.append((look, full))
        costs = [account.charge([look]) for look, _ in trials]
        self._run((look for look, _ in trials), "first looks")
        promising: list[bool] = []
        for place, (look, full) in enumerate(trials):
            able = not self._failed([self._results[look]]) and account.affords([full])
            promising.append(able)
            if able:
                costs[place] += account.charge([full])
        self._run(
            (full for (_, full), able in zip(trials, promising, strict=True) if able), "draws"
        )
        draws = []
        for choice, recipe, (look, full), able, cost in zip(
            choices, recipes, trials, promising, costs, strict=False
        ):
            spent += cost
            last = self._results[full if able else look]
            draws.append(
                Draw(
                    choice,
                    recipe,
                    math.nan if look == full else self._results[look].score,
                    last.score if able or look == full else math.nan,
                    last.diverged,
                    not last.diverged and self._failed([last]),
                    cost,
                    spent,
                )
            )
        return draws

    def _best(self, draws: list[Draw]) -> dict[Recipe, int]:
        """The best draws that trained to the end, each recipe once, to their numbers."""
        able = [
            (number, draw)
            for number, draw in enumerate(draws, start=1)
            if not (draw.failed or math.isnan(draw.score))
        ]
        numbers: dict[Recipe, int] = {}
        for number, draw in sorted(able, key=lambda each: -each[1].score):
            numbers.setdefault(draw.recipe, number)
        return dict([*numbers.items()][: self._params.search.finalists])

    def _paid(self, best: Iterable[Recipe]) -> dict[Recipe, list[Repeat]]:
        """Those that the budget pays for on all repeats of selection, which are charged."""
        self.account.limit = self.budget
        paid = {}
        for recipe in best:
            trials = [self._trial(recipe, repeat) for repeat in self._repeats]
            if not self.account.affords(trials):
                break
            self.account.charge(trials)
            paid[recipe] = self._repeats
        return paid

    def _finalists(
        self, numbers: dict[Recipe, int], ran: dict[Recipe, list[Repeat]]
    ) -> list[Finalist]:
        trials = {
            recipe: [self._trial(recipe, repeat) for repeat in repeats]
            for recipe, repeats in ran.items()
        }
        self._run((trial for each in trials.values() for trial in each), "finalists")
        found = {
            recipe: tuple(self._results[trial] for trial in each) for recipe, each in trials.items()
        }
        return [
            Finalist(numbers[recipe], recipe, results, self._failed(results))
            for recipe, results in found.items()
        ]

    def _failed(self, results: Iterable[Result]) -> bool:
        results = [*results]
        scores = [result.score for result in results]
        collapsed = has_collapsed(scores, self._classes, self._largest, self._characters)
        return collapsed or any(result.diverged for result in results)

    def _run(self, trials: Iterable[Trial], purpose: str) -> None:
        wanted = [trial for trial in dict.fromkeys(trials) if trial not in self._results]
        if wanted:
            found = self._train(wanted, purpose)
            self._results |= {trial: found[trial] for trial in wanted}


def _is_cut(draw: Draw) -> bool:
    """Whether the budget ended after its first look."""
    return math.isnan(draw.score) and not draw.failed
