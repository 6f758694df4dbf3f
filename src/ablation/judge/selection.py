"""The verdict of a stage: which setting wins, and how sure one can be.

Every contender of a stage runs on the same repeats, so contenders are compared by *paired*
differences. Repeats share training data, so the spread of these differences is widened as Nadeau
and Bengio showed. The winner is the simplest setting that is not clearly worse than the best.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.special
from numpy.typing import NDArray

from ablation.base.errors import UserError

Floats = NDArray[np.float64]

CONFIDENCE = 0.95

# Two repeats have one difference between them: two lucky ones would stop anything.
RACING_REPEATS = 3

# Means of the same scores in another order differ by some 1e-17: less than this is no difference.
SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Contender:
    """One setting of a technique and what it scored.

    Attributes:
        candidate: the entry of the list in params.yaml that it belongs to, such as `sgd`.
        setting: its own label, the grid point: `sgd lr=0.1`. Unique within a stage.
        scores: (repeats,) validation accuracy as a fraction, 0 for a diverged trial, nan for a
            repeat that was not run.
        diverged: whether any of its trials diverged; it can then never win.
        learning_rate: its place in the candidate's grid of learning rates; None where it has none.
    """

    candidate: str
    setting: str
    scores: Floats
    diverged: bool = False
    learning_rate: float | None = None

    @property
    def raced_out(self) -> bool:
        """Whether it was stopped before the last repeat because it was clearly behind."""
        return not self.diverged and bool(np.isnan(self.scores).any())


@dataclass(frozen=True)
class Evidence:
    """What a stage learnt about one contender: a row of candidates.csv. nan stands for undefined.

    Attributes:
        candidate, setting: as in `Contender`.
        role: `winner` (also where it is the incumbent that stays), `incumbent` or `candidate`.
        accuracy: mean score over the repeats that it ran.
        spread: their standard deviation; nan for one repeat.
        gain: mean of its score minus the incumbent's, on the repeats that both ran.
        low, high: 95 % interval of the gain; nan for the incumbent and for one repeat.
        repeats: number of repeats that it ran.
        diverged: whether any of its trials diverged.
        won_grid: whether it stands for its candidate: the best grid point, or the only one.
        grid_edge: whether it won with the smallest or largest of two or more learning rates, so
            that a wider grid might have served it better.
        raced_out: as in `Contender`.
    """

    candidate: str
    setting: str
    role: Literal["winner", "incumbent", "candidate"]
    accuracy: float
    spread: float
    gain: float
    low: float
    high: float
    repeats: int
    diverged: bool
    won_grid: bool
    grid_edge: bool
    raced_out: bool


@dataclass(frozen=True)
class Verdict:
    """What a stage concludes.

    Attributes:
        winner: the contender that the next stage starts from.
        verdict: `adopted` if it is not the incumbent, else `kept`.
        evidence: one row per contender, incumbent first, then in the order given;
            `pd.DataFrame(verdict.evidence)` is the table.
    """

    winner: Contender
    verdict: Literal["adopted", "kept"]
    evidence: list[Evidence]

    @property
    def won(self) -> Evidence:
        """The winner's row of the evidence."""
        return next(row for row in self.evidence if row.role == "winner")


def corrected_error(gains: Floats, val_to_train: float) -> Floats:
    """Standard error of the mean paired gain over repeats that share training data.

    Args:
        gains: (..., repeats) differences of score, per repeat.
        val_to_train: size of a repeat's validation part over its training part.

    Returns:
        (...) in the unit of the gains; infinite for a single repeat, which says nothing about
        noise.

    Source:
        Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    """
    repeats = gains.shape[-1]
    if repeats < 2:
        return np.full(gains.shape[:-1], math.inf)
    spread: Floats = np.std(gains, axis=-1, ddof=1)
    return spread * math.sqrt(1 / repeats + val_to_train)


def corrected_interval(
    gains: Floats, val_to_train: float, confidence: float
) -> tuple[float, float]:
    """Interval for the mean paired gain over repeats that share training data.

    Args:
        gains: (repeats,) score of the candidate minus score of the incumbent, per repeat.
        val_to_train: size of a repeat's validation part over its training part.
        confidence: two-sided, in (0, 1).

    Returns:
        (low, high); infinite for a single repeat, which says nothing about noise.

    Source:
        Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    """
    repeats = len(gains)
    if repeats < 2:
        return -math.inf, math.inf
    error = float(corrected_error(gains, val_to_train))
    reach = float(scipy.special.stdtrit(repeats - 1, (1 + confidence) / 2)) * error
    gain = float(gains.mean())
    return gain - reach, gain + reach


def simplest_within_noise(
    scores: Floats, val_to_train: float, standard_errors: float
) -> NDArray[np.intp]:
    """The first contender not clearly worse than the best: the one-standard-error rule, paired.

    Args:
        scores: (..., contenders, repeats), simplest contender first, nan nowhere.
        val_to_train: size of a repeat's validation part over its training part.
        standard_errors: the mean shortfall from the best that still counts as equal, in standard
            errors of that shortfall; 0 asks for the highest mean (the first of several such).

    Returns:
        (...) position of the winner. A single repeat has no standard error: the highest mean wins.
    """
    best = scores.mean(axis=-1).argmax(axis=-1)
    shortfalls = np.take_along_axis(scores, best[..., None, None], axis=-2) - scores
    tolerance = np.full(shortfalls.shape[:-1], SAME)
    if scores.shape[-1] > 1:
        tolerance += standard_errors * corrected_error(shortfalls, val_to_train)
    first: NDArray[np.intp] = np.argmax(shortfalls.mean(axis=-1) <= tolerance, axis=-1)
    return first


def raced_out(
    incumbent: Contender,
    contenders: Sequence[Contender],
    val_to_train: float,
    confidence: float = CONFIDENCE,
) -> list[bool]:
    """Which contenders need no further repeats, asked after each round of a stage.

    A contender is out when the interval of its score minus the leader's lies wholly below zero,
    when it diverged, or when it was out before: it lacks a repeat that the incumbent has run. The
    leader has the highest mean on the repeats run so far, the incumbent among them. The incumbent
    itself always runs to the end, since every gain is measured against it.

    Args:
        incumbent: its scores are nan on the repeats still to come.
        contenders: the others, on the same repeats.
        val_to_train: size of a repeat's validation part over its training part.
        confidence: two-sided, in (0, 1), of the interval.

    Returns:
        (contenders,) True where one is out. Never before `RACING_REPEATS`, except for divergence.
    """
    run = ~np.isnan(incumbent.scores)
    live = [c for c in contenders if not c.diverged and not np.isnan(c.scores[run]).any()]
    leaders = live if incumbent.diverged else [incumbent, *live]
    if not run.any() or not leaders:
        return [contender not in live for contender in contenders]
    if run.sum() < RACING_REPEATS:
        return [contender not in live for contender in contenders]
    leader = max(leaders, key=lambda contender: float(contender.scores[run].mean()))

    def is_behind(contender: Contender) -> bool:
        deficits = contender.scores[run] - leader.scores[run]
        return corrected_interval(deficits, val_to_train, confidence)[1] < -SAME

    return [contender not in live or is_behind(contender) for contender in contenders]


def judge_stage(
    incumbent: Contender,
    contenders: Sequence[Contender],
    val_to_train: float,
    standard_errors: float,
) -> Verdict:
    """The winner of a stage and the evidence for it.

    The best grid point of every candidate stands for it. Incumbent first, then these in the order
    given, the winner is the first that is not clearly worse than the best
    (`simplest_within_noise`). Contenders that diverged or were raced out cannot win; where the
    incumbent diverged, the others are judged without it.

    A grid point equal to the incumbent's setting *is* the incumbent: pass it once, as `incumbent`,
    with the candidate's name and learning rate, and it takes its place in that candidate's grid.
    With no contenders, as in the baseline's stage, the incumbent is kept.

    Args:
        incumbent: the setting that the stage starts from, run on every repeat, 0 where diverged.
        contenders: the others, simplest candidate first, on the same repeats; nan where raced out.
        val_to_train: size of a repeat's validation part over its training part.
        standard_errors: as in `simplest_within_noise`.

    Raises:
        UserError: nobody could win, since all diverged.
        ValueError: scores that do not line up, or a setting given twice.
    """
    everyone = [incumbent, *contenders]
    _check(everyone)
    champions = _champions(everyone)
    order = [incumbent, *(c for c in contenders if c in champions)]
    able = [c for c in order if not c.diverged and not np.isnan(c.scores).any()]
    if not able:
        raise UserError(
            "no setting of this stage trained to the end, so none can win: "
            + ", ".join(contender.setting for contender in everyone)
            + " diverged or were raced out. Lower the learning rates in params.yaml."
        )
    scores = np.stack([contender.scores for contender in able])
    winner = able[int(simplest_within_noise(scores, val_to_train, standard_errors))]
    return Verdict(
        winner=winner,
        verdict="kept" if winner is incumbent else "adopted",
        evidence=[
            _evidence(c, incumbent, winner, c in champions, everyone, val_to_train)
            for c in everyone
        ],
    )


def _check(everyone: Sequence[Contender]) -> None:
    incumbent = everyone[0]
    repeats = incumbent.scores.shape
    if len(repeats) != 1 or repeats[0] == 0 or np.isnan(incumbent.scores).any():
        raise ValueError(
            f"incumbent {incumbent.setting!r}: scores {incumbent.scores} must be (repeats,), no "
            "nan; it runs on every repeat, since every gain is measured against it."
        )
    for contender in everyone:
        if contender.scores.shape != repeats:
            raise ValueError(
                f"{contender.setting!r}: scores have shape {contender.scores.shape}, the "
                f"incumbent's {repeats}; all run on the same repeats, nan where one was not run."
            )
        if np.isnan(contender.scores).all():
            raise ValueError(f"{contender.setting!r}: no repeat was run; leave it out.")
    settings = [contender.setting for contender in everyone]
    for setting in settings:
        if settings.count(setting) > 1:
            raise ValueError(
                f"setting {setting!r} is given twice; pass it once, as the incumbent if it is that."
            )


def _champions(everyone: Sequence[Contender]) -> list[Contender]:
    """The contender that stands for each candidate; none where the whole grid diverged."""
    incumbent = everyone[0]

    def strength(contender: Contender) -> tuple[bool, float]:
        # Those who ran to the end first: others' means are over other repeats.
        finished = not np.isnan(contender.scores).any()
        return finished, float(np.nanmean(contender.scores - incumbent.scores))

    grids: dict[str, list[Contender]] = {}
    for contender in everyone:
        if not contender.diverged:
            grids.setdefault(contender.candidate, []).append(contender)
    return [max(grid, key=strength) for grid in grids.values()]


def _at_grid_edge(contender: Contender, everyone: Sequence[Contender]) -> bool:
    rates = {
        c.learning_rate
        for c in everyone
        if c.candidate == contender.candidate and c.learning_rate is not None
    }
    return len(rates) > 1 and contender.learning_rate in (min(rates), max(rates))


def _evidence(
    contender: Contender,
    incumbent: Contender,
    winner: Contender,
    won_grid: bool,
    everyone: Sequence[Contender],
    val_to_train: float,
) -> Evidence:
    run = ~np.isnan(contender.scores)
    scores, gains = contender.scores[run], (contender.scores - incumbent.scores)[run]
    low, high = corrected_interval(gains, val_to_train, CONFIDENCE)
    interval_exists = contender is not incumbent and len(scores) > 1
    role: Literal["winner", "incumbent", "candidate"] = "candidate"
    if contender is winner:
        role = "winner"
    elif contender is incumbent:
        role = "incumbent"
    return Evidence(
        candidate=contender.candidate,
        setting=contender.setting,
        role=role,
        accuracy=float(scores.mean()),
        spread=float(scores.std(ddof=1)) if len(scores) > 1 else math.nan,
        gain=float(gains.mean()),
        low=low if interval_exists else math.nan,
        high=high if interval_exists else math.nan,
        repeats=len(scores),
        diverged=contender.diverged,
        won_grid=won_grid,
        grid_edge=won_grid and _at_grid_edge(contender, everyone),
        raced_out=contender.raced_out,
    )
