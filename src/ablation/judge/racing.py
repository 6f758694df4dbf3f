"""Racing: which contenders of a running stage cannot win it any more.

What a stage concludes depends on the means over all repeats. From the repeats run so far and the
noise of the stage follows how far a mean can still move; who would have to move further is out.
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

# How likely a contender may still be to catch up when it is stopped, all looks of a stage together.
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
    """Which contenders need no further repeats, asked after each round of a stage.

    A contender is out when it can hardly win any more (`out_of_reach`), when it failed, or when it
    was out before: it lacks a repeat that the incumbent has run. The incumbent itself always runs
    to the end, since every gain is measured against it.

    Args:
        incumbent: (repeats,) scores; nan on the repeats still to come.
        contenders: the others, simplest candidate first, on the same repeats.
        val_to_train: size of a repeat's validation part over its training part.
        risk: what the stage will be judged at.
        characters, simpler: as in `ablation.judge.selection.decide`.

    Returns:
        (contenders,) True where one is out. Never before the second repeat, except for failure.
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
    """Who cannot win, of each of many stages that have run the same number of repeats.

    By the rule of `ablation.judge.selection.decide` a contender can win only if it ends

    - ahead of the incumbent, of all simpler candidates and of the other points of its own grid, and
    - no further behind any other than counts as equal to the best,

    and only if some gain is enough to leave the incumbent at all. On equal terms (`simpler`) it
    need not be ahead of a less simple incumbent, and no gain has to be enough. It is out where one
    of these is less likely than its share of `CHANCE_LEFT`.

    Args:
        scores: (..., contenders, repeats), incumbent first; nan where not run.
        failed, grids, val_to_train, risk, characters, simpler: as in `decide`.

    Returns:
        (..., contenders); False for the incumbent.
    """
    repeats = scores.shape[-1]
    done = int((~np.isnan(scores[..., 0, :])).sum(-1).max())
    live = ~failed & ~np.isnan(scores[..., :done]).any(-1)
    out = ~live
    if 1 < done < repeats:
        ahead = Outlook(scores, measure_noise(scores, ~failed, characters), done, val_to_train)
        order = simplicity(scores.shape[-2], simpler)
        among = 1 if simpler is None else rivals_of(failed, grids)
        slack = tolerance(ahead.noise, repeats, val_to_train, risk, among)
        chance = _chance_to_keep_up(ahead, live, grids, order, slack)
        if simpler is None:
            leave = _chance_to_leave(ahead, live, failed, risk)[..., None]
            chance = np.minimum(chance, leave)
        looks = repeats - 2
        out |= chance < CHANCE_LEFT / looks
    out[..., 0] = False
    return out


@dataclass(frozen=True, eq=False)
class Outlook:
    """What is known of stages after `done` of their repeats."""

    scores: Floats
    noise: Noise
    done: int
    val_to_train: float

    @property
    def contenders(self) -> int:
        return int(self.scores.shape[-2])

    @property
    def repeats(self) -> int:
        return int(self.scores.shape[-1])

    def estimate(self, weights: Floats) -> Estimate:
        return estimate(self.scores, weights, self.noise, self.val_to_train)

    def final_error(self, seen: Estimate) -> Floats:
        """The standard error that an estimate will have after all repeats."""
        known, final = 1 / self.done + self.val_to_train, 1 / self.repeats + self.val_to_train
        return seen.error * math.sqrt(final / known)

    def chance(self, seen: Estimate, least: Floats) -> Floats:
        """Probability that an estimate will be at least so much after all repeats.

        The mean moves by the repeats to come; what all repeats of a contender share moves with it.
        """
        share = (1 / self.done - 1 / self.repeats) / (1 / self.done + self.val_to_train)
        move = np.maximum(seen.error * math.sqrt(share), SAME)
        chance: Floats = scipy.special.stdtr(seen.freedom, (seen.gain - least) / move)
        return np.where(np.isnan(chance), 1.0, chance)


def _chance_to_keep_up(
    ahead: Outlook, live: Bools, grids: NDArray[np.int_], order: Floats, slack: Floats
) -> Floats:
    """(..., contenders) chance to end close enough to the rival for whom this is least likely.

    slack: (..., contenders) how far each may end behind one that is less simple, or (..., 1).
    """
    place = np.arange(ahead.contenders)
    one = np.eye(ahead.contenders)
    pairs = (one[:, None, :] - one).reshape(-1, ahead.contenders)
    simpler_or_same = ((order[:, None] > order) | (grids[:, None] == grids)).ravel()
    if slack.shape[-1] > 1:
        slack = np.repeat(slack, ahead.contenders, axis=-1)
    least = np.where(simpler_or_same, -SAME, -slack)
    chance = ahead.chance(ahead.estimate(pairs), least)
    chance = chance.reshape(*chance.shape[:-1], ahead.contenders, ahead.contenders)
    rivals = live[..., None, :] & (place[:, None] != place)
    worst: Floats = np.where(rivals, chance, 1.0).min(-1)
    return worst


def _chance_to_leave(ahead: Outlook, live: Bools, failed: Bools, risk: float) -> Floats:
    """(...) chance, at most, that the incumbent will be left; 1 where it failed."""
    gains = ahead.estimate(against_first(ahead.contenders))
    rivals = (~failed[..., 1:]).sum(-1)
    freedom = (ahead.noise.in_line.sum(-1) - 1) * (ahead.repeats - 1)
    bound = dunnett_bounds(rivals, np.maximum(freedom, 0), risk)[..., None]
    chance = ahead.chance(gains, np.nan_to_num(bound) * ahead.final_error(gains))
    total = np.where(live, chance, 0.0)[..., 1:].sum(-1)
    return np.where(failed[..., 0], 1.0, total)
