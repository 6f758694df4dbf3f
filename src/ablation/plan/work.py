"""The trainings that each stage needs: what is remembered, and what has to be trained.

A stage's trainings follow from the recipe that it starts from. This one is known as long as every
stage before it is up to date, or finds all its trials remembered: then the stage is judged here as
it will be judged when it runs. From the first stage on that has to train, winners are open. What
comes after it is counted twice: with the winner that it had before, and with another one.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from ablation.base.errors import UserError
from ablation.data.splits import val_to_train
from ablation.judge.selection import judge_stage
from ablation.judge.worth import list_trials
from ablation.params import Params
from ablation.plan.pipeline import Stage
from ablation.run.runner import TrialRunner
from ablation.study.entries import Entry, having, list_entries
from ablation.study.inputs import fit_repeats, make_trial, read_recipe, repeats_for
from ablation.study.race import Results, make_contenders, recall_entries
from ablation.trial.recipe import BASELINE, Recipe
from ablation.trial.trials import Trial

State = Literal["up to date", "runs", "may run"]
# `check` writes the same words whatever it reads, so no stage runs for its sake.
WRITE_THE_SAME = {"check"}
# Racing looks first after so many repeats (`ablation.judge.racing`).
FIRST_LOOK = 2


@dataclass(frozen=True)
class Trainings:
    """What a stage has to train: at least some, at most all.

    least: those that no racing spares, or those where no technique is changed. Of the study in git,
    53 % of the MLP's and 40 % of the CNN's trials between least and most ran, so halfway is what is
    expected.
    """

    least: tuple[Trial, ...] = ()
    most: tuple[Trial, ...] = ()

    def without(self, known: set[Trial]) -> "Trainings":
        """Those that are not known."""
        least, most = ([t for t in some if t not in known] for some in (self.least, self.most))
        return Trainings(tuple(least), tuple(most))


@dataclass(frozen=True)
class Work:
    """What a run of the pipeline makes of one stage.

    state: `may run`: only if a stage before it comes to other results than the last time.
    remembered: number of its trainings that are; None if it trains nothing or need not be asked.
    trainings: if the winners before it stay as they are.
    otherwise: if one of them changes; None where that makes no difference.
    sized: whether nothing is known of the winner that it starts from: the trainings are then those
        of the baseline recipe.
    """

    stage: Stage
    state: State
    remembered: int | None = None
    trainings: Trainings = field(default_factory=Trainings)
    otherwise: Trainings | None = None
    sized: bool = False


@dataclass(frozen=True)
class Start:
    """The recipe that a stage starts from.

    standing: `known`; `as before`: what the stage before it chose the last time, and it will run;
        `unknown`: it has never run, the recipe is the one before it.
    chain: the techniques that were asked up to here.
    """

    recipe: Recipe
    standing: Literal["known", "as before", "unknown"] = "known"
    chain: tuple[str, ...] = ()


def list_work(
    stages: Iterable[Stage], params: Params, runner: TrialRunner | None, other_characters: bool
) -> list[Work]:
    """What each stage has to do, in the order of the stages.

    Args:
        runner: what remembers; None where nothing is, since there are no characters yet.
        other_characters: whether `prepare` will make others than those of the last time.
    """
    return _Planner(params, runner, other_characters).plan(stages)


class _Planner:
    def __init__(self, params: Params, runner: TrialRunner | None, other: bool) -> None:
        self._params = params
        self._runner = None if other else runner
        self._other_characters = other
        self._changing: set[str] = set()  # stages whose results may not be those of the last time
        self._starts: dict[str, Start] = {}  # by the file of the recipe
        self._planned: set[Trial] = set()

    def plan(self, stages: Iterable[Stage]) -> list[Work]:
        return [self._work(stage) for stage in stages]

    def _work(self, stage: Stage) -> Work:
        if self._other_characters and stage.script not in {"check", "prepare"}:
            stage = replace(stage, reasons=(*stage.reasons, "inputs"))
        state: State = "up to date"
        if stage.reasons:
            state = "runs"
        elif self._changing & stage.before:
            state = "may run"
        if stage.name not in WRITE_THE_SAME and (
            state == "may run" or {*stage.reasons} - {"outputs"}
        ):
            self._changing.add(stage.name)
        kinds = {"technique": self._technique, "leave_one_out": self._worth, "fit": self._fit}
        if stage.script not in kinds or (state == "up to date" and stage.script != "technique"):
            return Work(stage, state)
        work = kinds[stage.script](stage, state)
        self._planned.update(work.trainings.most)
        return work

    def _technique(self, stage: Stage, state: State) -> Work:
        params, model, technique = self._params, stage.option("model"), stage.option("technique")
        recipe_file = f"data/recipes/{model}/{technique}.yaml"
        if technique == BASELINE:
            start = Start(
                params.baseline, "as before" if stage.before & self._changing else "known"
            )
            entries = [Entry(BASELINE, BASELINE, params.baseline)]
        else:
            start = self._starts[stage.option("incumbent")]
            start = replace(start, chain=(*start.chain, technique))
            entries = list_entries(params, model, technique, start.recipe)
        before = self._last_winner(stage, Path(recipe_file))
        if state == "up to date":
            self._starts[recipe_file] = replace(
                start, recipe=before or start.recipe, standing="known"
            )
            return Work(stage, state)

        results, missing = self._recall(model, entries)
        winner = before and replace(start, recipe=before, standing="as before")
        if not missing:
            winner = self._judge(start, entries, results) or winner
        self._starts[recipe_file] = winner or replace(start, standing="unknown")
        rounds = len(next(iter(results.values()), ())) + 1
        incumbent, *others = (self._trials(model, entry.recipe) for entry in entries)
        certain = {*incumbent, *(trial for some in others for trial in some[: self._look(rounds)])}
        anew = Trainings(
            tuple(trial for some in others or [incumbent] for trial in some[: self._look()]),
            tuple(trial for some in others or [incumbent] for trial in some),
        )
        needed = Trainings(tuple(each for each in missing if each in certain), tuple(missing))
        remembered = sum(map(self._remembers, {*incumbent, *anew.most}))
        return self._conclude(stage, state, start, remembered, needed, anew)

    def _look(self, rounds: int = 0) -> int:
        """After how many repeats racing looks next."""
        rule = self._params
        return max(FIRST_LOOK, rounds) if rule.selection.racing else rule.validation.repeats

    def _recall(self, model: str, entries: list[Entry]) -> tuple[Results, list[Trial]]:
        if self._runner is None:
            trials = [trial for entry in entries for trial in self._trials(model, entry.recipe)]
            return {}, list(dict.fromkeys(trials))
        racing = self._params.selection.racing
        repeats = repeats_for(self._params)
        return recall_entries(self._runner, self._params, model, entries, repeats, racing=racing)

    def _judge(self, start: Start, entries: list[Entry], results: Results) -> Start | None:
        """What comes out of a stage of which everything is remembered; None if it is an error."""
        assert self._runner
        rule, repeats = self._params.selection, repeats_for(self._params)
        size = (len(self._runner.classes), self._runner.largest)
        first, *others = make_contenders(entries, results, len(repeats), *size)
        ratio = val_to_train(repeats[0])
        try:
            verdict = judge_stage(first, others, ratio, rule.risk, rule.equal_within)
        except UserError:
            return None
        recipes = {entry.setting: entry.recipe for entry in entries}
        return replace(start, recipe=recipes[verdict.winner.setting])

    def _last_winner(self, stage: Stage, file: Path) -> Recipe | None:
        if self._other_characters or "new" in stage.reasons:
            return None
        try:
            return read_recipe(file, self._params, stage.option("model"))
        except UserError:
            return None

    def _trials(self, model: str, recipe: Recipe) -> list[Trial]:
        repeats = repeats_for(self._params)
        return [make_trial(self._params, model, recipe, repeat) for repeat in repeats]

    def _remembers(self, trial: Trial, work: Literal["validate", "fit"] = "validate") -> bool:
        return self._runner is not None and self._runner.remembers(trial, work)

    def _worth(self, stage: Stage, state: State) -> Work:
        params, model = self._params, stage.option("model")
        start = self._starts[stage.option("recipe")]
        baseline, final = params.full(model, params.baseline), params.full(model, start.recipe)
        # Halfway between nothing and everything is what a chain needs that changed half of it.
        explored, changed_all = [], baseline
        for technique in start.chain:
            if others := list_entries(params, model, technique, baseline)[1:]:
                explored.append(technique)
                setting = others[0].recipe.setting(technique)
                changed_all = changed_all.having(technique, setting)
        anew = Trainings(
            self._worth_trials(model, baseline, []),
            self._worth_trials(model, changed_all, explored),
        )
        changed = [each for each in start.chain if final.setting(each) != baseline.setting(each)]
        trials = self._worth_trials(model, final, changed)
        return self._of_a_final_recipe(stage, state, start, trials, anew, "validate")

    def _worth_trials(self, model: str, final: Recipe, changed: list[str]) -> tuple[Trial, ...]:
        params = self._params
        repeats = repeats_for(params, "leave-one-out")
        needed = list_trials(changed, len(repeats), params.worth.order_pairs, params.seed)
        baseline = params.full(model, params.baseline)
        trials = (
            make_trial(params, model, having(final, kept, baseline), repeats[index])
            for kept, ran in needed.items()
            for index in ran
        )
        return tuple(dict.fromkeys(trials))

    def _fit(self, stage: Stage, state: State) -> Work:
        params, model = self._params, stage.option("model")
        start = self._starts[stage.option("recipe")]

        def fits(final: Recipe) -> tuple[Trial, ...]:
            each = ((recipe, seed) for recipe in (final, params.baseline) for seed in repeats)
            return tuple(dict.fromkeys(make_trial(params, model, *one) for one in each))

        repeats = fit_repeats(params)
        entries = list_entries(params, model, "epochs", start.recipe)
        lengths = sorted((entry.recipe for entry in entries), key=lambda recipe: recipe.epochs)
        anew = Trainings(fits(lengths[0]), fits(lengths[-1]))
        return self._of_a_final_recipe(stage, state, start, fits(start.recipe), anew, "fit")

    def _of_a_final_recipe(
        self,
        stage: Stage,
        state: State,
        start: Start,
        trials: tuple[Trial, ...],
        anew: Trainings,
        work: Literal["validate", "fit"],
    ) -> Work:
        """No racing spares any of these."""
        missing = tuple(trial for trial in trials if not self._remembers(trial, work))
        needed = anew if start.standing == "unknown" else Trainings(missing, missing)
        return self._conclude(stage, state, start, len(trials) - len(missing), needed, anew)

    def _conclude(
        self,
        stage: Stage,
        state: State,
        start: Start,
        remembered: int,
        needed: Trainings,
        anew: Trainings,
    ) -> Work:
        """The work of a stage, if its start stays as it is and if it changes."""
        needed = needed.without(self._planned)
        changed = needed if start.standing == "known" else anew
        if state == "may run":
            needed = Trainings()
        otherwise = changed if len(changed.most) > len(needed.most) else None
        return Work(stage, state, remembered, needed, otherwise, start.standing == "unknown")
