from pathlib import Path

import numpy as np
import pytest
from coverage import deal, draw_outside, intervals, judge, make_trials, measure
from verdicts import VAL_TO_TRAIN, simulate, standard_error

from ablation.data.characters import Characters
from ablation.data.splits import split
from ablation.judge.noise import CONFIDENCE, corrected_interval
from ablation.params import Params, load_params
from ablation.trial.families import MlpSpec

LABELS = np.repeat(np.arange(3, dtype=np.uint8), [100, 50, 19])


@pytest.fixture
def params() -> Params:
    return load_params(Path(__file__).parents[2] / "params.yaml")


def test_worlds_have_the_same_number_of_every_class() -> None:
    place = deal(LABELS, worlds=10, least=5, seed=1)
    for world in range(10):
        assert np.bincount(LABELS[place == world]).tolist() == [10, 5]


def test_a_class_too_small_for_all_worlds_is_in_none() -> None:
    place = deal(LABELS, worlds=10, least=5, seed=1)
    assert (place[LABELS == 2] == -1).all()
    assert (place[LABELS < 2] >= 0).all()


def test_worlds_depend_on_the_seed_only() -> None:
    first, same, other = (deal(LABELS, 10, 5, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_outside_characters_are_from_other_worlds() -> None:
    place = deal(LABELS, worlds=10, least=5, seed=1)
    rows = draw_outside(place, world=3, count=60, seed=1)
    assert len(np.unique(rows)) == 60
    assert not {-1, 3} & set(place[rows])
    assert len(draw_outside(place, world=3, count=1_000, seed=1)) == 150 - 15


def test_the_repeated_contender_shares_the_split_and_no_other_seed(
    params: Params, mlp: MlpSpec
) -> None:
    relu, again, gelu = make_trials(params, mlp, world=0)
    for first, second, third in zip(relu, again, gelu, strict=True):
        assert first.repeat == third.repeat
        assert first.recipe == second.recipe != third.recipe
        for part, same in zip(
            split(LABELS, first.repeat), split(LABELS, second.repeat), strict=True
        ):
            assert np.array_equal(part, same)
        for generator in ("init_seed", "order_seed", "dropout_seed"):
            assert getattr(first.repeat, generator) != getattr(second.repeat, generator)


def test_every_world_has_repeats_of_its_own(params: Params, mlp: MlpSpec) -> None:
    worlds = [make_trials(params, mlp, world)[0] for world in (0, 1)]
    assert len({trial.repeat.split_seed for trials in worlds for trial in trials}) == 8


def test_a_world_is_measured_inside_and_outside_and_cached(
    toy: Characters, params: Params, tmp_path: Path
) -> None:
    world, outside = (
        Characters(toy.images[rows], toy.labels[rows], toy.classes)
        for rows in (slice(0, 300), slice(300, 400))
    )
    trials = [row[:2] for row in make_trials(params, MlpSpec(hidden=(16, 12, 8), epochs=2), 0)]
    found = measure(world, outside, trials, 25, tmp_path)
    assert found.shape == (2, 3, 2)
    assert np.allclose(found[0] * 45, np.round(found[0] * 45))  # 15 % of 300 validate
    assert np.allclose(found[1] * 100, np.round(found[1] * 100))
    assert found[0].min() > 0.5
    (remembered,) = tmp_path.iterdir()
    before = remembered.stat().st_mtime_ns
    assert np.array_equal(measure(world, outside, trials, 25, tmp_path), found)
    assert remembered.stat().st_mtime_ns == before


def test_the_former_interval_uses_the_pair_only() -> None:
    scores = np.random.default_rng(0).normal(size=(4, 3, 5))
    former = next(iter(intervals(scores, 0.2).values()))
    for world, pair in np.ndindex(4, 2):
        gains = scores[world, pair + 1] - scores[world, 0]
        found = [bound[world, pair] for bound in former.interval()]
        assert found == pytest.approx(corrected_interval(gains, 0.2, CONFIDENCE))


def simulated(worlds: int, gain: float) -> np.ndarray:
    """Accuracies correlated as assumed; the last contender has a true gain, in standard errors."""
    random = np.random.default_rng(0)
    scores = simulate(worlds, np.array([0.0, gain]), 5, "equal", random)
    outside = np.zeros_like(scores)
    outside[:, 2] = gain * standard_error(5)
    return np.stack([scores, outside], axis=1)


def test_intervals_cover_the_truth_if_the_noise_is_as_assumed() -> None:
    for row in judge(simulated(worlds=2_000, gain=2.0), VAL_TO_TRAIN):
        assert 0.93 < row["low"] < row["share"] < row["high"] < 0.98
        assert row["share"] == row["held"] / 2_000
        assert row["claimed"] == pytest.approx(row["real"], rel=0.1)


def test_the_truth_is_zero_for_the_same_recipe_and_the_outside_gain_for_another() -> None:
    accuracies = simulated(worlds=50, gain=2.0)
    accuracies[:, 1, 1] += 0.01
    again, _, gelu, _ = judge(accuracies, VAL_TO_TRAIN)
    assert (again["truth"], again["outside"]) == (0.0, 0.01)
    assert gelu["truth"] == gelu["outside"] == pytest.approx(2 * standard_error(5), abs=1e-6)


def test_an_interval_misses_a_distant_truth() -> None:
    accuracies = simulated(worlds=50, gain=0.0)
    accuracies[:, 1, 2] = 100.0
    assert [row["held"] for row in judge(accuracies, VAL_TO_TRAIN)[2:]] == [0, 0]
