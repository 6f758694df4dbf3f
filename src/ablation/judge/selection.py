"""The verdict of a stage: which setting wins, and how sure one can be.

The first time that a technique is asked, the incumbent is left only where the gain of some
candidate is more than the best of so many equal candidates would show by chance. The winner is then
the simplest candidate that is no worse than the incumbent and within the noise of the best.

When it is asked again, all settings are compared on equal terms: the simplest within the noise of
the best wins.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

from ablation.base.errors import UserError
from ablation.judge.noise import (
    FALSE_ALARMS,
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

# A gain is called worse, practically equal or better where it is so with this probability.
SURE = 0.95


@dataclass(frozen=True, eq=False)
class Contender:
    """One setting of a technique and what it scored.

    Attributes:
        candidate: the entry of the list in params.yaml that it belongs to, such as `sgd`.
        setting: its own label, the grid point: `sgd lr=0.1`. Unique within a stage.
        scores: (repeats,) validation accuracy as a fraction, 0 for a diverged trial, nan from the
            first repeat on that was not run.
        diverged: whether any of its trials diverged; it can then never win.
        learning_rate: its place in the candidate's grid of learning rates; None where it has none.
        collapsed: whether it is not shown to be better than always naming the largest class
            (`has_collapsed`); it can then never win either.
    """

    candidate: str
    setting: str
    scores: Floats
    diverged: bool = False
    learning_rate: float | None = None
    collapsed: bool = False

    @property
    def failed(self) -> bool:
        """Whether it cannot win, however well its other repeats went."""
        return self.diverged or self.collapsed

    @property
    def fate(self) -> str:
        """How it came not to be able to win."""
        return "diverged" if self.diverged else "collapsed" if self.collapsed else "was raced out"

    @property
    def raced_out(self) -> bool:
        """Whether it was stopped before the last repeat because it could not win any more."""
        return not self.failed and bool(np.isnan(self.scores).any())


@dataclass(frozen=True)
class Evidence:
    """What a stage learnt about one contender: a row of candidates.csv. nan stands for undefined.

    Attributes:
        candidate, setting: as in `Contender`.
        role: `winner` (also where it is the incumbent that stays), `incumbent` or `candidate`.
        accuracy: mean score over the repeats that it ran.
        spread: their standard deviation; nan for one repeat.
        gain: mean of its score minus the incumbent's, on the repeats that both ran.
        low, high: 95 % interval of the gain. Like the probabilities nan for the
            incumbent, for one repeat, and where it or the incumbent failed.
        p_worse, p_equal, p_better: probabilities that the true gain is a loss, too small to matter
            (`equal_within`), or a gain.
        finding: the gain in a word. `practically equal`: it is too small to matter, with a
            probability of `SURE`. Else `better` or `worse`: its interval lies above or below zero,
            or it is so, by more than matters, with that probability. Else `unsteady`: its scores
            or the incumbent's vary far more than the others', so that few repeats show nothing.
            Else `within the noise`: neither a difference nor its absence was shown. `unknown` with
            one repeat, `diverged`, `collapsed`, and nothing for the incumbent.
        repeats: number of repeats that it ran.
        diverged, collapsed: as in `Contender`.
        won_grid: whether it stands for its candidate: the best grid point, or the only one.
        grid_edge: whether it won with the smallest or largest of two or more learning rates, so
            that a wider grid might have served it better.
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


def has_collapsed(
    scores: ArrayLike, classes: int, largest: float = 0.0, characters: float = math.inf
) -> bool:
    """Whether a setting is not shown to be better than always naming the largest class.

    To be shown better, it reads more of all its validation characters than naming that class
    would with a probability of 5 % (a one-sided binomial bound). As long as repeats are to come, it
    only has to read more than the share of that class: the others may still show it.

    A setting that works on other repeats has collapsed as well where one trial is not above that
    share, and the setting's mean accuracy makes so low a score less likely than `FALSE_ALARMS`.

    Args:
        scores: (repeats,) accuracies as fractions; nan on repeats that were not run.
        classes: number of classes.
        largest: share of the largest class; 0 where all are alike.
        characters: number of characters that a score is a share of; infinite where accuracies are
            known exactly.
    """
    every = np.asarray(scores, float)
    ran = every[~np.isnan(every)]
    guessed = max(largest, 1 / classes)
    if len(ran) == 0 or math.isinf(characters):
        return bool((ran <= guessed).any())
    each, total = round(characters), round(characters) * len(ran)
    right = np.rint(ran * each)
    stuck = (right <= guessed * each) & (
        scipy.special.bdtr(right, each, right.sum() / total) < FALSE_ALARMS
    )
    if len(ran) < len(every):
        shown = right.sum() > guessed * total
    else:
        shown = scipy.special.bdtrc(right.sum() - 1, total, guessed) <= 1 - SURE
    return bool(stuck.any() or not shown)


def judge_stage(
    incumbent: Contender,
    contenders: Sequence[Contender],
    val_to_train: float,
    risk: float,
    equal_within: float,
    characters: float = math.inf,
    simpler: int | None = None,
) -> Verdict:
    """The winner of a stage (`decide` has the rule) and the evidence for it.

    A grid point equal to the incumbent's setting *is* the incumbent: pass it once, as `incumbent`,
    with the candidate's name and learning rate, and it takes its place in that candidate's grid.
    With no contenders, as in the baseline's stage, the incumbent is kept.

    Args:
        incumbent: the setting that the stage starts from, run on every repeat, 0 where diverged.
        contenders: the others, simplest candidate first, on the same repeats; nan where raced out.
        val_to_train: size of a repeat's validation part over its training part.
        risk: how often a stage may leave an incumbent for candidates that all equal it.
        equal_within: difference of score, as a fraction, that nobody would pay for.
        characters, simpler: as in `decide`.

    Raises:
        UserError: nobody could win, since all failed or were raced out.
        ValueError: scores that do not line up or are infinite, or a setting given twice.
    """
    everyone = [incumbent, *contenders]
    scores, failed, grids = as_table(everyone)
    _check(everyone)
    if (failed | np.isnan(scores).any(-1)).all():
        raise UserError(
            "no setting of this stage trained to the end, so none can win: "
            + ", ".join(f"{contender.setting} {contender.fate}" for contender in everyone)
            + "; lower the learning rates in params.yaml"
        )
    rule = (val_to_train, risk, characters, simpler)
    winner = everyone[int(decide(scores, failed, grids, *rule))]
    noise = measure_noise(scores, ~failed, characters)
    gains = estimate(scores, against_first(len(everyone)), noise, val_to_train)
    champions = find_champions(scores, failed, grids)
    return Verdict(
        winner=winner,
        verdict="kept" if winner is incumbent else "adopted",
        evidence=[
            _evidence(
                place,
                everyone,
                winner,
                bool(champions[place]),
                bool(noise.in_line[place] and noise.in_line[0]),
                gains,
                equal_within,
            )
            for place in range(len(everyone))
        ],
    )


def as_table(everyone: Sequence[Contender]) -> tuple[Floats, Bools, NDArray[np.int_]]:
    """(contenders, repeats) scores, (contenders,) who failed, (contenders,) number of its grid.

    Raises:
        ValueError: scores of different lengths.
    """
    repeats = everyone[0].scores.shape
    for contender in everyone:
        if contender.scores.shape != repeats:
            raise ValueError(
                f"{contender.setting!r}: scores have shape {contender.scores.shape}, the "
                f"incumbent's {repeats}; all run on the same repeats, nan where one was not run."
            )
    candidates = [contender.candidate for contender in everyone]
    return (
        np.stack([contender.scores for contender in everyone]).astype(float),
        np.array([contender.failed for contender in everyone]),
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
    """The winner of each of many stages.

    Each candidate is represented by its champion, the best of its grid. The incumbent is left if
    any champion's gain over it exceeds what the best of all contenders' gains, were they equal to
    it, exceeds with probability `risk` (`dunnett_bound`; every grid point counts, since the best of
    a grid was picked as well). The best of these champions is then the measure: the winner is the
    first champion that is no worse than the incumbent and no further behind the best than one
    comparison at the same risk allows, by the noise that all share: a tolerance of its own would
    grow with a contender's noise and let the noisiest in. For the same reason one whose noise is
    out of line must pass the incumbent's bound itself.

    An incumbent that failed is left, and every champion counts as better than it. A single repeat
    knows no noise: the highest mean wins.

    On equal terms (`simpler`) the incumbent is one of the champions, at its place in the order of
    simplicity, and no gain has to be proven. The winner is the first champion that is no further
    behind the best than the best of so many others would be ahead of it with probability `risk`,
    were all equal (multiple comparisons with the best; every point of another grid counts). One
    whose noise is out of line takes part only if it passes the bound.

    Source:
        Hsu, Multiple Comparisons: Theory and Methods, 1996, chapter 4.

    Args:
        scores: (..., contenders, repeats), incumbent first, then the simplest; nan where raced out.
        failed: (..., contenders) who cannot win.
        grids: (contenders,) number of the candidate that each contender belongs to.
        val_to_train: size of a repeat's validation part over its training part.
        risk: in (0, 1).
        characters: number of characters that a score is a share of.
        simpler: how many of the other contenders are simpler than the incumbent, where all are
            compared on equal terms; None where the incumbent stays unless it is beaten.

    Returns:
        (...) place of the winner; the incumbent's where nobody is able to win.
    """
    noise = measure_noise(scores, ~failed, characters)
    gains = estimate(scores, against_first(scores.shape[-2]), noise, val_to_train)
    champions = find_champions(scores, failed, grids) & ~np.isnan(scores).any(-1)
    able = champions.copy()
    able[..., 0] = False
    lost = failed[..., 0]
    gain = gains.gain
    together = noise.in_line & noise.in_line[..., :1]
    freedom = np.where(together, noise.freedom[..., None], gains.freedom)
    rivals = (~failed[..., 1:]).sum(-1)[..., None]
    bound = np.nan_to_num(dunnett_bounds(rivals, freedom, risk) * gains.error)
    proven = able & ((gain > bound + SAME) | lost[..., None])
    if simpler is not None:
        among = rivals_of(failed, grids)
        slack = tolerance(noise, scores.shape[-1], val_to_train, risk, among)
        eligible = champions & (noise.in_line | proven)
        eligible[..., 0] |= champions[..., 0]
        best = np.where(eligible, gain, -np.inf).max(-1, keepdims=True)
        order = np.argsort(simplicity(scores.shape[-2], simpler))
        close = eligible & (gain >= best - slack - SAME)
        return np.where(close.any(-1), order[close[..., order].argmax(-1)], 0)
    best = np.where(proven, gain, -np.inf).max(-1)
    enough = best - tolerance(noise, scores.shape[-1], val_to_train, risk)[..., 0]
    # The bound is wider than the tolerance in all but freak tables; nothing rests on that here.
    enough = np.where(lost, enough, np.maximum(enough, 0.0))[..., None]
    winner = (able & (noise.in_line | proven) & (gain >= enough - SAME)).argmax(-1)
    return np.where(proven.any(-1), winner, 0)


def simplicity(contenders: int, simpler: int | None) -> Floats:
    """(contenders,) their order, the simplest lowest; given with the incumbent first.

    simpler: as in `decide`; where it is None, nothing counts as simpler than the incumbent.
    """
    order = np.arange(contenders, dtype=float)
    order[0] = (simpler or 0) + 0.5
    return order


def rivals_of(failed: Bools, grids: NDArray[np.int_]) -> NDArray[np.int_]:
    """(..., contenders) how many others, not of its own grid, each is compared with."""
    able = ~failed[..., None, :]
    others: NDArray[np.int_] = (able & (grids[:, None] != grids)).sum(-1)
    return others


def tolerance(
    noise: Noise, repeats: int, val_to_train: float, risk: float, rivals: ArrayLike = 1
) -> Floats:
    """(..., rivals) how far behind the best of so many others counts as equal to it.

    After so many repeats; 0 where that is unknown.
    """
    variance = np.maximum(noise.variance, step_variance(noise.characters))[..., None]
    error = np.sqrt(2 * variance * (1 / repeats + val_to_train))
    return np.nan_to_num(dunnett_bounds(rivals, noise.freedom[..., None], risk) * error)


def find_champions(scores: Floats, failed: Bools, grids: NDArray[np.int_]) -> Bools:
    """(..., contenders) who stands for its candidate; nobody where the whole grid failed.

    Those who ran to the end come first, since the others' means are over other repeats.
    """
    ended = ~np.isnan(scores).any(-1)
    gain = np.nanmean(scores - scores[..., :1, :], axis=-1)
    champions = np.zeros_like(ended)
    for grid in np.unique(grids):
        eligible = (grids == grid) & ~failed
        finished = eligible & ended
        pool = np.where(finished.any(-1, keepdims=True), finished, eligible)
        # Equal means go to the first, whatever the order of their sums makes of them.
        best = np.where(pool, gain, -np.inf).max(-1, keepdims=True)
        first = (pool & (gain >= best - SAME)).argmax(-1)[..., None]
        np.put_along_axis(champions, first, pool.any(-1, keepdims=True), -1)
    return champions


def _check(everyone: Sequence[Contender]) -> None:
    scores = everyone[0].scores
    if scores.ndim != 1 or len(scores) == 0 or np.isnan(scores).any():
        raise ValueError(
            f"incumbent {everyone[0].setting!r}: scores {scores} must be (repeats,), no nan; it "
            "runs on every repeat, since every gain is measured against it."
        )
    settings = [contender.setting for contender in everyone]
    for contender in everyone:
        run = ~np.isnan(contender.scores)
        if np.isinf(contender.scores).any():
            raise ValueError(f"{contender.setting!r}: scores {contender.scores} must be finite.")
        if not run[0] or (np.diff(run.astype(int)) > 0).any():
            raise ValueError(
                f"{contender.setting!r}: scores {contender.scores} must start with the first "
                "repeat and have no gap; leave out what was not run."
            )
        if settings.count(contender.setting) > 1:
            raise ValueError(
                f"setting {contender.setting!r} is given twice; pass it once, as the incumbent if "
                "it is that."
            )


def _at_grid_edge(place: int, everyone: Sequence[Contender], gains: Floats) -> bool:
    """Whether a wider grid might do better; not where racing stopped a better rate further in."""
    rates = {
        each.learning_rate: gain
        for each, gain in zip(everyone, gains, strict=True)
        if each.candidate == everyone[place].candidate and each.learning_rate is not None
    }
    own = everyone[place].learning_rate
    if len(rates) < 2 or own not in (min(rates), max(rates)):
        return False
    return not any(gain > gains[place] for gain in rates.values())


def _evidence(
    place: int,
    everyone: Sequence[Contender],
    winner: Contender,
    won_grid: bool,
    steady: bool,
    gains: Estimate,
    equal_within: float,
) -> Evidence:
    contender, incumbent = everyone[place], everyone[0]
    role: Role = "candidate"
    if contender is winner:
        role = "winner"
    elif contender is incumbent:
        role = "incumbent"
    ran = contender.scores[~np.isnan(contender.scores)]
    low = high = worse = equal = better = math.nan
    if not (contender is incumbent or contender.failed or incumbent.failed):
        low, high = (float(end[place]) for end in gains.interval())
        worse, equal, better = (float(chance[place]) for chance in gains.chances(equal_within))
    return Evidence(
        candidate=contender.candidate,
        setting=contender.setting,
        role=role,
        accuracy=float(ran.mean()),
        spread=float(ran.std(ddof=1)) if len(ran) > 1 else math.nan,
        gain=float(gains.gain[place]),
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
        grid_edge=won_grid and _at_grid_edge(place, everyone, gains.gain),
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
        "practically equal": equal >= SURE,
        "better": low > 0 or better >= SURE,
        "worse": high < 0 or worse >= SURE,
        "unsteady": not steady,
        "within the noise": True,
    }
    return next(finding for finding, holds in cases.items() if holds)
