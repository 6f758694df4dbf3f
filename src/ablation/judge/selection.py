"""The verdict of a stage: the winning setting, and the evidence for it.

In a technique's first stage, the incumbent is replaced only if a candidate's gain exceeds what the
best of as many equally good candidates would show by chance. The winner is then the simplest
candidate that is no worse than the incumbent and within the noise of the best.

In later rounds, all settings are compared on equal terms: the simplest one within the noise of the
best wins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablation.base.errors import UserError
from ablation.judge.noise import (
    SAME,
    Bools,
    Estimate,
    Floats,
    Noise,
    against_first,
    dunnett_bounds,
    estimate,
    measure_noise,
    step_variance,
)

Role = Literal["winner", "incumbent", "candidate"]
Finding = Literal[
    "",
    "diverged",
    "collapsed",
    "unknown",
    "practically equal",
    "worse",
    "better",
    "unsteady",
    "within the noise",
]

# The probability from which a finding is `worse`, `practically equal` or `better`.
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Contender:
    """A setting of a technique and its scores.

    Attributes:
        candidate: label of the candidate in params.yaml that it belongs to, such as `sgd`.
        setting: label of the setting (the grid point), such as `sgd lr=0.1`. Unique within a stage.
        scores: (repeats,) validation accuracies as fractions, 0 for a diverged trial; nan for the
            repeats not run, which are the last ones.
        diverged: whether any of its trials diverged; it then cannot win.
        learning_rate: its learning rate if the candidate is a grid of learning rates, else None.
        collapsed: whether it is not shown to be better than always predicting the largest class
            (`judge.collapse.has_collapsed`); it then cannot win.
    """

    candidate: str
    setting: str
    scores: Floats
    diverged: bool = False
    learning_rate: float | None = None
    collapsed: bool = False

    @property
    def failed(self) -> bool:
        """Whether it diverged or collapsed, so that it cannot win."""
        return self.diverged or self.collapsed

    @property
    def elimination(self) -> str:
        """For messages: why it cannot win."""
        return "diverged" if self.diverged else "collapsed" if self.collapsed else "was raced out"

    @property
    def raced_out(self) -> bool:
        """Whether racing stopped it before the last repeat."""
        return not self.failed and bool(np.isnan(self.scores).any())


@dataclass(frozen=True)
class Evidence:
    """The results of one contender: a row of candidates.csv. Undefined numbers are nan.

    Attributes:
        candidate, setting: as in `Contender`.
        role: `winner` (even if it is the incumbent), `incumbent` or `candidate`.
        accuracy: mean score over the repeats that it ran.
        spread: standard deviation of these scores; nan for one repeat.
        gain: mean of its score minus the incumbent's, on the repeats that both ran.
        low, high: 95 % interval of the gain. Like the probabilities, nan for the incumbent, for one
            repeat, and if it or the incumbent failed.
        p_worse, p_equal, p_better: probabilities that the true gain is below -`equal_within`,
            within it, or above it.
        finding: the conclusion from the gain, the first of these that applies.
            `diverged`, `collapsed`: it failed.
            `unknown`: there is no interval.
            `practically equal`: p_equal is at least `CONFIDENCE`.
            `better`, `worse`: the interval excludes zero, or p_better (p_worse) is at least
            `CONFIDENCE`.
            `unsteady`: its scores or the incumbent's vary far more than the others', so that few
            repeats show nothing.
            `within the noise`: neither a difference nor equality was shown.
            Empty for the incumbent.
        repeats: number of repeats that it ran.
        diverged, collapsed: as in `Contender`.
        won_grid: whether it represents its candidate, as the best or only grid point.
        grid_edge: whether it did so at the smallest or largest of two or more learning rates, so
            that a wider grid may hold a better one.
        raced_out: as in `Contender`.
    """

    candidate: str
    setting: str
    role: Role
    accuracy: float
    spread: float
    gain: float
    low: float
    high: float
    p_worse: float
    p_equal: float
    p_better: float
    finding: Finding
    repeats: int
    diverged: bool
    collapsed: bool
    won_grid: bool
    grid_edge: bool
    raced_out: bool


@dataclass(frozen=True)
class Verdict:
    """The conclusion of a stage.

    Attributes:
        winner: the contender that the next stage starts from.
        verdict: `kept` if it is the incumbent, else `adopted`.
        evidence: one row per contender, incumbent first, then in the order given.
    """

    winner: Contender
    verdict: Literal["adopted", "kept"]
    evidence: list[Evidence]

    @property
    def won(self) -> Evidence:
        """The winner's row of the evidence."""
        return next(row for row in self.evidence if row.role == "winner")


def judge_stage(
    incumbent: Contender,
    others: Sequence[Contender],
    val_to_train: float,
    risk: float,
    equal_within: float,
    characters: float = math.inf,
    simpler: int | None = None,
) -> Verdict:
    """Decide a stage by the rule of `decide`.

    If a grid point equals the incumbent's setting, pass it once, as `incumbent`, with the
    candidate's label and learning rate: it then belongs to that candidate's grid. Without other
    contenders, as in the stage `baseline`, the incumbent is kept.

    Args:
        incumbent: the setting that the stage starts from, with a score for every repeat.
        others: the other contenders, simplest candidate first, on the same repeats; nan for
            repeats not run.
        val_to_train: size of a repeat's validation part over its training part.
        risk: probability of replacing the incumbent when all candidates are equally good.
        equal_within: largest difference of accuracy, as a fraction, that counts as equal.
        characters, simpler: as in `decide`.

    Returns:
        the winner, the verdict and the evidence.

    Raises:
        UserError: no contender can win, because all failed or were raced out.
        ValueError: the scores have different lengths, gaps or infinite values, or a setting is
            given twice.
    """
    contenders = [incumbent, *others]
    scores, failed, grids = as_table(contenders)
    _check(contenders)
    if (failed | np.isnan(scores).any(-1)).all():
        raise UserError(
            "no setting of this stage trained to the end, so none can win: "
            + ", ".join(f"{contender.setting} {contender.elimination}" for contender in contenders)
            + "; lower the learning rates in params.yaml"
        )
    rule = (val_to_train, risk, characters, simpler)
    winner = contenders[int(decide(scores, failed, grids, *rule))]
    noise = measure_noise(scores, ~failed, characters)
    gains = estimate(scores, against_first(len(contenders)), noise, val_to_train)
    champions = find_champions(scores, failed, grids)
    return Verdict(
        winner=winner,
        verdict="kept" if winner is incumbent else "adopted",
        evidence=[
            _evidence(
                index,
                contenders,
                winner,
                bool(champions[index]),
                bool(noise.inliers[index] and noise.inliers[0]),
                gains,
                equal_within,
            )
            for index in range(len(contenders))
        ],
    )


def as_table(contenders: Sequence[Contender]) -> tuple[Floats, Bools, NDArray[np.int_]]:
    """The contenders as arrays, in the form that `decide` takes.

    Returns:
        (contenders, repeats) scores; (contenders,) whether each failed; (contenders,) index of the
        candidate that each belongs to.

    Raises:
        ValueError: scores of different lengths.
    """
    repeats = contenders[0].scores.shape
    for contender in contenders:
        if contender.scores.shape != repeats:
            raise ValueError(
                f"{contender.setting!r}: scores have shape {contender.scores.shape}, the "
                f"incumbent's {repeats}; all need one score per repeat, nan if it was not run."
            )
    candidates = [contender.candidate for contender in contenders]
    return (
        np.stack([contender.scores for contender in contenders]).astype(float),
        np.array([contender.failed for contender in contenders]),
        np.array([candidates.index(candidate) for candidate in candidates]),
    )


def decide(
    scores: Floats,
    failed: Bools,
    grids: NDArray[np.int_],
    val_to_train: float,
    risk: float,
    characters: float = math.inf,
    simpler: int | None = None,
) -> NDArray[np.intp]:
    """The winner of each of a batch of stages.

    Each candidate is represented by its champion, the best of its grid.

    First round (`simpler` is None): the incumbent is replaced if the gain of a champion exceeds
    the many-to-one bound at `risk` (`dunnett_bounds`). Every grid point counts as a comparison,
    since the champion was selected among them. The winner is the simplest champion that is no worse
    than the incumbent and not behind the best by more than the tolerance of one comparison at the
    same risk. The tolerance uses the pooled noise: one based on a contender's own noise would
    favour the noisiest. For the same reason, a champion whose noise is out of line must exceed the
    bound itself.

    Equal terms (`simpler` given): the incumbent is one of the champions, and no gain has to exceed
    a bound. The winner is the simplest champion that is not behind the best by more than the best
    of its rivals would be ahead by chance, at `risk`, if all were equal (multiple comparisons with
    the best; every point of another grid is a rival). A champion whose noise is out of line is
    considered only if it exceeds the bound of the first round.

    If the incumbent failed, every champion counts as better. With a single repeat, noise is
    unknown, and the highest mean wins.

    Args:
        scores: (..., contenders, repeats), the incumbent first, then the simplest; nan for repeats
            not run.
        failed: (..., contenders) whether a contender diverged or collapsed.
        grids: (contenders,) index of the candidate that each contender belongs to.
        val_to_train: size of a repeat's validation part over its training part.
        risk: in (0, 1).
        characters: number of validation characters of a repeat.
        simpler: number of the other contenders that are simpler than the incumbent, if all are
            compared on equal terms; None if the incumbent is kept unless it is beaten.

    Returns:
        (...) index of the winner; 0, the incumbent, if no contender can win.

    Source:
        Dunnett, "A Multiple Comparison Procedure for Comparing Several Treatments with a Control",
        JASA 50, 1955; Hsu, Multiple Comparisons: Theory and Methods, 1996, chapter 4.
    """
    noise = measure_noise(scores, ~failed, characters)
    gains = estimate(scores, against_first(scores.shape[-2]), noise, val_to_train)
    champions = find_champions(scores, failed, grids) & ~np.isnan(scores).any(-1)
    able = champions.copy()
    able[..., 0] = False
    lost = failed[..., 0]
    gain = gains.gain
    pooled = noise.inliers & noise.inliers[..., :1]
    freedom = np.where(pooled, noise.freedom[..., None], gains.freedom)
    rivals = (~failed[..., 1:]).sum(-1)[..., None]
    bound = np.nan_to_num(dunnett_bounds(rivals, freedom, risk) * gains.error)
    proven = able & ((gain > bound + SAME) | lost[..., None])
    if simpler is not None:
        among = rivals_of(failed, grids)
        slack = tolerance(noise, scores.shape[-1], val_to_train, risk, among)
        eligible = champions & (noise.inliers | proven)
        eligible[..., 0] |= champions[..., 0]
        best = np.where(eligible, gain, -np.inf).max(-1, keepdims=True)
        order = np.argsort(simplicity(scores.shape[-2], simpler))
        close = eligible & (gain >= best - slack - SAME)
        return np.where(close.any(-1), order[close[..., order].argmax(-1)], 0)
    best = np.where(proven, gain, -np.inf).max(-1)
    least = best - tolerance(noise, scores.shape[-1], val_to_train, risk)[..., 0]
    # The bound nearly always exceeds the tolerance, but not in extreme tables; hence the maximum.
    least = np.where(lost, least, np.maximum(least, 0.0))[..., None]
    winner = (able & (noise.inliers | proven) & (gain >= least - SAME)).argmax(-1)
    return np.where(proven.any(-1), winner, 0)


def simplicity(contenders: int, simpler: int | None) -> Floats:
    """Sort keys of contenders by simplicity.

    Args:
        contenders: their number, with the incumbent first.
        simpler: as in `decide`; if None, the incumbent counts as the simplest.

    Returns:
        (contenders,) the lowest for the simplest.
    """
    order = np.arange(contenders, dtype=float)
    order[0] = (simpler or 0) + 0.5
    return order


def rivals_of(failed: Bools, grids: NDArray[np.int_]) -> NDArray[np.int_]:
    """Number of contenders of other grids that have not failed, for each contender.

    Args:
        failed: (..., contenders).
        grids: (contenders,) index of the candidate that each belongs to.

    Returns:
        (..., contenders).
    """
    able = ~failed[..., None, :]
    others: NDArray[np.int_] = (able & (grids[:, None] != grids)).sum(-1)
    return others


def tolerance(
    noise: Noise, repeats: int, val_to_train: float, risk: float, rivals: ArrayLike = 1
) -> Floats:
    """How far behind the best of its rivals a contender may be and still count as equal.

    Args:
        noise: (...) of the stages.
        repeats: number of repeats that the means are over.
        val_to_train: size of a repeat's validation part over its training part.
        risk: probability that the best of the rivals, all equal to it, is ahead by more.
        rivals: (..., n) or a number, the number of rivals.

    Returns:
        (..., n), in units of accuracy; 0 if the noise is unknown.
    """
    variance = np.maximum(noise.variance, step_variance(noise.characters))[..., None]
    error = np.sqrt(2 * variance * (1 / repeats + val_to_train))
    return np.nan_to_num(dunnett_bounds(rivals, noise.freedom[..., None], risk) * error)


def find_champions(scores: Floats, failed: Bools, grids: NDArray[np.int_]) -> Bools:
    """Whether each contender is the champion of its candidate, the best of its grid.

    Contenders that ran all repeats take precedence: other means are over fewer repeats.

    Args:
        scores, failed, grids: as in `decide`.

    Returns:
        (..., contenders); False for a whole grid that failed.
    """
    complete = ~np.isnan(scores).any(-1)
    gain = np.nanmean(scores - scores[..., :1, :], axis=-1)
    champions = np.zeros_like(complete)
    for grid in np.unique(grids):
        eligible = (grids == grid) & ~failed
        finished = eligible & complete
        pool = np.where(finished.any(-1, keepdims=True), finished, eligible)
        # The first of equal means is the champion, despite rounding errors of their sums.
        best = np.where(pool, gain, -np.inf).max(-1, keepdims=True)
        first = (pool & (gain >= best - SAME)).argmax(-1)[..., None]
        np.put_along_axis(champions, first, pool.any(-1, keepdims=True), -1)
    return champions


def _check(contenders: Sequence[Contender]) -> None:
    scores = contenders[0].scores
    if scores.ndim != 1 or len(scores) == 0 or np.isnan(scores).any():
        raise ValueError(
            f"incumbent {contenders[0].setting!r}: scores {scores} must be (repeats,) without nan; "
            "it runs on every repeat, since every gain is measured against it."
        )
    settings = [contender.setting for contender in contenders]
    for contender in contenders:
        run = ~np.isnan(contender.scores)
        if np.isinf(contender.scores).any():
            raise ValueError(f"{contender.setting!r}: scores {contender.scores} must be finite.")
        if not run[0] or (np.diff(run.astype(int)) > 0).any():
            raise ValueError(
                f"{contender.setting!r}: scores {contender.scores} must start with the first "
                "repeat and have no gap; only the last repeats may be nan."
            )
        if settings.count(contender.setting) > 1:
            raise ValueError(
                f"setting {contender.setting!r} is given twice; pass it once, as the incumbent if "
                "it is its setting."
            )


def _at_grid_edge(index: int, contenders: Sequence[Contender], gains: Floats) -> bool:
    """Whether a wider grid may do better; not if racing stopped a better rate inside the grid."""
    rates = {
        each.learning_rate: gain
        for each, gain in zip(contenders, gains, strict=True)
        if each.candidate == contenders[index].candidate and each.learning_rate is not None
    }
    own = contenders[index].learning_rate
    if len(rates) < 2 or own not in (min(rates), max(rates)):
        return False
    return not any(gain > gains[index] for gain in rates.values())


def _evidence(
    index: int,
    contenders: Sequence[Contender],
    winner: Contender,
    won_grid: bool,
    steady: bool,
    gains: Estimate,
    equal_within: float,
) -> Evidence:
    contender, incumbent = contenders[index], contenders[0]
    role: Role = "candidate"
    if contender is winner:
        role = "winner"
    elif contender is incumbent:
        role = "incumbent"
    ran = contender.scores[~np.isnan(contender.scores)]
    low = high = worse = equal = better = math.nan
    if not (contender is incumbent or contender.failed or incumbent.failed):
        low, high = (float(end[index]) for end in gains.interval())
        worse, equal, better = (float(chance[index]) for chance in gains.chances(equal_within))
    return Evidence(
        candidate=contender.candidate,
        setting=contender.setting,
        role=role,
        accuracy=float(ran.mean()),
        spread=float(ran.std(ddof=1)) if len(ran) > 1 else math.nan,
        gain=float(gains.gain[index]),
        low=low,
        high=high,
        p_worse=worse,
        p_equal=equal,
        p_better=better,
        finding=""
        if contender is incumbent
        else _finding(contender, steady, (low, high), (worse, equal, better)),
        repeats=len(ran),
        diverged=contender.diverged,
        collapsed=contender.collapsed,
        won_grid=won_grid,
        grid_edge=won_grid and _at_grid_edge(index, contenders, gains.gain),
        raced_out=contender.raced_out,
    )


def _finding(
    contender: Contender,
    steady: bool,
    interval: tuple[float, float],
    chances: tuple[float, float, float],
) -> Finding:
    (low, high), (worse, equal, better) = interval, chances
    cases: dict[Finding, bool] = {
        "diverged": contender.diverged,
        "collapsed": contender.collapsed,
        "unknown": math.isnan(low),
        "practically equal": equal >= CONFIDENCE,
        "better": low > 0 or better >= CONFIDENCE,
        "worse": high < 0 or worse >= CONFIDENCE,
        "unsteady": not steady,
        "within the noise": True,
    }
    return next(finding for finding, holds in cases.items() if holds)
