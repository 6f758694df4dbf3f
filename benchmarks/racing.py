"""Trials saved by racing, and changed winners: the committed study, run without racing.

    python benchmarks/racing.py

Every stage of both chains starts from its recipe in the study, and runs each candidate on all
repeats. With the study's cache, only the trials that racing stopped are trained; without it, those
of the whole study.
"""

from itertools import pairwise, product
from pathlib import Path
from typing import Any

from results import keep, machine
from rich.table import Table

from ablation.base.console import console, plain_errors
from ablation.base.errors import UserError
from ablation.base.files import read_csv, read_json
from ablation.params import Params, load_params
from ablation.study.entries import list_entries
from ablation.study.inputs import (
    TRAINING_CHARACTERS,
    make_runner,
    repeats_for,
)
from ablation.study.race import judge_contest, run_entries
from ablation.trial.recipe import load_recipe

RECIPES, METRICS, PLOTS = Path("data/recipes"), Path("metrics"), Path("plots")


def compare(params: Params, model: str, before: str, stage: str) -> dict[str, Any]:
    """One row: a stage's trials and winner with racing, as committed, and without."""
    raced = read_json(METRICS / model / f"{stage}.json")
    trials = read_csv(PLOTS / model / stage / "trials.csv")
    incumbent = load_recipe(RECIPES / model / f"{before}.yaml")
    contest, repeats = list_entries(params, model, stage, incumbent), repeats_for(params)
    runner = make_runner(params)
    results = run_entries(runner, params, model, contest, repeats, racing=False)
    verdict = judge_contest(runner, params, contest, results, repeats)
    return {
        "model": model,
        "stage": stage,
        "trials_with": len(trials),
        "trials_without": sum(map(len, results.values())),
        "winner_with": raced["winner"],
        "winner_without": verdict.winner.setting,
    }


def show(content: dict[str, Any]) -> None:
    """Print the section as a table."""
    rows = content["rows"]
    table = Table("stage", title="The study in git, with racing and without", show_footer=True)
    for way in ("with", "without"):
        total = sum(row[f"trials_{way}"] for row in rows)
        table.add_column(f"trials {way}", str(total), justify="right")
    for way in ("with", "without"):
        table.add_column(f"winner {way}")
    for row in rows:
        cells = (row[name] for name in ("trials_with", "trials_without"))
        winners = (row[name] for name in ("winner_with", "winner_without"))
        table.add_row(f"{row['model']} {row['stage']}", *map(str, cells), *winners)
    console.print(table)


def main() -> None:
    if not TRAINING_CHARACTERS.exists():
        raise UserError(f"{TRAINING_CHARACTERS}: no such file; `dvc repro prepare` makes it")
    params = load_params()
    chain = read_csv(PLOTS / "comparison/chain.csv", ["stage"])["stage"].unique()
    stages = product(params.families, pairwise(chain))
    rows = [compare(params, model, before, stage) for model, (before, stage) in stages]
    content = {
        "machine": machine(make_runner(params).hardware.device),
        "dataset": params.data.dataset,
        "repeats": params.validation.repeats,
        "rows": rows,
    }
    keep("racing", content)
    show(content)


if __name__ == "__main__":
    with plain_errors():
        main()
