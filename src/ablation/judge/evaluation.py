"""How good fitted models are on the test set, and how two of them differ.

Every function is pure: arrays or tables in, numbers or the tables of `plots/` out. Characters stand
for themselves (`"q"`), not for their index; shares and rates are fractions.

Libraries that take long to import are imported where they are used: `ablation diff` uses none.
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
PART = (1 + CONFIDENCE) / 2  # of a distribution that lies below an interval's upper end
NORMAL = float(scipy.special.ndtri(PART))

FINAL = "final"  # what tables call the final recipe

# Guo et al., "On Calibration of Modern Neural Networks" (2017), count in fifteen bins.
CALIBRATION_BINS = 15


def accuracy_interval(correct: ArrayLike) -> tuple[float, float]:
    """Wilson's 95 % interval for an accuracy, which stays inside [0, 1] where others do not.

    Args:
        correct: (n,) bool, whether each prediction was right.

    Source:
        Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", 1927.
    """
    import scipy.stats

    (right,) = _aligned(correct=correct)
    trials = scipy.stats.binomtest(int(right.sum()), len(right))
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
        classes: (k,) every character that there is, in label order.

    Returns:
        k rows: class, precision, recall, f1, support (number of true characters). A rate without
        anything to count, such as the precision of a class that was never predicted, is 0.

    Raises:
        ValueError: a character that is not one of the classes.
    """
    from sklearn.metrics import precision_recall_fscore_support

    truth, guess = _aligned(actual=actual, predicted=predicted)
    labels = np.asarray(classes)
    if strangers := sorted({*truth.tolist(), *guess.tolist()} - {*labels.tolist()}):
        raise ValueError(f"characters {strangers} are not among the classes {labels.tolist()}.")
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, guess, labels=labels, zero_division=0
    )
    return pd.DataFrame(
        {"class": labels, "precision": precision, "recall": recall, "f1": f1, "support": support}
    )


def macro_averages(report: pd.DataFrame) -> dict[str, float]:
    """Precision, recall and f1 averaged over classes, each class counting the same.

    Args:
        report: what `class_report` returns.
    """
    return {name: float(report[name].mean()) for name in ("precision", "recall", "f1")}


def most_confused(actual: ArrayLike, predicted: ArrayLike, count: int = 10) -> pd.DataFrame:
    """The pairs of characters that are taken for each other most often, either way round.

    Args:
        actual, predicted: (n,) characters.
        count: number of pairs at most; pairs that never occur are not listed.

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
    """How many errors are characters that nobody could tell apart out of context.

    Args:
        actual, predicted: (n,) characters.
        look_alikes: name of a group to its characters; no character is in two groups.

    Returns:
        group, errors, share_of_errors (of all errors; 0 where there are none): a row for each
        group and a last row `all`, their sum. An error counts where both the true and the
        predicted character are of one group.
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
    """Accuracy against confidence: a calibrated model that says 0.8 is right in 80 % of cases.

    Args:
        correct: (n,) bool, whether each prediction was right.
        confidence: (n,) probability that the model gave to its prediction.

    Returns:
        confidence (mean), accuracy, count of each of `CALIBRATION_BINS` equally wide bins that has
        any prediction, least confident first.
    """
    from sklearn.calibration import calibration_curve

    right, probability = _aligned(correct=correct, confidence=confidence)
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("confidence must lie in [0, 1]: it is the probability of the prediction.")
    accuracy, mean_confidence = calibration_curve(
        right.astype(int), probability, n_bins=CALIBRATION_BINS
    )
    # calibration_curve does not tell its bins' sizes; its edges belong to the bin below, as here.
    edges = np.linspace(0, 1, CALIBRATION_BINS + 1)
    counts = np.bincount(np.searchsorted(edges[1:-1], probability))
    return pd.DataFrame(
        {"confidence": mean_confidence, "accuracy": accuracy, "count": counts[counts > 0]}
    )


def calibration_error(curve: pd.DataFrame) -> float:
    """Expected calibration error: how far confidence is from accuracy, over all predictions.

    Args:
        curve: what `reliability_curve` returns.

    Source:
        Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation 3.
    """
    gaps = (curve["accuracy"] - curve["confidence"]).abs()
    return float(np.average(gaps, weights=curve["count"]))


def probability_scores(
    actual: ArrayLike, probabilities: ArrayLike, classes: ArrayLike
) -> dict[str, float]:
    """How well probabilities foretell characters: two proper scores, and the calibration error.

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
    """McNemar's exact two-sided p that two models are equally often right on the same characters.

    Only characters that one model got right and the other wrong say anything: were the models
    equal, each of these would be a fair coin.

    Args:
        first_correct, second_correct: (n,) bool, on the same characters.

    Returns:
        p in (0, 1]; 1 where the models never disagree.

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
    """How much more accurate the second of two models is: second minus first.

    Args:
        first_correct, second_correct: (n,) bool, on the same characters.
    """
    first, second = _aligned(first_correct=first_correct, second_correct=second_correct)
    return (int(second.sum()) - int(first.sum())) / len(first)


def fits_of(right: pd.DataFrame, recipe: str) -> list[NDArray[np.bool_]]:
    """What each fit of a recipe read right, from the table of all fits.

    Args:
        right: one row a test character, one column a fit: the recipe's name and the seed's number,
            such as `final 1`.
        recipe: its name.
    """
    columns = [name for name in right if name.rpartition(" ")[0] == recipe]
    return [right[name].to_numpy(dtype=bool) for name in columns]


def recipe_difference(
    first_correct: Sequence[ArrayLike], second_correct: Sequence[ArrayLike]
) -> tuple[float, float, float]:
    """How much more accurate the second of two recipes is, whoever is fitted and tested.

    Two kinds of luck move the mean over a recipe's fits: that of the seeds and that of the test
    characters, which all fits share. The squared standard error of the difference is

        F_1 + F_2 + max(C - E_1 - E_2, 0)

    where F is the variance of a recipe's accuracies between its fits over their number, C that of
    the characters' differences (of the shares of fits that read them) over the number of
    characters, and E is what F and C both count: the variance that fits and characters leave of
    right and wrong, over the number of both. Its degrees of freedom are (squared error)^2 over the
    sum of F^2 / (fits - 1). One fit says nothing about the luck of seeds: then the interval holds
    that of the characters alone.

    Args:
        first_correct, second_correct: for each fit (n,) bool, on the same characters.

    Returns:
        (difference, low, high): second minus first, and the 95 % interval. It is no narrower than
        the disagreements that the difference takes allow, one character at least.

    Source:
        Dorfman, Berbaum & Metz, "Receiver Operating Characteristic Rating Analysis", Investigative
        Radiology 27, 1992, and Hillis, "A Marginal-Mean ANOVA Approach for Analyzing Multireader
        Multicase Radiological Imaging Data", Statistics in Medicine 33, 2014: readers, here the
        fits, that are nested in a method and crossed with cases.
    """
    names = [f"fit {n} correct" for n in range(len(first_correct) + len(second_correct))]
    everyone = _aligned(**dict(zip(names, [*first_correct, *second_correct], strict=True)))
    tables = [
        np.array(some, float)
        for some in (everyone[: len(first_correct)], everyone[len(first_correct) :])
    ]
    characters = tables[0].shape[1]
    first, second = (table.mean(0) for table in tables)
    difference = float((second - first).mean())
    of_fits, both = np.array([_variances(table) for table in tables]).T
    of_characters = (second - first).var(ddof=1) / characters if characters > 1 else 0.0
    square = of_fits.sum() + max(of_characters - both.sum(), 0.0)
    fits = np.array([len(table) for table in tables])
    unsure = (of_fits**2 / np.maximum(fits - 1, 1)).sum()
    freedom = square**2 / unsure if unsure > 0 else math.inf
    differ = np.clip(abs(difference), 1 / characters, 1 - 1 / characters)
    least = math.sqrt(differ * (1 - differ) / characters / fits.min())
    quantile = scipy.special.stdtrit(freedom, PART) if math.isfinite(freedom) else NORMAL
    reach = max(float(quantile) * math.sqrt(square), NORMAL * least)
    return difference, difference - reach, difference + reach


def agreement(correct: Mapping[str, ArrayLike]) -> pd.DataFrame:
    """Where all models are right, some of them, or none.

    Args:
        correct: model to (n,) bool, whether it was right, on the same characters for all.

    Returns:
        outcome, count, share: a row for each set of models that can be right, all first.
    """
    names = list(correct)
    right = np.stack(_aligned(**{f"{name}_correct": each for name, each in correct.items()}))
    rows = []
    for pattern in product([True, False], repeat=len(names)):
        count = int((right == np.array(pattern)[:, None]).all(axis=0).sum())
        rows.append((_outcome(names, pattern), count, count / right.shape[1]))
    return pd.DataFrame(rows, columns=["outcome", "count", "share"])


def recalls(reports: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Share of each class's characters that each model recognises.

    Args:
        reports: model to what `class_report` returns, for the same classes.

    Returns:
        class, then a column for each model, in the order of the reports.

    Raises:
        ValueError: reports on different classes.
    """
    classes = [report["class"].tolist() for report in reports.values()]
    if any(each != classes[0] for each in classes):
        raise ValueError("the reports must list the same classes in the same order.")
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
        return "all right" if all(pattern) else "all wrong"
    right = [name for name, is_right in zip(names, pattern, strict=True) if is_right]
    return f"only {' and '.join(right)} right"


def _aligned(**columns: ArrayLike) -> list[NDArray[Any]]:
    """The columns as arrays, checked to be (n,) with the same n > 0; `*correct` must be bool."""
    arrays = {name: np.asarray(column) for name, column in columns.items()}
    shapes = {name: array.shape for name, array in arrays.items()}
    shape, *others = shapes.values()
    if len(shape) != 1 or shape[0] == 0 or any(other != shape for other in others):
        raise ValueError(f"need one or more values, as many of each, in flat arrays; got {shapes}.")
    for name, array in arrays.items():
        if name.endswith("correct") and array.dtype != bool:
            raise ValueError(f"{name} must be bool, one value a character; got {array.dtype}.")
    return list(arrays.values())
