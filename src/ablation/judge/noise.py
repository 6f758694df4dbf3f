"""Estimates the noise of differences between scores.

All contenders of a stage run on the same repeats, so a repeat's effect is common to all of them.
The residuals of the table contender x repeat, without the means of both, are the noise. Every
result of the study is a *contrast* of such a table, a weighted sum of contenders whose weights add
up to zero: a gain, a technique's Shapley value, an interaction. Its noise is estimated from the
contrast's own repeats and from all other contenders.

A score is a share of a number of characters, so it is discrete, and the scores of a few repeats may
be equal. The variance of the noise is therefore at least that of one step (`step_variance`), and
that of a gain is at least that of the disagreements that it implies (`least_variance`).
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

CONFIDENCE = 0.95

# Upper bound on the degrees of freedom of the noise estimated from other contenders. It corresponds
# to spreads that differ by a fifth between contenders. Those of the committed study differ no more
# than by chance; with spreads that differ by 30 %, intervals still have a coverage of 95 %.
TRUST = 24.0

# Probability that any of a stage's contenders is called an outlier if all are equally noisy.
FALSE_ALARMS = 0.001

# Smaller differences are rounding: means of the same scores in another order differ by about 1e-17.
SAME = 1e-12


@dataclass(frozen=True, eq=False)
class Noise:
    """The noise of a table of scores; leading axes are separate tables.

    Attributes:
        residuals: (..., contenders, repeats - 1) each score minus the mean of those before it,
            scaled to the variance of one score; nan if not run. Independent of the contender's
            mean (Helmert's transformation).
        inliers: (..., contenders) False for outliers, whose noise is larger than the others'; it
            is used for their own contrasts only.
        total: (...) sum of squares of the inliers' residuals, around each column's mean.
        freedom: (...) degrees of freedom of `total`; 0 if the noise is unknown.
        characters: number of characters that a score is a share of.
    """

    residuals: Floats
    inliers: Bools
    total: Floats
    freedom: Floats
    characters: float = math.inf

    @property
    def variance(self) -> Floats:
        """(...) variance of one score of the inliers; nan if unknown."""
        return _ratio(self.total, self.freedom)


@dataclass(frozen=True, eq=False)
class Estimate:
    """A contrast's mean over the repeats, and its standard error.

    Attributes:
        gain: (..., contrasts) in the unit of the scores.
        error: its standard error; nan if the noise is unknown.
        freedom: degrees of freedom of the error.
        least: lower bound of the standard error, because scores are counts of characters.
    """

    gain: Floats
    error: Floats
    freedom: Floats
    least: Floats | float = 0.0

    def interval(self) -> tuple[Floats, Floats]:
        """Two-sided interval at `CONFIDENCE`; nan if the error is."""
        part = (1 + CONFIDENCE) / 2
        reach = scipy.special.stdtrit(self.freedom, part) * self.error
        reach = np.maximum(reach, scipy.special.ndtri(part) * self.least)
        return self.gain - reach, self.gain + reach

    def chances(self, equal_within: float) -> tuple[Floats, Floats, Floats]:
        """Probability that the true gain is below, within and above +-`equal_within`.

        Source:
            Benavoli et al., "Time for a Change: a Tutorial for Comparing Multiple Classifiers
            Through Bayesian Analysis", JMLR 18, 2017: the correlated Bayesian t-test.
        """
        worse = self._chance_above(equal_within + self.gain)
        better = self._chance_above(equal_within - self.gain)
        return worse, np.maximum(1 - worse - better, 0.0), better

    def _chance_above(self, distance: Floats) -> Floats:
        """Tail probability, by the wider of the two distributions that `interval` uses."""
        learnt = scipy.special.stdtr(self.freedom, -distance / np.maximum(self.error, SAME))
        counted = scipy.special.ndtr(-distance / np.maximum(self.least, SAME))
        wider: Floats = np.where(np.abs(counted - 0.5) < np.abs(learnt - 0.5), counted, learnt)
        return wider


def measure_noise(scores: Floats, able: Bools | None = None, characters: float = math.inf) -> Noise:
    """Estimate the noise of a table of scores, and find outliers.

    Args:
        scores: (..., contenders, repeats); nan from the first repeat on that was not run.
        able: (..., contenders) False for those that failed, which are excluded.
        characters: number of characters that a score is a share of; infinite for continuous
            scores.
    """
    residuals = _residuals(scores)
    able = np.ones(residuals.shape[:-1], bool) if able is None else able
    inliers = able & ~_outliers(residuals, able, step_variance(characters))
    deviations, counts = _deviations(residuals, inliers)
    return Noise(
        residuals=residuals,
        inliers=inliers,
        total=(deviations**2).sum((-1, -2)),
        freedom=np.maximum(counts - 1, 0).sum(-1).astype(float),
        characters=characters,
    )


def step_variance(characters: float) -> float:
    """Variance of one score if two scores differ by one character."""
    return 1 / (2 * characters**2)


def least_variance(gain: Floats, characters: float, val_to_train: float) -> Floats:
    """Lower bound of one score's variance over the repeats, given the difference of two scores.

    Contenders whose scores differ by a gain g disagree on at least a share |g| of the characters.
    With exactly this share, the difference over n characters has the variance |g| (1 - |g|) / n, of
    which each score contributes half. Splits share characters, so repeats show
    n_train / (n_train + n_val) of it. |g| is taken as at least 1/n, because equal scores may differ
    by less than one character.

    Args:
        gain: (...) difference of two scores.
        characters: n, the number of characters that a score is a share of.
        val_to_train: size of a repeat's validation part over its training part.

    Source:
        Fleiss, Levin & Paik, "Statistical Methods for Rates and Proportions", 2003, chapter 13:
        the difference of paired proportions.
    """
    differ = np.clip(np.abs(gain), 1 / characters, 1 - 1 / characters)
    least: Floats = differ * (1 - differ) / (2 * characters) / (1 + val_to_train)
    return least


def estimate(scores: Floats, weights: Floats, noise: Noise, val_to_train: float) -> Estimate:
    """Contrasts of a table of scores, over repeats that share training data.

    The contrast's own residuals and the rest of the table give two estimates of the same variance.
    They are averaged with their degrees of freedom as weights, those of the rest limited by
    `TRUST`. A contrast that includes outliers uses its own residuals alone.

    Args:
        scores: (..., contenders, repeats); each contrast uses the repeats that all of its
            contenders ran.
        weights: (contrasts, contenders), each row adding up to zero.
        noise: the result of `measure_noise` for the scores.
        val_to_train: size of a repeat's validation part over its training part.

    Source:
        Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, for
        repeats that share training data; Smyth, "Linear Models and Empirical Bayes Methods", 2004,
        for moderated variances.
    """
    size = (weights**2).sum(-1)
    values = _weighed(weights, scores)
    repeats = (~np.isnan(values)).sum(-1)
    own_residuals = _weighed(weights, noise.residuals)
    own = _ratio(np.nansum(own_residuals**2, axis=-1), size)
    own_freedom = (~np.isnan(own_residuals)).sum(-1)

    others_out = (weights != 0) & ~noise.inliers[..., None, :]
    rest_freedom = noise.freedom[..., None] - own_freedom
    shared = ~others_out.any(-1) & (rest_freedom > 0)
    rest = np.maximum(noise.total[..., None] - own, 0)
    trust = np.where(shared, 1 / (1 / TRUST + 1 / np.where(shared, rest_freedom, 1)), 0.0)
    freedom = trust + own_freedom
    variance = _ratio(trust * rest / np.where(shared, rest_freedom, 1) + own, freedom)
    gain = _ratio(np.nansum(values, axis=-1), repeats)
    share = size * (_ratio(1.0, repeats) + val_to_train)
    return Estimate(
        gain=gain,
        error=np.sqrt(np.maximum(variance, step_variance(noise.characters)) * share),
        freedom=freedom,
        least=np.sqrt(least_variance(gain, noise.characters, val_to_train) * share),
    )


def against_first(contenders: int) -> Floats:
    """(contenders, contenders) weights of each contender's gain over the first."""
    weights = np.eye(contenders)
    weights[:, 0] -= 1
    return weights


def corrected_interval(
    gains: Floats, val_to_train: float, confidence: float
) -> tuple[float, float]:
    """Interval for the mean paired gain of two contenders, from their own scores alone.

    Args:
        gains: (repeats,) score of one contender minus score of the other, per repeat.
        val_to_train: size of a repeat's validation part over its training part.
        confidence: two-sided, in (0, 1).

    Returns:
        (low, high); infinite for a single repeat, of which the noise is unknown.

    Source:
        Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003.
    """
    repeats = len(gains)
    if repeats < 2:
        return -math.inf, math.inf
    error = float(gains.std(ddof=1)) * math.sqrt(1 / repeats + val_to_train)
    reach = float(scipy.special.stdtrit(repeats - 1, (1 + confidence) / 2)) * error
    gain = float(gains.mean())
    return gain - reach, gain + reach


@functools.lru_cache(maxsize=4096)
def dunnett_bound(rivals: int, freedom: float, risk: float) -> float:
    """Upper quantile of the largest gain over an incumbent if all rivals equal it.

    Own code, because `scipy.stats.dunnett` takes samples, whose pooled variance it uses, and
    returns p-values that it integrates with random numbers. This quantile is for any degrees of
    freedom, and is always the same.

    Args:
        rivals: number of contenders compared with the incumbent, all on the same number of
            repeats. For one, the bound is the one-sided quantile of Student's t.
        freedom: degrees of freedom of the noise, above 0.
        risk: probability that the largest gain exceeds the bound, in (0, 1).

    Returns:
        The bound, in standard errors of a gain.

    Source:
        Dunnett, "A Multiple Comparison Procedure for Comparing Several Treatments with a Control",
        JASA 50, 1955.
    """

    def exceeds(bound: float) -> float:
        # Given the incumbent's noise and the estimated spread, the rivals are independent.
        reach = math.sqrt(2) * bound * spread[:, None] + incumbent
        return 1 - float(spread_weight @ scipy.special.ndtr(reach) ** rivals @ incumbent_weight)

    incumbent, incumbent_weight = np.polynomial.hermite_e.hermegauss(48)
    incumbent_weight = incumbent_weight / incumbent_weight.sum()
    nodes, node_weight = np.polynomial.legendre.leggauss(96)
    width = 8 / math.sqrt(2 * freedom)
    lowest = max(1 - width, 0.0)
    spread = lowest + (1 + nodes) / 2 * (1 + width - lowest)
    log_density = (freedom - 1) * np.log(spread) - freedom * spread**2 / 2
    spread_weight = node_weight * np.exp(log_density - log_density.max())
    spread_weight = spread_weight / spread_weight.sum()

    # Lower bound: a single comparison. Upper bound: Bonferroni.
    low = float(scipy.special.stdtrit(freedom, 1 - risk))
    high = float(scipy.special.stdtrit(freedom, 1 - risk / rivals))
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if exceeds(middle) > risk else (low, middle)
    return (low + high) / 2


def dunnett_bounds(rivals: ArrayLike, freedom: ArrayLike, risk: float) -> Floats:
    """Vectorised `dunnett_bound`, at least 0; nan without rivals or degrees of freedom."""
    count, free = np.broadcast_arrays(np.asarray(rivals, float), np.asarray(freedom, float))
    pairs, places = np.unique(np.stack([count.ravel(), free.ravel()]), axis=1, return_inverse=True)
    bounds = [
        max(dunnett_bound(int(number), float(degrees), risk), 0.0)
        if number and degrees
        else math.nan
        for number, degrees in pairs.T
    ]
    return np.array(bounds)[places.ravel()].reshape(count.shape)


def _residuals(scores: Floats) -> Floats:
    before = np.arange(1, scores.shape[-1])
    means = np.cumsum(scores, axis=-1)[..., :-1] / before
    residuals: Floats = (scores[..., 1:] - means) * np.sqrt(before / (before + 1))
    return residuals


def _deviations(residuals: Floats, among: Bools) -> tuple[Floats, NDArray[np.int_]]:
    """Residuals minus their mean over contenders, 0 if not run; and their number per column."""
    used = among[..., None] & ~np.isnan(residuals)
    counts = used.sum(-2)
    means = np.where(used, residuals, 0).sum(-2) / np.maximum(counts, 1)
    return np.where(used, residuals - means[..., None, :], 0.0), counts


def _outliers(residuals: Floats, able: Bools, step: float) -> Bools:
    """Find contenders whose noise is larger than the others', which is at least `step`.

    The noisiest contender is removed, then the noisiest of the rest, and so on while a majority
    remains. All up to the last significant one are outliers, so that two cannot mask each other.

    Source:
        Rosner, "Percentage Points for a Generalized ESD Many-Outlier Procedure", 1983.
    """
    kept, outliers = able.copy(), np.zeros_like(able)
    majority = able.sum(-1, keepdims=True) / 2
    for _ in range((able.shape[-1] - 1) // 2):
        chance = _noise_p_value(residuals, kept, step)
        worst = chance.argmin(-1)[..., None]
        least = np.take_along_axis(chance, worst, -1)
        taken = (least < 1) & (kept.sum(-1, keepdims=True) - 1 > majority)
        np.put_along_axis(kept, worst, np.take_along_axis(kept, worst, -1) & ~taken, -1)
        significant = taken & (least < FALSE_ALARMS / able.shape[-1])
        outliers = np.where(significant, able & ~kept, outliers)
    return outliers


def _noise_p_value(residuals: Floats, among: Bools, step: float = 0.0) -> Floats:
    """(..., contenders) p-values of equal noise of each contender and the others; 1 if unknown.

    step: lower bound of the others' variance.
    """
    deviations, counts = _deviations(residuals, among)
    squares = deviations**2
    present = among[..., None] & ~np.isnan(residuals) & (counts > 1)[..., None, :]
    # Decrease of the sum of squares when the contender is removed.
    loss = (squares * _ratio(counts, np.maximum(counts - 1, 1))[..., None, :]).sum(-1)
    freedom = present.sum(-1)
    rest = np.maximum(squares.sum((-1, -2))[..., None] - loss, 0)
    rest_freedom = np.maximum(counts - 1, 0).sum(-1)[..., None] - freedom
    ratio = _ratio(_ratio(loss, freedom), np.maximum(_ratio(rest, rest_freedom), step))
    chance = scipy.special.fdtrc(np.maximum(freedom, 1), np.maximum(rest_freedom, 1), ratio)
    known = (freedom > 0) & (rest_freedom > 0) & ~np.isnan(ratio)
    return np.where(known, chance, 1.0)


def _weighed(weights: Floats, table: Floats) -> Floats:
    """(..., contrasts, columns) weighted sums of rows; nan if a row with weight is nan."""
    missing = (weights != 0).astype(float) @ np.isnan(table)
    return np.where(missing > 0, np.nan, weights @ np.nan_to_num(table))


def _ratio(above: Any, below: Any) -> Floats:
    """The quotient; infinite or nan if `below` is 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Floats = np.divide(above, below, dtype=float)
    return quotient
