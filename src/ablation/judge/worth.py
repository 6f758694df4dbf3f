"""What the techniques that a chain changed are worth together.

A technique's worth depends on what else is in the recipe. Its Shapley value is its mean gain over
all orders in which the techniques could have been put in, so that the values add up to the gain of
the final recipe over the baseline. All numbers here are contrasts of one table, recipe x repeat; a
recipe is named by the techniques that have their final setting in it, the others are at baseline.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ablation.judge.noise import Estimate, Floats, estimate, measure_noise

Changed = frozenset[str]
Contrast = dict[Changed, float]

# Up to so many techniques all recipes are trained: 16 of them, where orders would ask for most.
COMPLETE = 4


@dataclass(frozen=True)
class Part:
    """A gain and its 95 % interval, as fractions; nan where undefined.

    Attributes:
        techniques: those that the gain belongs to.
        gain, low, high: of the score.
    """

    techniques: tuple[str, ...]
    gain: float
    low: float
    high: float


@dataclass(frozen=True)
class Worth:
    """What the changed techniques are worth.

    Attributes:
        whole: gain of the final recipe over the baseline.
        shapley: a part for each technique, in the order given; they add up to `whole`.
        left_out: what the final recipe loses without each technique.
        interactions: of each pair, the gain of both together beyond the sum of their own, a mean
            over what else is in the recipe; empty where not all recipes were run.
    """

    whole: Part
    shapley: list[Part]
    left_out: list[Part]
    interactions: list[Part]


def list_orders(techniques: Sequence[str], pairs: int, seed: int) -> list[tuple[str, ...]]:
    """The orders that Shapley values average over: all, or random ones, each with its reverse.

    Args:
        techniques: those that changed, in any fixed order.
        pairs: number of random orders, each followed by its reverse, for more than `COMPLETE`
            techniques; 2 or more, since one tells nothing about the error of having sampled.
        seed: of the random orders.

    Source:
        Mitchell et al., "Sampling Permutations for Shapley Value Estimation", JMLR 23, 2022.
    """
    if len(techniques) <= COMPLETE:
        return list(itertools.permutations(techniques))
    if pairs < 2:
        raise ValueError(f"{pairs} pair of orders is too few: their spread needs 2 or more.")
    random = np.random.default_rng(seed)
    drawn = [
        tuple(techniques[i] for i in random.permutation(len(techniques))) for _ in range(pairs)
    ]
    return [order for one in drawn for order in (one, one[::-1])]


def list_recipes(techniques: Sequence[str], pairs: int, seed: int) -> list[Changed]:
    """The recipes that `weigh_techniques` needs, each once, from the baseline to the final one.

    Among them are always the final recipe, the baseline, and the final one without each technique.
    """
    on_the_way = {
        frozenset(order[:length])
        for order in list_orders(techniques, pairs, seed)
        for length in range(len(order) + 1)
    }
    without_one = {frozenset(techniques) - {technique} for technique in techniques}
    places = {technique: place for place, technique in enumerate(techniques)}
    return sorted(on_the_way | without_one, key=lambda r: (len(r), sorted(places[t] for t in r)))


def weigh_techniques(
    scores: Mapping[Changed, Floats],
    techniques: Sequence[str],
    pairs: int,
    seed: int,
    val_to_train: float,
) -> Worth:
    """What each of the techniques, each pair and all of them are worth.

    Args:
        scores: (repeats,) of each of `list_recipes`; nan for a recipe that failed, which makes nan
            of every gain that it belongs to.
        techniques, pairs, seed: as given to `list_recipes`.
        val_to_train: size of a repeat's validation part over its training part.

    Source:
        Shapley, "A Value for n-Person Games", 1953; Grabisch & Roubens, "An Axiomatic Approach to
        the Concept of Interaction", International Journal of Game Theory 28, 1999.
    """
    orders = list_orders(techniques, pairs, seed)
    recipes = list_recipes(techniques, pairs, seed)
    table = np.stack([scores[recipe] for recipe in recipes]).astype(float)
    table[np.isnan(table).any(-1)] = math.nan
    noise = measure_noise(table)
    complete = len(techniques) <= COMPLETE

    def weigh(contrasts: list[Contrast]) -> Estimate:
        weights = [[contrast.get(recipe, 0.0) for recipe in recipes] for contrast in contrasts]
        return estimate(table, np.array(weights).reshape(-1, len(recipes)), noise, val_to_train)

    final = frozenset(techniques)
    singles = [(technique,) for technique in techniques]
    couples = list(itertools.combinations(techniques, 2)) if complete else []
    shares = [_share(technique, orders) for technique in techniques]
    shapley = weigh(shares)
    if not complete:
        means = dict(zip(recipes, table.mean(-1).tolist(), strict=True))
        shapley = _of_sampled_orders(shapley, shares, means, techniques, orders)
    (whole,) = _parts([tuple(techniques)], weigh([_minus(final, frozenset())]))
    return Worth(
        whole=whole,
        shapley=_parts(singles, shapley),
        left_out=_parts(singles, weigh([_minus(final, final - {t}) for t in techniques])),
        interactions=_parts(couples, weigh([_interaction(*pair, final) for pair in couples])),
    )


def _minus(recipe: Changed, other: Changed) -> Contrast:
    return {recipe: 1.0, other: -1.0} if recipe != other else {}


def _share(technique: str, orders: Sequence[tuple[str, ...]]) -> Contrast:
    contrast: Contrast = defaultdict(float)
    for order in orders:
        before = _before(technique, order)
        contrast[before | {technique}] += 1 / len(orders)
        contrast[before] -= 1 / len(orders)
    return contrast


def _before(technique: str, order: tuple[str, ...]) -> Changed:
    return frozenset(order[: order.index(technique)])


def _interaction(first: str, second: str, final: Changed) -> Contrast:
    """Both minus each one's own, weighed as if the two went in together at a random place."""
    others = sorted(final - {first, second})
    contrast: Contrast = {}
    for size in range(len(others) + 1):
        weight = 1 / (len(others) + 1) / math.comb(len(others), size)
        for rest in map(frozenset, itertools.combinations(others, size)):
            contrast[rest | {first, second}] = contrast[rest] = weight
            contrast[rest | {first}] = contrast[rest | {second}] = -weight
    return contrast


def _of_sampled_orders(
    seen: Estimate,
    shares: Sequence[Contrast],
    means: Mapping[Changed, float],
    techniques: Sequence[str],
    orders: Sequence[tuple[str, ...]],
) -> Estimate:
    """Shapley values with the error of having sampled orders added to that of the scores.

    The mean over sampled orders differs from that over all by the spread between pairs of orders,
    and this one from the truth by the scores' noise, weighed as all orders weigh it. A few pairs
    tell little about their own spread: a technique's counts as no less than that of all.
    """
    count = len(techniques)
    all_weights = 2 / count**2 * sum(1 / math.comb(count - 1, size) for size in range(count))
    weights = np.array([sum(weight**2 for weight in share.values()) for share in shares])
    noise = seen.error**2 * all_weights / weights
    gains = np.array(
        [
            [
                means[_before(technique, order) | {technique}] - means[_before(technique, order)]
                for technique in techniques
            ]
            for order in orders
        ]
    )
    # An order and its reverse are not independent; pairs of them are.
    pairs = gains.reshape(-1, 2, len(techniques)).mean(1)
    spread = pairs.var(0, ddof=1)
    sampled = np.maximum(spread, spread.mean()) / len(pairs)
    freedom = (sampled + noise) ** 2 / (sampled**2 / (len(pairs) - 1) + noise**2 / seen.freedom)
    return Estimate(seen.gain, np.sqrt(sampled + noise), freedom)


def _parts(techniques: Sequence[tuple[str, ...]], estimates: Estimate) -> list[Part]:
    numbers = zip(estimates.gain, *estimates.interval(), strict=True)
    return [Part(names, *map(float, row)) for names, row in zip(techniques, numbers, strict=True)]
