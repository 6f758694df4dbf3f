"""Verdicts, on cases that can be computed by hand."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.typing import ArrayLike

from ablation.base.errors import UserError
from ablation.judge.noise import measure_noise
from ablation.judge.selection import (
    Contender,
    Evidence,
    Verdict,
    _finding,
    decide,
    find_champions,
    judge_stage,
    simplicity,
    tolerance,
)

NAN = math.nan


def contender(
    setting: str,
    scores: ArrayLike,
    *,
    candidate: str | None = None,
    rate: float | None = None,
    diverged: bool = False,
    collapsed: bool = False,
) -> Contender:
    floats = np.array(scores, float)
    return Contender(candidate or setting, setting, floats, diverged, rate, collapsed)


def judge(
    incumbent: Contender, *contenders: Contender, risk: float = 0.2, equal_within: float = 0.01
) -> Verdict:
    return judge_stage(incumbent, contenders, 0.25, risk, equal_within)


def row(verdict: Verdict, setting: str) -> Evidence:
    return next(row for row in verdict.evidence if row.setting == setting)


OLD = contender("old", [0.80, 0.80, 0.80])
# Mean gain 0.02, standard deviation 0.01, standard error 0.01 * sqrt(1/3 + 1/4) = 0.00764.
BETTER = contender("better", [0.81, 0.82, 0.83])


# --- replacing the incumbent ---------------------------------------------------------------------


def test_clear_gain_is_adopted() -> None:
    verdict = judge(OLD, BETTER)  # 0.02 is 2.6 standard errors
    assert (verdict.winner, verdict.verdict) == (BETTER, "adopted")


def test_gain_within_the_noise_is_not_adopted() -> None:
    verdict = judge(OLD, BETTER, risk=0.01)
    assert (verdict.winner, verdict.verdict) == (OLD, "kept")


def test_bound_for_one_candidate_is_a_quantile_of_students_t() -> None:
    # Of 0.02 / 0.00763763 with two degrees of freedom the one-sided p is 1/2 - t / 2 sqrt(2 + t^2).
    assert judge(OLD, BETTER, risk=0.0601).verdict == "adopted"
    assert judge(OLD, BETTER, risk=0.0599).verdict == "kept"


def test_the_best_of_many_candidates_needs_a_larger_gain() -> None:
    random = np.random.default_rng(0)
    old, *others = (contender(f"{n}", 0.8 + 0.01 * random.normal(size=5)) for n in range(12))
    best = max(others, key=lambda c: c.scores.mean())
    assert judge(old, best).verdict == "adopted"
    assert judge(old, *others).verdict == "kept"


def test_every_point_of_a_grid_counts_as_a_candidate() -> None:
    random = np.random.default_rng(0)
    old, *points = (0.8 + 0.01 * random.normal(size=5) for _ in range(12))
    grid = [contender(f"lr={n}", scores, candidate="sgd") for n, scores in enumerate(points)]
    assert judge(contender("old", old), *grid).verdict == "kept"


def test_worse_candidate_is_not_adopted() -> None:
    assert judge(BETTER, OLD).winner is BETTER
    assert judge(BETTER, OLD, risk=0.99).winner is BETTER


def test_equal_candidate_is_not_adopted() -> None:
    assert judge(OLD, contender("same", [0.80, 0.80, 0.80]), risk=0.99).verdict == "kept"


def test_no_candidates_keep_the_incumbent() -> None:
    assert judge(OLD).verdict == "kept"


def test_noisy_loser_listed_first_is_not_adopted() -> None:
    # Its own noise is so large that the former rule adopted it with a gain of -16 points.
    old = contender("old", [0.870, 0.871, 0.869, 0.870, 0.871])
    shaky = contender("shaky", [0.880, 0.881, 0.879, 0.880, 0.020])
    best = contender("best", [0.880, 0.880, 0.881, 0.879, 0.880])
    assert judge(old, shaky, best).winner is best


def test_noisy_candidate_must_pass_its_own_bound() -> None:
    # On average as good as the best and better than the incumbent, but possibly by chance.
    old = contender("old", [0.870, 0.871, 0.869, 0.870, 0.871])
    shaky = contender("shaky", [0.940, 0.800, 0.930, 0.810, 0.920])
    best = contender("best", [0.880, 0.880, 0.881, 0.879, 0.880])
    assert judge(old, shaky, best).winner is best


@pytest.mark.parametrize("gain, verdict", [(0.0030, "kept"), (0.0031, "adopted")])
def test_bound_has_the_shared_degrees_of_freedom(gain: float, verdict: str) -> None:
    # 2.20 and 2.27 standard errors. The bound is 2.24 for the 36 degrees of freedom that five
    # contenders share, and 2.29 for the 22 of a single gain.
    steps = 0.001 * np.array([0, 1, -1, 2, -2, 3, -3, 4, -4, 0])
    steady = [contender(f"{n}", 0.79 + np.roll(steps, 2 * n)) for n in (1, 2, 3)]
    new = contender("new", 0.80 + gain + np.roll(steps, 8))
    assert judge(contender("old", 0.80 + steps), *steady, new, risk=0.05).verdict == verdict


@pytest.mark.parametrize("gain, verdict", [(0.075, "kept"), (0.085, "adopted")])
def test_noisy_candidates_bound_has_its_own_degrees_of_freedom(gain: float, verdict: str) -> None:
    # 2.77 and 3.14 standard errors. The bound is 3.08 for its own four degrees of freedom, 2.41 for
    # twelve.
    steps = 0.001 * np.array([0, 1, -1, 2, -2])
    steady = [contender(f"{n}", 0.79 + np.roll(steps, n)) for n in (1, 2, 3)]
    shaky = contender("shaky", 0.80 + gain + 0.05 * np.array([1, -1, 0.5, -0.5, 0]))
    assert judge(contender("old", 0.80 + steps), *steady, shaky, risk=0.05).verdict == verdict


def test_winner_is_never_worse_than_the_incumbent() -> None:
    random = np.random.default_rng(2)
    adopted = 0
    for _ in range(150):
        count, repeats = random.integers(1, 8), random.integers(1, 6)
        spreads = 0.001 * 10 ** random.uniform(0, 2, size=count + 1)
        scores = 0.8 + spreads[:, None] * random.normal(size=(count + 1, repeats))
        old, *others = (contender(f"{n}", row) for n, row in enumerate(scores))
        verdict = judge(old, *others, risk=random.choice([0.05, 0.2, 0.5, 0.9]))
        adopted += verdict.verdict == "adopted"
        assert verdict.winner.scores.mean() >= old.scores.mean()
    assert adopted > 25


# --- on equal terms ------------------------------------------------------------------------------


def judge_again(incumbent: Contender, *others: Contender, simpler: int) -> Verdict:
    return judge_stage(incumbent, others, 0.25, 0.2, 0.01, simpler=simpler)


STEPS = 0.001 * np.array([0, 1, -1, 2, -2])  # standard error of a gain below: about 0.0015


def level(setting: str, mean: float, turn: int, candidate: str | None = None) -> Contender:
    return contender(setting, mean + np.roll(STEPS, turn), candidate=candidate)


NONE, L1 = level("none", 0.80, 0), level("l1", 0.8005, 1)


def test_a_setting_that_no_longer_helps_is_removed() -> None:
    verdict = judge_again(L1, NONE, simpler=1)
    assert (verdict.winner, verdict.verdict) == (NONE, "adopted")
    assert row(verdict, "none").gain == pytest.approx(-0.0005)


def test_a_setting_that_helps_is_kept() -> None:
    useful = level("useful", 0.805, 1)
    verdict = judge_again(useful, NONE, simpler=1)
    assert (verdict.winner, verdict.verdict) == (useful, "kept")


def test_a_setting_that_was_rejected_too_early_is_adopted() -> None:
    useful = level("useful", 0.805, 1)
    assert judge_again(NONE, useful, simpler=0).winner is useful


def test_the_simplest_of_equals_wins_regardless_of_the_incumbent() -> None:
    one, two, three = (level(name, 0.81, n) for n, name in enumerate(("one", "two", "three")))
    assert judge_again(one, two, three, simpler=0).winner is one
    assert judge_again(two, one, three, simpler=1).winner is one
    assert judge_again(three, one, two, simpler=2).winner is one


def test_an_incumbent_in_the_middle_wins_over_less_simple_settings() -> None:
    bad, more = level("bad", 0.79, 1), level("more", 0.8003, 2)
    assert judge_again(NONE, bad, more, simpler=1).winner is NONE


def test_exact_ties_go_to_the_simplest() -> None:
    same = contender("same", NONE.scores)
    assert judge_again(same, NONE, simpler=1).winner is NONE
    assert judge_again(NONE, same, simpler=0).winner is NONE


def test_with_one_repeat_the_highest_score_wins_and_the_simplest_of_ties() -> None:
    low, high, same = (contender(n, [s]) for n, s in (("low", 0.7), ("high", 0.8), ("same", 0.8)))
    assert judge_again(high, low, simpler=1).winner is high
    assert judge_again(low, high, simpler=0).winner is high
    assert judge_again(same, high, simpler=1).winner is high


def test_a_failed_incumbent_is_replaced_and_a_failed_setting_does_not_win() -> None:
    gone = contender("gone", [0.9, 0.9, 0.9, 0.9, 0.0], diverged=True)
    assert judge_again(gone, NONE, simpler=1).winner is NONE
    assert judge_again(gone, NONE, simpler=0).winner is NONE
    assert judge_again(L1, gone, simpler=1).winner is L1


def test_a_noisy_setting_must_exceed_its_own_bound_to_win() -> None:
    steady = [level(f"{n}", 0.79, n) for n in (2, 3)]  # from which the noise is estimated
    shaky = contender("shaky", [0.90, 0.72, 0.89, 0.70, 0.80])  # its mean is 0.802
    assert judge_again(L1, shaky, *steady, simpler=1).winner is L1
    proven = contender("proven", [0.95, 0.92, 0.97, 0.93, 0.90])
    assert judge_again(L1, proven, *steady, simpler=1).winner is proven


def test_a_stopped_setting_does_not_win() -> None:
    stopped = contender("stopped", [0.81, 0.81, NAN, NAN, NAN])
    assert judge_again(L1, stopped, NONE, simpler=2).winner is NONE


def test_the_best_rate_represents_a_setting() -> None:
    """Without its better rate, the simpler setting would be behind."""
    slow, right = level("none lr=1", 0.79, 2, "none"), level("none lr=2", 0.8003, 3, "none")
    assert judge_again(L1, slow, simpler=1).winner is L1
    assert judge_again(L1, slow, right, simpler=2).winner is right


def test_simplicity_follows_the_order_given_including_the_incumbent() -> None:
    assert simplicity(4, 2).argsort().tolist() == [1, 2, 0, 3]
    assert (
        simplicity(3, None).argsort().tolist() == simplicity(3, 0).argsort().tolist() == [0, 1, 2]
    )


def test_a_batch_of_stages_on_equal_terms_gives_the_same_verdicts() -> None:
    random = np.random.default_rng(0)
    scores = random.normal(size=(80, 5, 6)) + 0.7 * random.normal(size=(80, 5, 1))
    failed = random.uniform(size=(80, 5)) < 0.1
    grids = np.array([0, 1, 1, 2, 0])
    apart = [
        int(decide(*stage, grids, 0.25, 0.2, simpler=2))
        for stage in zip(scores, failed, strict=True)
    ]
    assert decide(scores, failed, grids, 0.25, 0.2, simpler=2).tolist() == apart
    assert {*apart} == {*range(5)}


# --- the simplest of equals ----------------------------------------------------------------------

# `best` is ahead of `simple` by 0.0033 and of the incumbent by 0.0333. The three share a spread of
# 0.01054 with four degrees of freedom, so that one comparison at a risk of 0.2 allows
# 0.941 * 0.01054 * sqrt(2 (1/3 + 1/4)) = 0.0107.
SIMPLE = contender("simple", [0.835, 0.825, 0.83])
BEST = contender("best", [0.82, 0.85, 0.83])


def test_simplest_of_two_equals_wins() -> None:
    assert judge(OLD, SIMPLE, BEST).winner is SIMPLE
    assert judge(OLD, BEST, SIMPLE).winner is BEST


def test_a_simpler_candidate_clearly_behind_the_best_does_not_win() -> None:
    assert judge(OLD, contender("behind", [0.82, 0.81, 0.815]), BEST).winner is BEST


def test_higher_risk_reduces_the_tolerance() -> None:
    assert judge(OLD, SIMPLE, BEST, risk=0.45).winner is BEST


def test_tolerance_is_the_bound_of_one_comparison_at_the_risk() -> None:
    noise = measure_noise(np.random.default_rng(0).normal(size=(4, 5)))
    error = math.sqrt(2 * float(noise.variance) * (1 / 5 + 0.25))
    expected = scipy.stats.t.ppf(0.8, df=3 * 4) * error
    assert tolerance(noise, 5, 0.25, risk=0.2) == pytest.approx(expected)


def test_simplest_may_be_behind_by_the_tolerance_of_its_repeats() -> None:
    # Six contenders, three repeats, each spread the same: 0.0104 by the formula above.
    noise = [np.roll([0.0, 0.01, -0.01][::way], n) for way in (1, -1) for n in range(3)]
    levels = [[0.80, 0.85 - behind, 0.85, 0.75, 0.75, 0.75] for behind in (0.0100, 0.0105)]
    scores = np.array(levels)[..., None] + noise
    assert decide(scores, np.zeros((2, 6), bool), np.arange(6), 0.25, 0.2).tolist() == [1, 2]


def test_of_equal_highest_means_the_first_wins() -> None:
    # The same three scores in another order: their means differ only by rounding.
    first, same = contender("a", [0.3, 0.9, 0.2]), contender("b", [0.9, 0.2, 0.3])
    assert same.scores.mean() > first.scores.mean()
    for pair in ([first, same], [same, first]):
        assert judge(contender("old", [0.01, 0, 0]), *pair, risk=0.5).winner is pair[0]


def test_with_a_single_repeat_the_highest_mean_wins() -> None:
    one = [contender("old", [0.80]), contender("a", [0.82]), contender("b", [0.81])]
    assert judge(*one).winner is one[1]
    assert judge(contender("old", [0.83]), *one[1:]).verdict == "kept"


def test_two_repeats_are_enough_for_a_verdict() -> None:
    old, new = contender("old", [0.80, 0.81]), contender("new", [0.90, 0.91])
    verdict = judge(old, new, contender("bad", [0.70, 0.72]))
    assert verdict.winner is new
    assert row(verdict, "new").spread == pytest.approx(0.01 / math.sqrt(2))


def test_a_batch_of_stages_gives_the_same_verdicts() -> None:
    scores = np.random.default_rng(0).normal(size=(200, 5, 4))
    failed = np.random.default_rng(1).uniform(size=(200, 5)) < 0.1
    scores[::3, 4, 2:] = NAN
    grids = np.array([0, 1, 1, 2, 3])
    together = decide(scores, failed, grids, 0.25, 0.3)
    one_by_one = list(zip(scores, failed, strict=True))
    apart = [int(decide(*stage, grids, 0.25, 0.3)) for stage in one_by_one]
    assert together.tolist() == apart
    assert set(apart) == {0, 1, 2, 3, 4}
    champions = find_champions(scores, failed, grids).tolist()
    assert champions == [find_champions(*stage, grids).tolist() for stage in one_by_one]


# --- grids ---------------------------------------------------------------------------------------


def grid(
    *means: float, candidate: str = "sgd", rates: tuple[float, ...] = (0.01, 0.1, 1.0)
) -> list[Contender]:
    return [
        contender(f"{candidate} lr={rate}", [mean] * 3, candidate=candidate, rate=rate)
        for rate, mean in zip(rates, means, strict=True)
    ]


def test_best_grid_point_represents_its_candidate() -> None:
    verdict = judge(OLD, *grid(0.81, 0.85, 0.82))
    assert verdict.winner.setting == "sgd lr=0.1"
    assert [row.won_grid for row in verdict.evidence] == [True, False, True, False]


def test_a_worse_grid_point_cannot_win_as_the_simplest() -> None:
    # Within the noise of `best` and listed first, but `high` represents the candidate.
    low = contender("low", [0.82, 0.83, 0.83], candidate="sgd")
    high = contender("high", [0.83, 0.83, 0.83], candidate="sgd")
    assert judge(OLD, low, high, BEST).winner is high


@pytest.mark.parametrize("means, edge", [((3, 2, 1), 0), ((1, 2, 3), 2), ((1, 3, 2), None)])
def test_rate_at_the_edge_of_its_grid_is_flagged(means: tuple[int, ...], edge: int | None) -> None:
    points = grid(*(mean / 10 for mean in means))
    flags = [row.grid_edge for row in judge(OLD, *points).evidence[1:]]
    assert flags == [place == edge for place in range(3)]


def test_edge_of_a_grid_does_not_depend_on_the_order_of_rates() -> None:
    points = grid(0.81, 0.85, 0.82, rates=(0.1, 1.0, 0.01))
    assert row(judge(OLD, *points), "sgd lr=1.0").grid_edge


def test_a_single_rate_is_not_a_grid() -> None:
    verdict = judge(OLD, *grid(0.85, rates=(0.1,)), *grid(0.84, rates=(0.3,), candidate="adam"))
    assert not any(row.grid_edge for row in verdict.evidence)


def test_by_default_a_contender_has_no_rate_and_did_not_fail() -> None:
    plain = Contender("plain", "plain", np.array([0.8]))
    assert (plain.learning_rate, plain.failed) == (None, False)


def test_grids_of_strengths_have_no_edge() -> None:
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


def test_diverged_grid_point_does_not_represent_its_candidate() -> None:
    tame = contender("tame", [0.83] * 3, candidate="sgd", rate=0.1)
    wild = contender("wild", [0.95, 0.95, 0.0], candidate="sgd", rate=1.0, diverged=True)
    slow = contender("slow", [0.81] * 3, candidate="sgd", rate=0.01)
    verdict = judge(OLD, slow, tame, wild)
    assert verdict.winner is tame
    assert not verdict.won.grid_edge  # the rate above it was tried


def test_diverged_incumbent_loses_to_the_best_that_did_not_diverge() -> None:
    gone = contender("gone", [0.0, 0.0, 0.0], diverged=True)
    verdict = judge(gone, SIMPLE, BEST)
    assert (verdict.winner, verdict.verdict) == (SIMPLE, "adopted")
    assert row(verdict, "gone").role == "incumbent"


def test_partly_diverged_incumbent_is_not_kept_because_of_its_noise() -> None:
    # Its noise is so large that any loss would be within a standard error.
    shaky = contender("shaky", [0.9, 0.0, 0.9], diverged=True)
    assert judge(shaky, OLD).winner is OLD


def test_all_diverged_is_an_error_that_names_them() -> None:
    wild = contender("sgd lr=9", [0, 0, 0], diverged=True)
    gone = contender("adam lr=9", [0.02, 0.02, 0.02], collapsed=True)
    with pytest.raises(UserError) as refused:
        judge(wild, gone, contender("sgd lr=0", [0.5, 0.5, NAN]))
    assert str(refused.value) == (
        "no setting of this stage trained to the end, so none can win: sgd lr=9 diverged, "
        "adam lr=9 collapsed, sgd lr=0 was raced out; lower the learning rates in params.yaml"
    )


def test_diverged_contender_is_not_marked_as_raced_out() -> None:
    found = row(judge(OLD, contender("wild", [0.8, 0.0, NAN], diverged=True)), "wild")
    assert (found.diverged, found.raced_out, found.repeats) == (True, False, 2)


def test_collapsed_contender_never_wins() -> None:
    gone = contender("gone", [0.95, 0.95, 0.02], collapsed=True)
    verdict = judge(OLD, gone, BETTER)
    assert verdict.winner is BETTER
    assert row(verdict, "gone").collapsed and not row(verdict, "gone").won_grid


def test_collapsed_incumbent_loses_to_the_simplest_of_the_best() -> None:
    gone = contender("gone", [0.83, 0.02, 0.83], collapsed=True)
    verdict = judge(gone, contender("weak", [0.5, 0.51, 0.5]), SIMPLE, BEST)
    assert (verdict.winner, verdict.verdict) == (SIMPLE, "adopted")
    assert row(verdict, "gone").role == "incumbent"


def test_collapsed_incumbent_is_replaced_even_if_its_mean_is_higher() -> None:
    gone = contender("gone", [0.95, 0.02, 0.95], collapsed=True)
    weak = contender("weak", [0.50, 0.51, 0.50])
    assert judge(gone, weak, contender("weaker", [0.40, 0.40, 0.41])).winner is weak


def test_noise_of_failed_contenders_does_not_affect_the_others() -> None:
    # With their noise, `weak` would count as equal to the best.
    gone = [
        contender(f"gone {n}", np.roll([0.83, 0.02, 0.83], n), collapsed=True) for n in range(3)
    ]
    assert judge(*gone, contender("weak", [0.5, 0.51, 0.5]), BETTER).winner is BETTER


def test_failures_are_findings() -> None:
    wild = contender("wild", [0.0, 0.8, 0.8], diverged=True)
    gone = contender("gone", [0.02, 0.8, 0.8], collapsed=True)
    verdict = judge(OLD, wild, gone)
    assert [found.finding for found in verdict.evidence] == ["", "diverged", "collapsed"]
    assert all(math.isnan(found.low) for found in verdict.evidence)


# --- evidence ------------------------------------------------------------------------------------


def test_evidence_by_hand() -> None:
    found = row(judge(OLD, BETTER), "better")
    assert found.accuracy == pytest.approx(0.82)
    assert found.spread == pytest.approx(0.01)
    assert found.gain == pytest.approx(0.02)
    assert (found.low, found.high) == pytest.approx((-0.0128621, 0.0528621), abs=1e-6)
    assert (found.repeats, found.role, found.candidate) == (3, "winner", "better")


def test_incumbent_has_a_gain_of_0() -> None:
    found = row(judge(OLD, BETTER), "old")
    assert (found.role, found.gain) == ("incumbent", 0.0)
    assert math.isnan(found.low) and math.isnan(found.high)


def test_kept_incumbent_has_the_role_of_winner() -> None:
    verdict = judge(OLD, BETTER, risk=0.01)
    assert [row.role for row in verdict.evidence] == ["winner", "candidate"]
    assert verdict.won.setting == "old"


def test_interval_does_not_include_the_noise_of_failed_contenders() -> None:
    gone = contender("gone", [0.80, 0.02, 0.80], collapsed=True)
    alone, beside = (row(judge(OLD, BETTER, *more), "better") for more in ([], [gone]))
    assert (alone.low, alone.high) == (beside.low, beside.high)


@pytest.mark.filterwarnings("error")
def test_single_repeat_is_judged_without_a_warning() -> None:
    judge(contender("old", [0.80]), contender("new", [0.82]))


def test_single_repeat_leaves_noise_undefined() -> None:
    found = row(judge(contender("old", [0.80]), contender("new", [0.82])), "new")
    assert found.gain == pytest.approx(0.02)
    assert found.finding == "unknown"
    undefined = (found.spread, found.low, found.high, found.p_better, found.p_equal)
    assert all(math.isnan(value) for value in undefined)


# Paired with `OLD`, a spread of 0.001 has an error of 0.000764 and an interval of +-0.0033.
@pytest.mark.parametrize(
    "gain, equal_within, finding",
    [
        (0.010, 0.0001, "better"),
        (-0.010, 0.0001, "worse"),
        (0.002, 0.0001, "within the noise"),
        (0.002, 0.0100, "practically equal"),
        # Certainly better, but by a negligible amount.
        (0.004, 0.0100, "practically equal"),
        # Certainly better, and perhaps by a relevant amount.
        (0.010, 0.0100, "better"),
    ],
)
def test_finding_of_a_gain(gain: float, equal_within: float, finding: str) -> None:
    new = contender("new", [0.799 + gain, 0.80 + gain, 0.801 + gain])
    assert row(judge(OLD, new, equal_within=equal_within), "new").finding == finding


@pytest.mark.parametrize(
    "interval, chances, finding",
    [
        ((0.0, 0.1), (0.0, 0.5, 0.5), "within the noise"),
        ((-0.1, 0.0), (0.5, 0.5, 0.0), "within the noise"),
        ((-0.1, 0.1), (0.0, 0.05, 0.95), "better"),
        ((-0.1, 0.1), (0.95, 0.05, 0.0), "worse"),
        ((-0.1, 0.1), (0.05, 0.95, 0.0), "practically equal"),
    ],
)
def test_finding_at_an_interval_that_ends_at_zero(
    interval: tuple[float, float], chances: tuple[float, float, float], finding: str
) -> None:
    assert _finding(BETTER, True, interval, chances) == finding


def test_near_collapse_is_worse_even_if_its_own_noise_reaches_zero() -> None:
    # `sgd lr=1` of the study in git.
    old = contender("old", [0.8709, 0.8771, 0.8697, 0.8764, 0.8712])
    shaky = contender("shaky", [0.4983, 0.3506, 0.8610, 0.2199, 0.2584])
    found = row(judge(old, shaky, equal_within=0.0025), "shaky")
    assert found.high > 0
    assert found.finding == "worse"


def test_few_repeats_of_a_near_collapse_are_unsteady_and_not_noise() -> None:
    old = contender("old", [0.8709, 0.8771, 0.8697, 0.8764, 0.8712])
    shaky = contender("shaky", [0.4983, 0.3506, 0.8610, 0.2199, NAN])  # racing stopped it
    steps = 0.001 * np.array([0, 1, -1, 2, -2])
    others = [contender(f"{n}", old.scores + np.roll(steps, n)) for n in range(4)]
    verdict = judge(old, shaky, *others, equal_within=0.0025)
    assert row(verdict, "shaky").finding == "unsteady"
    assert row(verdict, "0").finding != "unsteady"


def test_probabilities_use_the_smallest_relevant_gain() -> None:
    found = row(judge(OLD, BETTER, equal_within=0.02), "better")
    assert found.p_better == pytest.approx(0.5)
    assert found.p_worse + found.p_equal + found.p_better == pytest.approx(1)


def test_interval_uses_the_noise_of_the_other_contenders() -> None:
    others = [contender(f"{n}", 0.80 + 0.01 * np.roll([0, 1, -1], n)) for n in range(3)]
    alone, together = (row(judge(OLD, BETTER, *more), "better") for more in ([], others))
    assert together.high - together.low < 0.8 * (alone.high - alone.low)


def test_evidence_is_a_table_with_the_columns_of_candidates_csv() -> None:
    table = pd.DataFrame(judge(OLD, BETTER).evidence)
    assert ", ".join(table) == (
        "candidate, setting, role, accuracy, spread, gain, low, high, p_worse, p_equal, "
        "p_better, finding, repeats, diverged, collapsed, won_grid, grid_edge, raced_out"
    )


def test_raced_out_contender_is_compared_on_the_repeats_that_both_ran() -> None:
    incumbent = contender("old", [0.80, 0.81, 0.90])
    stopped = contender("stopped", [0.78, 0.80, NAN])
    found = row(judge(incumbent, stopped), "stopped")
    assert (found.repeats, found.raced_out) == (2, True)
    assert found.gain == pytest.approx(-0.015)


def test_raced_out_contender_cannot_win() -> None:
    assert judge(OLD, contender("stopped", [0.95, 0.95, NAN]), BETTER).winner is BETTER


def test_finished_grid_point_is_preferred_to_one_that_was_raced_out() -> None:
    lucky = contender("lucky", [0.99, NAN, NAN], candidate="sgd")
    finished = contender("finished", [0.83, 0.83, 0.83], candidate="sgd")
    assert row(judge(OLD, lucky, finished), "finished").won_grid


def test_a_raced_out_grid_is_represented_by_its_smallest_loss_and_not_by_easy_repeats() -> None:
    old = contender("old", [0.9, 0.9, 0.5, 0.5])
    early = contender("early", [0.80, 0.80, NAN, NAN], candidate="sgd")
    later = contender("later", [0.85, 0.85, 0.45, NAN], candidate="sgd")
    assert row(judge(old, early, later), "later").won_grid


def test_edge_is_not_flagged_if_a_better_rate_was_raced_out() -> None:
    incumbent = contender("low", [0.8, 0.8, 0.8], candidate="sgd", rate=0.01)
    middle = contender("middle", [0.81, 0.81, NAN], candidate="sgd", rate=0.1)
    high = contender("high", [0.7, 0.7, NAN], candidate="sgd", rate=1.0)
    found = row(judge(incumbent, middle, high, BEST), "low")
    assert found.won_grid and not found.grid_edge


def test_edge_of_a_completely_raced_out_grid_is_flagged() -> None:
    low = contender("low", [0.5, 0.5, NAN], candidate="sgd", rate=0.01)
    high = contender("high", [0.6, 0.6, NAN], candidate="sgd", rate=0.1)
    found = row(judge(OLD, low, high), "high")
    assert found.won_grid and found.grid_edge and found.raced_out


# --- scores that are counts ----------------------------------------------------------------------


def test_equal_differences_of_few_characters_are_not_conclusive() -> None:
    # Eight classes of 40 pictures: 39 are for validation, and a contender classifies two fewer of
    # them correctly on both repeats.
    old = contender("old", np.array([30, 28, 29, 31, 30]) / 39)
    new = contender("new", [28 / 39, 26 / 39, NAN, NAN, NAN])
    sure, counted = (
        row(judge_stage(old, [new], 0.15 / 0.85, 0.2, 0.0025, characters), "new")
        for characters in (math.inf, 39)
    )
    assert sure.high - sure.low < 1e-9
    assert sure.finding == "worse"
    assert counted.low < counted.gain < 0 < counted.high
    assert counted.finding == "within the noise"
    assert 0 < counted.p_equal < counted.p_worse < 0.95


def test_two_identical_contenders_do_not_make_a_third_an_outlier() -> None:
    # `dropout` of the CNN in the committed study of version 1.4: of 4,230 characters, `none` has
    # three fewer correct than `more`, on both repeats.
    old = contender("old", np.array([3731, 3757, 3699, 3733, 3699]) / 4230)
    more = contender("more", np.array([3701, 3719, 3690, 3727, NAN]) / 4230)
    none = contender("none", np.array([3698, 3716, NAN, NAN, NAN]) / 4230)
    verdicts = [
        judge_stage(old, [none, more], 0.15 / 0.85, 0.2, 0.0025, characters)
        for characters in (math.inf, 4230)
    ]
    found = [[row.finding for row in verdict.evidence[1:]] for verdict in verdicts]
    assert found == [["unsteady", "unsteady"], ["worse", "within the noise"]]


def test_tolerance_without_noise_is_that_of_one_step() -> None:
    noise = measure_noise(np.zeros((3, 5)), characters=40)
    expected = scipy.stats.t.ppf(0.8, df=8) * math.sqrt(1 / 5 + 0.25) / 40
    assert tolerance(noise, 5, 0.25, risk=0.2) == pytest.approx(expected)


# --- invalid arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stage, complaint",
    [
        (
            [OLD, contender("short", [0.8, 0.8])],
            "'short': scores have shape (2,), the incumbent's (3,); all need one score per repeat, "
            "nan if it was not run.",
        ),
        (
            [OLD, contender("idle", [NAN, NAN, NAN])],
            "'idle': scores [nan nan nan] must start with the first repeat and have no gap; "
            "only the last repeats may be nan.",
        ),
        (
            [OLD, contender("hole", [0.8, NAN, 0.8])],
            "'hole': scores [0.8 nan 0.8] must start with the first repeat and have no gap; "
            "only the last repeats may be nan.",
        ),
        (
            [contender("gap", [0.8, NAN, 0.8]), BETTER],
            "incumbent 'gap': scores [0.8 nan 0.8] must be (repeats,) without nan; it runs on "
            "every repeat, since every gain is measured against it.",
        ),
        (
            [contender("none", [])],
            "incumbent 'none': scores [] must be (repeats,) without nan; it runs on every repeat, "
            "since every gain is measured against it.",
        ),
        (
            [OLD, contender("odd", [0.8, math.inf, 0.8])],
            "'odd': scores [0.8 inf 0.8] must be finite.",
        ),
        (
            [OLD, contender("old", [0.8, 0.8, 0.8])],
            "setting 'old' is given twice; pass it once, as the incumbent if it is its setting.",
        ),
    ],
)
def test_invalid_arguments_are_named(stage: list[Contender], complaint: str) -> None:
    with pytest.raises(ValueError) as refused:
        judge(*stage)
    assert str(refused.value) == complaint
