"""What techniques are worth together, on recipes whose worth is known."""

import itertools
import math

import numpy as np
import pytest

from ablation.judge.worth import Changed, list_orders, list_recipes, weigh_techniques

Scores = dict[Changed, np.ndarray]

# Three repeats that move every recipe alike are no noise.
REPEATS = np.array([0.01, -0.02, 0.03])


def named(letters: str) -> Changed:
    return frozenset(letters)


def score_all(worth: dict[str, float]) -> Scores:
    """Scores of recipes without noise, from the worth of each set of letters."""
    return {named(letters): gain + REPEATS for letters, gain in worth.items()}


def random_scores(techniques: str, seed: int, noise: float = 0.0) -> Scores:
    """Scores of all recipes, with a random gain for each: interactions of every size."""
    random = np.random.default_rng(seed)
    every = (itertools.combinations(techniques, size) for size in range(len(techniques) + 1))
    return {
        named("".join(some)): random.normal() + noise * random.normal(size=5)
        for some in itertools.chain.from_iterable(every)
    }


# Alone a is worth 2 and b 3; together 4, one less than their sum.
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


def test_interaction_of_three_is_a_mean_over_what_else_is_there() -> None:
    # a and b gain 1 together without c, and 3 with it.
    scores = score_all({"": 0, "a": 0, "b": 0, "c": 0, "ab": 1, "ac": 0, "bc": 0, "abc": 3})
    worth = weigh_techniques(scores, "abc", pairs=2, seed=0, val_to_train=0.25)
    assert worth.interactions[0].gain == pytest.approx(2.0)


def test_technique_that_does_nothing_does_not_change_the_others_interaction() -> None:
    three = score_all({"": 0, "a": 0, "b": 0, "c": 0, "ab": 1, "ac": 0, "bc": 0, "abc": 3})
    scores = {some | rest: gain for some, gain in three.items() for rest in (named(""), named("d"))}
    worth = weigh_techniques(scores, "abcd", pairs=2, seed=0, val_to_train=0.25)
    assert worth.interactions[0].gain == pytest.approx(2.0)


@pytest.mark.parametrize("techniques", ["a", "ab", "abc", "abcd", "abcdef"])
def test_shapley_values_add_up_to_the_whole(techniques: str) -> None:
    scores = random_scores(techniques, seed=1, noise=0.1)
    worth = weigh_techniques(scores, techniques, pairs=3, seed=2, val_to_train=0.25)
    assert sum(part.gain for part in worth.shapley) == pytest.approx(worth.whole.gain, abs=1e-12)


def test_technique_that_does_nothing_is_worth_nothing() -> None:
    scores = {some | rest: score for some, score in TWO.items() for rest in (named(""), named("c"))}
    worth = weigh_techniques(scores, "abc", pairs=2, seed=0, val_to_train=0.25)
    assert worth.shapley[2].gain == pytest.approx(0.0, abs=1e-12)
    assert [part.gain for part in worth.interactions[1:]] == pytest.approx([0, 0], abs=1e-12)


def test_nothing_changed_is_worth_nothing() -> None:
    worth = weigh_techniques({named(""): REPEATS}, "", pairs=2, seed=0, val_to_train=0.25)
    assert (worth.whole.gain, worth.shapley, worth.interactions) == (0.0, [], [])


def test_failed_recipe_leaves_its_gains_undefined_and_no_others() -> None:
    scores = {**random_scores("ab", seed=3, noise=0.1), named("b"): np.full(5, math.nan)}
    worth = weigh_techniques(scores, "ab", pairs=2, seed=0, val_to_train=0.25)
    assert math.isnan(worth.shapley[0].gain) and math.isnan(worth.left_out[0].gain)
    assert worth.left_out[1].low < worth.left_out[1].gain < worth.left_out[1].high
    assert not math.isnan(worth.whole.low)


def test_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(4)
    truth = weigh_techniques(random_scores("abc", seed=5), "abc", 2, 0, 0.25)
    held = 0
    for _ in range(300):
        # Repeats correlated by 0.2, as a quarter of validation to training gives.
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


# --- more techniques than all recipes are trained for --------------------------------------------


def test_up_to_four_techniques_need_all_recipes() -> None:
    assert len(list_recipes("abcd", pairs=2, seed=0)) == 2**4


def test_more_need_the_recipes_on_the_way() -> None:
    recipes = list_recipes("abcdef", pairs=3, seed=0)
    assert recipes[0] == named("") and recipes[-1] == named("abcdef")
    assert {named("abcdef") - {letter} for letter in "abcdef"} <= set(recipes)
    assert len(recipes) == len(set(recipes)) < 2**6


def test_orders_come_with_their_reverse_and_from_the_seed() -> None:
    orders = list_orders("abcdef", pairs=3, seed=0)
    assert [order[::-1] for order in orders[::2]] == orders[1::2]
    assert orders == list_orders("abcdef", pairs=3, seed=0) != list_orders("abcdef", 3, seed=1)


def test_one_pair_of_orders_tells_nothing_about_sampling() -> None:
    with pytest.raises(ValueError, match="1 pair of orders is too few"):
        list_orders("abcdef", pairs=1, seed=0)


def exact_shapley(scores: Scores, techniques: str) -> list[float]:
    orders = list(itertools.permutations(techniques))
    return [
        float(
            np.mean(
                [
                    scores[named("".join(order[: place + 1]))].mean()
                    - scores[named("".join(order[:place]))].mean()
                    for order in orders
                    for place in [order.index(technique)]
                ]
            )
        )
        for technique in techniques
    ]


def test_many_sampled_orders_approach_the_exact_values() -> None:
    scores = random_scores("abcde", seed=6, noise=0.01)
    worth = weigh_techniques(scores, "abcde", pairs=500, seed=7, val_to_train=0.25)
    found = [part.gain for part in worth.shapley]
    assert found == pytest.approx(exact_shapley(scores, "abcde"), abs=0.1)


def test_interval_of_few_sampled_orders_holds_the_exact_value() -> None:
    scores = random_scores("abcde", seed=6, noise=0.01)
    exact = exact_shapley(scores, "abcde")
    held = [
        part.low <= true <= part.high
        for seed in range(100)
        for part, true in zip(
            weigh_techniques(scores, "abcde", 4, seed, 0.25).shapley, exact, strict=True
        )
    ]
    assert np.mean(held) >= 0.95


def test_sampled_orders_say_nothing_about_pairs() -> None:
    scores = random_scores("abcde", seed=6)
    assert weigh_techniques(scores, "abcde", 4, 0, 0.25).interactions == []
