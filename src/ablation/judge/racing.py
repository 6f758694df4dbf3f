"""Racing: the contenders of a running stage that can no longer win.

A verdict depends on means over all repeats. The repeats run so far and the noise of the stage give
the distribution of the final means. Contenders whose chance to win is negligible are stopped.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy.special
from numpy.typing import NDArray

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
)
from ablation.judge.selection import Contender, as_table, rivals_of, simplicity, tolerance

# The largest probability, over all looks of a stage, that a contender is stopped but would win.
# Measured in benchmarks/verdicts.md: fewer than 1 % of stages stop the contender that would win.
CHANCE_LEFT = 0.03


def raced_out(
    incumbent: Contender,
    contenders: Sequence[Contender],
    val_to_train: float,
    risk: float,
    characters: float = math.inf,
    simpler: int | None = None,
) -> list[bool]:
    """Whether each contender can be stopped, after a repeat of a stage.

    A contender is stopped if it can no longer win (`out_of_reach`), if it failed, or if it was
    stopped before: it lacks a repeat that the incumbent has run. The incumbent is never stopped,
    since every gain is measured against it.

    Args:
        incumbent: the setting that the stage starts from; nan for the repeats still to run.
        contenders: the others, simplest candidate first, on the same repeats.
        val_to_train: size of a repeat's validation part over its training part.
        risk: the risk at which the stage will be decided.
        characters, simpler: as in `ablation.judge.selection.decide`.

    Returns:
        one value per contender. Before the second repeat, only failed ones are stopped.
    """
    scores, failed, grids = as_table([incumbent, *contenders])
    out = out_of_reach(scores, failed, grids, val_to_train, risk, characters, simpler)
    return [bool(each) for each in out[1:]]


def out_of_reach(
    scores: Floats,
    failed: Bools,
    grids: NDArray[np.int_],
    val_to_train: float,
    risk: float,
    characters: float = math.inf,
    simpler: int | None = None,
) -> Bools:
    """Whether each contender can no longer win, for a batch of stages with equally many repeats.

    By the rule of `ablation.judge.selection.decide`, a contender can win only if it ends

    - ahead of the incumbent, of all simpler candidates and of the other points of its grid,
    - behind no other contender by more than the tolerance, and
    - in a stage in which some gain exceeds the bound for replacing the incumbent.

    On equal terms (`simpler` given), the third condition is dropped, and a contender need not end
    ahead of a less simple incumbent. A contender is out of reach if one of the conditions is less
    likely than `CHANCE_LEFT` divided by the number of looks.

    Args:
        scores: (..., contenders, repeats), incumbent first; nan for repeats not run.
        failed, grids, val_to_train, risk, characters, simpler: as in `decide`.

    Returns:
        (..., contenders); False for the incumbent.
    """
    repeats = scores.shape[-1]
    done = int((~np.isnan(scores[..., 0, :])).sum(-1).max())
    live = ~failed & ~np.isnan(scores[..., :done]).any(-1)
    out = ~live
    if 1 < done < repeats:
        outlook = Outlook(scores, measure_noise(scores, ~failed, characters), done, val_to_train)
        order = simplicity(scores.shape[-2], simpler)
        rivals = 1 if simpler is None else rivals_of(failed, grids)
        slack = tolerance(outlook.noise, repeats, val_to_train, risk, rivals)
        chance = _chance_to_keep_up(outlook, live, grids, order, slack)
        if simpler is None:
            replaced = _chance_of_replacement(outlook, live, failed, risk)[..., None]
            chance = np.minimum(chance, replaced)
        looks = repeats - 2
        out |= chance < CHANCE_LEFT / looks
    out[..., 0] = False
    return out


@dataclass(frozen=True, eq=False)
class Outlook:
    """Predicts the final means of a batch of stages from the repeats run so far.

    Attributes:
        scores: (..., contenders, repeats); nan for repeats not run.
        noise: (...) of the stages.
        done: number of repeats run.
        val_to_train: size of a repeat's validation part over its training part.
    """

    scores: Floats
    noise: Noise
    done: int
    val_to_train: float

    @property
    def contenders(self) -> int:
        """Number of contenders of a stage."""
        return int(self.scores.shape[-2])

    @property
    def repeats(self) -> int:
        """Number of repeats of a stage."""
        return int(self.scores.shape[-1])

    def estimate(self, weights: Floats) -> Estimate:
        """Contrasts of the scores so far, with (contrasts, contenders) `weights`."""
        return estimate(self.scores, weights, self.noise, self.val_to_train)

    def final_error(self, seen: Estimate) -> Floats:
        """The standard error of an estimate after all repeats."""
        known, final = 1 / self.done + self.val_to_train, 1 / self.repeats + self.val_to_train
        return seen.error * math.sqrt(final / known)

    def chance(self, seen: Estimate, least: Floats) -> Floats:
        """Probability that an estimate will be at least `least` after all repeats.

        Only the repeats still to run change the mean; the error shared by all repeats, of those
        run and those to run, cancels.
        """
        share = (1 / self.done - 1 / self.repeats) / (1 / self.done + self.val_to_train)
        move = np.maximum(seen.error * math.sqrt(share), SAME)
        chance: Floats = scipy.special.stdtr(seen.freedom, (seen.gain - least) / move)
        return np.where(np.isnan(chance), 1.0, chance)


def _chance_to_keep_up(
    outlook: Outlook, live: Bools, grids: NDArray[np.int_], order: Floats, slack: Floats
) -> Floats:
    """(..., contenders) the chance to keep up with the rival for which it is smallest.

    order: (contenders,) the lowest for the simplest.
    slack: (..., contenders) or (..., 1), how far each may end behind a less simple rival.
    """
    index = np.arange(outlook.contenders)
    one = np.eye(outlook.contenders)
    pairs = (one[:, None, :] - one).reshape(-1, outlook.contenders)
    simpler_or_same = ((order[:, None] > order) | (grids[:, None] == grids)).ravel()
    if slack.shape[-1] > 1:
        slack = np.repeat(slack, outlook.contenders, axis=-1)
    least = np.where(simpler_or_same, -SAME, -slack)
    chance = outlook.chance(outlook.estimate(pairs), least)
    chance = chance.reshape(*chance.shape[:-1], outlook.contenders, outlook.contenders)
    rivals = live[..., None, :] & (index[:, None] != index)
    worst: Floats = np.where(rivals, chance, 1.0).min(-1)
    return worst


def _chance_of_replacement(outlook: Outlook, live: Bools, failed: Bools, risk: float) -> Floats:
    """(...) upper bound of the chance that the incumbent will be replaced; 1 if it failed."""
    gains = outlook.estimate(against_first(outlook.contenders))
    rivals = (~failed[..., 1:]).sum(-1)
    freedom = (outlook.noise.inliers.sum(-1) - 1) * (outlook.repeats - 1)
    bound = dunnett_bounds(rivals, np.maximum(freedom, 0), risk)[..., None]
    chance = outlook.chance(gains, np.nan_to_num(bound) * outlook.final_error(gains))
    total = np.where(live, chance, 0.0)[..., 1:].sum(-1)
    return np.where(failed[..., 0], 1.0, total)
