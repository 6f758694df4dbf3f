"""Changes between two revisions of a study, and which of them exceed the noise.

Both revisions ran the same repeats, so the winners of a stage are compared by their paired
differences, like two settings of one stage. The noise is estimated from all contenders of both.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from ablation.base.files import read_json
from ablation.diff.revisions import Revision
from ablation.judge.evaluation import FINAL, fits_of, recipe_difference
from ablation.judge.noise import Estimate, Floats, estimate, measure_noise
from ablation.judge.selection import CONFIDENCE
from ablation.labels import technique_of
from ablation.trial.recipe import BASELINE

LEAVE_ONE_OUT, TEST = "leave_one_out", "test"
SAME_SCORE = 2e-6  # files have six digits

Finding = Literal[
    "better",
    "worse",
    "practically equal",
    "within the noise",
    "unchanged",
    "computed differently",
    "one repeat",
    "not comparable",
    "new",
    "gone",
]


@dataclass(frozen=True)
class Outcome:
    """The result of a stage in one revision.

    Attributes:
        winner: the winning setting. For leave-one-out and the test, the techniques in which the
            final recipe differs from the baseline.
        accuracy: mean over the repeats. For the test, mean over the final recipe's fits.
    """

    winner: str
    accuracy: float


@dataclass(frozen=True)
class Change:
    """A stage of a family in both revisions.

    Attributes:
        model, stage: the family, and a technique, `leave_one_out` or `test`.
        before, after: the result in each revision; None if the revision does not have the stage.
        gain, low, high: accuracy of the winner after minus that of the winner before, on the
            repeats (or test characters) common to both, and its 95 % interval; fractions, or nan.
        repeats: number of common repeats; for the test, number of fits of each recipe.
        finding: what the difference shows (see `judge_difference`), or why there is none. Studies
            with different repeats or different test characters are `not comparable`.
        mismatches: conditions that differed: machine, precision, libraries, code. Empty if only
            one revision has the stage.
    """

    model: str
    stage: str
    before: Outcome | None
    after: Outcome | None
    gain: float
    low: float
    high: float
    repeats: int
    finding: Finding
    mismatches: tuple[str, ...]

    @property
    def differs(self) -> bool:
        """Whether both revisions have the stage, with different or incomparable scores."""
        return self.finding not in ("unchanged", "new", "gone")

    @property
    def real(self) -> bool:
        """Whether the difference exceeds the noise and both sides had the same conditions."""
        return self.finding in ("better", "worse") and not self.mismatches


@dataclass(frozen=True)
class Candidate:
    """A setting that only one revision tried, and its result.

    Attributes:
        model, stage, setting: its family, its stage and its label.
        gain, low, high: over the incumbent of its stage, on their common repeats; nan if unknown.
        repeats: number of repeats it ran.
        finding: as in candidates.csv, or `diverged` or `collapsed`.
        wins: whether it won its stage.
    """

    model: str
    stage: str
    setting: str
    gain: float
    low: float
    high: float
    repeats: int
    finding: str
    wins: bool


def list_changes(before: Revision, after: Revision) -> list[Change]:
    """All stages of all families of either revision: the chain, leave-one-out, the test."""
    changes = []
    for model in dict.fromkeys([*after.params["models"], *before.params["models"]]):
        stages = dict.fromkeys([*after.stages(model), *before.stages(model)])
        changes += [_compare(before, after, model, stage) for stage in stages]
        if any(side.has(f"plots/{model}/{LEAVE_ONE_OUT}/trials.csv") for side in (before, after)):
            changes.append(_compare(before, after, model, LEAVE_ONE_OUT))
        if any(side.has(f"metrics/{model}/test.json") for side in (before, after)):
            changes.append(_compare_tests(before, after, model))
    return changes


def list_candidates(here: Revision, there: Revision) -> list[Candidate]:
    """Settings that `here` tried and `there` did not, in the stages that both have."""
    candidates = []
    for model in here.params["models"]:
        for stage in [name for name in here.stages(model) if name in there.stages(model)]:
            name = f"plots/{model}/{stage}/candidates.csv"
            known = {*there.table(name)["setting"]}
            for row in here.table(name).itertuples(index=False):
                if row.setting in known or row.role == "incumbent":
                    continue
                failures = [each for each in ("diverged", "collapsed") if getattr(row, each)]
                candidates.append(
                    Candidate(
                        *(model, stage, row.setting, row.gain, row.low, row.high, row.repeats),
                        finding=failures[0] if failures else str(row.finding),
                        wins=row.role == "winner",
                    )
                )
    return candidates


def judge_difference(
    difference: Estimate, equal_within: float, mismatches: tuple[str, ...], *, same_recipe: bool
) -> Finding:
    """The conclusion from the difference between two winners.

    `computed differently`: the winners have the same recipe, so only the conditions differ.
    `better`, `worse`, `practically equal`, `within the noise`: as for a candidate of a stage.

    Args:
        difference: estimate of this single difference.
        equal_within: largest difference that does not matter, a fraction.
        mismatches: conditions that differed.
        same_recipe: whether both winners have the same recipe and training settings.
    """
    if same_recipe and mismatches:
        return "computed differently"
    if math.isnan(float(difference.error[0])):
        return "one repeat"
    low, high = (float(end[0]) for end in difference.interval())
    worse, equal, better = (float(p[0]) for p in difference.chances(equal_within))
    cases: dict[Finding, bool] = {
        "practically equal": equal >= CONFIDENCE,
        "better": low > 0 or better >= CONFIDENCE,
        "worse": high < 0 or worse >= CONFIDENCE,
        "within the noise": True,
    }
    return next(finding for finding, holds in cases.items() if holds)


def _compare(before: Revision, after: Revision, model: str, stage: str) -> Change:
    sides = before, after
    outcomes = [_outcome(side, model, stage) for side in sides]
    mismatches = _mismatches(before, after, model, stage)

    def change(
        finding: Finding,
        gain: float = math.nan,
        low: float = math.nan,
        high: float = math.nan,
        repeats: int = 0,
    ) -> Change:
        first, second = outcomes
        differing = mismatches if first and second else ()
        return Change(model, stage, first, second, gain, low, high, repeats, finding, differing)

    if outcomes[0] is None or outcomes[1] is None:
        return change("new" if outcomes[0] is None else "gone")
    if before.repeats != after.repeats:
        return change("not comparable")
    tables = [_scores(side, model, stage) for side in sides]
    longest = max(table.shape[1] for table in tables)
    tables = [table.reindex(columns=range(longest)) for table in tables]
    first, second = (
        table.loc[outcome.winner].to_numpy(dtype=float)
        for table, outcome in zip(tables, outcomes, strict=True)
        if outcome
    )
    repeats = int((~np.isnan(second - first)).sum())
    if np.nanmax(np.abs(second - first)) < SAME_SCORE:
        return change("unchanged", gain=0.0, repeats=repeats)
    difference = _difference(first, second, tables, after)
    same_recipe = (
        stage != LEAVE_ONE_OUT and len({_training(side, model, stage) for side in sides}) == 1
    )
    equal_within = float(after.params["selection"]["equal_within"])
    finding = judge_difference(difference, equal_within, mismatches, same_recipe=same_recipe)
    low, high = (float(end[0]) for end in difference.interval())
    return change(finding, float(difference.gain[0]), low, high, repeats)


def _outcome(side: Revision, model: str, stage: str) -> Outcome | None:
    if not side.has(f"plots/{model}/{stage}/trials.csv"):
        return None
    if stage == LEAVE_ONE_OUT:
        final = _scores(side, model, stage).iloc[-1]
        return Outcome(str(final.name), float(final.mean()))
    metrics = f"metrics/{model}/{stage}.json"
    if not side.has(metrics):
        return None
    numbers = read_json(side.root / metrics, ["winner", "accuracy"])
    return Outcome(numbers["winner"], numbers["accuracy"])


def _scores(side: Revision, model: str, stage: str) -> pd.DataFrame:
    """(settings, repeats) scores of a stage, nan for repeats after racing stopped a setting.

    Omits settings that failed. For leave-one-out, the recipes that ran on all repeats, the final
    recipe last.
    """
    trials = side.table(f"plots/{model}/{stage}/trials.csv")
    index = "recipe" if stage == LEAVE_ONE_OUT else "setting"
    scores = trials.pivot(index=index, columns="repeat", values="score")
    scores = scores.loc[trials[index].unique()]
    if stage == LEAVE_ONE_OUT:
        return scores.dropna()
    candidates = side.table(f"plots/{model}/{stage}/candidates.csv").set_index("setting")
    failed = candidates[["diverged", "collapsed"]].astype(bool).any(axis=1)
    return scores[~failed.reindex(scores.index, fill_value=False)]


def _difference(
    first: Floats, second: Floats, tables: list[pd.DataFrame], side: Revision
) -> Estimate:
    """Estimate `second` minus `first`, with the noise of all contenders of both revisions."""
    rows = [first, second]
    for table in tables:
        for scores in table.to_numpy(dtype=float):
            if not any(_repeats(scores, row) for row in rows):  # counts each trial once
                rows.append(scores)
    table = np.stack(rows)
    weights = np.zeros((1, len(rows)))
    weights[0, :2] = -1, 1
    noise = measure_noise(table, characters=side.validated)
    return estimate(table, weights, noise, side.val_to_train)


def _repeats(scores: Floats, row: Floats) -> bool:
    """Whether the scores equal those of a row on all repeats that they have."""
    ran = ~np.isnan(scores)
    return bool(np.allclose(scores[ran], row[ran], rtol=0, atol=SAME_SCORE))


def _training(side: Revision, model: str, stage: str) -> str:
    """Recipe and training settings of a stage's winner."""
    params = side.params
    return repr(
        (
            side.recipe(model, stage)[0],
            params["models"].get(model),
            params["training"].get("batch_size"),
        )
    )


def _compare_tests(before: Revision, after: Revision, model: str) -> Change:
    """Compare all fits of both final recipes on the test set."""
    sides = before, after
    tables = [side.table(f"plots/{model}/test/correct.csv") for side in sides]
    characters = [side.table(f"plots/{model}/test/predictions.csv") for side in sides]
    fits = [fits_of(table, FINAL) for table in tables]
    outcomes = [
        Outcome(_changed(side, model), float(np.mean(each))) if each else None
        for side, each in zip(sides, fits, strict=True)
    ]
    mismatches = _mismatches(before, after, model, "fit") if None not in outcomes else ()
    numbers = (math.nan, math.nan, math.nan)
    count = min(map(len, fits))
    if None in outcomes:
        finding: Finding = "new" if outcomes[0] is None else "gone"
    elif not characters[0]["actual"].equals(characters[1]["actual"]):
        finding = "not comparable"
    elif tables[0].equals(tables[1]):
        finding, numbers = "unchanged", (0.0, math.nan, math.nan)
    else:
        numbers = recipe_difference(*fits)
        _, low, high = numbers
        finding = "better" if low > 0 else "worse" if high < 0 else "within the noise"
        first, second = (_training(side, model, side.stages(model)[-1]) for side in sides)
        if mismatches and first == second:
            finding = "computed differently"
    return Change(model, TEST, outcomes[0], outcomes[1], *numbers, count, finding, mismatches)


def _changed(side: Revision, model: str) -> str:
    """The techniques whose setting in the final recipe is not the baseline's, in chain order."""
    stages = [BASELINE, *side.stages(model)]
    first, last = (side.settings(model, stages[index]) for index in (0, -1))
    spec = side.params["models"].get(model) or {}
    sizes = {key: value for key, value in spec.items() if key != "epochs"}
    for recipe in (first, last):  # a recipe without sizes has those of params.yaml
        recipe.setdefault("architecture", sizes)
    names = dict.fromkeys([*map(technique_of, stages[1:]), *last])
    return " + ".join(name for name in names if last.get(name) != first.get(name)) or BASELINE


def _mismatches(before: Revision, after: Revision, model: str, stage: str) -> tuple[str, ...]:
    first, second = (side.conditions(model, stage) for side in (before, after))
    return tuple(name for name in first if first[name] != second[name])
