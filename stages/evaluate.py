"""The one stage that opens the test set: how good the fitted model is on it."""

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
SHOWN = 6
WORST = 12
MOST_LISTED = 62  # classes, on one line or in one table of a terminal
TIMED_PASSES = 5

# The predictions of every fit of each recipe, by seed.
Fits = dict[str, list[pd.DataFrame]]


def main() -> None:
    arguments = parse_arguments()
    model, root = arguments.model, arguments.results
    params = load_params()
    announce(f"test of the {model}", params.dataset.note)
    torch.set_num_threads(1)
    test = Characters.load(TEST_CHARACTERS)
    if not len(test):
        raise UserError(f"{TEST_CHARACTERS}: without characters; `dvc repro prepare` makes it")
    train_seconds = float(read_csv(arguments.times, ["train_seconds"])["train_seconds"].iloc[0])
    released = load(arguments.released, model, test)
    seeds, baselines = (
        [load(path, model, test) for path in in_order(folder)]
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
    tables["right"] = right_table(fits)
    gain = gain_over_baseline(tables["right"])
    tables["details"] = details(predictions, tables["seeds"], released, test)
    times = test_times(train_seconds, released, test)
    for name, table in tables.items():
        write_csv(table, root / "plots" / model / "test" / f"{name}.csv")
    write_json(numbers, root / "metrics" / model / "test.json")
    write_json(gain, root / "metrics" / model / "test_over_baseline.json")
    write_csv(times, root / "data/times" / model / "test.csv")
    shown = predictions.head(SHOWN)
    save_shown(test, shown, root / "data/evaluated" / model / "first_six.npz")
    save_shown(test, worst(predictions), root / "data/evaluated" / model / "worst.npz")
    show(numbers, gain, tables, times, shown, params.dataset.things)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--released", required=True, type=Path, help="the model file to report on")
    parser.add_argument("--seeds", required=True, type=Path, help="folder of all seeds' files")
    parser.add_argument("--baseline", required=True, type=Path, help="folder of the baseline's")
    parser.add_argument("--times", required=True, type=Path, help="what the fits took")
    parser.add_argument(
        "--results", type=Path, default=Path(), help="folder to write to (default: the study's)"
    )
    return parser.parse_args()


def load(path: Path, model: str, test: Characters) -> Fitted:
    """A model file of a family that knows the classes of the test set.

    Raises:
        UserError: its classes are others; labels would name other characters. Or it is another
            family's, whose numbers would stand under this one's name.
    """
    fitted = Fitted.load(path)
    if fitted.about.model != model:
        raise UserError(f"{path}: a {fitted.about.model}, but --model is {model}; name its file")
    if fitted.about.classes != test.classes:
        raise UserError(
            f"{path}: a model of the classes {listed(fitted.about.classes)}, but "
            f"{TEST_CHARACTERS} has {listed(test.classes)}; `dvc repro` fits one of these"
        )
    return fitted


def listed(classes: Sequence[str]) -> str:
    """The names of classes on one line; of many, the first ones and how many there are."""
    more = f" and so on, {len(classes)} of them" if len(classes) > MOST_LISTED else ""
    return " ".join(classes[:MOST_LISTED]) + more


def in_order(folder: Path) -> list[Path]:
    """The model files of a folder by their seeds' numbers.

    Raises:
        UserError: there is none.
    """
    files = [path for path in folder.glob("*.safetensors") if path.stem.isdecimal()]
    if not files:
        raise UserError(
            f"{folder}: no folder of models 1.safetensors, ...; `dvc repro fit` makes it"
        )
    return sorted(files, key=lambda path: int(path.stem))


def predict(fitted: Fitted, test: Characters) -> pd.DataFrame:
    """Actual and predicted character, runner-up and confidence of each image."""
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
    """What stands in plots/<model>/test, by the name of the file."""
    actual, predicted = predictions["actual"], predictions["predicted"]
    return {
        "predictions": predictions,
        "report": class_report(actual, predicted, classes),
        "confused": most_confused(actual, predicted),
        "reliability": reliability_curve(actual == predicted, predictions["confidence"]),
    }


def test_numbers(predictions: pd.DataFrame, report: pd.DataFrame) -> dict[str, float]:
    """The test in one line of `dvc metrics show`; precision, recall and F1 are macro averages."""
    low, high = accuracy_interval(predictions["actual"] == predictions["predicted"])
    return {"accuracy": accuracy(predictions), "low": low, "high": high, **macro_averages(report)}


def seeds_table(fits: Fits) -> pd.DataFrame:
    """One row a fit: which recipe, which seed, and its accuracy."""
    rows = [
        (recipe, seed, accuracy(predictions))
        for recipe, each in fits.items()
        for seed, predictions in enumerate(each, start=1)
    ]
    return pd.DataFrame(rows, columns=["recipe", "seed", "accuracy"])


def right_table(fits: Fits) -> pd.DataFrame:
    """One row a test character, one column a fit, `final 1` for one: 1 where it was read right."""
    columns = {
        f"{recipe} {seed}": (predictions["actual"] == predictions["predicted"]).astype(int)
        for recipe, each in fits.items()
        for seed, predictions in enumerate(each, start=1)
    }
    return pd.DataFrame(columns)


def gain_over_baseline(right: pd.DataFrame) -> dict[str, float]:
    """How much more of the test characters the final recipe reads than the baseline.

    No selection can flatter it: nothing was chosen on the test set. It compares the recipes, over
    all their seeds.
    """
    gain, low, high = recipe_difference(fits_of(right, BASELINE), fits_of(right, FINAL))
    return {"gain": gain, "low": low, "high": high}


def details(
    predictions: pd.DataFrame, accuracies: pd.DataFrame, released: Fitted, test: Characters
) -> pd.DataFrame:
    """One row of what else there is to know; the spread of a single seed is not known.

    accuracies: what `seeds_table` returns.
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
        "temperature": released.about.temperature,
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
    """What the released model took to train, and takes to predict all test images on one core.

    Prediction is in processor time, the median of some passes; the first, which warms up, was made
    before.
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
    """The mistakes that the model was surest of, the surest first."""
    wrong = predictions[predictions["actual"] != predictions["predicted"]]
    return wrong.sort_values("confidence", ascending=False, kind="stable").head(WORST)


def save_shown(test: Characters, shown: pd.DataFrame, path: Path) -> None:
    """Write some predictions with their images, for a picture of them."""
    columns = {name: shown[name].to_numpy(dtype=str) for name in ("actual", "predicted")}
    confidence = shown["confidence"].to_numpy(dtype=float).round(DIGITS)
    with whole_file(path) as file:
        np.savez(file, images=test.images[shown.index], confidence=confidence, **columns)


def show(
    numbers: dict[str, float],
    gain: dict[str, float],
    tables: dict[str, pd.DataFrame],
    times: pd.DataFrame,
    shown: pd.DataFrame,
    things: str,
) -> None:
    """Print what the test found as a person reads it; of very many classes, the hardest ones."""
    said = {name: percent(value) for name, value in numbers.items()}
    more, took = tables["details"].iloc[0], times.iloc[0]
    console.print(f"accuracy {said['accuracy']}, 95 % interval {said['low']} to {said['high']}")
    console.print(f"precision {said['precision']}, recall {said['recall']}, F1 {said['f1']}")
    console.print(
        f"the final recipe over the baseline recipe, all seeds: {points(gain['gain'])} points, "
        f"95 % interval {points(gain['low'])} to {points(gain['high'])}"
    )
    for what, mean in (("final recipe", "seeds"), ("baseline recipe", "baseline")):
        spread = more[f"{mean}_spread"]
        told = "" if pd.isna(spread) else f", spread {percent(spread)}"
        console.print(f"{what} over the seeds: {percent(more[f'{mean}_mean'])}{told}")
    console.print(
        f"right within two guesses {percent(more['top2'])}; of its confidences, before and after a "
        f"temperature of {more['temperature']:.2f}: expected calibration error "
        f"{percent(more['calibration_error_before'])} and {percent(more['calibration_error'])}, "
        f"Brier score {more['brier_score_before']:.4f} and {more['brier_score']:.4f}, "
        f"log-likelihood {more['log_likelihood_before']:.4f} and {more['log_likelihood']:.4f}"
    )
    console.print(
        f"{more['parameters']:,.0f} parameters, trained in {took['train_seconds']:.1f} s, "
        f"{took['images_per_second']:,.0f} images/s predicted on one core"
    )

    table = Table("class", box=None, header_style="bold")
    for name in ("precision", "recall", "f1", "support"):
        table.add_column(name, justify="right")
    report = tables["report"]
    hardest = report["f1"].sort_values(kind="stable").index[:MOST_LISTED].sort_values()
    for row in report.loc[hardest].itertuples(index=False):
        rates = (percent(rate) for rate in (row.precision, row.recall, row.f1))
        table.add_row(escape(row[0]), *rates, str(row.support))
    console.print(table)
    confused = tables["confused"]
    pairs = zip(confused["first"], confused["second"], confused["errors"], strict=True)
    line = ", ".join(f"{first}/{second} {errors}" for first, second, errors in pairs)
    console.print(f"most confused, with the number of errors: {escape(line)}")
    guesses = zip(shown["actual"], shown["predicted"], strict=True)
    line = ", ".join(f"{truth} as {guess}" for truth, guess in guesses)
    console.print(f"the first {len(shown)} test {things}, true as predicted: {escape(line)}\n")


if __name__ == "__main__":
    with stage_process():
        main()
