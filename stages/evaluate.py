"""The one stage that opens the test set: how good the fitted model is on it."""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.table import Table

from ablation.base.console import announce, console, percent, plain_errors
from ablation.base.files import write_csv, write_json
from ablation.data.characters import Characters
from ablation.judge.evaluation import (
    accuracy_interval,
    calibration_error,
    class_report,
    macro_averages,
    most_confused,
    reliability_curve,
    top2_accuracy,
)
from ablation.params import MODELS, load_params
from ablation.trial.fitted import Fitted

TEST_CHARACTERS = Path("data/prepared/test.npz")
SHOWN = 6
TIMED_PASSES = 5


def main() -> None:
    arguments = parse_arguments()
    model = arguments.model
    announce(f"test of the {model}", load_params().data.dataset)
    torch.set_num_threads(1)
    test = Characters.load(TEST_CHARACTERS)
    released = Fitted.load(arguments.released)
    predictions = predict(released, test)
    first_six = predictions.head(SHOWN)
    seeds = [
        predict(Fitted.load(path), test) for path in sorted(arguments.seeds.glob("*.safetensors"))
    ]

    plots = Path("plots", model, "test")
    actual, predicted = predictions["actual"], predictions["predicted"]
    correct = actual == predicted
    report = class_report(actual, predicted, test.classes)
    confused = most_confused(actual, predicted)
    reliability = reliability_curve(correct, predictions["confidence"])
    accuracies = [accuracy(each) for each in seeds]
    low, high = accuracy_interval(correct)
    numbers = {
        "accuracy": accuracy(predictions),
        "accuracy_low": low,
        "accuracy_high": high,
        "top2": top2_accuracy(actual, predicted, predictions["second"]),
        **macro_averages(report),
        "seeds_mean": float(np.mean(accuracies)),
        "seeds_spread": float(np.std(accuracies, ddof=1)) if len(seeds) > 1 else None,
        "calibration_error": calibration_error(reliability),
        "parameters": released.parameters,
        "train_seconds": json.loads(arguments.fit.read_text())["train_seconds"],
        "predict_seconds": time_of_prediction(released, test.images),
    }
    write_csv(predictions, plots / "predictions.csv")
    write_csv(report, plots / "report.csv")
    write_csv(confused, plots / "confused.csv")
    write_csv(reliability, plots / "reliability.csv")
    write_json(numbers, Path("metrics", model, "test.json"))
    save_shown(test, first_six, Path("data/evaluated", model, "first_six.npz"))
    show(numbers, report, confused, first_six)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--released", required=True, type=Path, help="the model file to report on")
    parser.add_argument("--seeds", required=True, type=Path, help="folder of all seeds' files")
    parser.add_argument("--fit", required=True, type=Path, help="the metrics of the fit")
    return parser.parse_args()


def predict(fitted: Fitted, test: Characters) -> pd.DataFrame:
    """Actual and predicted character, runner-up and confidence of each image."""
    probabilities = fitted.probabilities(test.images)
    names = np.array(fitted.classes)
    ranked = np.argsort(-probabilities, axis=1, kind="stable")
    table = {
        "actual": names[test.labels],
        "predicted": names[ranked[:, 0]],
        "second": names[ranked[:, 1]],
        "confidence": probabilities.max(axis=1).clip(0, 1),
    }
    return pd.DataFrame(table)


def time_of_prediction(fitted: Fitted, images: np.ndarray) -> float:
    """Seconds for all images on one core, the median of some passes; the first has warmed up."""
    seconds = []
    for _ in range(TIMED_PASSES):
        started = time.perf_counter()
        fitted.probabilities(images)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds))


def accuracy(predictions: pd.DataFrame) -> float:
    return float((predictions["actual"] == predictions["predicted"]).mean())


def save_shown(test: Characters, shown: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: shown[name].to_numpy(dtype=str) for name in ("actual", "predicted")}
    np.savez_compressed(path, images=test.images[: len(shown)], **columns)


def show(
    numbers: dict[str, float | None],
    report: pd.DataFrame,
    confused: pd.DataFrame,
    shown: pd.DataFrame,
) -> None:
    """Print what the test found as a person reads it."""
    said = {name: percent(value) for name, value in numbers.items() if value is not None}
    console.print(
        f"accuracy {said['accuracy']}, 95 % interval {said['accuracy_low']} to "
        f"{said['accuracy_high']}; over the seeds {said['seeds_mean']}, "
        f"spread {said.get('seeds_spread', 'unknown')}"
    )
    rest = ("top2", "precision", "recall", "f1", "calibration_error")
    console.print(", ".join(f"{name} {said[name]}" for name in rest))

    table = Table("class", box=None, header_style="bold")
    for name in ("precision", "recall", "f1", "support"):
        table.add_column(name, justify="right")
    for row in report.itertuples(index=False):
        rates = (percent(rate) for rate in (row.precision, row.recall, row.f1))
        table.add_row(row[0], *rates, str(row.support))
    console.print(table)
    pairs = zip(confused["first"], confused["second"], confused["errors"], strict=True)
    listed = ", ".join(f"{first}/{second} {errors}" for first, second, errors in pairs)
    console.print(f"most confused, with the number of errors: {listed}")
    guesses = zip(shown["actual"], shown["predicted"], strict=True)
    listed = ", ".join(f"{truth} as {guess}" for truth, guess in guesses)
    console.print(f"the first {len(shown)} test characters, true as predicted: {listed}\n")


if __name__ == "__main__":
    with plain_errors():
        main()
