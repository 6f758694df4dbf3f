"""What changed between two revisions of a study, with its noise.

Both ran the same repeats, so two winners of a stage are compared by their paired differences, like
two settings of one stage. The noise is that of all contenders of both sides.
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
from ablation.judge.selection import SURE
from ablation.labels import technique_of
from ablation.trial.recipe import BASELINE

LEAVE_ONE_OUT, TEST = "leave_one_out", "test"
SAME_SCORE = 2e-6  # files have six digits

Word = Literal[
    "better",
    "worse",
    "practically equal",
    "within the noise",
    "unchanged",
    "computed otherwise",
    "one repeat",
    "not comparable",
    "new",
    "gone",
]


@dataclass(frozen=True)
class Outcome:
    """What a stage ended with on one side.

    Attributes:
        winner: its setting; of leave-one-out and the test the techniques of the final recipe that
            are not as in the baseline.
        accuracy: of the winner on the repeats, or of the final recipe's fits on the test set, as a
            mean.
    """

    winner: str
    accuracy: float


@dataclass(frozen=True)
class Change:
    """One stage of one family on both sides.

    Attributes:
        model, stage: which one; a technique, `leave_one_out` or `test`.
        before, after: what it ended with; None where the side has no such stage.
        gain, low, high: accuracy of the winner after minus that before, on the repeats (or test
            characters) that both ran, with its 95 % interval; fractions, nan where there is none.
        repeats: how many both ran; of the test how many fits of each.
        word: the change in a word: what was shown of it (`worth_a_word`), or `unchanged` scores, or
            why there is nothing to compare. Studies of other repeats or other test characters are
            `not comparable`.
        apart: what was not the same when both were computed: machine, precision, libraries, code.
    """

    model: str
    stage: str
    before: Outcome | None
    after: Outcome | None
    gain: float
    low: float
    high: float
    repeats: int
    word: Word
    apart: tuple[str, ...]

    @property
    def real(self) -> bool:
        """Whether a difference was shown, of numbers that were computed alike."""
        return self.word in ("better", "worse") and not self.apart


@dataclass(frozen=True)
class Candidate:
    """A setting that a stage tried on one side only, with what was found of it.

    Attributes:
        model, stage, setting: which one.
        gain, low, high: over the incumbent of its stage, on the repeats that both ran; nan where
            there is none.
        repeats: how many it ran.
        finding: in a word, as in candidates.csv; `winner` where it won.
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
    """Every stage of every family that either side has: the chain, leave-one-out, the test."""
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
    """The settings that one side tried and the other did not, of stages that both have."""
    found = []
    for model in here.params["models"]:
        for stage in [name for name in here.stages(model) if name in there.stages(model)]:
            name = f"plots/{model}/{stage}/candidates.csv"
            known = {*there.table(name)["setting"]}
            for row in here.table(name).itertuples(index=False):
                if row.setting in known or row.role == "incumbent":
                    continue
                broken = [word for word in ("diverged", "collapsed") if getattr(row, word)]
                found.append(
                    Candidate(
                        *(model, stage, row.setting, row.gain, row.low, row.high, row.repeats),
                        finding=broken[0] if broken else str(row.finding),
                        wins=row.role == "winner",
                    )
                )
    return found


def worth_a_word(
    found: Estimate, equal_within: float, apart: tuple[str, ...], *, same_recipe: bool
) -> Word:
    """Whether a difference of two winners was shown, and if not, what was.

    computed otherwise: both are one recipe, so that only the way they were computed can make the
    difference. practically equal, better, worse, within the noise: as a stage finds of a candidate.

    Args:
        found: of the difference alone.
        equal_within: difference that nobody would pay for.
        apart: what was not the same when both were computed.
        same_recipe: whether both winners are the same recipe, trained alike.
    """
    if same_recipe and apart:
        return "computed otherwise"
    if math.isnan(float(found.error[0])):
        return "one repeat"
    low, high = (float(end[0]) for end in found.interval())
    worse, equal, better = (float(chance[0]) for chance in found.chances(equal_within))
    cases: dict[Word, bool] = {
        "practically equal": equal >= SURE,
        "better": low > 0 or better >= SURE,
        "worse": high < 0 or worse >= SURE,
        "within the noise": True,
    }
    return next(word for word, holds in cases.items() if holds)


def _compare(before: Revision, after: Revision, model: str, stage: str) -> Change:
    sides = before, after
    outcomes = [_outcome(side, model, stage) for side in sides]
    apart = _apart(before, after, model, stage)

    def change(
        word: Word,
        gain: float = math.nan,
        low: float = math.nan,
        high: float = math.nan,
        repeats: int = 0,
    ) -> Change:
        first, second = outcomes
        return Change(model, stage, first, second, gain, low, high, repeats, word, apart)

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
    found = _difference(first, second, tables, after)
    same_recipe = (
        stage != LEAVE_ONE_OUT and len({_trained(side, model, stage) for side in sides}) == 1
    )
    word = worth_a_word(found, _equal_within(after), apart, same_recipe=same_recipe)
    low, high = (float(end[0]) for end in found.interval())
    return change(word, float(found.gain[0]), low, high, repeats)


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
    """(settings, repeats) scores of a stage; nan where racing stopped a setting.

    Settings that failed are not among them. Of leave-one-out these are the recipes that ran on all
    repeats, the final recipe last.
    """
    trials = side.table(f"plots/{model}/{stage}/trials.csv")
    what = "recipe" if stage == LEAVE_ONE_OUT else "setting"
    scores = trials.pivot(index=what, columns="repeat", values="score")
    scores = scores.loc[trials[what].unique()]
    if stage == LEAVE_ONE_OUT:
        return scores.dropna()
    candidates = side.table(f"plots/{model}/{stage}/candidates.csv").set_index("setting")
    failed = candidates[["diverged", "collapsed"]].astype(bool).any(axis=1)
    return scores[~failed.reindex(scores.index, fill_value=False)]


def _difference(
    first: Floats, second: Floats, tables: list[pd.DataFrame], side: Revision
) -> Estimate:
    """Of the two first rows of a table that has all contenders of both sides, each trial once."""
    rows = [first, second]
    for table in tables:
        for scores in table.to_numpy(dtype=float):
            if not any(_is_within(scores, row) for row in rows):
                rows.append(scores)
    table = np.stack(rows)
    weights = np.zeros((1, len(rows)))
    weights[0, :2] = -1, 1
    noise = measure_noise(table, characters=side.validated)
    return estimate(table, weights, noise, side.val_to_train)


def _is_within(scores: Floats, row: Floats) -> bool:
    """Whether they are those of a row, or of its first repeats."""
    ran = ~np.isnan(scores)
    return bool(np.allclose(scores[ran], row[ran], rtol=0, atol=SAME_SCORE))


def _trained(side: Revision, model: str, stage: str) -> str:
    """All that params.yaml and the chain say of how the winner of a stage is trained."""
    params = side.params
    return repr(
        (
            side.recipe(model, stage)[0],
            params["models"].get(model),
            params["training"].get("batch_size"),
        )
    )


def _compare_tests(before: Revision, after: Revision, model: str) -> Change:
    """The final recipes' fits on the test set; both have to have read the same characters."""
    sides = before, after
    tables = [side.table(f"plots/{model}/test/right.csv") for side in sides]
    characters = [side.table(f"plots/{model}/test/predictions.csv") for side in sides]
    fits = [fits_of(table, FINAL) for table in tables]
    outcomes = [
        Outcome(winner, float(np.mean(each))) if each else None
        for winner, each in zip((_changed(side, model) for side in sides), fits, strict=True)
    ]
    apart = _apart(before, after, model, "fit")
    numbers = (math.nan, math.nan, math.nan)
    count = min(map(len, fits))
    if None in outcomes:
        word: Word = "new" if outcomes[0] is None else "gone"
    elif not characters[0]["actual"].equals(characters[1]["actual"]):
        word = "not comparable"
    elif tables[0].equals(tables[1]):
        word, numbers = "unchanged", (0.0, math.nan, math.nan)
    else:
        numbers = recipe_difference(*fits)
        _, low, high = numbers
        word = "better" if low > 0 else "worse" if high < 0 else "within the noise"
        first, second = (_trained(side, model, side.stages(model)[-1]) for side in sides)
        if apart and first == second:
            word = "computed otherwise"
    return Change(model, TEST, outcomes[0], outcomes[1], *numbers, count, word, apart)


def _changed(side: Revision, model: str) -> str:
    """The techniques of the final recipe that are not as in the baseline, in the chain's order."""
    stages = [BASELINE, *side.stages(model)]
    first, last = (side.settings(model, stages[place]) for place in (0, -1))
    spec = side.params["models"].get(model) or {}
    sizes = {key: value for key, value in spec.items() if key != "epochs"}
    for recipe in (first, last):  # one without sizes has those of params.yaml
        recipe.setdefault("architecture", sizes)
    asked = dict.fromkeys([*map(technique_of, stages[1:]), *last])
    return " + ".join(name for name in asked if last.get(name) != first.get(name)) or BASELINE


def _apart(before: Revision, after: Revision, model: str, stage: str) -> tuple[str, ...]:
    first, second = (side.computed(model, stage) for side in (before, after))
    return tuple(name for name in first if first[name] != second[name])


def _equal_within(side: Revision) -> float:
    return float(side.params["selection"]["equal_within"])
