"""Noise, contrasts and bounds, on cases that can be computed by hand."""

import math

import numpy as np
import pytest
import scipy.stats

from ablation.judge.noise import (
    Estimate,
    _noise_p_value,
    against_first,
    corrected_interval,
    dunnett_bound,
    dunnett_bounds,
    estimate,
    least_variance,
    measure_noise,
)

NAN = math.nan


def random_scores(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


# --- the noise of a table ------------------------------------------------------------------------


def test_noise_is_the_residual_of_contender_and_repeat() -> None:
    scores = random_scores(4, 5)
    rows, columns = scores.mean(1, keepdims=True), scores.mean(0, keepdims=True)
    left = scores - rows - columns + scores.mean()
    noise = measure_noise(scores)
    assert float(noise.total) == pytest.approx((left**2).sum())
    assert noise.freedom == 3 * 4


def test_unbalanced_noise_equals_the_least_squares_residual() -> None:
    scores = random_scores(4, 5)
    scores[1, 3:] = scores[3, 2:] = NAN
    contender, repeat = np.nonzero(~np.isnan(scores))
    design = np.hstack([np.eye(4)[contender], np.eye(5)[repeat]])
    values = scores[contender, repeat]
    solution, _, rank, _ = np.linalg.lstsq(design, values, rcond=None)
    noise = measure_noise(scores)
    assert float(noise.total) == pytest.approx(((values - design @ solution) ** 2).sum())
    assert noise.freedom == len(values) - rank


def test_means_of_contenders_and_repeats_are_not_noise() -> None:
    scores = random_scores(4, 5)
    moved = scores + random_scores(4, 1, seed=1) + random_scores(5, seed=2)
    assert float(measure_noise(moved).total) == pytest.approx(float(measure_noise(scores).total))


def test_failed_contenders_are_excluded_from_the_noise() -> None:
    scores = random_scores(4, 5)
    scores[3] *= 3
    noise = measure_noise(scores, np.array([True, True, True, False]))
    assert float(noise.total) == pytest.approx(float(measure_noise(scores[:3]).total))


def test_an_outlier_is_excluded_from_the_noise_of_others() -> None:
    scores = random_scores(5, 5)
    wild = scores.copy()
    wild[2] *= 100
    noise = measure_noise(wild)
    assert noise.inliers.tolist() == [True, True, False, True, True]
    assert float(noise.total) == pytest.approx(float(measure_noise(scores[[0, 1, 3, 4]]).total))


def test_two_outliers_do_not_mask_each_other() -> None:
    scores = random_scores(6, 5)
    scores[[2, 4]] *= 100
    assert measure_noise(scores).inliers.tolist() == [True, True, False, True, False, True]


def test_equal_noise_rarely_gives_outliers() -> None:
    assert measure_noise(random_scores(1_000, 6, 5)).inliers.all(-1).mean() >= 0.997


@pytest.mark.parametrize("contenders", [3, 4, 5, 6])
def test_a_majority_is_never_outliers(contenders: int) -> None:
    scores = random_scores(300, contenders, 5)
    scores *= 10.0 ** np.random.default_rng(1).integers(0, 6, (300, contenders, 1))
    inliers = measure_noise(scores).inliers
    assert inliers.sum(-1).min() == contenders // 2 + 1
    assert (inliers.sum(-1) < contenders).mean() > 0.5


def test_a_majority_of_those_that_did_not_fail_is_never_outliers() -> None:
    scores = random_scores(6, 5)
    scores[1] *= 1e6
    scores[3] *= 1e3
    able = np.array([True, True, True, True, False, False])
    assert measure_noise(scores, able).inliers.sum() == 3
    two = measure_noise(np.stack([scores] * 2), np.stack([able] * 2))
    assert two.inliers.sum(-1).tolist() == [3, 3]


@pytest.mark.parametrize("contenders, repeats", [(4, 6), (3, 2)])
def test_the_p_value_of_noise_is_that_of_an_f_test(contenders: int, repeats: int) -> None:
    # One of the four has a single step, and one is alone in the last repeat.
    scores = random_scores(contenders, repeats)
    scores[0, 5:] = scores[1, 4:] = scores[2, 2:] = NAN
    everyone = measure_noise(scores)
    found = _noise_p_value(everyone.residuals, np.ones(contenders, bool))
    for place in range(contenders):
        others = measure_noise(np.delete(scores, place, axis=0))
        freedom = everyone.freedom - others.freedom
        ratio = (everyone.total - others.total) / freedom / (others.total / others.freedom)
        expected = scipy.stats.f.sf(ratio, freedom, others.freedom)
        assert found[place] == pytest.approx(float(expected))


def test_the_p_value_of_a_single_contender_is_1() -> None:
    residuals = measure_noise(random_scores(3, 5)).residuals
    assert _noise_p_value(residuals, np.array([True, False, False])).tolist() == [1.0, 1.0, 1.0]


def test_the_p_value_without_variation_is_1() -> None:
    assert _noise_p_value(np.zeros((3, 4)), np.ones(3, bool)).tolist() == [1.0, 1.0, 1.0]


def test_two_contenders_have_no_outlier() -> None:
    scores = random_scores(2, 5)
    scores[1] *= 1_000
    assert measure_noise(scores).inliers.all()


# --- estimates -----------------------------------------------------------------------------------


def test_two_contenders_have_the_paired_interval() -> None:
    scores = random_scores(2, 5)
    found = estimate(scores, against_first(2)[1:], measure_noise(scores), 0.25)
    low, high = found.interval()
    assert (low[0], high[0]) == pytest.approx(corrected_interval(scores[1] - scores[0], 0.25, 0.95))


def test_paired_interval_by_hand() -> None:
    # t with two degrees of freedom leaves 2.5 % above 4.30265; the error is
    # 0.01 * sqrt(1/3 + 1/4) = 0.00763763, their product 0.0328621.
    low, high = corrected_interval(np.array([0.01, 0.02, 0.03]), 0.25, 0.95)
    assert (low, high) == pytest.approx((-0.0128621, 0.0528621), abs=1e-6)


def test_paired_interval_of_two_repeats_by_hand() -> None:
    # t with one degree of freedom leaves 2.5 % above 12.7062; the error is
    # 0.01 / sqrt(2) * sqrt(1/2 + 1/4) = 0.00612372, their product 0.0778093.
    low, high = corrected_interval(np.array([0.01, 0.02]), 0.25, 0.95)
    assert (low, high) == pytest.approx((-0.0628093, 0.0928093), abs=1e-6)


def test_the_noise_of_a_single_repeat_is_unknown() -> None:
    assert corrected_interval(np.array([0.5]), 0.25, 0.95) == (-math.inf, math.inf)
    scores = random_scores(3, 1)
    assert np.isnan(estimate(scores, against_first(3), measure_noise(scores), 0.25).error).all()


def test_error_increases_with_the_share_of_validation() -> None:
    scores = random_scores(3, 5)
    noise = measure_noise(scores)
    errors = [estimate(scores, against_first(3)[1:], noise, q).error[0] for q in (0.0, 0.8)]
    assert errors[1] / errors[0] == pytest.approx(math.sqrt((0.2 + 0.8) / 0.2))


@pytest.mark.parametrize("contenders, repeats", [(4, 5), (3, 2)])
def test_own_and_shared_noise_are_weighted_by_degrees_of_freedom(
    contenders: int, repeats: int
) -> None:
    scores = random_scores(contenders, repeats)
    noise = measure_noise(scores)
    steps = repeats - 1
    own = (scores[1] - scores[0]).var(ddof=1) / 2
    rest_freedom = (contenders - 2) * steps
    rest = (float(noise.total) - steps * own) / rest_freedom
    trust = 1 / (1 / 24 + 1 / rest_freedom)  # the others count as at most 24 degrees of freedom
    found = estimate(scores, against_first(contenders)[1:2], noise, 0.0)
    variance = 2 * (steps * own + trust * rest) / (steps + trust)
    assert found.error[0] == pytest.approx(math.sqrt(variance / repeats))
    assert found.freedom[0] == pytest.approx(steps + trust)


def test_estimate_uses_the_repeats_that_all_its_contenders_ran() -> None:
    scores = np.array([[1.0, 2.0, 9.0], [2.0, 5.0, NAN], [0.0, 0.0, 0.0]])
    found = estimate(scores, against_first(3), measure_noise(scores), 0.25)
    assert found.gain.tolist() == [0.0, 2.0, -4.0]


def test_a_batch_of_tables_gives_the_same_estimates() -> None:
    scores = random_scores(50, 4, 5)
    scores[::2, 3, 2:] = NAN
    scores[::5, 1] *= 1_000
    noise = measure_noise(scores)
    together = estimate(scores, against_first(4)[1:], noise, 0.25)
    for place, table in enumerate(scores):
        alone = estimate(table, against_first(4)[1:], measure_noise(table), 0.25)
        assert noise.inliers[place].tolist() == measure_noise(table).inliers.tolist()
        assert np.allclose(together.error[place], alone.error)


def test_probabilities_by_hand() -> None:
    # Gain 0.02, error 0.00763763. With two degrees of freedom P(T > t) is
    # 1/2 - t / 2 sqrt(2 + t^2), here for t = 0.01 / error and 0.03 / error.
    scores = np.array([[0.80, 0.80, 0.80], [0.81, 0.82, 0.83]])
    found = estimate(scores, against_first(2)[1:], measure_noise(scores), 0.25)
    worse, equal, better = (float(chance[0]) for chance in found.chances(0.01))
    assert better == pytest.approx(1 - 0.160317, abs=1e-5)
    assert worse == pytest.approx(0.029562, abs=1e-5)
    assert worse + equal + better == pytest.approx(1)


def test_probabilities_stay_between_0_and_1() -> None:
    gains = np.array([[-0.5], [-0.0025], [0.0], [0.0025], [0.5]])
    for error in (0.0, 1e-17, 1e-9, 0.01):
        found = Estimate(gains, np.full((5, 1), error), np.full((5, 1), 1.0))
        chances = np.stack(found.chances(0.0025))
        assert ((chances >= 0) & (chances <= 1)).all()
        assert chances.sum(0) == pytest.approx(1)


# --- scores that are counts ----------------------------------------------------------------------


def test_least_variance_is_that_of_the_fewest_disagreements() -> None:
    # A difference of 0.1 on 50 characters: only one of the two classifies five correctly. The
    # difference has the variance 0.1 * 0.9 / 50.
    assert float(least_variance(np.array(-0.1), 50, 0.0)) == pytest.approx(0.0018 / 2)
    assert float(least_variance(np.array(0.0), 50, 0.0)) == pytest.approx(0.02 * 0.98 / 50 / 2)
    assert float(least_variance(np.array(-0.1), 50, 0.25)) == pytest.approx(0.0018 / 2 / 1.25)
    assert float(least_variance(np.array(-0.1), math.inf, 0.25)) == 0


def test_equal_repeats_have_the_error_of_a_step_and_an_interval_of_disagreements() -> None:
    scores = np.array([[0.8, 0.9], [0.7, 0.8]])
    found = estimate(scores, against_first(2)[1:], measure_noise(scores, characters=50), 0.25)
    assert found.error[0] == pytest.approx(math.sqrt(1 / 50**2 * (1 / 2 + 0.25)))
    assert found.least == pytest.approx(math.sqrt(0.1 * 0.9 / 50 / 1.25 * (1 / 2 + 0.25)))
    # With one degree of freedom, t is 12.7, so the step gives the wider interval.
    low, high = found.interval()
    assert (high - low)[0] / 2 == pytest.approx(12.7062 * float(found.error[0]), rel=1e-5)


def test_interval_and_probabilities_use_the_wider_distribution() -> None:
    gain, freedom = np.array([-0.03]), np.array([100.0])
    narrow = Estimate(gain, np.array([0.001]), freedom)
    wide = Estimate(gain, np.array([0.001]), freedom, least=np.array([0.02]))
    assert float(wide.interval()[1][0]) == pytest.approx(-0.03 + 1.959964 * 0.02)
    worse, equal, better = (float(chance[0]) for chance in wide.chances(0.01))
    assert worse == pytest.approx(scipy.stats.norm.cdf(1.0))
    assert better == pytest.approx(scipy.stats.norm.cdf(-2.0))
    assert worse + equal + better == pytest.approx(1)
    assert float(narrow.chances(0.01)[0][0]) > 0.9999


def test_discreteness_has_no_effect_if_the_noise_is_larger() -> None:
    scores = 0.8 + 0.02 * random_scores(4, 5)
    counted, plain = (
        estimate(scores, against_first(4)[1:], measure_noise(scores, characters=n), 0.25)
        for n in (100_000, math.inf)
    )
    assert np.array_equal(counted.interval(), plain.interval())


# --- Dunnett's bound -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "freedom, bounds",
    [
        (5, [2.02, 2.44, 2.68, 2.85, 2.98, 3.08]),
        (10, [1.81, 2.15, 2.34, 2.47, 2.56, 2.64]),
        (20, [1.72, 2.03, 2.19, 2.30, 2.39, 2.46]),
    ],
)
def test_bound_matches_dunnetts_table(freedom: int, bounds: list[float]) -> None:
    # Dunnett 1955, table 1a: one-sided, 5 %, for 1 to 6 treatments.
    found = [dunnett_bound(rivals, freedom, 0.05) for rivals in range(1, 7)]
    assert found == pytest.approx(bounds, abs=0.0051)


@pytest.mark.parametrize("freedom, risk", [(1, 0.2), (4, 0.2), (24, 0.05)])
def test_bound_for_one_rival_is_a_quantile_of_students_t(freedom: int, risk: float) -> None:
    assert dunnett_bound(1, freedom, risk) == pytest.approx(
        scipy.stats.t.isf(risk, freedom), abs=1e-5
    )


@pytest.mark.parametrize("rivals, freedom", [(2, 1), (3, 2), (22, 88)])
def test_bound_is_exceeded_with_the_stated_probability(rivals: int, freedom: int) -> None:
    random = np.random.default_rng(5)
    spread = np.sqrt(random.chisquare(freedom, size=100_000) / freedom)
    scores = random.standard_normal((100_000, 1 + rivals))
    best = (scores[:, 1:].max(1) - scores[:, 0]) / math.sqrt(2) / spread
    assert (best > dunnett_bound(rivals, freedom, 0.2)).mean() == pytest.approx(0.2, abs=0.005)


@pytest.mark.parametrize("rivals, freedom", [(2, 1), (3, 4), (22, 88), (6, 1_000)])
def test_bound_matches_a_fine_numerical_integral(rivals: int, freedom: int) -> None:
    # For one rival the bound is known; otherwise it is compared with a sum over a fine grid.
    spread = scipy.stats.chi(freedom, scale=1 / math.sqrt(freedom))
    sizes = np.linspace(spread.ppf(1e-12), spread.isf(1e-12), 2_000)
    incumbent = np.linspace(-8, 8, 800)
    reach = math.sqrt(2) * dunnett_bound(rivals, freedom, 0.2) * sizes[:, None] + incumbent
    inner = np.trapezoid(
        scipy.stats.norm.cdf(reach) ** rivals * scipy.stats.norm.pdf(incumbent), incumbent
    )
    held = np.trapezoid(inner * spread.pdf(sizes), sizes)
    assert held == pytest.approx(0.8, abs=1e-5)


def test_bound_agrees_with_scipys_test() -> None:
    samples = random_scores(4, 6, seed=3)
    found = scipy.stats.dunnett(*samples[1:], control=samples[0], alternative="greater", rng=1)
    best = found.statistic.argmax()
    bound = dunnett_bound(3, 20, float(found.pvalue[best]))
    assert bound == pytest.approx(float(found.statistic[best]), abs=0.01)


def test_vectorised_bounds_equal_single_bounds() -> None:
    found = dunnett_bounds(np.array([[1], [6]]), np.array([4.0, 24.0]), 0.2)
    assert found.shape == (2, 2)
    assert found[1, 0] == dunnett_bound(6, 4.0, 0.2)


def test_without_rivals_or_noise_there_is_no_bound() -> None:
    assert np.isnan(dunnett_bounds([0, 3], [4, 0], 0.2)).all()


def test_bound_is_never_negative() -> None:
    assert dunnett_bounds(1, 4, 0.9) == 0
