"""Contribution of each changed technique to the gain of the final recipe over the baseline.

The gain of a technique depends on the rest of the recipe. Its share, the Shapley value, is its mean
gain over all orders of adding the techniques; the shares add up to the total gain. A recipe is
denoted by the set of techniques that have their final setting; all others have the baseline's.

If few techniques changed, all recipes run on all repeats. If many did, each repeat draws random
orders of its own, and the recipes along these orders run on that repeat alone.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ablation.judge.noise import (
    Estimate,
    Floats,
    estimate,
    least_variance,
    measure_noise,
    step_variance,
)

Changed = frozenset[str]
Contrast = dict[Changed, float]

# All recipes are trained for up to this number of techniques: 2**4 on every repeat.
COMPLETE = 4


@dataclass(frozen=True)
class Contribution:
    """A part of the total gain, with its 95 % interval, as fractions; nan if undefined.

    Attributes:
        techniques: the techniques that the gain is attributed to.
        gain: of the validation accuracy.
        low, high: bounds of the interval.
    """

    techniques: tuple[str, ...]
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Worth:
    """The gains of the changed techniques, alone and together.

    Attributes:
        whole: gain of the final recipe over the baseline.
        shapley: the Shapley value of each technique, in the order given; they add up to `whole`.
        left_out: gain of the final recipe over the same recipe without each technique.
        interactions: Shapley interaction index of each pair: the gain of both together minus the
            sum of their gains, averaged over the rest of the recipe; empty if more than `COMPLETE`
            techniques changed.
    """

    whole: Contribution
    shapley: list[Contribution]
    left_out: list[Contribution]
    interactions: list[Contribution]


def draw_orders(
    techniques: Sequence[str], repeat: int, pairs: int, seed: int
) -> list[tuple[str, ...]]:
    """The random orders of one repeat, each followed by its reverse (antithetic sampling).

    With the reverse, each technique of a pair is added before the other exactly once, so pairwise
    interactions add no sampling variance. Interactions of three or more techniques do.

    Args:
        techniques: those that changed, in any fixed order.
        repeat: index of the repeat; its orders do not depend on the number of repeats.
        pairs: number of random orders, not counting their reverses; 1 or more.
        seed: the seed of the study, 0 or more.

    Source:
        Mitchell et al., "Sampling Permutations for Shapley Value Estimation", JMLR 23, 2022.
    """
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(repeat,)))
    drawn = [tuple(techniques[i] for i in rng.permutation(len(techniques))) for _ in range(pairs)]
    return [order for one in drawn for order in (one, one[::-1])]


def list_trials(
    techniques: Sequence[str], repeats: int, pairs: int, seed: int
) -> dict[Changed, tuple[int, ...]]:
    """The recipes that `weigh_techniques` needs, with the repeats that each runs on.

    The baseline, the final recipe, and the final recipe without each technique run on all repeats.

    Args:
        techniques: those that changed, in any fixed order.
        repeats: number of repeats, 1 or more.
        pairs, seed: as for `draw_orders`; used if more than `COMPLETE` techniques changed.

    Returns:
        recipe to the indices of its repeats; the baseline first, the final recipe last.
    """
    runs = {recipe: set(range(repeats)) for recipe in _on_all_repeats(techniques)}
    if len(techniques) > COMPLETE:
        for repeat in range(repeats):
            for order in draw_orders(techniques, repeat, pairs, seed):
                for recipe in _prefixes(order):
                    runs.setdefault(recipe, set()).add(repeat)
    return {recipe: tuple(sorted(runs[recipe])) for recipe in _in_order(runs, techniques)}


def weigh_techniques(
    scores: Mapping[Changed, Floats],
    techniques: Sequence[str],
    pairs: int,
    seed: int,
    val_to_train: float,
    characters: float = math.inf,
) -> Worth:
    """Attribute the gain of the final recipe to the techniques.

    Every number is a linear contrast of one table, recipe x repeat (`estimate`), except for the
    Shapley values of more than `COMPLETE` techniques (`_shapley_of_drawn_orders`).

    Args:
        scores: recipe of `list_trials` to its (repeats,) scores; nan for repeats not run, and for
            all repeats if the recipe failed. Gains that involve a failed recipe are nan.
        techniques, pairs, seed: as given to `list_trials`.
        val_to_train: size of a repeat's validation part over its training part.
        characters: number of validation characters of a repeat.

    Source:
        Shapley, "A Value for n-Person Games", 1953; Grabisch & Roubens, "An Axiomatic Approach to
        the Concept of Interaction", International Journal of Game Theory 28, 1999.
    """
    recipes = _on_all_repeats(techniques)
    table = np.stack([scores[recipe] for recipe in recipes]).astype(float)
    table[np.isnan(table).any(-1)] = math.nan
    noise = measure_noise(table, characters=characters)

    def estimate_contrasts(contrasts: list[Contrast]) -> Estimate:
        weights = [[contrast.get(recipe, 0.0) for recipe in recipes] for contrast in contrasts]
        return estimate(table, np.array(weights).reshape(-1, len(recipes)), noise, val_to_train)

    final = frozenset(techniques)
    singles = [(technique,) for technique in techniques]
    if len(techniques) <= COMPLETE:
        orders = list(itertools.permutations(techniques))
        shapley = estimate_contrasts([_share(technique, orders) for technique in techniques])
        couples = list(itertools.combinations(techniques, 2))
    else:
        shapley = _shapley_of_drawn_orders(
            scores, techniques, pairs, seed, val_to_train, characters
        )
        couples = []
    (whole,) = _parts([tuple(techniques)], estimate_contrasts([_minus(final, frozenset())]))
    left_out = estimate_contrasts([_minus(final, final - {each}) for each in techniques])
    interactions = estimate_contrasts([_interaction(*pair, final) for pair in couples])
    return Worth(
        whole=whole,
        shapley=_parts(singles, shapley),
        left_out=_parts(singles, left_out),
        interactions=_parts(couples, interactions),
    )


def _on_all_repeats(techniques: Sequence[str]) -> list[Changed]:
    """All recipes; of more than `COMPLETE` techniques those with none, all, or all but one."""
    count = len(techniques)
    sizes = range(count + 1) if count <= COMPLETE else (0, count - 1, count)
    sets = (itertools.combinations(techniques, size) for size in sizes)
    return _in_order(map(frozenset, itertools.chain.from_iterable(sets)), techniques)


def _in_order(recipes: Iterable[Changed], techniques: Sequence[str]) -> list[Changed]:
    places = {technique: place for place, technique in enumerate(techniques)}
    return sorted(recipes, key=lambda r: (len(r), sorted(places[t] for t in r)))


def _prefixes(order: tuple[str, ...]) -> list[Changed]:
    """The recipes from the baseline to the final one, as the techniques are added in order."""
    return [frozenset(order[:length]) for length in range(len(order) + 1)]


def _minus(recipe: Changed, other: Changed) -> Contrast:
    return {recipe: 1.0, other: -1.0} if recipe != other else {}


def _share(technique: str, orders: Sequence[tuple[str, ...]]) -> Contrast:
    contrast: Contrast = defaultdict(float)
    for order in orders:
        before = frozenset(order[: order.index(technique)])
        contrast[before | {technique}] += 1 / len(orders)
        contrast[before] -= 1 / len(orders)
    return contrast


def _interaction(first: str, second: str, final: Changed) -> Contrast:
    """The Shapley interaction index of a pair, in the form of Grabisch & Roubens."""
    others = sorted(final - {first, second})
    contrast: Contrast = {}
    for size in range(len(others) + 1):
        weight = 1 / (len(others) + 1) / math.comb(len(others), size)
        for rest in map(frozenset, itertools.combinations(others, size)):
            contrast[rest | {first, second}] = contrast[rest] = weight
            contrast[rest | {first}] = contrast[rest | {second}] = -weight
    return contrast


def _shapley_of_drawn_orders(
    scores: Mapping[Changed, Floats],
    techniques: Sequence[str],
    pairs: int,
    seed: int,
    val_to_train: float,
    characters: float,
) -> Estimate:
    """Shapley values if each of R repeats has drawn orders of its own.

    On one repeat, a technique's share is its mean gain over the orders of that repeat; the estimate
    is the mean over the repeats. Let v be the variance of a technique's share between repeats,
    which includes the noise of the scores and the sampling of orders. The standard error is

        sqrt(max(v, mean of v over the techniques) * (1/R + n_val/n_train))

    A variance estimated from few repeats is unreliable, so the mean over the techniques is its
    lower bound. That mean has (R - 1) (sum of v)^2 / (sum of v^2) degrees of freedom (K (R - 1) for
    K equal variances, R - 1 if a single one dominates), which all techniques use. The term
    n_val/n_train accounts for repeats that share training data. Orders are independent, so the
    intervals are too wide if the sampling of orders dominates. They are too narrow for many pairs,
    which reduce v but not the effect that the studied characters have on a technique in every
    recipe. Errors have the same lower bounds as in `estimate`.

    Source:
        Nadeau & Bengio, "Inference for the Generalization Error", Machine Learning 52, 2003, for
        repeats that share training data; Satterthwaite, "An Approximate Distribution of Estimates
        of Variance Components", Biometrics Bulletin 2, 1946, for the degrees of freedom.
    """
    repeats = len(scores[frozenset()])
    shares = np.zeros((repeats, len(techniques)))
    for repeat in range(repeats):
        orders = draw_orders(techniques, repeat, pairs, seed)
        for order in orders:
            gains = np.diff([scores[recipe][repeat] for recipe in _prefixes(order)])
            shares[repeat, [techniques.index(t) for t in order]] += gains / len(orders)
    own = shares.var(0, ddof=1) if repeats > 1 else np.full(len(techniques), math.nan)
    variance, freedom = own, repeats - 1.0
    known = own[~np.isnan(own)]
    if known.any():
        variance = np.maximum(own, known.mean())
        freedom *= known.sum() ** 2 / (known**2).sum()
    gain = shares.mean(0)
    # On one repeat, a share is the mean of 2 * pairs differences of two scores.
    step = step_variance(characters) / pairs
    least = least_variance(gain, characters, val_to_train) / pairs
    repeated = 1 / repeats + val_to_train
    return Estimate(
        gain=gain,
        error=np.sqrt(np.maximum(variance, step) * repeated),
        freedom=np.full(len(techniques), freedom),
        least=np.sqrt(least * repeated),
    )


def _parts(techniques: Sequence[tuple[str, ...]], estimates: Estimate) -> list[Contribution]:
    numbers = zip(estimates.gain, *estimates.interval(), strict=True)
    return [
        Contribution(names, *map(float, row))
        for names, row in zip(techniques, numbers, strict=True)
    ]
