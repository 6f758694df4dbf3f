"""The winners of all strategies against the chain's final recipe, on fresh repeats.

Nothing was selected on these repeats, so their scores are not optimistic. The search's answer is
the winner of the last strategy in params.yaml, whatever its score here.
"""

import argparse
import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ablation.base.console import announce, console, narrow_table
from ablation.base.files import read_json, write_csv, write_json
from ablation.base.formatting import percent, points
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.study.committed import computed_elsewhere
from ablation.study.entries import Contest, Entry
from ablation.study.inputs import (
    make_runner,
    provenance,
    read_chain,
    read_recipe,
    repeats_for,
)
from ablation.study.pipelines import check_answer
from ablation.study.race import judge_contest, run_entries
from ablation.study.tables import curves_table, times_table, trials_table
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import BASELINE, save_recipe

RESULTS = Path("search")
CHAIN = "chain"
PURPOSE = "contest"


def main() -> None:
    arguments = parse_arguments()
    model = arguments.model
    params = load_params()
    announce(f"contest of the {model}")
    answer = arguments.answer
    check_answer(answer, params.search.strategies)
    chain = read_chain(arguments.chain).set_index("stage")["accuracy"]
    chosen = {CHAIN: chain.iloc[-1], BASELINE: chain.loc[BASELINE]}
    recipes = {
        CHAIN: read_recipe(arguments.chain_recipe, params, model),
        BASELINE: params.baseline,
    }
    for strategy in params.search.strategies:
        path = RESULTS / "data/recipes" / model / f"{strategy}.yaml"
        recipes[strategy] = read_recipe(path, params, model)
        found = read_json(RESULTS / "metrics" / model / f"{strategy}.json", ["accuracy"])
        chosen[strategy] = found["accuracy"]
    entries = tuple(Entry(name, name, recipe) for name, recipe in recipes.items())

    runner = make_runner(params)
    if warning := computed_elsewhere(model, PURPOSE, runner.hardware, RESULTS):
        console.print(warning, style="italic")
    repeats = repeats_for(params, PURPOSE)
    contest = Contest(entries)
    results = run_entries(runner, params, model, contest, repeats, racing=False)
    verdict = judge_contest(runner, params, contest, results, repeats)

    evidence = pd.DataFrame([asdict(row) for row in verdict.evidence])
    table = contest_table(evidence, chosen, answer)
    plots = RESULTS / "plots" / model
    write_csv(table, plots / PURPOSE / "contest.csv")
    write_csv(trials_table(verdict.evidence, results), plots / PURPOSE / "trials.csv")
    write_csv(curves_table(results), plots / PURPOSE / "curves.csv")
    times = times_table(results, runner.hardware)
    write_csv(times, RESULTS / "data/times" / model / f"{PURPOSE}.csv")
    won = table.set_index("entry").loc[answer]
    numbers = {name: float(won[name]) for name in ("accuracy", "gain", "low", "high")}
    write_json(numbers, RESULTS / "metrics" / model / f"{PURPOSE}.json")
    save_recipe(
        recipes[answer],
        RESULTS / "data/recipes" / model / "answer.yaml",
        provenance(params, model, runner.digest),
    )
    show(table)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--chain-recipe", required=True, type=Path, help="what the chain chose")
    parser.add_argument("--chain", required=True, type=Path, help="what its stages concluded")
    parser.add_argument("--answer", required=True, help="the strategy whose winner is the answer")
    return parser.parse_args()


def contest_table(evidence: pd.DataFrame, chosen: dict[str, float], answer: str) -> pd.DataFrame:
    """One row a recipe: its score when it was chosen, and what it has on fresh repeats.

    The gain is over the chain's final recipe. The baseline was not selected: its optimism is the
    difference between the two sets of repeats alone.

    Args:
        evidence: the rows of a verdict.
        chosen: entry to its score when it was chosen.
        answer: the strategy whose winner is the search's answer.
    """
    table = evidence.rename(columns={"setting": "entry"})
    table["role"] = ["winner" if entry == answer else "candidate" for entry in table["entry"]]
    table["chosen"] = table["entry"].map(chosen)
    table["optimism"] = table["chosen"] - table["accuracy"]
    columns = ["entry", "role", "chosen", "accuracy", "optimism", "gain", "low", "high"]
    return table[[*columns, "p_worse", "p_equal", "p_better", "finding", "diverged", "collapsed"]]


def show(table: pd.DataFrame) -> None:
    """Print the contest; gains are in percentage points."""
    heads = ("chosen at", "fresh", "over the chain", "95 % interval")
    printed = narrow_table("recipe of", *heads, finding="left")
    for row in table.itertuples(index=False):
        known = not math.isnan(row.low)
        printed.add_row(
            row.entry,
            percent(row.chosen),
            percent(row.accuracy),
            "" if row.entry == CHAIN else points(row.gain),
            f"{points(row.low)} to {points(row.high)}" if known else "",
            row.finding,
            style="bold" if row.role == "winner" else None,
        )
    console.print(printed)
    console.print("bold: the search's answer, the winner of its last strategy\n")


if __name__ == "__main__":
    with stage_process():
        main()
