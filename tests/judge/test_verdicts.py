"""Error rates of verdicts, on the simulated stages of benchmarks/verdicts.py."""

import numpy as np
import pytest
from verdicts import (
    BATCH,
    CANDIDATES,
    FEW_REPEATS,
    REPEATS,
    RISK,
    VALIDATION,
    adoption,
    coverage,
    coverage_of_counts,
    former_rule,
    later_rounds,
    neighbours_width,
    race,
    simulate,
    simulate_counts,
    standard_error,
    this_rule,
    verdict_table,
)

STAGES = 10_000


@pytest.mark.parametrize("count", CANDIDATES)
def test_equal_candidates_are_adopted_as_often_as_the_risk_states(count: int) -> None:
    left = 1 - adoption(this_rule, [0.0] * count, 5, STAGES, spreads="equal")[0]
    assert left == pytest.approx(RISK, abs=0.015)


@pytest.mark.parametrize("repeats", REPEATS)
def test_risk_is_bounded_if_spreads_differ(repeats: int) -> None:
    assert 1 - adoption(this_rule, [0.0] * 22, repeats, STAGES)[0] < RISK + 0.05


@pytest.mark.parametrize("gain, least", [(2.0, 0.82), (3.0, 0.945)])
def test_real_gain_is_adopted(gain: float, least: float) -> None:
    assert adoption(this_rule, [gain], 5, STAGES)[1] >= least


@pytest.mark.parametrize("gain, least", [(2.0, 0.44), (3.0, 0.79), (4.0, 0.945)])
def test_real_gain_among_equals_is_adopted(gain: float, least: float) -> None:
    assert adoption(this_rule, [0.0] * 5 + [gain], 5, STAGES)[6] >= least


def test_the_former_rule_was_misled_by_many_candidates() -> None:
    assert 1 - adoption(former_rule, [0.0] * 22, 5, STAGES)[0] > 0.65


@pytest.mark.parametrize("repeats, narrower", [(3, 0.35), (5, 0.15)])
def test_interval_is_narrower_and_covers_the_true_gain(repeats: int, narrower: float) -> None:
    before, _, now = coverage(6, repeats, "equal", STAGES).values()
    assert 0.94 <= now[0] <= 0.962
    assert now[1] < (1 - narrower) * before[1]


@pytest.mark.parametrize("repeats", REPEATS)
def test_interval_covers_the_true_gain_if_spreads_differ_by_a_factor_of_two(repeats: int) -> None:
    assert list(coverage(6, repeats, "1 and 2 in turn", STAGES).values())[2][0] >= 0.93


@pytest.mark.parametrize("repeats", FEW_REPEATS)
@pytest.mark.parametrize("characters, stages", [(40, 1_000), (100, 500), (400, 150)])
def test_interval_covers_the_true_gain_of_few_characters(
    characters: int, stages: int, repeats: int
) -> None:
    for gain in (0.0, -0.2):
        found = coverage_of_counts(1, gain, characters, repeats, stages)
        assert found["now"] >= max(0.95, found["before"])


def test_scores_alone_give_too_narrow_intervals_for_few_characters() -> None:
    found = coverage_of_counts(1, 0.0, 40, 2, 1_000)
    assert found["none"] > 0.05
    assert found["before"] < 0.94


@pytest.mark.parametrize("candidates", [1, 4])
def test_few_characters_keep_the_risk(candidates: int) -> None:
    assert coverage_of_counts(candidates, 0.0, 40, 2, 1_000)["replaced"] < RISK


def test_simulated_counts_have_the_gain_and_are_counts() -> None:
    scores = simulate_counts(2_000, np.array([0.05]), 40, 2, np.random.default_rng(0))
    assert np.allclose(scores * 40, np.rint(scores * 40))
    assert scores.mean((0, 2)) == pytest.approx([0.8, 0.85], abs=0.006)


def test_near_collapse_does_not_widen_the_others_intervals() -> None:
    assert neighbours_width(100.0, 5, BATCH) < 0.02


def test_simulated_repeats_are_correlated_as_nadeau_and_bengio_assume() -> None:
    scores = simulate(STAGES, np.zeros(1), 5, "equal", np.random.default_rng(7))
    gains = scores[:, 1] - scores[:, 0]
    assert np.corrcoef(gains[:, 0], gains[:, 4])[0, 1] == pytest.approx(VALIDATION, abs=0.03)
    assert gains.mean(axis=1).std() == pytest.approx(standard_error(5), rel=0.02)


@pytest.mark.parametrize("repeats, saved", [(3, 0.10), (5, 0.19), (10, 0.27)])
def test_racing_saves_trials_but_rarely_those_of_the_winner(repeats: int, saved: float) -> None:
    found = race(4, 1, spread=1.0, repeats=repeats, stages=2_000)
    assert found["saved"] > saved
    assert found["stopped"] < 0.01


def test_racing_in_a_large_stage_costs_no_gain() -> None:
    found = race(6, 3, spread=1.0, repeats=5, stages=BATCH)
    assert found["saved"] > 0.3
    assert found["stopped"] < 0.015
    assert abs(found["loss"]) < 0.05


def test_racing_keeps_the_risk() -> None:
    assert race(4, 1, spread=0.0, repeats=5, stages=4_000)["replaced"] < RISK + 0.025


@pytest.mark.parametrize("simpler", [0, 2, 4])
@pytest.mark.parametrize("repeats", [3, 5])
def test_racing_on_equal_terms_rarely_stops_the_winner(repeats: int, simpler: int) -> None:
    """If it does, the setting that wins instead is as good."""
    found = race(4, 1, spread=1.0, repeats=repeats, stages=2_000, simpler=simpler)
    assert found["saved"] > 0.05
    assert found["stopped"] < 0.03
    assert found["loss"] < 0.02


@pytest.mark.parametrize("count", [1, 4])
def test_equal_but_less_simple_settings_are_adopted_as_often_as_the_risk_states(
    count: int,
) -> None:
    scores = simulate(STAGES, np.zeros(count), 5, "equal", np.random.default_rng(8))
    grids = np.arange(1 + count)
    for simpler, simplest in ((0, 0), (count, 1)):
        left = (this_rule(scores, grids, simpler) != simplest).mean()
        assert left == pytest.approx(RISK, abs=0.015)


def test_rates_of_equal_settings_do_not_raise_the_risk() -> None:
    scores = simulate(STAGES, np.zeros(5), 5, "equal", np.random.default_rng(9))
    grids = np.array([0, 0, 0, 1, 1, 1])
    assert (this_rule(scores, grids, simpler=0) > 2).mean() < RISK


def test_a_later_round_removes_useless_settings_and_adopts_those_rejected_early() -> None:
    one, backward, again = later_rounds(0.0, 0.0, 1, STAGES)
    assert backward < 0.3 * one < again
    one, backward, again = later_rounds(0.5, 0.0, 1, STAGES)
    assert one > 0.9 and max(backward, again) < RISK + 0.05
    one, backward, again = later_rounds(0.0, 0.5, 1, STAGES)
    assert backward <= one < RISK + 0.05 and again > 0.9


def test_a_later_round_rarely_loses_a_clear_gain() -> None:
    one, backward, again = later_rounds(1.0, 1.0, 4, STAGES)
    assert min(one, backward, again) > 0.99


def test_table_has_a_column_for_each_number_of_repeats() -> None:
    table = verdict_table(this_rule, stages=BATCH)
    assert list(table) == ["3 repeats", "5 repeats", "10 repeats"]
    assert table.to_numpy().min() >= 0 and table.to_numpy().max() <= 1
