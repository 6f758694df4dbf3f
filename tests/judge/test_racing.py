"""Entries that racing stops, and those that it does not."""

import math

import numpy as np
import pytest
import scipy.stats
from numpy.typing import ArrayLike

from ablation.judge.noise import against_first, dunnett_bound, measure_noise
from ablation.judge.racing import Outlook, _chance_of_replacement, out_of_reach, raced_out
from ablation.judge.selection import Contender

NAN = math.nan


def contender(
    setting: str, scores: ArrayLike, *, candidate: str | None = None, diverged: bool = False
) -> Contender:
    """The first scores of five repeats."""
    run = np.array(scores, float)
    padded = np.concatenate([run, np.full(5 - len(run), NAN)])
    return Contender(candidate or setting, setting, padded, diverged)


def race(incumbent: Contender, *contenders: Contender) -> list[bool]:
    return raced_out(incumbent, contenders, 0.25, risk=0.2)


# Spread of the noise about 0.002.
OLD = contender("old", [0.800, 0.803, 0.801])
GOOD = contender("good", [0.822, 0.821, 0.823])
NEAR = contender("near", [0.818, 0.822, 0.820])
FAR = contender("far", [0.701, 0.700, 0.702])


def test_an_entry_clearly_behind_the_incumbent_is_stopped() -> None:
    assert race(OLD, FAR, GOOD) == [True, False]


def test_an_entry_ahead_of_the_incumbent_but_clearly_behind_the_best_is_stopped() -> None:
    assert race(OLD, contender("some", [0.805, 0.806, 0.807]), GOOD) == [True, False]


def test_an_entry_within_the_noise_of_the_best_continues() -> None:
    assert race(OLD, NEAR, GOOD) == [False, False]


# Behind `HIGH` by 0.003: hardly to be made good, but within what counts as equal to the best.
HIGH = [0.830, 0.828, 0.829]
LOW = [0.825, 0.827, 0.826]


def test_a_simpler_entry_may_be_slightly_behind() -> None:
    assert race(OLD, contender("low", LOW), contender("high", HIGH)) == [False, False]


def test_a_more_complex_entry_must_be_better_to_continue() -> None:
    assert race(OLD, contender("high", HIGH), contender("low", LOW)) == [False, True]


def test_a_worse_point_of_a_grid_must_be_better_to_continue() -> None:
    low, high = (
        contender(name, scores, candidate="sgd") for name, scores in (("low", LOW), ("high", HIGH))
    )
    assert race(OLD, low, high) == [True, False]


def test_all_stop_if_none_can_replace_the_incumbent() -> None:
    # Each may still end ahead of the incumbent, but not by as much as the best of three must.
    same = [contender(f"{n}", 0.8 + 0.002 * np.roll([0, 1, -1], n)) for n in range(3)]
    assert race(contender("old", [0.802, 0.802, 0.802]), *same) == [True, True, True]


@pytest.mark.parametrize("behind, out", [(0.0022, False), (0.0024, True)])
def test_a_chance_of_one_percent_is_not_enough_at_three_looks(behind: float, out: bool) -> None:
    # The chance to end ahead of `GOOD` is 1.28 % and 0.97 %.
    close = contender("close", np.array([0.821, 0.823, 0.822]) - behind)
    assert race(OLD, GOOD, close) == [False, out]


def test_the_final_error_is_that_of_all_repeats() -> None:
    # Noise as it is, after two of five repeats: the error has the term of all five.
    two = np.array([[0.80, 0.81, NAN, NAN, NAN], [0.83, 0.80, NAN, NAN, NAN]])
    ahead = Outlook(two, measure_noise(two), done=2, val_to_train=0.25)
    gain = ahead.estimate(np.array([[-1.0, 1.0]]))
    assert ahead.final_error(gain) == pytest.approx(gain.error * math.sqrt(0.45 / 0.75))


def test_the_chance_of_replacing_the_incumbent_is_that_of_remaining_entries() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 5))
    scores[:, 3:] = scores[3, 2:] = NAN
    ahead = Outlook(scores, measure_noise(scores), done=3, val_to_train=0.25)
    live = np.array([True, True, True, False])
    seen = ahead.estimate(against_first(4))
    # Three rivals are measured against the bound of all five repeats.
    needed = dunnett_bound(3, 3 * 4, 0.2) * seen.error * math.sqrt((1 / 5 + 0.25) / (1 / 3 + 0.25))
    move = seen.error * math.sqrt((1 / 3 - 1 / 5) / (1 / 3 + 0.25))
    chance = scipy.stats.t.cdf((seen.gain - needed)[1:3] / move[1:3], seen.freedom[1:3])
    found = _chance_of_replacement(ahead, live, np.zeros(4, bool), risk=0.2)
    assert float(found) == pytest.approx(chance.sum())
    twice = np.stack([scores, scores])
    both = Outlook(twice, measure_noise(twice), done=3, val_to_train=0.25)
    found = _chance_of_replacement(both, np.stack([live] * 2), np.zeros((2, 4), bool), risk=0.2)
    assert found == pytest.approx(chance.sum())


def test_a_batch_of_stages_gives_the_same_races() -> None:
    scores = np.random.default_rng(0).normal(size=(60, 5, 6)) + 2 * np.arange(5)[:, None]
    scores[:, :, 3:] = scores[::3, 4, 2:] = NAN
    failed = np.random.default_rng(1).uniform(size=(60, 5)) < 0.1
    grids = np.array([0, 1, 1, 2, 3])
    apart = [out_of_reach(*stage, grids, 0.25, 0.2) for stage in zip(scores, failed, strict=True)]
    together = out_of_reach(scores, failed, grids, 0.25, 0.2)
    assert np.array_equal(together, apart)
    assert not together[:, 0].any()  # the incumbent runs to the end, even where it failed
    running = ~failed & ~np.isnan(scores[..., 2])
    assert 0.1 < np.mean(np.array(apart)[running]) < 0.6


def test_the_noise_of_failed_entries_is_ignored() -> None:
    some = contender("some", [0.812, 0.814, 0.813])
    wild = [contender(f"wild {n}", np.roll([0.82, 0.84, 0.80], n), diverged=True) for n in range(3)]
    assert race(OLD, some, GOOD, *wild) == [True, False, True, True, True]


def test_no_entry_is_stopped_after_a_single_repeat() -> None:
    assert race(contender("old", [0.8]), contender("far", [0.1])) == [False]


def test_no_entry_is_stopped_in_a_stage_of_two_repeats() -> None:
    old, far = (Contender(name, name, np.array([s, NAN])) for name, s in (("old", 0.8), ("far", 0)))
    assert raced_out(old, [far], 0.25, risk=0.2) == [False]


def test_an_entry_can_be_stopped_after_two_repeats() -> None:
    old, far, good = (contender(c.setting, c.scores[:2]) for c in (OLD, FAR, GOOD))
    assert race(old, far, good, contender("near", NEAR.scores[:2])) == [True, False, False]


def test_a_stopped_entry_stays_stopped_and_does_not_lead() -> None:
    assert race(OLD, contender("stopped", [0.99, 0.99]), GOOD) == [True, False]


def test_a_diverged_entry_is_stopped_immediately_and_does_not_lead() -> None:
    wild = contender("wild", [0.99], diverged=True)
    assert race(contender("old", [0.8]), wild, contender("b", [0.1])) == [True, False]


def test_an_entry_that_diverged_in_its_first_repeat_stops_no_other() -> None:
    wild = contender("wild", [0.99], diverged=True)
    assert race(OLD, wild, GOOD, NEAR) == [True, False, False]


def test_a_diverged_incumbent_does_not_lead() -> None:
    gone = contender("gone", [0.99, 0.99, 0.99], diverged=True)
    assert race(gone, FAR, NEAR, GOOD) == [True, False, False]


def test_the_leader_continues_if_the_incumbent_diverged() -> None:
    gone = contender("gone", [0.0, 0.0, 0.0], diverged=True)
    assert race(gone, FAR) == [False]


def test_no_entry_is_stopped_after_the_last_repeat() -> None:
    last = [contender(c.setting, np.tile(c.scores[:1], 5)) for c in (OLD, FAR, GOOD)]
    assert race(*last) == [False, False]


def race_again(incumbent: Contender, *contenders: Contender, simpler: int) -> list[bool]:
    return raced_out(incumbent, contenders, 0.25, risk=0.2, simpler=simpler)


def test_on_equal_terms_a_simpler_setting_goes_on_that_gains_nothing() -> None:
    same = [contender(f"{n}", 0.8 + 0.002 * np.roll([0, 1, -1], n)) for n in range(3)]
    old = contender("old", [0.802, 0.802, 0.802])
    assert race(old, *same) == [True, True, True]
    assert race_again(old, *same, simpler=3) == [False, False, False]


def test_on_equal_terms_a_setting_that_is_less_simple_than_an_equal_incumbent_is_out() -> None:
    high, old, low = (
        contender("high", HIGH),
        contender("old", OLD.scores[:3]),
        contender("low", LOW),
    )
    assert race_again(high, old, low, simpler=0) == [True, True]
    assert race_again(high, old, low, simpler=2) == [True, False]


def test_on_equal_terms_far_behind_is_out() -> None:
    assert race_again(OLD, FAR, simpler=1) == [True]
