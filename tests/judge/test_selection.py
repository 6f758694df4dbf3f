"""The verdict, on cases that can be worked out by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from ablation.judge.selection import (
    Contender,
    Evidence,
    Verdict,
    corrected_error,
    corrected_interval,
    judge_stage,
    raced_out,
    simplest_within_noise,
)

NAN = math.nan


def contender(
    setting: str,
    scores: list[float],
    *,
    candidate: str | None = None,
    rate: float | None = None,
    diverged: bool = False,
) -> Contender:
    return Contender(candidate or setting, setting, np.array(scores, float), diverged, rate)


def judge(incumbent: Contender, *contenders: Contender, standard_errors: float = 1.0) -> Verdict:
    return judge_stage(incumbent, contenders, 0.25, standard_errors)


def row(verdict: Verdict, setting: str) -> Evidence:
    return next(row for row in verdict.evidence if row.setting == setting)


OLD = contender("old", [0.80, 0.80, 0.80])
# Mean gain 0.02, standard deviation 0.01, standard error 0.01 * sqrt(1/3 + 1/4) = 0.00764.
BETTER = contender("better", [0.81, 0.82, 0.83])


# --- the standard error and the interval ---------------------------------------------------------


def test_error_by_hand() -> None:
    error = corrected_error(np.array([0.01, 0.02, 0.03]), 0.25)
    assert float(error) == pytest.approx(0.00763763, abs=1e-8)


def test_interval_by_hand() -> None:
    # t with two degrees of freedom leaves 2.5 % above 4.30265; 4.30265 * 0.00763763 = 0.0328621.
    low, high = corrected_interval(np.array([0.01, 0.02, 0.03]), 0.25, 0.95)
    assert (low, high) == pytest.approx((-0.0128621, 0.0528621), abs=1e-6)


def test_interval_widens_with_the_share_of_validation() -> None:
    gains = np.array([0.01, 0.02, 0.03])
    narrow, wide = (corrected_interval(gains, ratio, 0.95) for ratio in (0.1, 0.5))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_one_repeat_says_nothing_about_noise() -> None:
    assert corrected_interval(np.array([0.5]), 0.25, 0.95) == (-math.inf, math.inf)
    assert corrected_error(np.array([0.5]), 0.25) == math.inf


def test_errors_of_many_stages_at_once() -> None:
    gains = np.random.default_rng(0).normal(size=(4, 3, 5))
    errors = corrected_error(gains, 0.25)
    assert errors.shape == (4, 3)
    assert errors[2, 1] == corrected_error(gains[2, 1], 0.25)


# --- the winner ----------------------------------------------------------------------------------


def test_clear_gain_is_adopted() -> None:
    verdict = judge(OLD, BETTER)  # 0.02 is 2.6 standard errors
    assert (verdict.winner, verdict.verdict) == (BETTER, "adopted")


def test_gain_within_the_noise_is_not() -> None:
    verdict = judge(OLD, BETTER, standard_errors=3.0)
    assert (verdict.winner, verdict.verdict) == (OLD, "kept")


def test_shortfall_of_just_the_tolerance_is_within_the_noise() -> None:
    in_errors = 0.02 / 0.00763763
    assert judge(OLD, BETTER, standard_errors=in_errors - 1e-5).verdict == "adopted"
    assert judge(OLD, BETTER, standard_errors=in_errors + 1e-5).verdict == "kept"


def test_worse_candidate_is_not_adopted() -> None:
    assert judge(BETTER, OLD).winner is BETTER


def test_no_candidates_keep_the_incumbent() -> None:
    assert judge(OLD).verdict == "kept"


# `best` is ahead of `simple` by (-0.01, 0.02, 0), a mean of 0.0033 with an error of 0.0117, and of
# the incumbent by 0.0333, which is 2.9 errors.
SIMPLE = contender("simple", [0.83, 0.83, 0.83])
BEST = contender("best", [0.82, 0.85, 0.83])


def test_simplest_of_two_equals_wins() -> None:
    assert judge(OLD, SIMPLE, BEST).winner is SIMPLE
    assert judge(OLD, BEST, SIMPLE).winner is BEST


def test_zero_standard_errors_asks_for_the_highest_mean() -> None:
    assert judge(OLD, SIMPLE, BEST, standard_errors=0).winner is BEST


def test_highest_mean_shared_goes_to_the_first() -> None:
    # The same three scores in another order: their means differ by rounding only.
    first, same = contender("a", [0.3, 0.9, 0.2]), contender("b", [0.9, 0.2, 0.3])
    assert same.scores.mean() > first.scores.mean()
    for pair in ([first, same], [same, first]):
        assert judge(contender("old", [0, 0, 0]), *pair, standard_errors=0).winner is pair[0]


def test_single_repeat_goes_to_the_highest_mean() -> None:
    one = [contender("old", [0.80]), contender("a", [0.82]), contender("b", [0.81])]
    assert judge(*one).winner is one[1]


def test_many_stages_at_once_are_judged_as_one_by_one() -> None:
    scores = np.random.default_rng(0).normal(size=(200, 4, 5))
    together = simplest_within_noise(scores, 0.25, 1.0)
    assert together.tolist() == [int(simplest_within_noise(s, 0.25, 1.0)) for s in scores]
    assert len(set(together.tolist())) == 4


# --- the grid inside a candidate -----------------------------------------------------------------


def grid(
    *means: float, candidate: str = "sgd", rates: tuple[float, ...] = (0.01, 0.1, 1.0)
) -> list[Contender]:
    return [
        contender(f"{candidate} lr={rate}", [mean] * 3, candidate=candidate, rate=rate)
        for rate, mean in zip(rates, means, strict=True)
    ]


def test_best_grid_point_stands_for_its_candidate() -> None:
    verdict = judge(OLD, *grid(0.81, 0.85, 0.82))
    assert verdict.winner.setting == "sgd lr=0.1"
    assert [row.won_grid for row in verdict.evidence] == [True, False, True, False]


def test_lesser_grid_point_cannot_win_as_the_simplest() -> None:
    # Within the noise of `best` and listed first, but `high` stands for the candidate.
    low = contender("low", [0.82, 0.83, 0.83], candidate="sgd")
    high = contender("high", [0.83, 0.83, 0.83], candidate="sgd")
    assert judge(OLD, low, high, BEST).winner is high


@pytest.mark.parametrize("means, edge", [((3, 2, 1), 0), ((1, 2, 3), 2), ((1, 3, 2), None)])
def test_rate_at_the_edge_of_its_grid_is_flagged(means: tuple[int, ...], edge: int | None) -> None:
    points = grid(*(mean / 10 for mean in means))
    flags = [row.grid_edge for row in judge(OLD, *points).evidence[1:]]
    assert flags == [place == edge for place in range(3)]


def test_edge_is_of_the_rates_and_not_of_their_order() -> None:
    points = grid(0.81, 0.85, 0.82, rates=(0.1, 1.0, 0.01))
    assert row(judge(OLD, *points), "sgd lr=1.0").grid_edge


def test_single_rate_is_no_grid() -> None:
    verdict = judge(OLD, *grid(0.85, rates=(0.1,)), *grid(0.84, rates=(0.3,), candidate="adam"))
    assert not any(row.grid_edge for row in verdict.evidence)


def test_strengths_have_no_edge() -> None:
    strengths = [contender(f"l2={i}", [0.8 + i / 100] * 3, candidate="l2") for i in range(3)]
    assert not any(row.grid_edge for row in judge(OLD, *strengths).evidence)


def test_incumbent_is_a_point_of_its_candidates_grid() -> None:
    incumbent = contender("sgd lr=0.1", [0.85] * 3, candidate="sgd", rate=0.1)
    low, high = grid(0.83, 0.84, rates=(0.01, 1.0))
    verdict = judge(incumbent, low, high)
    assert [row.won_grid for row in verdict.evidence] == [True, False, False]
    assert not any(row.grid_edge for row in verdict.evidence)


def test_better_rate_than_the_incumbents_is_adopted() -> None:
    incumbent = contender("sgd lr=0.1", [0.80] * 3, candidate="sgd", rate=0.1)
    low, high = grid(0.79, 0.84, rates=(0.01, 1.0))
    verdict = judge(incumbent, low, high)
    assert verdict.winner is high
    assert [row.won_grid for row in verdict.evidence] == [False, False, True]
    assert verdict.won.grid_edge


# --- divergence ----------------------------------------------------------------------------------


def test_diverged_contender_never_wins() -> None:
    wild = contender("wild", [0.95, 0.95, 0.95], diverged=True)
    verdict = judge(OLD, wild, BETTER)
    assert verdict.winner is BETTER
    assert row(verdict, "wild").diverged and not row(verdict, "wild").won_grid


def test_diverged_grid_point_does_not_stand_for_its_candidate() -> None:
    tame = contender("tame", [0.83] * 3, candidate="sgd", rate=0.1)
    wild = contender("wild", [0.95, 0.95, 0.0], candidate="sgd", rate=1.0, diverged=True)
    slow = contender("slow", [0.81] * 3, candidate="sgd", rate=0.01)
    verdict = judge(OLD, slow, tame, wild)
    assert verdict.winner is tame
    assert not verdict.won.grid_edge  # the rate above it was tried


def test_diverged_incumbent_loses_to_the_best_that_did_not() -> None:
    gone = contender("gone", [0.0, 0.0, 0.0], diverged=True)
    verdict = judge(gone, SIMPLE, BEST)
    assert (verdict.winner, verdict.verdict) == (SIMPLE, "adopted")
    assert row(verdict, "gone").role == "incumbent"


def test_half_diverged_incumbent_is_not_kept_for_its_noise() -> None:
    # Its spread is so wide that any shortfall would be within a standard error.
    shaky = contender("shaky", [0.9, 0.0, 0.9], diverged=True)
    assert judge(shaky, OLD).winner is OLD


def test_all_diverged_is_an_error_that_names_them() -> None:
    wild = [contender(name, [0, 0, 0], diverged=True) for name in ("sgd lr=9", "adam lr=9")]
    with pytest.raises(ValueError, match=r"sgd lr=9, adam lr=9.*Lower the learning rates"):
        judge(*wild)


def test_diverged_contender_that_was_stopped_was_not_raced_out() -> None:
    found = row(judge(OLD, contender("wild", [0.8, 0.0, NAN], diverged=True)), "wild")
    assert (found.diverged, found.raced_out, found.repeats) == (True, False, 2)


# --- evidence ------------------------------------------------------------------------------------


def test_evidence_by_hand() -> None:
    found = row(judge(OLD, BETTER), "better")
    assert found.accuracy == pytest.approx(0.82)
    assert found.spread == pytest.approx(0.01)
    assert found.gain == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx((-0.0128621, 0.0528621), abs=1e-6)
    assert (found.repeats, found.role) == (3, "winner")


def test_incumbent_gains_nothing_over_itself() -> None:
    found = row(judge(OLD, BETTER), "old")
    assert (found.role, found.gain) == ("incumbent", 0.0)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_kept_incumbent_has_the_role_of_winner() -> None:
    verdict = judge(OLD, BETTER, standard_errors=9)
    assert [row.role for row in verdict.evidence] == ["winner", "candidate"]
    assert verdict.won.setting == "old"


def test_single_repeat_leaves_noise_undefined() -> None:
    found = row(judge(contender("old", [0.80]), contender("new", [0.82])), "new")
    assert found.gain == pytest.approx(0.02)
    assert all(math.isnan(value) for value in (found.spread, found.low, found.high))


def test_evidence_is_a_table_with_the_columns_of_candidates_csv() -> None:
    table = pd.DataFrame(judge(OLD, BETTER).evidence)
    assert ", ".join(table) == (
        "candidate, setting, role, accuracy, spread, gain, low, high, repeats, diverged, "
        "won_grid, grid_edge, raced_out"
    )


def test_raced_out_contender_is_compared_on_the_repeats_that_both_ran() -> None:
    incumbent = contender("old", [0.80, 0.81, 0.90])
    stopped = contender("stopped", [0.78, 0.80, NAN])
    found = row(judge(incumbent, stopped), "stopped")
    assert (found.repeats, found.raced_out) == (2, True)
    assert found.gain == pytest.approx(-0.015)


def test_raced_out_contender_cannot_win() -> None:
    assert judge(OLD, contender("stopped", [0.95, 0.95, NAN]), BETTER).winner is BETTER


def test_finished_grid_point_stands_before_one_that_was_raced_out() -> None:
    lucky = contender("lucky", [0.99, NAN, NAN], candidate="sgd")
    finished = contender("finished", [0.83, 0.83, 0.83], candidate="sgd")
    assert row(judge(OLD, lucky, finished), "finished").won_grid


def test_grid_that_was_raced_out_whole_still_shows_its_edge() -> None:
    low = contender("low", [0.5, 0.5, NAN], candidate="sgd", rate=0.01)
    high = contender("high", [0.6, 0.6, NAN], candidate="sgd", rate=0.1)
    found = row(judge(OLD, low, high), "high")
    assert found.won_grid and found.grid_edge and found.raced_out


# --- what is not a stage -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage, complaint",
    [
        ([OLD, contender("short", [0.8, 0.8])], r"'short': scores have shape \(2,\)"),
        ([OLD, contender("idle", [NAN, NAN, NAN])], "'idle': no repeat was run"),
        ([contender("gap", [0.8, NAN, 0.8]), BETTER], "'gap'.*runs on every repeat"),
        ([contender("none", [])], "'none'.*runs on every repeat"),
        ([OLD, contender("old", [0.8, 0.8, 0.8])], "setting 'old' is given twice"),
    ],
)
def test_what_is_wrong_is_named(stage: list[Contender], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        judge(*stage)


# --- racing --------------------------------------------------------------------------------------


def race(incumbent: Contender, *contenders: Contender) -> list[bool]:
    return raced_out(incumbent, contenders, 0.25)


def test_clearly_behind_is_out() -> None:
    # Behind by (0.2, 0.2, 0.21): the interval is -0.2033 -+ 4.30 * 0.00441.
    far = contender("far", [0.60, 0.60, 0.59, NAN])
    assert race(contender("old", [0.80, 0.80, 0.80, NAN]), far) == [True]


def test_behind_within_the_noise_goes_on() -> None:
    near = contender("near", [0.79, 0.81, 0.78, NAN])
    assert race(contender("old", [0.80, 0.80, 0.80, NAN]), near) == [False]


def test_nobody_is_out_after_a_single_repeat() -> None:
    assert race(contender("old", [0.8, NAN]), contender("far", [0.1, NAN])) == [False]


def test_leader_may_be_a_contender() -> None:
    old = contender("old", [0.60, 0.61, 0.60])
    assert race(old, contender("lead", [0.90, 0.90, 0.90]), contender("b", [0.6, 0.6, 0.61])) == [
        False,
        True,
    ]


def test_out_stays_out_and_does_not_lead() -> None:
    stopped = contender("stopped", [0.99, 0.99, NAN])
    assert race(OLD, stopped, BETTER) == [True, False]


def test_diverged_is_out_at_once_and_does_not_lead() -> None:
    wild = contender("wild", [0.99, NAN, NAN], diverged=True)
    assert race(contender("old", [0.8, NAN, NAN]), wild, contender("b", [0.1, NAN, NAN])) == [
        True,
        False,
    ]


def test_diverged_incumbent_does_not_lead() -> None:
    gone = contender("gone", [0.99, 0.99, 0.99], diverged=True)
    assert race(gone, contender("a", [0.70, 0.71, 0.70]), BETTER) == [True, False]


def test_equal_scores_race_on() -> None:
    assert race(OLD, contender("same", [0.80, 0.80, 0.80])) == [False]
