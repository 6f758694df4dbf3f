"""Compare the families on the same test characters."""

import argparse
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import pandas as pd
from rich.table import Table

from ablation.base.console import announce, console
from ablation.base.errors import UserError
from ablation.base.files import read_csv, read_json, write_csv, write_json
from ablation.base.formatting import percent, points
from ablation.data.datasets import Dataset
from ablation.judge.evaluation import (
    FINAL,
    accuracy_difference,
    agreement,
    fits_of,
    look_alike_errors,
    mcnemar,
    recalls,
    recipe_difference,
)
from ablation.params import Params, load_params
from ablation.processes.stage import stage_process

PLOTS = Path("plots/comparison")
METRICS = Path("metrics/comparison")

NUMBERS = ("accuracy", "precision", "recall", "f1")
DETAILS = ("top2", "seeds_mean", "seeds_spread", "parameters")
PREDICTIONS = ("actual", "predicted")
TIMES = ("train_seconds", "predict_seconds")


@dataclass(frozen=True)
class Tested:
    """The results of one family's chain and test, read from its files."""

    chain: pd.DataFrame
    numbers: dict[str, float]
    details: pd.DataFrame
    predictions: pd.DataFrame
    fits: pd.DataFrame
    report: pd.DataFrame
    times: pd.DataFrame

    @classmethod
    def read(cls, model: str, last: str) -> "Tested":
        plots = Path("plots", model)
        return cls(
            chain=read_csv(plots / last / "chain.csv", ["stage"], text=["winner"]),
            numbers=read_json(Path("metrics", model, "test.json"), NUMBERS),
            details=read_csv(plots / "test/details.csv", DETAILS),
            predictions=read_csv(plots / "test/predictions.csv", PREDICTIONS, text=PREDICTIONS),
            fits=read_csv(plots / "test/correct.csv", ["final 1"]),
            report=read_csv(plots / "test/report.csv", ["class", "recall"], text=["class"]),
            times=read_csv(Path("data/times", model, "test.csv"), TIMES),
        )

    @property
    def correct(self) -> pd.Series:
        """(characters,) bool, whether the released model classifies each correctly."""
        return self.predictions["actual"] == self.predictions["predicted"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--last", required=True, help="the chain's last stage")
    last = parser.parse_args().last
    params = load_params()
    announce(" against ".join(params.families), params.dataset.note)
    tested = {model: Tested.read(model, last) for model in params.families}
    check_same_test_set(tested)

    tables = comparison_tables(tested, params)
    for name, table in tables.items():
        write_csv(table, PLOTS / f"{name}.csv")
    METRICS.mkdir(parents=True, exist_ok=True)
    for row in tables["pairs"].itertuples(index=False):
        numbers = {"gain": row.gain, "low": row.low, "high": row.high}
        write_json(numbers, METRICS / f"{row.first}-{row.second}.json")
    show(tested, tables)


def check_same_test_set(tested: dict[str, Tested]) -> None:
    """Check that all families were tested on the same characters, in the same order.

    Raises:
        UserError: they were not.
    """
    first, *others = tested
    for other in others:
        one, another = tested[first], tested[other]
        same_tests = one.predictions["actual"].equals(another.predictions["actual"])
        if not (same_tests and one.report["class"].equals(another.report["class"])):
            raise UserError(
                f"plots/{first}/test/predictions.csv and plots/{other}/test/predictions.csv are "
                "of different test sets; `dvc repro` tests both on one"
            )


def comparison_tables(tested: dict[str, Tested], params: Params) -> dict[str, pd.DataFrame]:
    """The tables of plots/comparison, by file name."""
    tables = {
        "models": models_table(tested),
        "pairs": pairs_table(tested),
        "chain": together({model: each.chain for model, each in tested.items()}),
        "classes": recalls({model: each.report for model, each in tested.items()}),
        "agreement": agreement({model: each.correct for model, each in tested.items()}),
        "disagreements": disagreements_table(tested),
    }
    if params.dataset.look_alikes:
        tables["ambiguous"] = ambiguous_table(tested, params.dataset)
    return tables


def models_table(tested: dict[str, Tested]) -> pd.DataFrame:
    """One row per model: test results, calibration and size."""
    return pd.DataFrame(
        {"model": model, **each.numbers, **each.details.iloc[0].to_dict()}
        for model, each in tested.items()
    ).astype({"parameters": int})


def pairs_table(tested: dict[str, Tested]) -> pd.DataFrame:
    """One row per pair of families.

    `gain`, `low` and `high` are the difference in accuracy of the final recipes over all seeds,
    second minus first. `released` is the difference of the two released models, and `mcnemar_p` the
    p-value of McNemar's test of it.
    """
    rows = []
    for first, second in combinations(tested, 2):
        fits = (fits_of(tested[model].fits, FINAL) for model in (first, second))
        correct = tested[first].correct, tested[second].correct
        rows.append(
            (
                *(first, second),
                *recipe_difference(*fits),
                accuracy_difference(*correct),
                mcnemar(*correct),
            )
        )
    columns = ["first", "second", "gain", "low", "high", "released", "mcnemar_p"]
    return pd.DataFrame(rows, columns=columns)


def together(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate tables of the same columns, with the model as first column."""
    return pd.concat(tables, names=["model"]).reset_index(level="model")


def disagreements_table(tested: dict[str, Tested]) -> pd.DataFrame:
    """The test characters, by index, that some but not all models classify correctly."""
    correct = pd.DataFrame({model: each.correct for model, each in tested.items()})
    table = pd.DataFrame({model: each.predictions["predicted"] for model, each in tested.items()})
    table.insert(0, "actual", next(iter(tested.values())).predictions["actual"])
    some = correct.any(axis=1) & ~correct.all(axis=1)
    return table[some].rename_axis("character").reset_index()


def ambiguous_table(tested: dict[str, Tested], dataset: Dataset) -> pd.DataFrame:
    """Number of each model's errors between look-alikes."""
    return together(
        {
            model: look_alike_errors(
                each.predictions["actual"], each.predictions["predicted"], dataset.look_alikes
            )
            for model, each in tested.items()
        }
    )


def show(tested: dict[str, Tested], tables: dict[str, pd.DataFrame]) -> None:
    """Print the comparison; times are on one core or one GPU."""
    models = tables["models"].set_index("model")
    table = Table("", *models.index, box=None, header_style="bold")
    for name in ("accuracy", "top2", "precision", "recall", "f1", "seeds_mean", "seeds_spread"):
        table.add_row(name, *map(percent, models[name]))
    table.add_row("parameters", *(f"{count:,}" for count in models["parameters"]))
    for name in TIMES:
        table.add_row(name, *(f"{each.times[name].iloc[0]:.2f}" for each in tested.values()))
    console.print(table)
    for row in tables["pairs"].itertuples(index=False):
        console.print(
            f"{row.second} minus {row.first}, over all seeds: {points(row.gain)} points, 95 % "
            f"interval {points(row.low)} to {points(row.high)}; the released models: "
            f"{points(row.released)}, McNemar p = {row.mcnemar_p:.2g} (of these two models only)"
        )
    outcomes = tables["agreement"]
    shares = zip(outcomes["outcome"], outcomes["share"], strict=True)
    console.print(", ".join(f"{outcome} {percent(share)}" for outcome, share in shares))
    if "ambiguous" in tables:
        ambiguous = tables["ambiguous"]
        groups = " and ".join([group for group in ambiguous["group"] if group != "all"][:2])
        alike = ambiguous[ambiguous["group"] == "all"]
        shares = zip(alike["model"], alike["share_of_errors"], strict=True)
        listed = ", ".join(f"{model} {percent(share)}" for model, share in shares)
        console.print(f"errors between look-alikes such as {groups}: {listed}\n")


if __name__ == "__main__":
    with stage_process():
        main()
