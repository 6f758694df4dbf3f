"""Guessing, on cases that can be computed by hand."""

import math

import pytest

from ablation.judge.collapse import has_collapsed

NAN = math.nan


@pytest.mark.parametrize("right, collapsed", [(47, True), (48, False)])
def test_a_contender_not_shown_to_be_better_than_guessing_has_collapsed(
    right: int, collapsed: bool
) -> None:
    # Guessing 80 characters of two classes, the chance of 47 or more is 7.3 %, of 48 or more 4.6 %.
    assert has_collapsed([22 / 40, (right - 22) / 40], classes=2, characters=40) is collapsed


def test_collapse_is_tested_on_all_validation_characters_together() -> None:
    # 60 % of 40 may be guessed (a chance of 13 %), 60 % of 200 hardly (0.2 %).
    assert has_collapsed([0.6], classes=2, characters=40)
    assert not has_collapsed([0.6] * 5, classes=2, characters=40)


@pytest.mark.parametrize(
    "classes, largest, honest", [(2, 0.0, 0.55), (3, 0.0, 0.38), (47, 0.0, 0.03), (10, 0.96, 0.97)]
)
def test_a_hard_problem_with_many_characters_has_not_collapsed(
    classes: int, largest: float, honest: float
) -> None:
    guessed = max(largest, 1 / classes)
    assert not has_collapsed([honest] * 5, classes, largest, characters=4230)
    assert has_collapsed([guessed] * 5, classes, largest, characters=4230)


def test_before_the_last_repeat_only_exact_guessing_has_collapsed() -> None:
    assert not has_collapsed([0.55, NAN, NAN], classes=2, characters=40)
    assert has_collapsed([0.5, NAN, NAN], classes=2, characters=40)
    assert not has_collapsed([NAN, NAN], classes=2, characters=40)


def test_one_guessing_trial_is_a_collapse() -> None:
    assert has_collapsed([0.95, 0.95, 0.5], classes=2, characters=40)
    assert has_collapsed([0.87, 0.87, 1 / 47], classes=47, characters=4230)


def test_a_trial_that_is_low_by_chance_is_not_a_collapse() -> None:
    assert not has_collapsed([0.6, 0.6, 0.5, 0.65, 0.6], classes=2, characters=40)


def test_exact_accuracies_need_no_bound() -> None:
    assert has_collapsed([0.9, 0.5], classes=2)
    assert not has_collapsed([0.9, 0.501], classes=2)
