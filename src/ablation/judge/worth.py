"""What the techniques that a chain changed are worth together.

A technique's worth depends on what else is in the recipe. Its share, the Shapley value, is its mean
gain over all orders in which the techniques could have been put in. So the shares add up to the
gain of the final recipe over the baseline. A recipe is named by the techniques that have their
final setting in it, the others are at baseline.

Where few techniques changed, all recipes run on all repeats. Where many did, every repeat draws a
few orders of its own, and the recipes on their way run on that repeat alone.
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

# Up to so many techniques all recipes are trained: 16 of them on every repeat.
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
            over what else is in the recipe; empty where more than `COMPLETE` techniques changed.
    """

    whole: Part
    shapley: list[Part]
    left_out: list[Part]
    interactions: list[Part]


def draw_orders(
    techniques: Sequence[str], repeat: int, pairs: int, seed: int
) -> list[tuple[str, ...]]:
    """The random orders of one repeat, each followed by its reverse.

    An order and its reverse together are free of the luck that comes from techniques which work in
    pairs: each of two goes in before the other once. What is left comes from three and more.

    Args:
        techniques: those that changed, in any fixed order.
        repeat: its index; each has orders of its own, whatever the number of repeats.
        pairs: number of random orders before their reverses are added, 1 or more.
        seed: the study's, 0 or more.

    Source:
        Mitchell et al., "Sampling Permutations for Shapley Value Estimation", JMLR 23, 2022.
    """
    random = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(repeat,)))
    drawn = [
        tuple(techniques[i] for i in random.permutation(len(techniques))) for _ in range(pairs)
    ]
    return [order for one in drawn for order in (one, one[::-1])]


def list_trials(
    techniques: Sequence[str], repeats: int, pairs: int, seed: int
) -> dict[Changed, tuple[int, ...]]:
    """The recipes that `weigh_techniques` needs, each with the indices of the repeats it runs on.

    The baseline comes first and the final recipe last. These two and the final recipe without each
    technique run on all repeats.

    Args:
        techniques: those that changed, in any fixed order.
        repeats: number of repeats, 1 or more.
        pairs, seed: of the orders that each repeat draws where more than `COMPLETE` techniques
            changed (`draw_orders`).
    """
    runs = {recipe: set(range(repeats)) for recipe in _on_all_repeats(techniques)}
    if len(techniques) > COMPLETE:
        for repeat in range(repeats):
            for order in draw_orders(techniques, repeat, pairs, seed):
                for recipe in _way(order):
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
    """What each of the techniques, each pair and all of them are worth.

    With at most `COMPLETE` techniques every number is a contrast of one table, recipe x repeat
    (`estimate`). With more, this holds for `whole` and `left_out`; `_of_drawn_orders` has the
    formula for the shares.

    Args:
        scores: (repeats,) of each recipe of `list_trials`; nan on the repeats that it does not run
            on, and on all where it failed, which makes nan of every gain that it belongs to.
        techniques, pairs, seed: as given to `list_trials`.
        val_to_train: size of a repeat's validation part over its training part.
        characters: number of characters that a score is a share of.

    Source:
        Shapley, "A Value for n-Person Games", 1953; Grabisch & Roubens, "An Axiomatic Approach to
        the Concept of Interaction", International Journal of Game Theory 28, 1999.
    """
    recipes = _on_all_repeats(techniques)
    table = np.stack([scores[recipe] for recipe in recipes]).astype(float)
    table[np.isnan(table).any(-1)] = math.nan
    noise = measure_noise(table, characters=characters)

    def weigh(contrasts: list[Contrast]) -> Estimate:
        weights = [[contrast.get(recipe, 0.0) for recipe in recipes] for contrast in contrasts]
        return estimate(table, np.array(weights).reshape(-1, len(recipes)), noise, val_to_train)

    final = frozenset(techniques)
    singles = [(technique,) for technique in techniques]
    if len(techniques) <= COMPLETE:
        orders = list(itertools.permutations(techniques))
        shapley = weigh([_share(technique, orders) for technique in techniques])
        couples = list(itertools.combinations(techniques, 2))
    else:
        shapley = _of_drawn_orders(scores, techniques, pairs, seed, val_to_train, characters)
        couples = []
    (whole,) = _parts([tuple(techniques)], weigh([_minus(final, frozenset())]))
    return Worth(
        whole=whole,
        shapley=_parts(singles, shapley),
        left_out=_parts(singles, weigh([_minus(final, final - {t}) for t in techniques])),
        interactions=_parts(couples, weigh([_interaction(*pair, final) for pair in couples])),
    )


def _on_all_repeats(techniques: Sequence[str]) -> list[Changed]:
    """All recipes; of more than `COMPLETE` techniques the two ends and who lacks one technique."""
    count = len(techniques)
    sizes = range(count + 1) if count <= COMPLETE else (0, count - 1, count)
    sets = (itertools.combinations(techniques, size) for size in sizes)
    return _in_order(map(frozenset, itertools.chain.from_iterable(sets)), techniques)


def _in_order(recipes: Iterable[Changed], techniques: Sequence[str]) -> list[Changed]:
    places = {technique: place for place, technique in enumerate(techniques)}
    return sorted(recipes, key=lambda r: (len(r), sorted(places[t] for t in r)))


def _way(order: tuple[str, ...]) -> list[Changed]:
    """The recipes from the baseline to the final one, as the techniques go in one by one."""
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
    """Both minus each one's own, weighed as if the two went in together at a random place."""
    others = sorted(final - {first, second})
    contrast: Contrast = {}
    for size in range(len(others) + 1):
        weight = 1 / (len(others) + 1) / math.comb(len(others), size)
        for rest in map(frozenset, itertools.combinations(others, size)):
            contrast[rest | {first, second}] = contrast[rest] = weight
            contrast[rest | {first}] = contrast[rest | {second}] = -weight
    return contrast


def _of_drawn_orders(
    scores: Mapping[Changed, Floats],
    techniques: Sequence[str],
    pairs: int,
    seed: int,
    val_to_train: float,
    characters: float,
) -> Estimate:
    """Shapley values where each of R repeats has drawn its own orders.

    On one repeat, a technique's share is its mean gain over the orders of this repeat. The estimate
    is the mean over the repeats. Let v be the variance of a technique's share between repeats; it
    holds both the noise of scores and the luck of orders. The standard error is

        sqrt(max(v, mean of v over the techniques) * (1/R + n_val/n_train))

    A few repeats tell little about one technique's variance, so it counts as no less than the mean
    of all. That mean has (R - 1) (sum of v)^2 / (sum of v^2) degrees of freedom: K (R - 1) where K
    techniques vary alike, R - 1 where one of them varies alone. All techniques use them. The term
    n_val/n_train is for repeats that share training data. Orders share nothing, so where their luck
    prevails the intervals are too wide rather than too narrow. Many pairs shrink v, but not what
    the studied characters do to a technique in all recipes alike: then they are too narrow. No
    error is smaller than steps and disagreements allow, as in `estimate`.

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
            gains = np.diff([scores[recipe][repeat] for recipe in _way(order)])
            shares[repeat, [techniques.index(t) for t in order]] += gains / len(orders)
    own = shares.var(0, ddof=1) if repeats > 1 else np.full(len(techniques), math.nan)
    variance, freedom = own, repeats - 1.0
    known = own[~np.isnan(own)]
    if known.any():
        variance = np.maximum(own, known.mean())
        freedom *= known.sum() ** 2 / (known**2).sum()
    gain = shares.mean(0)
    # A share on one repeat is a mean over two orders a pair, each time of two scores' difference.
    step = step_variance(characters) / pairs
    least = least_variance(gain, characters, val_to_train) / pairs
    repeated = 1 / repeats + val_to_train
    return Estimate(
        gain=gain,
        error=np.sqrt(np.maximum(variance, step) * repeated),
        freedom=np.full(len(techniques), freedom),
        least=np.sqrt(least * repeated),
    )


def _parts(techniques: Sequence[tuple[str, ...]], estimates: Estimate) -> list[Part]:
    numbers = zip(estimates.gain, *estimates.interval(), strict=True)
    return [Part(names, *map(float, row)) for names, row in zip(techniques, numbers, strict=True)]
