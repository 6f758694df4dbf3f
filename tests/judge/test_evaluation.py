"""Evaluation of fitted models, on cases that can be computed by hand."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from numpy.typing import NDArray

from ablation.data.datasets import LOOK_ALIKES
from ablation.judge.evaluation import (
    accuracy_difference,
    accuracy_interval,
    agreement,
    calibration_error,
    class_report,
    fits_of,
    look_alike_errors,
    macro_averages,
    mcnemar,
    most_confused,
    probability_scores,
    recalls,
    recipe_difference,
    reliability_curve,
    top2_accuracy,
)

Correct = NDArray[np.bool_]

CLASSES = [*"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabdefghnqrt"]


def outcomes(**counts: int) -> tuple[Correct, Correct]:
    """Correctness of two models, given the number of cases of each outcome."""
    pairs = {"both": (1, 1), "first": (1, 0), "second": (0, 1), "neither": (0, 0)}
    rows = [pairs[outcome] for outcome, count in counts.items() for _ in range(count)]
    first, second = np.array(rows, bool).T
    return first, second


# --- accuracy ------------------------------------------------------------------------------------


def test_wilson_interval_by_hand() -> None:
    # 8 of 10: centre (0.8 + z^2/20) / (1 + z^2/10), z = 1.96.
    low, high = accuracy_interval([True] * 8 + [False] * 2)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)


def test_wilson_interval_of_a_perfect_model_is_not_empty() -> None:
    low, high = accuracy_interval([True] * 10)
    assert low == pytest.approx(10 / (10 + 1.959964**2))
    assert high == 1.0


def test_top2_counts_first_and_second_choice() -> None:
    assert top2_accuracy([*"abcd"], [*"axcx"], [*"xbyy"]) == 0.75


def test_top2_does_not_count_the_second_choice_of_another_character() -> None:
    assert top2_accuracy([*"ab"], [*"ba"], [*"cc"]) == 0.0


# --- per class -----------------------------------------------------------------------------------


def test_report_by_hand() -> None:
    # A: 2 of 3 found, 2 of 3 predictions correct. B: 1 of 2 found, 1 of 2 predictions correct.
    report = class_report([*"AAABB"], [*"AABAB"], ["A", "B"])
    assert list(report) == ["class", "precision", "recall", "f1", "support"]
    assert report["class"].tolist() == ["A", "B"]
    assert report[["precision", "recall", "f1"]].to_numpy() == pytest.approx(
        np.array([[2 / 3] * 3, [1 / 2] * 3])
    )
    assert report["support"].tolist() == [3, 2]


def test_macro_average_weights_classes_equally() -> None:
    report = class_report([*"AAAAAAAAB"], [*"AAAAAAAAA"], ["A", "B"])
    averages = macro_averages(report)
    assert averages["recall"] == 0.5
    assert averages["precision"] == pytest.approx((8 / 9 + 0) / 2)


def test_class_never_predicted_scores_zero_without_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    report = class_report([*"AB"], [*"AA"], ["A", "B"]).set_index("class")
    assert report.loc["B", ["precision", "recall", "f1"]].tolist() == [0, 0, 0]
    assert not recwarn.list


def test_report_keeps_label_order() -> None:
    report = class_report([*"a0Z"], [*"a0Z"], CLASSES)
    assert report["class"].tolist() == CLASSES
    assert report["support"].sum() == 3


def test_unknown_character_is_named() -> None:
    with pytest.raises(ValueError) as refused:
        class_report([*"A?"], [*"AA"], ["A", "B"])
    assert str(refused.value) == "characters ['?'] are not among the classes ['A', 'B']."


def test_report_reads_columns_of_a_table() -> None:
    table = pd.DataFrame({"actual": [*"AB"], "predicted": [*"AB"]})
    assert class_report(table["actual"], table["predicted"], ["A", "B"])["f1"].tolist() == [1, 1]


def test_recalls_have_one_column_per_model() -> None:
    mlp, cnn = (class_report([*"AABB"], guess, ["A", "B"]) for guess in ([*"ABBB"], [*"AAAB"]))
    table = recalls({"mlp": mlp, "cnn": cnn})
    assert table.to_dict("list") == {"class": ["A", "B"], "mlp": [0.5, 1], "cnn": [1, 0.5]}


def test_recalls_of_a_single_model() -> None:
    report = class_report([*"AABB"], [*"ABBB"], ["A", "B"])
    assert recalls({"mlp": report}).to_dict("list") == {"class": ["A", "B"], "mlp": [0.5, 1]}


def test_reports_with_different_classes_are_an_error() -> None:
    mlp, cnn = (class_report([*"AB"], [*"AB"], order) for order in (["A", "B"], ["B", "A"]))
    with pytest.raises(ValueError) as refused:
        recalls({"mlp": mlp, "cnn": cnn})
    assert str(refused.value) == "the reports must have the same classes in the same order."


# --- confusions ----------------------------------------------------------------------------------


def test_confusions_count_both_directions() -> None:
    table = most_confused([*"0O0Ff1"], [*"O0OfA1"])
    assert table.to_dict("list") == {
        "first": ["0", "A", "F"],
        "second": ["O", "f", "f"],
        "errors": [3, 1, 1],
        "share_of_errors": [0.6, 0.2, 0.2],
    }


def test_pairs_with_equal_errors_are_in_alphabetical_order() -> None:
    table = most_confused([*"CBAA"], [*"DCCB"])
    assert table[["first", "second"]].agg("".join, axis=1).tolist() == ["AB", "AC", "BC", "CD"]


def test_a_single_error_is_the_share_of_all() -> None:
    assert most_confused([*"AB"], [*"CB"])["share_of_errors"].tolist() == [1.0]
    alike = look_alike_errors([*"OB"], [*"0B"], LOOK_ALIKES).set_index("group")
    assert alike.loc["all", "share_of_errors"] == 1.0


def test_no_more_than_ten_pairs() -> None:
    actual, predicted = [*"ABCDEFGHIJKL"], [*"000000000000"]
    table = most_confused(actual, predicted)
    assert len(table) == 10
    assert table["share_of_errors"].tolist() == [1 / 12] * 10


def test_perfect_model_confuses_nothing() -> None:
    table = most_confused([*"AB"], [*"AB"])
    assert list(table) == ["first", "second", "errors", "share_of_errors"]
    assert table.empty


def test_look_alikes_share_of_errors() -> None:
    # 0 for O; I for L; L for 1; then 0 for 1, an error between groups; and two correct ones.
    table = look_alike_errors([*"OL1" + "1" + "qF"], [*"0IL" + "0" + "qF"], LOOK_ALIKES).set_index(
        "group"
    )
    assert table.loc["0/O"].tolist() == [1, 0.25]
    assert table.loc["1/I/L"].tolist() == [2, 0.5]
    assert table.loc["9/g/q"].tolist() == [0, 0]
    assert table.loc["all"].tolist() == [3, 0.75]


def test_all_look_alikes_come_last() -> None:
    assert look_alike_errors([*"A"], [*"B"], LOOK_ALIKES)["group"].tolist() == [*LOOK_ALIKES, "all"]


def test_perfect_model_has_no_share_of_errors() -> None:
    table = look_alike_errors([*"0O"], [*"0O"], LOOK_ALIKES)
    assert table["share_of_errors"].tolist() == [0.0] * 7


def test_without_look_alikes_there_is_only_the_row_all() -> None:
    assert look_alike_errors([*"A"], [*"B"], {}).to_dict("list") == {
        "group": ["all"],
        "errors": [0],
        "share_of_errors": [0.0],
    }


# --- calibration ---------------------------------------------------------------------------------


def test_reliability_by_hand() -> None:
    # Bins are a fifteenth wide: the tenth ends at 0.667, the last begins at 0.933.
    curve = reliability_curve([True, False, True, True, False], [0.61, 0.62, 0.94, 0.96, 0.1])
    assert list(curve) == ["confidence", "accuracy", "count"]
    assert curve.to_numpy() == pytest.approx(np.array([[0.1, 0, 1], [0.615, 0.5, 2], [0.95, 1, 2]]))


def test_bins_are_a_fifteenth_wide() -> None:
    # From nine to ten fifteenths is one bin.
    assert len(reliability_curve([True] * 4, [0.59, 0.601, 0.666, 0.67])) == 3


def test_calibration_error_by_hand() -> None:
    curve = pd.DataFrame({"confidence": [0.6, 0.9], "accuracy": [0.5, 0.7], "count": [1, 3]})
    assert calibration_error(curve) == pytest.approx((1 * 0.1 + 3 * 0.2) / 4)


def test_overconfidence_is_a_calibration_error() -> None:
    correct = np.arange(100) < 70
    assert calibration_error(reliability_curve(correct, np.full(100, 0.9))) == pytest.approx(0.2)


def test_calibrated_model_has_almost_no_calibration_error() -> None:
    random = np.random.default_rng(0)
    confidence = random.uniform(0.1, 1, size=50_000)
    correct = random.uniform(size=50_000) < confidence
    assert calibration_error(reliability_curve(correct, confidence)) < 0.01


def test_counts_belong_to_their_bins_at_the_edges() -> None:
    confidence = np.array([0, 1 / 15, 2 / 15, 0.6, 1.0, 1.0])
    curve = reliability_curve(np.ones(6, bool), confidence)
    assert curve["count"].sum() == 6
    assert np.average(curve["confidence"], weights=curve["count"]) == pytest.approx(
        confidence.mean()
    )


@pytest.mark.parametrize("correct", [True, False])
def test_reliability_of_a_model_that_is_always_or_never_correct(correct: bool) -> None:
    assert reliability_curve([correct, correct], [0.5, 0.5])["accuracy"].tolist() == [
        float(correct)
    ]


@pytest.mark.parametrize("confidence", [1.2, -0.1, float("nan")])
def test_confidence_is_a_probability(confidence: float) -> None:
    with pytest.raises(ValueError, match=r"^confidence must be in \[0, 1\]"):
        reliability_curve([True], [confidence])


def test_scores_of_probabilities_by_hand() -> None:
    scores = probability_scores(["a", "c"], [[0.8, 0.2, 0], [0.5, 0.2, 0.3]], ["a", "b", "c"])
    assert scores == pytest.approx(
        {
            "calibration_error": (0.2 + 0.5) / 2,
            "brier_score": (0.08 + 0.25 + 0.04 + 0.49) / 2,
            "log_likelihood": (np.log(0.8) + np.log(0.3)) / 2,
        }
    )


def test_two_classes_are_scored_like_any_other_number() -> None:
    two = probability_scores(["a", "b"], [[0.8, 0.2], [0.4, 0.6]], ["a", "b"])
    three = probability_scores(["a", "b"], [[0.8, 0.2, 0], [0.4, 0.6, 0]], ["a", "b", "c"])
    assert two == pytest.approx(three)


# --- one model against the other -----------------------------------------------------------------


def test_mcnemar_by_hand() -> None:
    # At most one head in six fair coin tosses, two-sided: 2 * (1 + 6) / 64.
    assert mcnemar(*outcomes(both=9, first=1, second=5, neither=2)) == pytest.approx(14 / 64)


def test_mcnemar_ignores_characters_that_both_classify_correctly() -> None:
    few, many = (mcnemar(*outcomes(both=n, first=2, second=9)) for n in (0, 1_000))
    assert few == many


def test_models_with_symmetric_disagreements_do_not_differ() -> None:
    assert mcnemar(*outcomes(first=3, second=3)) == 1.0


def test_models_that_never_disagree_do_not_differ() -> None:
    assert mcnemar(*outcomes(both=5, neither=3)) == 1.0


def test_difference_is_second_minus_first() -> None:
    assert accuracy_difference(*outcomes(both=70, first=5, second=15, neither=10)) == 0.1
    assert accuracy_difference(*outcomes(both=80, neither=20)) == 0


def test_difference_of_recipes_by_hand() -> None:
    # Accuracies 1/2 and 1/4 against 1/2 and 1: F is 1/64 and 1/16. The characters' differences are
    # 1/2, 0, 1/2 and 1/2: C is 1/64. E is 1/64 and 1/48, so C - E is negative and counts as 0.
    first = np.array([[True, True, False, False], [False, True, False, False]])
    second = np.array([[True, True, False, False], [True, True, True, True]])
    reach = scipy.stats.t.ppf(0.975, 25 / 17) * math.sqrt(5 / 64)
    assert recipe_difference([*first], [*second]) == pytest.approx(
        (0.375, 0.375 - reach, 0.375 + reach)
    )


def test_a_single_fit_has_the_interval_of_the_characters() -> None:
    first, second = outcomes(both=700, first=50, second=150, neither=100)
    gain, low, high = recipe_difference([first], [second])
    normal = 1.959964 * math.sqrt((0.2 - 0.1**2) / 999)
    assert (gain, low, high) == pytest.approx((0.1, 0.1 - normal, 0.1 + normal), abs=1e-6)


def test_difference_of_recipes_uses_all_seeds() -> None:
    first, second = outcomes(both=700, first=50, second=150, neither=100)
    lucky = np.ones(1000, bool)
    one, _, _ = recipe_difference([first], [lucky])
    three, low, high = recipe_difference([first] * 3, [lucky, second, second])
    assert one == 0.25
    assert three == pytest.approx(0.15)
    assert low < 0.1 < 0.25 < high


def test_recipes_that_never_disagree_have_an_interval() -> None:
    correct, _ = outcomes(both=40, neither=10)
    gain, low, high = recipe_difference([correct] * 2, [correct] * 2)
    assert gain == 0
    assert high == -low == pytest.approx(1.959964 * math.sqrt(0.02 * 0.98 / 50 / 2))


@pytest.mark.parametrize("luck", [0.0, 0.1])
@pytest.mark.parametrize("fits", [2, 3])
def test_interval_of_recipes_covers_other_seeds_and_other_characters(
    luck: float, fits: int
) -> None:
    """The probit of correctness depends on the character, on character x recipe, and on the fit."""
    random, tries, characters = np.random.default_rng(0), 400, 300
    spread = math.sqrt(1 + 2**2 + 0.5**2 + luck**2)
    held = 0
    for _ in range(tries):
        hard = 2 * random.normal(size=characters)
        tables = []
        for accuracy in (0.80, 0.86):
            level = scipy.stats.norm.ppf(accuracy) * spread + luck * random.normal(size=(fits, 1))
            each = hard + 0.5 * random.normal(size=characters)
            tables.append(level + each + random.normal(size=(fits, characters)) > 0)
        _, low, high = recipe_difference(*tables)
        held += low <= 0.06 <= high
    assert 0.925 <= held / tries <= 0.985


def test_fits_of_a_recipe_are_the_columns_of_its_name() -> None:
    correct = pd.DataFrame({"final 1": [1, 0], "final 10": [1, 1], "baseline 1": [0, 0]})
    assert [each.tolist() for each in fits_of(correct, "final")] == [[True, False], [True, True]]


def test_agreement_by_hand() -> None:
    mlp, cnn = outcomes(both=5, first=1, second=2, neither=2)
    table = agreement({"mlp": mlp, "cnn": cnn})
    assert table.to_dict("list") == {
        "outcome": ["all correct", "only mlp correct", "only cnn correct", "none correct"],
        "count": [5, 1, 2, 2],
        "share": [0.5, 0.1, 0.2, 0.2],
    }


def test_agreement_of_three_lists_every_subset_of_models() -> None:
    correct = {"a": [True, True], "b": [True, False], "c": [False, True]}
    counts = agreement(correct).set_index("outcome")["count"]
    assert counts[counts > 0].to_dict() == {"only a and b correct": 1, "only a and c correct": 1}
    assert len(counts) == 8


# --- invalid arguments ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "measure",
    [
        lambda: mcnemar([True], [True, False]),
        lambda: accuracy_interval([]),
        lambda: agreement({"mlp": [[True]], "cnn": [[True]]}),
        lambda: most_confused([*"AB"], [*"A"]),
        lambda: top2_accuracy([*"AB"], [*"AB"], [*"A"]),
    ],
)
def test_mismatched_shapes_are_an_error(measure: Callable[[], object]) -> None:
    said = r"^expected one-dimensional arrays of the same length, not empty; got \{.*\}\.$"
    with pytest.raises(ValueError, match=said):
        measure()


def test_correctness_must_be_bool() -> None:
    with pytest.raises(ValueError) as refused:
        mcnemar([True, False], [3, 7])
    assert str(refused.value) == "second_correct must be bool, one value per character; got int64."
