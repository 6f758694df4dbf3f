"""What a verdict is worth, on the simulated stages of benchmarks/verdicts.py."""

import math

import numpy as np
import pytest
from verdicts import (
    BATCH,
    CANDIDATES,
    REPEATS,
    STANDARD_ERRORS,
    VALIDATION,
    adoption,
    coverage,
    exact_adoption,
    race,
    simulate,
    verdict_table,
)

from ablation.judge.selection import corrected_interval

STAGES = 100_000
# The targets are met by a fraction of a percent, which takes many stages to see.
MANY = 1_000_000


@pytest.mark.parametrize("repeats", REPEATS)
def test_equal_candidate_is_adopted_in_at_most_22_percent(repeats: int) -> None:
    assert 1 - adoption([0.0], repeats, STANDARD_ERRORS, MANY, seed=1)[0] <= 0.22


@pytest.mark.parametrize("gain, least", [(2.0, 0.85), (3.0, 0.95)])
def test_real_gain_is_adopted_at_five_repeats(gain: float, least: float) -> None:
    assert adoption([gain], 5, STANDARD_ERRORS, MANY, seed=2)[1] >= least


def test_both_targets_hold_in_theory_and_not_by_luck_of_the_seed() -> None:
    assert max(exact_adoption(0.0, repeats, STANDARD_ERRORS) for repeats in REPEATS) <= 0.22
    assert exact_adoption(2.0, 5, STANDARD_ERRORS) >= 0.85
    assert exact_adoption(3.0, 5, STANDARD_ERRORS) >= 0.95


def test_whole_standard_error_misses_a_gain_of_two_more_often() -> None:
    assert exact_adoption(2.0, 5, 1.0) == pytest.approx(0.842, abs=0.001)


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("gain", [0.0, 2.0])
def test_simulation_agrees_with_theory(gain: float, repeats: int) -> None:
    measured = adoption([gain], repeats, 1.0, STAGES, seed=3)[1]
    expected = exact_adoption(gain, repeats, 1.0)
    assert abs(measured - expected) < 4 * math.sqrt(expected * (1 - expected) / STAGES)


@pytest.mark.parametrize("repeats", REPEATS)
def test_interval_covers_the_true_gain(repeats: int) -> None:
    assert 0.93 <= coverage(2.0, repeats, stages=4_000, seed=4) <= 0.97


def test_interval_without_the_correction_is_far_too_sure() -> None:
    scores, _ = simulate(2_000, [0.0], 10, np.random.default_rng(5))
    intervals = np.array(
        [corrected_interval(gains, 0.0, 0.95) for gains in scores[:, 1] - scores[:, 0]]
    )
    assert ((intervals[:, 0] <= 0) & (intervals[:, 1] >= 0)).mean() < 0.85


@pytest.mark.parametrize("repeats", REPEATS)
def test_picking_the_best_of_many_has_its_price(repeats: int) -> None:
    left = [
        1 - adoption([0.0] * count, repeats, STANDARD_ERRORS, STAGES, seed=6)[0]
        for count in CANDIDATES
    ]
    assert left[0] < left[1] < left[2] < 0.55


def test_simulated_repeats_are_correlated_as_nadeau_and_bengio_assume() -> None:
    scores, error = simulate(STAGES, [0.0], 5, np.random.default_rng(7))
    gains = scores[:, 1] - scores[:, 0]
    assert np.corrcoef(gains[:, 0], gains[:, 4])[0, 1] == pytest.approx(VALIDATION, abs=0.02)
    assert gains.mean(axis=1).std() == pytest.approx(error, rel=0.02)


def test_racing_saves_trials_and_hardly_changes_a_winner() -> None:
    saved, changed = race(spread=5.0, repeats=5, stages=100, seed=8)
    assert saved > 0.2
    assert changed <= 0.03


def test_table_has_a_column_for_each_number_of_repeats() -> None:
    table = verdict_table(STANDARD_ERRORS, stages=BATCH)
    assert list(table) == ["3 repeats", "5 repeats", "10 repeats"]
    assert table.to_numpy().min() >= 0 and table.to_numpy().max() <= 1
