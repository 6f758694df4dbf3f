"""MLP against CNN on the same test characters: which is better, how sure, at what cost."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table

from ablation.base.console import console, percent, plain_errors, points
from ablation.base.files import write_csv, write_json
from ablation.judge.evaluation import (
    accuracy_difference,
    agreement,
    look_alike_errors,
    mcnemar,
    recall_differences,
)
from ablation.params import MODELS, load_params
from ablation.trial.recipe import CHAIN

PLOTS = Path("plots/comparison")
COSTS = ("parameters", "train_seconds", "predict_seconds")


def main() -> None:
    console.rule("mlp against cnn")
    seed = load_params().seed
    tests = {model: read_json(Path("metrics", model, "test.json")) for model in MODELS}
    predictions = {model: read_characters(model, "predictions") for model in MODELS}
    reports = {model: read_characters(model, "report") for model in MODELS}
    mlp, cnn = ((p["actual"] == p["predicted"]).to_numpy() for p in predictions.values())

    difference, low, high = accuracy_difference(mlp, cnn, seed)
    numbers = {
        "mlp_accuracy": tests["mlp"]["accuracy"],
        "cnn_accuracy": tests["cnn"]["accuracy"],
        "difference": difference,
        "difference_low": low,
        "difference_high": high,
        "mcnemar_p": mcnemar(mlp, cnn),
        **{f"{cost}_ratio": tests["cnn"][cost] / tests["mlp"][cost] for cost in COSTS},
    }
    outcomes = agreement(mlp, cnn)
    ambiguous = pd.concat(
        look_alike_errors(p["actual"], p["predicted"]).assign(model=model)
        for model, p in predictions.items()
    )
    write_json(numbers, Path("metrics/comparison.json"))
    write_csv(models_table(tests, len(mlp)), PLOTS / "models.csv")
    write_csv(chain_table(), PLOTS / "chain.csv")
    write_csv(recall_differences(reports["mlp"], reports["cnn"]), PLOTS / "classes.csv")
    write_csv(outcomes, PLOTS / "agreement.csv")
    write_csv(ambiguous[["model", "group", "errors", "share_of_errors"]], PLOTS / "ambiguous.csv")
    show(tests, numbers, outcomes, ambiguous)


def read_json(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(path.read_text())
    return content


def read_characters(model: str, name: str) -> pd.DataFrame:
    """A table of the test, whose text columns hold characters: `1` and `N` are no numbers."""
    text = dict.fromkeys(("class", "actual", "predicted", "second"), str)
    path = Path("plots", model, "test", f"{name}.csv")
    return pd.read_csv(path, dtype=text, keep_default_na=False)


def models_table(tests: dict[str, dict[str, Any]], characters: int) -> pd.DataFrame:
    """One row a model: how good it is and what it costs; images/s are on one core."""
    rows = []
    for model, numbers in tests.items():
        seconds = numbers["predict_seconds"]
        kept = {name: value for name, value in numbers.items() if name != "predict_seconds"}
        rows.append({"model": model, **kept, "images_per_second": characters / seconds})
    return pd.DataFrame(rows)


def chain_table() -> pd.DataFrame:
    """What each stage of both chains concluded."""
    rows = []
    for model in MODELS:
        for technique in CHAIN:
            numbers = read_json(Path("metrics", model, f"{technique}.json"))
            del numbers["trials"]
            rows.append({"model": model, "technique": technique, **numbers})
    return pd.DataFrame(rows)


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
