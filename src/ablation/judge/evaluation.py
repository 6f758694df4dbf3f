"""Evaluation of fitted models on the test set, and comparison of two of them.

All functions are pure: arrays or tables in, numbers or the tables of `plots/` out. Classes are
given by name (`"q"`), not by index; shares and rates are fractions.

Slow libraries are imported where they are used, because `ablation diff` needs none of them.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
import scipy.special
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
PART = (1 + CONFIDENCE) / 2  # quantile of an interval's upper end
NORMAL = float(scipy.special.ndtri(PART))

FINAL = "final"  # name of the final recipe in tables

# As in Guo et al., "On Calibration of Modern Neural Networks" (2017).
CALIBRATION_BINS = 15


def accuracy_interval(correct: ArrayLike) -> tuple[float, float]:
    """Wilson's 95 % interval for an accuracy, which never exceeds [0, 1].

    Args:
        correct: (n,) bool, whether each prediction was correct.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    import scipy.stats

    (is_correct,) = _aligned(correct=correct)
    trials = scipy.stats.binomtest(int(is_correct.sum()), len(is_correct))
    interval = trials.proportion_ci(CONFIDENCE, method="wilson")
    return float(interval.low), float(interval.high)


def top2_accuracy(actual: ArrayLike, predicted: ArrayLike, second: ArrayLike) -> float:
    """Share of characters that are the model's first or second choice.

    Args:
        actual, predicted, second: (n,) characters; `second` is the second most probable.
    """
    truth, first, runner_up = _aligned(actual=actual, predicted=predicted, second=second)
    return float(((truth == first) | (truth == runner_up)).mean())


def class_report(actual: ArrayLike, predicted: ArrayLike, classes: ArrayLike) -> pd.DataFrame:
    """Precision, recall and F1 of every class.

    Args:
        actual, predicted: (n,) characters.
        classes: (k,) all characters, in label order.

    Returns:
        k rows: class, precision, recall, f1, support (number of true characters). Undefined
        rates, such as the precision of a class that was never predicted, are 0.

    Raises:
        ValueError: a character that is not one of the classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, guess = _aligned(actual=actual, predicted=predicted)
    labels = np.asarray(classes)
    if unknown := sorted({*truth.tolist(), *guess.tolist()} - {*labels.tolist()}):
        raise ValueError(f"characters {unknown} are not among the classes {labels.tolist()}.")
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, guess, labels=labels, zero_division=0
    )
    return pd.DataFrame(
        {"class": labels, "precision": precision, "recall": recall, "f1": f1, "support": support}
    )


def macro_averages(report: pd.DataFrame) -> dict[str, float]:
    """Precision, recall and f1 averaged over classes, with equal weights.

    Args:
        report: the result of `class_report`.
    """
    return {name: float(report[name].mean()) for name in ("precision", "recall", "f1")}


def most_confused(actual: ArrayLike, predicted: ArrayLike, count: int = 10) -> pd.DataFrame:
    """The pairs of characters that are confused most often, in either direction.

    Args:
        actual, predicted: (n,) characters.
        count: maximum number of pairs; pairs that never occur are not listed.

    Returns:
        first, second (`first` sorts before `second`), errors, share_of_errors (of all errors); most
        errors first, then in alphabetical order.
    """
    truth, guess = _aligned(actual=actual, predicted=predicted)
    wrong = truth != guess
    pairs = np.sort(np.stack([truth[wrong], guess[wrong]], axis=1), axis=1)
    table = pd.DataFrame(pairs, columns=["first", "second"])
    table = table.groupby(["first", "second"]).size().reset_index(name="errors")
    table["share_of_errors"] = table["errors"] / max(int(wrong.sum()), 1)
    order = table.sort_values(["errors", "first", "second"], ascending=[False, True, True])
    return order.head(count).reset_index(drop=True)


def look_alike_errors(
    actual: ArrayLike, predicted: ArrayLike, look_alikes: Mapping[str, str]
) -> pd.DataFrame:
    """Count errors between characters that cannot be told apart without context.

    Args:
        actual, predicted: (n,) characters.
        look_alikes: name of a group to its characters; no character is in two groups.

    Returns:
        group, errors, share_of_errors (of all errors; 0 if there are none): one row per
        group, and their sum in the last row, `all`. An error counts if the true and the predicted
        character are in the same group.
    """
    truth, guess = _aligned(actual=actual, predicted=predicted)
    wrong = truth != guess
    errors = {
        group: int((wrong & np.isin(truth, [*alike]) & np.isin(guess, [*alike])).sum())
        for group, alike in look_alikes.items()
    }
    errors["all"] = sum(errors.values())
    table = pd.DataFrame({"group": list(errors), "errors": list(errors.values())})
    table["share_of_errors"] = table["errors"] / max(int(wrong.sum()), 1)
    return table


def reliability_curve(correct: ArrayLike, confidence: ArrayLike) -> pd.DataFrame:
    """Accuracy against confidence; they are equal for a calibrated model.

    Args:
        correct: (n,) bool, whether each prediction was correct.
        confidence: (n,) predicted probability of the prediction.

    Returns:
        confidence (mean), accuracy and count of each non-empty bin of `CALIBRATION_BINS` equally
        wide ones, in ascending order of confidence.
    """
    from sklearn.calibration import calibration_curve

    is_correct, probability = _aligned(correct=correct, confidence=confidence)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("confidence must be in [0, 1]: it is the probability of the prediction.")
    accuracy, mean_confidence = calibration_curve(
        is_correct.astype(int), probability, n_bins=CALIBRATION_BINS
    )
    # calibration_curve does not return the counts. Like its bins, these include their upper edge.
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], probability))
    return pd.DataFrame(
        {"confidence": mean_confidence, "accuracy": accuracy, "count": counts[counts > 0]}
    )


def calibration_error(curve: pd.DataFrame) -> float:
    """Expected calibration error: mean absolute difference of confidence and accuracy.

    Args:
        curve: the result of `reliability_curve`.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    gaps = (curve["accuracy"] - curve["confidence"]).abs()
    return float(np.average(gaps, weights=curve["count"]))


def probability_scores(
    actual: ArrayLike, probabilities: ArrayLike, classes: ArrayLike
) -> dict[str, float]:
    """Quality of predicted probabilities: two proper scoring rules, and the calibration error.

    Args:
        actual: (n,) characters.
        probabilities: (n, k), rows that add up to 1.
        classes: (k,) characters, in the order of the columns.

    Returns:
        calibration_error: see `calibration_error`, of the most probable class.
        brier_score: the mean over characters of the sum over classes of (probability - truth)^2;
        0 is best, 2 worst.
        log_likelihood: the mean log probability of the true class, in nats; 0 is best.

    Source:
        Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review
        78, 1950.
    """
    from sklearn.metrics import brier_score_loss, log_loss

    labels, chances = np.asarray(classes), np.asarray(probabilities)
    truth = pd.Index(labels).get_indexer(np.asarray(actual))
    options = {"labels": np.arange(len(labels))}
    curve = reliability_curve(truth == chances.argmax(axis=1), chances.max(axis=1).clip(0, 1))
    return {
        "calibration_error": calibration_error(curve),
        "brier_score": float(brier_score_loss(truth, chances, scale_by_half=False, **options)),
        "log_likelihood": -float(log_loss(truth, chances, **options)),
    }


def mcnemar(first_correct: ArrayLike, second_correct: ArrayLike) -> float:
    """McNemar's exact test, two-sided, of whether two models are equally accurate.

    It uses the characters that only one of the models classifies correctly: for equal models, each
    of these is a fair coin toss.

    Args:
        first_correct, second_correct: (n,) bool, on the same characters.

    Returns:
        The p-value in (0, 1]; 1 if the models never disagree.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions",
        Psychometrika 12, 1947.
    """
    import scipy.stats

    first, second = _aligned(first_correct=first_correct, second_correct=second_correct)
    only_first, only_second = int((first & ~second).sum()), int((second & ~first).sum())
    if only_first + only_second == 0:
        return 1.0
    return float(scipy.stats.binomtest(only_first, only_first + only_second).pvalue)


def accuracy_difference(first_correct: ArrayLike, second_correct: ArrayLike) -> float:
    """Difference in accuracy of two models: second minus first.

    Args:
        first_correct, second_correct: (n,) bool, on the same characters.
    """
    first, second = _aligned(first_correct=first_correct, second_correct=second_correct)
    return (int(second.sum()) - int(first.sum())) / len(first)


def fits_of(correct: pd.DataFrame, recipe: str) -> list[NDArray[np.bool_]]:
    """Correctness of each fit of a recipe, from the table of all fits.

    Args:
        correct: one row per test character, one column per fit: the name of the recipe and the
            number of the seed, such as `final 1`.
        recipe: its name.
    """
    columns = [name for name in correct if name.rpartition(" ")[0] == recipe]
    return [correct[name].to_numpy(dtype=bool) for name in columns]


def recipe_difference(
    first_correct: Sequence[ArrayLike], second_correct: Sequence[ArrayLike]
) -> tuple[float, float, float]:
    """Difference in accuracy of two recipes, for random seeds and test characters.

    The mean accuracy over a recipe's fits varies with the seeds and with the test characters, which
    all fits share. The squared standard error of the difference is

        F_1 + F_2 + max(C - E_1 - E_2, 0)

    where F is the variance of a recipe's accuracies between fits, divided by their number; C is the
    variance between characters of the difference in the share of fits that are correct, divided by
    the number of characters; and E, included in both F and C, is the residual variance of
    correctness after removing the effects of fits and characters, divided by the number of both.
    The degrees of freedom are (squared error)^2 over the sum of F^2 / (fits - 1). With a single
    fit, the variation of seeds is unknown, and the interval covers that of the characters alone.

    Args:
        first_correct, second_correct: (n,) bool for each fit, on the same characters.

    Returns:
        (difference, low, high): second minus first, and the 95 % interval. The interval is never
        narrower than that of the fewest disagreements that give this difference, at least one.

    Source:
        Dorfman, Berbaum & Metz, "Receiver Operating Characteristic Rating Analysis", Investigative
        Radiology 27, 1992, and Hillis, "A Marginal-Mean ANOVA Approach for Analyzing Multireader
        Multicase Radiological Imaging Data", Statistics in Medicine 33, 2014: readers, here the
        fits, nested in a method and crossed with cases.
    """
    names = [f"fit {n} correct" for n in range(len(first_correct) + len(second_correct))]
    together = _aligned(**dict(zip(names, [*first_correct, *second_correct], strict=True)))
    tables = [
        np.array(some, float)
        for some in (together[: len(first_correct)], together[len(first_correct) :])
    ]
    characters = tables[0].shape[1]
    first, second = (table.mean(0) for table in tables)
    difference = float((second - first).mean())
    of_fits, both = np.array([_variances(table) for table in tables]).T
    of_characters = (second - first).var(ddof=1) / characters if characters > 1 else 0.0
    square = of_fits.sum() + max(of_characters - both.sum(), 0.0)
    fits = np.array([len(table) for table in tables])
    squares = (of_fits**2 / np.maximum(fits - 1, 1)).sum()
    freedom = square**2 / squares if squares > 0 else math.inf
    differ = np.clip(abs(difference), 1 / characters, 1 - 1 / characters)
    least = math.sqrt(differ * (1 - differ) / characters / fits.min())
    quantile = scipy.special.stdtrit(freedom, PART) if math.isfinite(freedom) else NORMAL
    reach = max(float(quantile) * math.sqrt(square), NORMAL * least)
    return difference, difference - reach, difference + reach


def agreement(correct: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """How often all models, some of them, or none are correct.

    Args:
        correct: model to (n,) bool, whether it was correct, on the same characters for all.

    Returns:
        outcome, count, share: one row for each subset of models that are correct, all first.
    """
    names = list(correct)
    is_correct = np.stack(_aligned(**{f"{name}_correct": each for name, each in correct.items()}))
    rows = []
    for pattern in product([True, False], repeat=len(names)):
        count = int((is_correct == np.array(pattern)[:, None]).all(axis=0).sum())
        rows.append((_outcome(names, pattern), count, count / is_correct.shape[1]))
    return pd.DataFrame(rows, columns=["outcome", "count", "share"])


def recalls(reports: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Recall of each class by each model.

    Args:
        reports: model to the result of `class_report`, for the same classes.

    Returns:
        class, then one column per model, in the order of the reports.

    Raises:
        ValueError: the reports have different classes.
    """
    classes = [report["class"].tolist() for report in reports.values()]
    if any(each != classes[0] for each in classes):
        raise ValueError("the reports must have the same classes in the same order.")
    columns = {model: report["recall"].to_numpy() for model, report in reports.items()}
    return pd.DataFrame({"class": classes[0], **columns})


def _variances(correct: NDArray[np.float64]) -> tuple[float, float]:
    """F and E of `recipe_difference` for the (fits, n) table of one recipe; 0 of a single fit."""
    fits, characters = correct.shape
    if fits == 1:
        return 0.0, 0.0
    left = correct - correct.mean(1, keepdims=True) - correct.mean(0) + correct.mean()
    freedom = (fits - 1) * max(characters - 1, 1)
    return (
        float(correct.mean(1).var(ddof=1)) / fits,
        float((left**2).sum()) / freedom / (fits * characters),
    )


def _outcome(names: list[str], pattern: tuple[bool, ...]) -> str:
    if all(pattern) or not any(pattern):
        return "all correct" if all(pattern) else "none correct"
    correct = [name for name, is_correct in zip(names, pattern, strict=True) if is_correct]
    return f"only {' and '.join(correct)} correct"


def _aligned(**columns: ArrayLike) -> list[NDArray[Any]]:
    """Convert columns to arrays, and check that they are (n,), n > 0, and `*correct` are bool."""
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    shape, *others = shapes.values()
    if len(shape) != 1 or shape[0] == 0 or any(other != shape for other in others):
        raise ValueError(
            f"expected one-dimensional arrays of the same length, not empty; got {shapes}."
        )
    for name, array in arrays.items():
        if name.endswith("correct") and array.dtype != bool:
            raise ValueError(f"{name} must be bool, one value per character; got {array.dtype}.")
    return list(arrays.values())
