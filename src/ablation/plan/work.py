"""The trainings of each stage: how many are cached, and which are left to train.

They follow from the recipe that the stage starts from. That recipe is known as long as every stage
before is up to date or has all its trials in the cache; its verdict is then computed here. After
the first stage that has to train, winners are unknown, and the trainings are counted twice: for the
previous winner and for a different one.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ablation.base.errors import UserError
from ablation.data.datasets import Size
from ablation.data.splits import Repeat
from ablation.judge.worth import list_trials
from ablation.labels import ChainStage, stages_in
from ablation.params import Params
from ablation.plan.pipeline import Reason, Stage
from ablation.run.runner import TrialRunner
from ablation.study.entries import (
    Contest,
    changed_techniques,
    list_entries,
    rates_to_try,
    reset_to_baseline,
)
from ablation.study.inputs import (
    fit_repeats,
    make_trial,
    rate_repeats,
    read_recipe,
    repeats_for,
)
from ablation.study.race import (
    Results,
    best_multiple,
    contenders_of,
    judge_contest,
    load_cached_results,
)
from ablation.trial.recipe import BASELINE, TECHNIQUES, Recipe
from ablation.trial.trials import Trial

if TYPE_CHECKING:  # its strategies import scipy.stats, which a plan of the chain does not need
    from ablation.search.forecast import Forecast

State = Literal["up to date", "runs", "may run"]
# The output of `check` never changes, so it makes no later stage run.
CONSTANT_OUTPUT = {"check"}
# Each depends on all parameters of `baseline`, through the recipe that it starts from.
TRAIN = {"technique", "leave_one_out", "fit", "contest"}
# Their winners are needed even if they are up to date.
CHOOSE = {"technique", "search", "contest"}
SEARCHED = Path("search/data/recipes")
# The first number of repeats after which racing stops entries (`ablation.judge.racing`).
RACING_STARTS = 2


@dataclass(frozen=True)
class Trainings:
    """Bounds of what a stage has to train.

    The midpoint is the estimate: in the committed study, 53 % of the MLP's and 40 % of the CNN's
    trials between the bounds ran.

    Attributes:
        least: the trials that run even if racing stops everything it can, or if no technique
            changes.
        most: all trials that may run.
    """

    least: tuple[Trial, ...] = ()
    most: tuple[Trial, ...] = ()

    @classmethod
    def union(cls, parts: Iterable["Trainings"]) -> "Trainings":
        """Those of several contests, each trial once."""
        parts = [*parts]
        least = dict.fromkeys(trial for part in parts for trial in part.least)
        most = dict.fromkeys(trial for part in parts for trial in part.most)
        return cls(tuple(least), tuple(most))

    def without(self, known: set[Trial]) -> "Trainings":
        """The same bounds without the trials in `known`."""
        least, most = ([t for t in some if t not in known] for some in (self.least, self.most))
        return Trainings(tuple(least), tuple(most if len(most) > len(least) else least))


@dataclass(frozen=True)
class Work:
    """The work of one stage in a run of the pipeline.

    Attributes:
        stage: the stage.
        state: `may run`: it runs only if the results of a stage before it change.
        cached: number of its trainings in the cache; None if it trains nothing or is up to date.
        trainings: what is left to train if no result changes.
        if_changed: what is left to train if results change (another winner before it, or racing
            that stops fewer entries); None if that adds nothing.
        start_unknown: whether a recipe that it starts from is unknown, so that another one is used.
        drawn: whether its trainings are an estimate, because a search draws them.
    """

    stage: Stage
    state: State
    cached: int | None = None
    trainings: Trainings = field(default_factory=Trainings)
    if_changed: Trainings | None = None
    start_unknown: bool = False
    drawn: bool = False


@dataclass(frozen=True)
class Start:
    """The recipe that a stage starts from, as far as it is known.

    Attributes:
        recipe: known or assumed.
        standing: `known`; `as before`: the previous winner of the stage before, which will run
            again; `unknown`: that stage has never run, so its own start is used.
        chain: the techniques explored so far.
    """

    recipe: Recipe
    standing: Literal["known", "as before", "unknown"] = "known"
    chain: tuple[str, ...] = ()


def list_work(
    stages: Iterable[Stage],
    params: Params,
    runner: TrialRunner | None,
    other_characters: bool,
    size: Size | None = None,
) -> list[Work]:
    """The work of each stage, in the order of `stages`.

    Args:
        stages: in topological order.
        params: the content of params.yaml.
        runner: gives access to the cache; None if there are no characters yet.
        other_characters: whether `prepare` will write different characters.
        size: of the characters that there will be; None if it is unknown.
    """
    planner = _Planner(params, runner, other_characters, size)
    return [planner.work(stage) for stage in stages]


def _with_reason(stage: Stage, reason: Reason) -> Stage:
    return replace(stage, reasons=tuple(dict.fromkeys((*stage.reasons, reason))))


def _sum(stage: Stage, state: State, works: Sequence[Work]) -> Work:
    """The work of a stage that consists of several contests."""
    if state == "up to date":
        return Work(stage, state)
    if_changed = None
    if any(each.if_changed for each in works):
        if_changed = Trainings.union(each.if_changed or each.trainings for each in works)
    return Work(
        stage,
        state,
        sum(each.cached or 0 for each in works),
        Trainings.union(each.trainings for each in works),
        if_changed,
        any(each.start_unknown for each in works),
    )


class _Planner:
    def __init__(
        self,
        params: Params,
        runner: TrialRunner | None,
        other_characters: bool,
        size: Size | None,
    ) -> None:
        self._params = params
        self._runner = None if other_characters else runner
        self._images = size
        if self._runner:
            self._images = Size(self._runner.count, len(self._runner.classes))
        self._other_characters = other_characters
        self._changing: set[str] = set()  # stages whose results may change
        self._starts: dict[str, Start] = {}  # by recipe file
        self._planned: set[Trial] = set()
        self._reworked: set[str] = set()  # families whose baseline has other parameters

    def work(self, stage: Stage) -> Work:
        """The work of the next stage, in topological order."""
        if self._other_characters and stage.script not in {"code", "check", "prepare"}:
            stage = _with_reason(stage, "inputs")
        elif stage.script in TRAIN and stage.option("model") in self._reworked:
            stage = _with_reason(stage, "parameters")
        is_baseline = stage.script == "technique" and stage.option("stage") == BASELINE
        if is_baseline and "parameters" in stage.reasons:
            self._reworked.add(stage.option("model"))
        state: State = "up to date"
        if stage.reasons:
            state = "runs"
        elif self._changing & stage.before:
            state = "may run"
        if stage.name not in CONSTANT_OUTPUT and (
            state == "may run" or {*stage.reasons} - {"outputs"}
        ):
            self._changing.add(stage.name)
        methods = {
            "technique": self._technique,
            "search": self._strategy,
            "contest": self._contest_of_search,
            "leave_one_out": self._worth,
            "fit": self._fit,
        }
        if stage.script not in methods or (state == "up to date" and stage.script not in CHOOSE):
            return Work(stage, state)
        work = methods[stage.script](stage, state)
        self._planned.update(work.trainings.most)
        return work

    def _technique(self, stage: Stage, state: State) -> Work:
        model, name = stage.option("model"), stage.option("stage")
        start = Start(self._params.baseline, "known")
        if name != BASELINE:
            start = self._start(stage, "incumbent")
        elif stage.before & self._changing:
            start = replace(start, standing="as before")  # on other characters
        works = []
        for each in stages_in(name, start.chain):
            work, start = self._contest(stage, state, model, each, start)
            works.append(work)
            self._planned.update(work.trainings.most)
        self._starts[f"data/recipes/{model}/{name}.yaml"] = start
        return _sum(stage, state, works)

    def _contest(
        self, stage: Stage, state: State, model: str, name: ChainStage, start: Start
    ) -> tuple[Work, Start]:
        """The work of one contest, and its winner as far as it is known."""
        if name.technique != BASELINE:
            start = replace(start, chain=tuple(dict.fromkeys((*start.chain, name.technique))))
        contest = list_entries(self._params, model, name.name, start.recipe)
        entries = contest.entries
        previous = self._previous_winner(stage, Path(f"data/recipes/{model}/{name.name}.yaml"))
        if state == "up to date":
            known = replace(start, recipe=previous or start.recipe, standing="known")
            return Work(stage, state), known

        first, *others = entries
        repeats = repeats_for(self._params)
        trials = {entry: self._trials(model, entry.recipe) for entry in entries}
        cached = sum(map(self._is_cached, {each for some in trials.values() for each in some}))
        # New candidates hardly affect which others racing stops, so they are left out here.
        new = [entry for entry in others if not any(map(self._is_cached, trials[entry]))]
        results, missing = self._load_cached(model, contest.without(new), repeats)
        added = [trial for entry in new for trial in trials[entry]]
        if not others:
            winner: Start | None = start
        else:
            winner = None if missing or new else self._judge(start, contest, results)
        if not winner and previous:
            winner = replace(start, recipe=previous, standing="as before")
        winner = winner or replace(start, standing="unknown")

        def before(look: int) -> set[Trial]:
            """The trials that run before racing can stop an entry, after `look` repeats."""
            return {*trials[first], *(each for entry in others for each in trials[entry][:look])}

        early, late = (
            before(self._look()),
            before(self._look(len(results.get(first.setting, ())) + 1)),
        )
        least = [*(each for each in missing if each in late), *(e for e in added if e in early)]
        if start.standing == "known":
            most = self._load_cached(model, contest, repeats)[1] if new else missing
        else:
            trained = entries if name.technique == BASELINE else others
            most = [trial for entry in trained for trial in trials[entry]]
        changed = Trainings(tuple(each for each in most if each in early), tuple(most))
        needed = Trainings(tuple(least), (*missing, *added))
        if start.standing == "unknown" and name.contest != "first":
            needed = changed = Trainings(tuple(least), self._later_round(model, start, name))
        return self._conclude(stage, state, start, cached, needed, changed), winner

    def _later_round(self, model: str, start: Start, name: ChainStage) -> tuple[Trial, ...]:
        """The trials of a later round, without the incumbent's, if every technique has changed."""
        recipe, _ = self._all_changed(model, start)
        _, *others = list_entries(self._params, model, name.name, recipe).entries
        return tuple(trial for entry in others for trial in self._trials(model, entry.recipe))

    def _start(self, stage: Stage, option: str) -> Start:
        """The start named by an option: a planned recipe, or a file that no stage writes."""
        return self._start_of(stage.option(option), stage.option("model"))

    def _start_of(self, file: str, model: str) -> Start:
        if file in self._starts:
            return self._starts[file]
        return Start(read_recipe(Path(file), self._params, model))

    def _look(self, done: int = 0) -> int:
        """The number of repeats after which racing next stops entries."""
        params = self._params
        return max(RACING_STARTS, done) if params.selection.racing else params.validation.repeats

    def _load_cached(
        self, model: str, contest: Contest, repeats: Sequence[Repeat]
    ) -> tuple[Results, list[Trial]]:
        if self._runner is None:
            trials = [
                make_trial(self._params, model, entry.recipe, repeat)
                for entry in contest.entries
                for repeat in repeats
            ]
            return {}, list(dict.fromkeys(trials))
        racing = self._params.selection.racing
        return load_cached_results(
            self._runner, self._params, model, contest, repeats, racing=racing
        )

    def _judge(self, start: Start, contest: Contest, results: Results) -> Start | None:
        """The winner of a stage whose trials are all cached; None if it ends in an error."""
        assert self._runner
        repeats = repeats_for(self._params)
        try:
            verdict = judge_contest(self._runner, self._params, contest, results, repeats)
        except UserError:
            return None
        recipes = {entry.setting: entry.recipe for entry in contest.entries}
        return replace(start, recipe=recipes[verdict.winner.setting])

    def _previous_winner(self, stage: Stage, file: Path) -> Recipe | None:
        """The winner of the stage's previous run on these characters."""
        if self._other_characters or "new" in stage.reasons:
            return None
        try:
            recipe = read_recipe(file, self._params, stage.option("model"))
        except UserError:
            return None
        # The project may hold recipes of another study; each names the digest of its characters.
        if self._runner and self._runner.digest not in file.read_text(encoding="utf-8"):
            return None
        return recipe

    def _trials(self, model: str, recipe: Recipe) -> list[Trial]:
        repeats = repeats_for(self._params)
        return [make_trial(self._params, model, recipe, repeat) for repeat in repeats]

    def _is_cached(self, trial: Trial, work: Literal["validate", "fit"] = "validate") -> bool:
        return self._runner is not None and self._runner.is_cached(trial, work)

    def _worth(self, stage: Stage, state: State) -> Work:
        params, model = self._params, stage.option("model")
        start = self._start(stage, "recipe")
        baseline, final = params.full(model, params.baseline), params.full(model, start.recipe)
        _, changed = changed_techniques(start.chain, final, baseline)
        trials = self._worth_trials(model, final, changed)
        # The midpoint of these bounds estimates a chain that changes half of its techniques.
        least = self._worth_trials(model, *self._unchanged(model, start))
        most = self._worth_trials(model, *self._all_changed(model, start))
        return self._on_final_recipe(
            stage, state, start, trials, Trainings(least, most), "validate"
        )

    def _unchanged(self, model: str, start: Start) -> tuple[Recipe, list[str]]:
        """The baseline at the epochs of a search, and the techniques that this changes."""
        baseline = self._params.full(model, self._params.baseline)
        epochs = start.recipe.epochs
        if "epochs" in start.chain or epochs == baseline.epochs:
            return baseline, []
        return baseline.having("epochs", epochs), ["epochs"]

    def _all_changed(self, model: str, start: Start) -> tuple[Recipe, list[str]]:
        """The baseline with another setting of each technique, and the techniques that have one."""
        recipe, explored = self._unchanged(model, start)
        for technique in start.chain:
            now = recipe.setting(technique)
            entries = list_entries(self._params, model, technique, recipe).entries
            settings = (entry.recipe.setting(technique) for entry in entries)
            if (other := next((each for each in settings if each != now), None)) is not None:
                recipe = recipe.having(technique, other)
                explored.append(technique)
        return recipe, explored

    def _worth_trials(self, model: str, final: Recipe, changed: list[str]) -> tuple[Trial, ...]:
        params = self._params
        repeats = repeats_for(params, "leave-one-out")[: params.worth.repeats]
        needed = list_trials(changed, len(repeats), params.worth.order_pairs, params.seed)
        baseline = params.full(model, params.baseline)
        choosing: list[Trial] = []
        multiples: dict[str, float] = {}  # those known; unknown ones do not affect the count
        for technique in changed:
            contest = rates_to_try(params, technique, final, baseline)
            if len(contest.entries) > 1:
                ran, best = self._choose_rate(model, contest)
                choosing += ran
                multiples |= {technique: best} if best else {}
        trials = (
            make_trial(
                params, model, reset_to_baseline(final, kept, baseline, multiples), repeats[index]
            )
            for kept, ran in needed.items()
            for index in ran
        )
        return tuple(dict.fromkeys((*choosing, *trials)))

    def _choose_rate(self, model: str, contest: Contest) -> tuple[list[Trial], float | None]:
        """The trials needed to choose a learning rate, at most, and the best multiple.

        The multiple is None if trials are missing.
        """
        repeats = rate_repeats(self._params)
        results, missing = self._load_cached(model, contest, repeats)
        every = (
            make_trial(self._params, model, entry.recipe, repeat)
            for entry in contest.entries
            for repeat in repeats
        )
        ran = [trial for trial in every if trial in missing or self._is_cached(trial)]
        if missing or not self._runner:
            return ran, None
        contenders = contenders_of(self._runner, contest.entries, results, repeats)
        return ran, best_multiple(contest, contenders)

    def _fit(self, stage: Stage, state: State) -> Work:
        params, model = self._params, stage.option("model")
        start = self._start(stage, "recipe")

        def fits(final: Recipe) -> tuple[Trial, ...]:
            each = ((recipe, seed) for recipe in (final, params.baseline) for seed in repeats)
            return tuple(dict.fromkeys(make_trial(params, model, *one) for one in each))

        repeats = fit_repeats(params)
        least, most = self._unchanged(model, start), self._all_changed(model, start)
        unknown = Trainings(fits(least[0]), fits(most[0]))
        return self._on_final_recipe(stage, state, start, fits(start.recipe), unknown, "fit")

    def _strategy(self, stage: Stage, state: State) -> Work:
        model, strategy = stage.option("model"), stage.option("strategy")
        file = SEARCHED / model / f"{strategy}.yaml"
        previous = self._previous_winner(stage, file)
        start = self._any_draw(model, strategy)
        if previous:
            start = replace(start, recipe=previous, standing="as before")
        self._starts[str(file)] = start
        if state == "up to date":
            self._starts[str(file)] = replace(start, standing="known")
            return Work(stage, state)
        if self._images is None:
            return Work(stage, state)
        needed = self._forecast(model, strategy, self._runner)
        if needed.winner:
            self._starts[str(file)] = replace(start, recipe=needed.winner, standing="known")
        changed = needed if state == "runs" else self._forecast(model, strategy, None)
        work = self._conclude(
            stage,
            state,
            replace(start, standing="known"),
            needed.cached,
            Trainings(needed.least, needed.most),
            Trainings(changed.least, changed.most),
        )
        return replace(work, drawn=needed.least != needed.most)

    def _any_draw(self, model: str, strategy: str) -> Start:
        """A recipe in place of a strategy's unknown winner."""
        from ablation.search.space import Space
        from ablation.search.strategies import check_strategy, random, seed_of

        check_strategy(strategy, self._params.search.strategies)
        space = Space.of(self._params, model)
        (choice,) = next(random(space, seed_of(self._params.seed, model, strategy), 1))
        explored = (name for name in TECHNIQUES if self._params.candidates(name, model))
        chain = tuple(name for name in explored if name != "epochs")
        return Start(space.recipe(choice), "unknown", chain)

    def _forecast(self, model: str, strategy: str, runner: TrialRunner | None) -> "Forecast":
        from ablation.search.cost import Cost
        from ablation.search.forecast import forecast

        assert self._images
        cost = Cost(self._images.training, self._images.classes)
        return forecast(self._params, model, strategy, cost, runner, self._images.classes)

    def _contest_of_search(self, stage: Stage, state: State) -> Work:
        params, model = self._params, stage.option("model")
        found = [
            self._start_of(str(SEARCHED / model / f"{strategy}.yaml"), model)
            for strategy in params.search.strategies
        ]
        self._starts[str(SEARCHED / model / "answer.yaml")] = found[-1]
        if state == "up to date":
            return Work(stage, state)
        starts = [Start(params.baseline), self._start(stage, "chain-recipe"), *found]
        repeats = repeats_for(params, "contest")
        missing: list[Trial] = []
        changed: list[Trial] = []
        wanted = {
            make_trial(params, model, start.recipe, each): start
            for start in starts
            for each in repeats
        }
        for trial, start in wanted.items():
            absent = not self._is_cached(trial)
            missing += [trial] * absent
            changed += [trial] * (absent or start.standing != "known")
        known = all(start.standing != "unknown" for start in starts)
        return self._conclude(
            stage,
            state,
            replace(starts[0], standing="known" if known else "unknown"),
            len(wanted) - len(missing),
            Trainings(tuple(missing), tuple(missing)),
            Trainings(tuple(changed), tuple(changed)),
        )

    def _on_final_recipe(
        self,
        stage: Stage,
        state: State,
        start: Start,
        trials: tuple[Trial, ...],
        unknown: Trainings,
        work: Literal["validate", "fit"],
    ) -> Work:
        """The work of a stage on the final recipe; `unknown`: its bounds for any final recipe."""
        missing = tuple(trial for trial in trials if not self._is_cached(trial, work))
        needed = unknown if start.standing == "unknown" else Trainings(missing, missing)
        changed = needed if start.standing == "known" else unknown
        return self._conclude(stage, state, start, len(trials) - len(missing), needed, changed)

    def _conclude(
        self,
        stage: Stage,
        state: State,
        start: Start,
        cached: int,
        needed: Trainings,
        changed: Trainings,
    ) -> Work:
        """The work of a stage, without trials that an earlier stage trains.

        needed: if no result changes; changed: if results change.
        """
        needed, changed = needed.without(self._planned), changed.without(self._planned)
        if state == "may run":
            needed = Trainings()
        if_changed = changed if len(changed.most) > len(needed.most) else None
        return Work(stage, state, cached, needed, if_changed, start.standing == "unknown")
