"""Shapley values, interactions and leave-one-out gains, for known scores."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from ablation.judge.worth import Changed, Worth, draw_orders, list_trials, weigh_techniques

Scores = dict[Changed, np.ndarray]

# Differences between repeats that are common to all recipes are not noise.
REPEATS = np.array([0.01, -0.02, 0.03])


def named(letters: str) -> Changed:
    return frozenset(letters)


def score_all(worth: dict[str, float]) -> Scores:
    """Scores of recipes without noise, from the score of each set of letters."""
    return {named(letters): gain + REPEATS for letters, gain in worth.items()}


def random_scores(techniques: str, seed: int, noise: float = 0.0) -> Scores:
    """Scores of all recipes, with a random gain for each: interactions of every size."""
    random = np.random.default_rng(seed)
    every = (itertools.combinations(techniques, size) for size in range(len(techniques) + 1))
    return {
        named("".join(some)): random.normal() + noise * random.normal(size=5)
        for some in itertools.chain.from_iterable(every)
    }


# Alone, a gains 2 and b gains 3; together they gain 4, one less than their sum.
TWO = score_all({"": 0.0, "a": 2.0, "b": 3.0, "ab": 4.0})


def test_shapley_values_of_two_by_hand() -> None:
    # a: the mean of 2 - 0 and 4 - 3; b: the mean of 3 - 0 and 4 - 2.
    worth = weigh_techniques(TWO, "ab", pairs=2, seed=0, val_to_train=0.25)
    assert [part.gain for part in worth.shapley] == pytest.approx([1.5, 2.5])
    assert [part.techniques for part in worth.shapley] == [("a",), ("b",)]


def test_interaction_of_two_by_hand() -> None:
    (pair,) = weigh_techniques(TWO, "ab", pairs=2, seed=0, val_to_train=0.25).interactions
    assert pair.techniques == ("a", "b")
    assert pair.gain == pytest.approx(-1.0)


def test_leave_one_out_by_hand() -> None:
    worth = weigh_techniques(TWO, "ab", pairs=2, seed=0, val_to_train=0.25)
    assert [part.gain for part in worth.left_out] == pytest.approx([1.0, 2.0])
    assert worth.whole.gain == pytest.approx(4.0)


def test_interaction_of_three_is_a_mean_over_the_presence_of_the_third() -> None:
    # a and b gain 1 together without c, and 3 with it.
    scores = score_all({"": 0, "a": 0, "b": 0, "c": 0, "ab": 1, "ac": 0, "bc": 0, "abc": 3})
    worth = weigh_techniques(scores, "abc", pairs=2, seed=0, val_to_train=0.25)
    assert worth.interactions[0].gain == pytest.approx(2.0)


def test_technique_without_effect_does_not_change_other_interactions() -> None:
    three = score_all({"": 0, "a": 0, "b": 0, "c": 0, "ab": 1, "ac": 0, "bc": 0, "abc": 3})
    scores = {some | rest: gain for some, gain in three.items() for rest in (named(""), named("d"))}
    worth = weigh_techniques(scores, "abcd", pairs=2, seed=0, val_to_train=0.25)
    assert worth.interactions[0].gain == pytest.approx(2.0)


@pytest.mark.parametrize("techniques", ["a", "ab", "abc", "abcd", "abcdef"])
def test_shapley_values_add_up_to_the_total_gain(techniques: str) -> None:
    scores = random_scores(techniques, seed=1, noise=0.1)
    worth = weigh_techniques(scores, techniques, pairs=3, seed=2, val_to_train=0.25)
    assert sum(part.gain for part in worth.shapley) == pytest.approx(worth.whole.gain, abs=1e-12)


def test_technique_without_effect_has_a_value_of_0() -> None:
    scores = {some | rest: score for some, score in TWO.items() for rest in (named(""), named("c"))}
    worth = weigh_techniques(scores, "abc", pairs=2, seed=0, val_to_train=0.25)
    assert worth.shapley[2].gain == pytest.approx(0.0, abs=1e-12)
    assert [part.gain for part in worth.interactions[1:]] == pytest.approx([0, 0], abs=1e-12)


def test_without_changes_there_is_no_gain() -> None:
    worth = weigh_techniques({named(""): REPEATS}, "", pairs=2, seed=0, val_to_train=0.25)
    assert (worth.whole.gain, worth.shapley, worth.interactions) == (0.0, [], [])


@pytest.mark.filterwarnings("error")
def test_failed_recipe_makes_only_its_own_gains_undefined() -> None:
    scores = {**random_scores("ab", seed=3, noise=0.1), named("b"): np.full(5, math.nan)}
    worth = weigh_techniques(scores, "ab", pairs=2, seed=0, val_to_train=0.25)
    assert math.isnan(worth.shapley[0].gain) and math.isnan(worth.left_out[0].gain)
    assert worth.left_out[1].low < worth.left_out[1].gain < worth.left_out[1].high
    assert not math.isnan(worth.whole.low)


def test_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(4)
    truth = weigh_techniques(random_scores("abc", seed=5), "abc", 2, 0, 0.25)
    held = 0
    for _ in range(300):
        # Repeats are correlated by 0.2, as if validation is a quarter of training.
        scores = {
            recipe: score
            + math.sqrt(0.2) * random.normal()
            + math.sqrt(0.8) * random.normal(size=5)
            for recipe, score in random_scores("abc", seed=5).items()
        }
        parts = weigh_techniques(scores, "abc", 2, 0, 0.25).shapley
        held += sum(
            part.low <= true.gain <= part.high
            for part, true in zip(parts, truth.shapley, strict=True)
        )
    assert 0.93 <= held / 900 <= 0.97


def test_up_to_four_techniques_run_all_recipes_on_all_repeats() -> None:
    trials = list_trials("abcd", repeats=3, pairs=2, seed=0)
    assert len(trials) == 2**4
    assert set(trials.values()) == {(0, 1, 2)}


def test_of_five_techniques_only_some_recipes_run_on_all_repeats() -> None:
    trials = list_trials("abcde", repeats=3, pairs=1, seed=0)
    assert sum(ran == (0, 1, 2) for ran in trials.values()) < 2**5


def test_recipes_are_ordered_by_size_and_then_by_technique() -> None:
    order = ["".join(sorted(recipe)) for recipe in list_trials("abc", 1, 1, seed=0)]
    assert order == ["", "a", "b", "c", "ab", "ac", "bc", "abc"]


def test_recipes_of_sampled_orders_have_the_same_order() -> None:
    techniques = "fedcba"
    found = list(list_trials(techniques, repeats=3, pairs=2, seed=0))
    assert found == sorted(found, key=lambda r: (len(r), sorted(map(techniques.index, r))))


# --- sampled orders ------------------------------------------------------------------------------

SIX = "abcdef"
REPEATS_OF_SIX = 5


def gain_of(some: Changed) -> float:
    """The gain of each of the six is its position, plus some interactions."""
    alone = sum(SIX.index(letter) + 1.0 for letter in some)
    return alone + 2 * ({"a", "b"} <= some) + 3 * ({"b", "c", "d"} <= some)


# An interaction is divided evenly between its techniques.
SHARES_OF_SIX = {"a": 2.0, "b": 4.0, "c": 4.0, "d": 5.0, "e": 5.0, "f": 6.0}


def weigh_six(scores: Scores, seed: int = 0, pairs: int = 1) -> Worth:
    return weigh_techniques(scores, [*SIX], pairs, seed, val_to_train=0.25)


def scores_of_six(random: np.random.Generator, seed: int, pairs: int = 1) -> Scores:
    """Scores of the trials of one study; nan where a recipe does not run.

    Repeats have a correlation of 0.2, as for a validation-to-training ratio of a quarter: the
    characters of the study affect a technique equally on all repeats.
    """
    luck = dict(zip(SIX, math.sqrt(0.2) * random.normal(size=len(SIX)), strict=True))
    scores = {}
    for some, ran in list_trials(SIX, REPEATS_OF_SIX, pairs, seed).items():
        scores[some] = np.full(REPEATS_OF_SIX, math.nan)
        noise = math.sqrt(0.8) * random.normal(size=len(ran))
        scores[some][list(ran)] = gain_of(some) + sum(luck[letter] for letter in some) + noise
    return scores


def test_the_baseline_the_final_recipe_and_leave_one_out_run_on_all_repeats() -> None:
    trials = list_trials(SIX, repeats=3, pairs=1, seed=0)
    ends = [named(""), *(named(SIX) - {letter} for letter in SIX), named(SIX)]
    first, *_, last = trials
    assert (first, last) == (named(""), named(SIX))
    assert all(trials[recipe] == (0, 1, 2) for recipe in ends)
    # An order adds four recipes, and so does its reverse.
    assert sum(map(len, trials.values())) == 3 * (len(ends) + 2 * 4)


def test_a_repeat_runs_the_recipes_of_its_own_orders() -> None:
    trials = list_trials(SIX, repeats=3, pairs=2, seed=0)
    for repeat in range(3):
        for order in draw_orders(SIX, repeat, pairs=2, seed=0):
            assert all(repeat in trials[frozenset(order[:length])] for length in range(7))


def test_orders_depend_on_the_seed_and_are_paired_with_their_reverse() -> None:
    orders = draw_orders(SIX, repeat=1, pairs=3, seed=0)
    assert [order[::-1] for order in orders[::2]] == orders[1::2]
    assert orders == draw_orders(SIX, 1, 3, seed=0) != draw_orders(SIX, 1, 3, seed=1)
    assert orders != draw_orders(SIX, 2, 3, seed=0)


def test_more_repeats_and_more_pairs_only_add_trials() -> None:
    few = list_trials(SIX, repeats=3, pairs=1, seed=0)
    for more in (list_trials(SIX, 5, 1, seed=0), list_trials(SIX, 3, 2, seed=0)):
        assert all(set(ran) <= set(more[recipe]) for recipe, ran in few.items())


def test_pairwise_interactions_are_shared_without_sampling_error() -> None:
    scores = {
        some: np.full(2, 2.0 * len(some & named("ab")) + 3 * ({"c", "d"} <= some))
        for some in list_trials(SIX, repeats=2, pairs=1, seed=0)
    }
    worth = weigh_six(scores)
    assert [part.gain for part in worth.shapley] == pytest.approx([2, 2, 1.5, 1.5, 0, 0])


def test_many_repeats_approach_the_exact_values() -> None:
    trials = list_trials(SIX, repeats=1000, pairs=1, seed=7)
    scores = {some: np.full(1000, gain_of(some)) for some in trials}
    found = [part.gain for part in weigh_six(scores, seed=7).shapley]
    assert found == pytest.approx(list(SHARES_OF_SIX.values()), abs=0.1)


def test_shares_are_unbiased_and_their_intervals_cover_the_truth() -> None:
    random = np.random.default_rng(8)
    truth = np.array(list(SHARES_OF_SIX.values()))
    studies = [weigh_six(scores_of_six(random, seed), seed).shapley for seed in range(500)]
    gains, low, high = (
        np.array([[getattr(part, name) for part in parts] for parts in studies])
        for name in ("gain", "low", "high")
    )
    assert np.abs(gains.mean(0) - truth).max() < 3.5 * gains.std(0).max() / math.sqrt(500)
    assert 0.94 <= ((low <= truth) & (truth <= high)).mean() <= 0.98


@pytest.mark.parametrize("repeats", [2, 5])
def test_interval_of_a_share_is_that_of_its_formula(repeats: int) -> None:
    random = np.random.default_rng(12)
    scores = {some: random.normal(size=repeats) for some in list_trials(SIX, repeats, 1, seed=0)}
    shares = np.zeros((repeats, len(SIX)))
    for repeat in range(repeats):
        for order in draw_orders(SIX, repeat, pairs=1, seed=0):
            for place, letter in enumerate(order):
                before, after = frozenset(order[:place]), frozenset(order[: place + 1])
                gain = scores[after][repeat] - scores[before][repeat]
                shares[repeat, SIX.index(letter)] += gain / 2
    spread = shares.var(0, ddof=1)
    freedom = (repeats - 1) * spread.sum() ** 2 / (spread**2).sum()
    error = np.sqrt(np.maximum(spread, spread.mean()) * (1 / repeats + 0.25))
    reach = scipy.stats.t.ppf(0.975, freedom) * error
    found = weigh_six(scores).shapley
    assert [part.low for part in found] == pytest.approx(shares.mean(0) - reach)
    assert [part.high for part in found] == pytest.approx(shares.mean(0) + reach)


def test_a_technique_without_variation_between_orders_has_an_interval() -> None:
    scores = {
        some: np.full(5, gain_of(some)) for some in list_trials(SIX, REPEATS_OF_SIX, 1, seed=0)
    }
    parts = dict(zip(SIX, weigh_six(scores).shapley, strict=True))
    # Only the shares of b, c and d depend on the orders.
    assert parts["e"].gain == pytest.approx(5.0)
    assert 0 < parts["e"].high - parts["e"].low < parts["c"].high - parts["c"].low


def test_total_and_leave_one_out_gains_do_not_depend_on_the_orders() -> None:
    scores = scores_of_six(np.random.default_rng(9), seed=0)
    worth = weigh_six(scores)
    for recipe, score in scores.items():
        if np.isnan(score).any():
            scores[recipe] = score + 1.0
    assert weigh_six(scores).whole == worth.whole
    assert weigh_six(scores).left_out == worth.left_out
    assert weigh_six(scores).shapley != worth.shapley


def test_failed_recipe_of_an_order_makes_only_adjacent_shares_nan() -> None:
    scores = scores_of_six(np.random.default_rng(10), seed=0)
    first, second, third, *_ = draw_orders(SIX, repeat=2, pairs=1, seed=0)[0]
    scores[named(first + second)][2] = math.nan
    worth = weigh_six(scores)
    undefined = {part.techniques[0] for part in worth.shapley if math.isnan(part.gain)}
    assert undefined == {second, third}
    assert not math.isnan(worth.shapley[SIX.index(first)].low)
    assert not any(math.isnan(part.low) for part in [worth.whole, *worth.left_out])


@pytest.mark.filterwarnings("error")
def test_a_single_repeat_has_shares_without_intervals() -> None:
    scores = {some: np.array([gain_of(some)]) for some in list_trials(SIX, 1, 1, seed=0)}
    worth = weigh_six(scores)
    assert sum(part.gain for part in worth.shapley) == pytest.approx(worth.whole.gain)
    assert all(math.isnan(part.low) for part in worth.shapley)


def test_sampled_orders_give_no_interactions() -> None:
    assert weigh_six(scores_of_six(np.random.default_rng(11), seed=0)).interactions == []
