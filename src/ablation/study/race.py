"""Running the trials of a stage: every entry on every repeat, unless racing stops it."""

import math
import time
from collections.abc import Iterator, Sequence

import numpy as np

from ablation.base.console import console
from ablation.base.formatting import counted
from ablation.base.progress import progress
from ablation.data.splits import Repeat, val_to_train
from ablation.judge.collapse import has_collapsed
from ablation.judge.racing import raced_out
from ablation.judge.selection import Contender, Verdict, as_table, find_champions, judge_stage
from ablation.params import Params
from ablation.run.runner import TrialRunner
from ablation.study.entries import Contest, Entry
from ablation.study.inputs import make_trial, validation_characters
from ablation.trial.trials import Result, Trial

Results = dict[str, list[Result]]


def run_entries(
    runner: TrialRunner,
    params: Params,
    model: str,
    contest: Contest,
    repeats: Sequence[Repeat],
    *,
    racing: bool,
) -> Results:
    """Run every entry on every repeat.

    With racing, entries that can no longer win are stopped after a repeat that all remaining
    entries have finished. The first entry, the reference of all gains, is never stopped. Idle
    workers start trials of the next repeat early. Such a trial is stored even if its entry is then
    stopped.

    Args:
        runner: runs the trials, or returns their cached results.
        params: the content of params.yaml.
        model: the family.
        contest: the entries to run.
        repeats: the repeats to run them on.
        racing: whether entries that can no longer win are stopped.

    Returns:
        setting to its results in the order of `repeats`, fewer if it was stopped. They depend
        neither on the number of workers nor on the order in which trials finish.

    Raises:
        SplitError: the characters cannot be split as params.yaml specifies.
    """
    return _Race(runner, params, model, contest, repeats, racing).run()


def load_cached_results(
    runner: TrialRunner,
    params: Params,
    model: str,
    contest: Contest,
    repeats: Sequence[Repeat],
    *,
    racing: bool,
) -> tuple[Results, list[Trial]]:
    """The cached results of a stage, and the trials that `run_entries` would have to train.

    Args: as for `run_entries`.

    Returns:
        the results of the repeats that all remaining entries have finished, and the missing trials,
        an upper bound if racing stops entries. If none is missing, the results are complete.
    """
    return _Race(runner, params, model, contest, repeats, racing).load_cached()


class _Race:
    def __init__(
        self,
        runner: TrialRunner,
        params: Params,
        model: str,
        contest: Contest,
        repeats: Sequence[Repeat],
        racing: bool,
    ) -> None:
        entries = contest.entries
        self.results: Results = {entry.setting: [] for entry in entries}
        self._runner = runner
        self._risk = params.selection.risk
        self._model = model
        self._entries = entries
        self._simpler = contest.simpler
        self._repeats = repeats
        self._racing = racing and len(entries) > 1
        self._remaining = list(entries)  # not stopped
        self._finished: dict[Trial, Result] = {}
        self._trials = {
            (entry.setting, repeat): make_trial(params, model, entry.recipe, repeat)
            for entry in entries
            for repeat in repeats
        }

    def run(self) -> Results:
        started = time.monotonic()
        known = {each for each in self._trials.values() if self._runner.is_cached(each)}
        trained = 0
        with progress(self._model, self._count_left(known)) as update:
            for trial, result, cached in self._runner.run(self._next_trials()):
                self._finished[trial] = result
                trained += not cached
                update(trained, trained + self._count_left(known))
        self._collect_complete_repeats()
        run = sum(map(len, self.results.values()))
        console.print(
            f"{self._model}: {counted(trained, 'trial')} trained in "
            f"{time.monotonic() - started:,.0f} s, "
            f"{len(self._finished) - trained} cached, "
            f"{len(self._entries) * len(self._repeats) - run} skipped by racing"
        )
        return self.results

    def load_cached(self) -> tuple[Results, list[Trial]]:
        missing = []
        for trial in self._next_trials():
            if result := self._runner.cached_result(trial):
                self._finished[trial] = result
            else:
                missing.append(trial)
        self._collect_complete_repeats()
        return self.results, missing

    def _next_trials(self) -> Iterator[Trial]:
        """Repeat by repeat, the trials of the remaining entries, evaluated lazily."""
        submitted = set()  # entries with equal recipes share a trial
        for repeat in self._repeats:
            for entry in self._entries:
                self._collect_complete_repeats()
                trial = self._trials[entry.setting, repeat]
                if entry in self._remaining and trial not in submitted:
                    submitted.add(trial)
                    yield trial

    def _collect_complete_repeats(self) -> None:
        """Collect the repeats that all remaining entries have finished; race after each."""
        for repeat in self._repeats[len(self.results[self._entries[0].setting]) :]:
            row = {
                e.setting: self._finished.get(self._trials[e.setting, repeat])
                for e in self._remaining
            }
            complete = {setting: result for setting, result in row.items() if result}
            if len(complete) < len(row):
                return
            for setting, result in complete.items():
                self.results[setting].append(result)
            if self._racing:
                self._stop_entries(repeat)

    def _stop_entries(self, repeat: Repeat) -> None:
        first, *others = contenders_of(self._runner, self._entries, self.results, self._repeats)
        characters = validation_characters(self._runner, repeat)
        rule = (val_to_train(repeat), self._risk, characters, self._simpler)
        stopped = raced_out(first, others, *rule)
        self._remaining[1:] = [
            entry for entry, out in zip(self._entries[1:], stopped, strict=True) if not out
        ]

    def _count_left(self, known: set[Trial]) -> int:
        """Upper bound of the number of trials left to train."""
        needed = {
            self._trials[e.setting, repeat] for e in self._remaining for repeat in self._repeats
        }
        return len(needed - known - self._finished.keys())


def judge_contest(
    runner: TrialRunner,
    params: Params,
    contest: Contest,
    results: Results,
    repeats: Sequence[Repeat],
) -> Verdict:
    """The verdict of a stage whose trials have run.

    Args:
        runner: has run the trials.
        params: the content of params.yaml.
        contest: the entries.
        results: as returned by `run_entries`.
        repeats: the repeats that they ran on.

    Raises:
        UserError: no entry can win, because all failed or were raced out.
    """
    first, *others = contenders_of(runner, contest.entries, results, repeats)
    rule = params.selection
    return judge_stage(
        first,
        others,
        val_to_train(repeats[0]),
        rule.risk,
        rule.equal_within,
        validation_characters(runner, repeats[0]),
        contest.simpler,
    )


def contenders_of(
    runner: TrialRunner, entries: Sequence[Entry], results: Results, repeats: Sequence[Repeat]
) -> list[Contender]:
    """The contenders of a verdict, one for each entry; for the arguments, see `judge_contest`."""
    characters = validation_characters(runner, repeats[0])
    return make_contenders(
        entries, results, len(repeats), len(runner.classes), runner.largest, characters
    )


def make_contenders(
    entries: Sequence[Entry],
    results: Results,
    repeats: int,
    classes: int,
    largest: float = 0.0,
    characters: float = math.inf,
) -> list[Contender]:
    """The contenders of a verdict, one for each entry.

    Args:
        entries: as run by `run_entries`.
        results: as returned by it.
        repeats: number of repeats, the length of each contender's scores; nan where not run.
        classes, largest, characters: as for `has_collapsed`.
    """
    contenders = []
    for entry in entries:
        scores = np.full(repeats, np.nan)
        outcomes = results[entry.setting]
        scores[: len(outcomes)] = [outcome.score for outcome in outcomes]
        diverged = any(outcome.diverged for outcome in outcomes)
        contenders.append(
            Contender(
                entry.candidate,
                entry.setting,
                scores,
                diverged,
                entry.learning_rate,
                collapsed=not diverged and has_collapsed(scores, classes, largest, characters),
            )
        )
    return contenders


def best_multiple(contest: Contest, contenders: Sequence[Contender]) -> float:
    """The best entry's learning rate over the first entry's; 1 if all entries failed.

    Args:
        contest: entries that differ only in their learning rates (`rates_to_try`).
        contenders: their scores, in the same order.
    """
    best = int(find_champions(*as_table(contenders)).argmax())
    rate, first = (contest.entries[index].recipe.optimizer.lr for index in (best, 0))
    return rate / first
