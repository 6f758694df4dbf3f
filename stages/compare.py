"""MLP against CNN on the same test characters: which is better, how sure, at what cost."""

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from ablation.base.console import announce, console, percent, plain_errors, points
from ablation.base.files import read_csv, write_csv, write_json
from ablation.judge.evaluation import (
    accuracy_difference,
    agreement,
    look_alike_errors,
    mcnemar,
    recall_differences,
)
from ablation.params import MODELS, load_params

PLOTS = Path("plots/comparison")
COSTS = ("parameters", "train_seconds", "predict_seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for model in MODELS:
        parser.add_argument(f"--{model}-chain", required=True, help="what the chain concluded")
    chains = vars(parser.parse_args())
    params = load_params()
    announce("mlp against cnn", params.data.dataset)
    tests = {model: read_json(Path("metrics", model, "test.json")) for model in MODELS}
    folders = {model: Path("plots", model, "test") for model in MODELS}
    predictions = {m: read_csv(folder / "predictions.csv") for m, folder in folders.items()}
    reports = {m: read_csv(folder / "report.csv") for m, folder in folders.items()}
    mlp, cnn = ((p["actual"] == p["predicted"]).to_numpy() for p in predictions.values())

    difference, low, high = accuracy_difference(mlp, cnn, params.seed)
    numbers = {
        "mlp_accuracy": tests["mlp"]["accuracy"],
        "cnn_accuracy": tests["cnn"]["accuracy"],
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": mcnemar(mlp, cnn),
        **{f"ratio_{cost}": tests["cnn"][cost] / tests["mlp"][cost] for cost in COSTS},
    }
    outcomes = agreement(mlp, cnn)
    ambiguous = pd.concat(
        look_alike_errors(p["actual"], p["predicted"]).assign(model=model)
        for model, p in predictions.items()
    )
    write_json(numbers, Path("metrics/comparison.json"))
    write_csv(models_table(tests, len(mlp)), PLOTS / "models.csv")
    write_csv(chain_table(chains), PLOTS / "chain.csv")
    write_csv(recall_differences(reports["mlp"], reports["cnn"]), PLOTS / "classes.csv")
    write_csv(outcomes, PLOTS / "agreement.csv")
    write_csv(disagreements_table(predictions), PLOTS / "disagreements.csv")
    write_csv(ambiguous[["model", "group", "errors", "share_of_errors"]], PLOTS / "ambiguous.csv")
    show(tests, numbers, outcomes, ambiguous)


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def disagreements_table(predictions: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The test characters, by their place in the file, that one model reads and the other not."""
    table = pd.DataFrame({"actual": predictions["mlp"]["actual"]})
    for model in MODELS:
        table[model] = predictions[model]["predicted"]
    one_is_right = (table["mlp"] == table["actual"]) ^ (table["cnn"] == table["actual"])
    return table[one_is_right].rename_axis("character").reset_index()


def models_table(tests: dict[str, dict[str, Any]], characters: int) -> pd.DataFrame:
    """One row a model: how good it is and, beside it, what it costs; images/s are on one core."""
    rows = []
    for model, numbers in tests.items():
        seconds = numbers["predict_seconds"]
        kept = {name: value for name, value in numbers.items() if name != "predict_seconds"}
        rows.append({"model": model, **kept, "images_per_second": characters / seconds})
    return pd.DataFrame(rows)


def chain_table(chains: dict[str, str]) -> pd.DataFrame:
    """What each stage of both chains concluded."""
    tables = [read_csv(Path(chains[f"{model}_chain"])).assign(model=model) for model in MODELS]
    both = pd.concat(tables)
    return both[["model", *both.columns.drop("model")]]


def show(
    tests: dict[str, dict[str, Any]],
    numbers: dict[str, float],
    outcomes: pd.DataFrame,
    ambiguous: pd.DataFrame,
) -> None:
    table = Table("", *MODELS, box=None, header_style="bold")
    for name in ("accuracy", "top2", "precision", "recall", "f1", "seeds_mean"):
        table.add_row(name, *(percent(tests[model][name]) for model in MODELS))
    table.add_row("parameters", *(f"{tests[model]['parameters']:,}" for model in MODELS))
    for name in ("train_seconds", "predict_seconds"):
        table.add_row(name, *(f"{tests[model][name]:.2f}" for model in MODELS))
    console.print(table)
    console.print(
        f"cnn minus mlp: {points(numbers['difference'])} points, 95 % interval "
        f"{points(numbers['difference_low'])} to {points(numbers['difference_high'])}, "
        f"McNemar p = {numbers['mcnemar_p']:.2g}"
    )
    shares = zip(outcomes["outcome"], outcomes["share"], strict=True)
    console.print(", ".join(f"{outcome} {percent(share)}" for outcome, share in shares))
    alike = ambiguous[ambiguous["group"] == "all"].set_index("model")["share_of_errors"]
    said = ", ".join(f"{model} {percent(alike[model])}" for model in MODELS)
    console.print(f"errors between look-alikes such as 0/O and 1/I/L: {said}\n")


if __name__ == "__main__":
    with plain_errors():
        main()
