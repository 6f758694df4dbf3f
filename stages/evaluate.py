"""Evaluate the fitted models on the test set. No other stage reads it."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.markup import escape
from rich.table import Table

from ablation.base.console import announce, console
from ablation.base.errors import UserError
from ablation.base.files import DIGITS, read_csv, whole_file, write_csv, write_json
from ablation.base.formatting import percent, points
from ablation.data.characters import Characters
from ablation.fitted.model import Fitted
from ablation.judge.evaluation import (
    FINAL,
    accuracy_interval,
    class_report,
    fits_of,
    macro_averages,
    most_confused,
    probability_scores,
    recipe_difference,
    reliability_curve,
    top2_accuracy,
)
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import BASELINE

TEST_CHARACTERS = Path("data/prepared/test.npz")
FIRST = 6  # predictions that are printed and drawn
WORST = 12  # mistakes that are drawn
MOST_CLASSES = 62  # printed on one line
HARDEST = 5  # classes in the printed table
TIMED_PASSES = 5

# Recipe to the predictions of its fits, in the order of the seeds.
Fits = dict[str, list[pd.DataFrame]]


def main() -> None:
    arguments = parse_arguments()
    model, root = arguments.model, arguments.results
    params = load_params()
    announce(f"test of the {model}", params.dataset.note, root)
    torch.set_num_threads(1)
    test = Characters.load(TEST_CHARACTERS)
    if not len(test):
        raise UserError(f"{TEST_CHARACTERS}: empty; `dvc repro prepare` recreates it")
    train_seconds = float(read_csv(arguments.times, ["train_seconds"])["train_seconds"].iloc[0])
    released = load(arguments.released, model, test)
    seeds, baselines = (
        [load(path, model, test) for path in list_models(folder)]
        for folder in (arguments.seeds, arguments.baseline)
    )
    predictions = predict(released, test)
    fits = {
        recipe: [predict(each, test) for each in models]
        for recipe, models in ((FINAL, seeds), (BASELINE, baselines))
    }

    tables = test_tables(predictions, test.classes)
    numbers = test_numbers(predictions, tables["report"])
    tables["seeds"] = seeds_table(fits)
    tables["correct"] = correct_table(fits)
    gain = gain_over_baseline(tables["correct"])
    tables["details"] = details(predictions, tables["seeds"], released, test)
    times = test_times(train_seconds, released, test)
    for name, table in tables.items():
        write_csv(table, root / "plots" / model / "test" / f"{name}.csv")
    write_json(numbers, root / "metrics" / model / "test.json")
    write_json(gain, root / "metrics" / model / "test_over_baseline.json")
    write_csv(times, root / "data/times" / model / "test.csv")
    first = predictions.head(FIRST)
    save_predictions(test, first, root / "data/evaluated" / model / "first_six.npz")
    save_predictions(test, worst(predictions), root / "data/evaluated" / model / "worst.npz")
    show(numbers, gain, tables, times, first, params.dataset.things)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--released", required=True, type=Path, help="the model file to report on")
    parser.add_argument(
        "--seeds", required=True, type=Path, help="models of the final recipe (folder)"
    )
    parser.add_argument(
        "--baseline", required=True, type=Path, help="models of the baseline recipe (folder)"
    )
    parser.add_argument("--times", required=True, type=Path, help="training times of the fits")
    parser.add_argument(
        "--results", type=Path, default=Path(), help="folder to write to (default: the study's)"
    )
    return parser.parse_args()


def load(path: Path, model: str, test: Characters) -> Fitted:
    """Load a model file, and check that it fits the family and the test set.

    Raises:
        UserError: the model is of another family, or its classes differ from the test set's.
    """
    fitted = Fitted.load(path)
    if fitted.metadata.model != model:
        found = fitted.metadata.model
        raise UserError(
            f"{path}: a model of the family {found}, but --model is {model}; pass a file of the "
            f"{model}"
        )
    if fitted.metadata.classes != test.classes:
        raise UserError(
            f"{path}: a model of the classes {class_list(fitted.metadata.classes)}, but "
            f"{TEST_CHARACTERS} has {class_list(test.classes)}; `dvc repro` fits a new one"
        )
    return fitted


def class_list(classes: Sequence[str]) -> str:
    """The class names on one line; at most `MOST_CLASSES` of them, then their number."""
    more = f" ... ({len(classes)} classes)" if len(classes) > MOST_CLASSES else ""
    return " ".join(classes[:MOST_CLASSES]) + more


def list_models(folder: Path) -> list[Path]:
    """The model files of a folder, `<seed>.safetensors`, by seed.

    Raises:
        UserError: there is none.
    """
    files = [path for path in folder.glob("*.safetensors") if path.stem.isdecimal()]
    if not files:
        raise UserError(
            f"{folder}: contains no models (1.safetensors, ...); the stage `fit` creates them"
        )
    return sorted(files, key=lambda path: int(path.stem))


def predict(fitted: Fitted, test: Characters) -> pd.DataFrame:
    """Actual and predicted class, runner-up and confidence of each image."""
    probabilities = fitted.probabilities(test.images)
    names = np.array(test.classes)
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    table = {
        "actual": names[test.labels],
        "predicted": names[ranked[:, 0]],
        "second": names[ranked[:, 1]],
        "confidence": probabilities.max(axis=1).clip(0, 1),
    }
    return pd.DataFrame(table)


def accuracy(predictions: pd.DataFrame) -> float:
    return float((predictions["actual"] == predictions["predicted"]).mean())


def test_tables(predictions: pd.DataFrame, classes: tuple[str, ...]) -> dict[str, pd.DataFrame]:
    """The tables of plots/<model>/test: file name without suffix to table."""
    actual, predicted = predictions["actual"], predictions["predicted"]
    return {
        "predictions": predictions,
        "report": class_report(actual, predicted, classes),
        "confused": most_confused(actual, predicted),
        "reliability": reliability_curve(actual == predicted, predictions["confidence"]),
    }


def test_numbers(predictions: pd.DataFrame, report: pd.DataFrame) -> dict[str, float]:
    """The row of `dvc metrics show`; precision, recall and F1 are macro averages."""
    low, high = accuracy_interval(predictions["actual"] == predictions["predicted"])
    return {"accuracy": accuracy(predictions), "low": low, "high": high, **macro_averages(report)}


def seeds_table(fits: Fits) -> pd.DataFrame:
    """One row per fit: recipe, seed and accuracy."""
    rows = [
        (recipe, seed, accuracy(predictions))
        for recipe, each in fits.items()
        for seed, predictions in enumerate(each, start=1)
    ]
    return pd.DataFrame(rows, columns=["recipe", "seed", "accuracy"])


def correct_table(fits: Fits) -> pd.DataFrame:
    """One row per test character, one column per fit (`final 1`): 1 if classified correctly."""
    columns = {
        f"{recipe} {seed}": (predictions["actual"] == predictions["predicted"]).astype(int)
        for recipe, each in fits.items()
        for seed, predictions in enumerate(each, start=1)
    }
    return pd.DataFrame(columns)


def gain_over_baseline(correct: pd.DataFrame) -> dict[str, float]:
    """The test accuracy of the final recipe minus that of the baseline, over all seeds.

    No selection biases it, since nothing was chosen on the test set.
    """
    gain, low, high = recipe_difference(fits_of(correct, BASELINE), fits_of(correct, FINAL))
    return {"gain": gain, "low": low, "high": high}


def details(
    predictions: pd.DataFrame, accuracies: pd.DataFrame, released: Fitted, test: Characters
) -> pd.DataFrame:
    """One row of further scores of the released model, and means and spreads over the seeds.

    A spread is nan for a single seed.

    Args:
        predictions: of the released model, as `predict` returns them.
        accuracies: as `seeds_table` returns them.
        released: the released model.
        test: the test set.
    """
    columns = (predictions[name] for name in ("actual", "predicted", "second"))
    seeds = accuracies.groupby("recipe")["accuracy"].agg(["mean", "std"])
    before, after = (
        probability_scores(
            predictions["actual"],
            released.probabilities(test.images, calibrated=calibrated),
            test.classes,
        )
        for calibrated in (False, True)
    )
    row = {
        "top2": top2_accuracy(*columns),
        "temperature": released.metadata.temperature,
        **{
            f"{name}{suffix}": score
            for name in after
            for suffix, score in (("_before", before[name]), ("", after[name]))
        },
        "parameters": released.parameters,
        "seeds_mean": seeds.loc["final", "mean"],
        "seeds_spread": seeds.loc["final", "std"],
        "baseline_mean": seeds.loc["baseline", "mean"],
        "baseline_spread": seeds.loc["baseline", "std"],
    }
    return pd.DataFrame([row])


def test_times(train_seconds: float, released: Fitted, test: Characters) -> pd.DataFrame:
    """Seconds that the released model took to train, and takes to predict the test set on one core.

    The latter is processor time, the median of `TIMED_PASSES` passes. Earlier predictions have
    warmed up the model.
    """
    seconds = []
    for _ in range(TIMED_PASSES):
        started = time.process_time()
        released.probabilities(test.images)
        seconds.append(time.process_time() - started)
    predict_seconds = float(np.median(seconds))
    row = {
        "train_seconds": train_seconds,
        "predict_seconds": predict_seconds,
        "images_per_second": len(test) / predict_seconds,
    }
    return pd.DataFrame([row])


def worst(predictions: pd.DataFrame) -> pd.DataFrame:
    """The `WORST` most confident mistakes, the most confident first."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    return wrong.sort_values("confidence", ascending=False, kind="stable").head(WORST)


def save_predictions(test: Characters, predictions: pd.DataFrame, path: Path) -> None:
    """Write some predictions with their images, for a figure."""
    columns = {name: predictions[name].to_numpy(dtype=str) for name in ("actual", "predicted")}
    confidence = predictions["confidence"].to_numpy(dtype=float).round(DIGITS)
    with whole_file(path) as file:
        np.savez(file, images=test.images[predictions.index], confidence=confidence, **columns)


def show(
    numbers: dict[str, float],
    gain: dict[str, float],
    tables: dict[str, pd.DataFrame],
    times: pd.DataFrame,
    first: pd.DataFrame,
    things: str,
) -> None:
    """Print the results, of the classes only those with the lowest F1."""
    texts = {name: percent(value) for name, value in numbers.items()}
    row, seconds = tables["details"].iloc[0], times.iloc[0]
    console.print(f"accuracy {texts['accuracy']}, 95 % interval {texts['low']} to {texts['high']}")
    console.print(f"precision {texts['precision']}, recall {texts['recall']}, F1 {texts['f1']}")
    console.print(
        f"gain of the final over the baseline recipe, all seeds: {points(gain['gain'])} points, "
        f"95 % interval {points(gain['low'])} to {points(gain['high'])}"
    )
    for recipe, mean in (("final recipe", "seeds"), ("baseline recipe", "baseline")):
        spread = row[f"{mean}_spread"]
        suffix = "" if pd.isna(spread) else f", spread {percent(spread)}"
        console.print(f"{recipe}, mean over the seeds: {percent(row[f'{mean}_mean'])}{suffix}")
    console.print(
        f"top-2 accuracy {percent(row['top2'])}; calibration before and after division by the "
        f"temperature {row['temperature']:.2f}: expected calibration error "
        f"{percent(row['calibration_error_before'])} and {percent(row['calibration_error'])}, "
        f"Brier score {row['brier_score_before']:.4f} and {row['brier_score']:.4f}, "
        f"log-likelihood {row['log_likelihood_before']:.4f} and {row['log_likelihood']:.4f}"
    )
    console.print(
        f"{row['parameters']:,.0f} parameters, trained in {seconds['train_seconds']:.1f} s, "
        f"predicts {seconds['images_per_second']:,.0f} images/s on one core"
    )

    table = Table("hardest classes", box=None, header_style="bold")
    for name in ("precision", "recall", "f1", "support"):
        table.add_column(name, justify="right")
    report = tables["report"]
    hardest = report["f1"].sort_values(kind="stable").index[:HARDEST]
    for each in report.loc[hardest].itertuples(index=False):
        rates = (percent(rate) for rate in (each.precision, each.recall, each.f1))
        table.add_row(escape(each[0]), *rates, str(each.support))
    console.print(table)
    confused = tables["confused"]
    pairs = zip(confused["first"], confused["second"], confused["errors"], strict=True)
    line = ", ".join(f"{first}/{second} {errors}" for first, second, errors in pairs)
    console.print(f"most confused, with the number of errors: {escape(line)}")
    labels = zip(first["actual"], first["predicted"], strict=True)
    line = ", ".join(f"{actual} as {predicted}" for actual, predicted in labels)
    console.print(f"the first {len(first)} test {things}, actual as predicted: {escape(line)}\n")


if __name__ == "__main__":
    with stage_process():
        main()
