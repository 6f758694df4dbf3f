"""Whether a setting is no better than guessing."""

import math

import numpy as np
import scipy.special
from numpy.typing import ArrayLike

CONFIDENCE = 0.95
# Probability that a trial as good as the others of its setting is called stuck.
FALSE_ALARMS = 0.001


def has_collapsed(
    scores: ArrayLike, classes: int, largest: float = 0.0, characters: float = math.inf
) -> bool:
    """Whether a setting is not shown to be better than always predicting the largest class.

    It is shown to be better if a one-sided binomial test, over the validation characters of all
    repeats, rejects the accuracy of that prediction at the 5 % level. While repeats are missing,
    a higher mean accuracy is enough.

    A setting has also collapsed if a single trial does not exceed that accuracy although, given the
    setting's mean accuracy, so low a score is less likely than `FALSE_ALARMS`.

    Args:
        scores: (repeats,) accuracies as fractions; nan for repeats not run.
        classes: number of classes.
        largest: share of the largest class; 0 if all have the same size.
        characters: number of validation characters of a repeat; infinite for exact accuracies.
    """
    every = np.asarray(scores, float)
    ran = every[~np.isnan(every)]
    chance = max(largest, 1 / classes)
    if len(ran) == 0 or math.isinf(characters):
        return bool((ran <= chance).any())
    each, total = round(characters), round(characters) * len(ran)
    correct = np.rint(ran * each)
    stuck = (correct <= chance * each) & (
        scipy.special.bdtr(correct, each, correct.sum() / total) < FALSE_ALARMS
    )
    if len(ran) < len(every):
        shown = correct.sum() > chance * total
    else:
        shown = scipy.special.bdtrc(correct.sum() - 1, total, chance) <= 1 - CONFIDENCE
    return bool(stuck.any() or not shown)
