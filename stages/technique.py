"""One stage of the chain: try a technique's candidates on the incumbent recipe, keep the winner.

Without --incumbent it scores params.yaml's baseline recipe, where both chains start.
"""

import argparse
import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ablation.base.console import announce, console, narrow_table
from ablation.base.files import write_csv, write_json
from ablation.base.formatting import percent, points, short
from ablation.data.splits import val_to_train
from ablation.judge.selection import Verdict, judge_stage
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.study.committed import computed_elsewhere
from ablation.study.entries import Entry, list_entries
from ablation.study.inputs import (
    CHAIN_COLUMNS,
    make_runner,
    read_chain,
    read_recipe,
    repeats_for,
    validation_characters,
)
from ablation.study.race import Results, make_contenders, run_entries
from ablation.study.tables import curves_table, times_table, trials_table
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import BASELINE, CHAIN, save_recipe


def main() -> None:
    arguments = parse_arguments()
    model, technique = arguments.model, arguments.technique
    params = load_params()
    announce(f"{technique} of the {model}", params.dataset.note)
    chain = pd.DataFrame()
    if technique == BASELINE:
        entries = [Entry(BASELINE, BASELINE, params.baseline)]
    else:
        incumbent = read_recipe(arguments.incumbent, params, model)
        entries = list_entries(params, model, technique, incumbent)
        chain = read_chain(arguments.chain, technique)
    for line in params.warnings:
        console.print(line)

    runner = make_runner(params)
    if remark := computed_elsewhere(model, technique, runner.hardware):
        console.print(remark, style="italic")
    repeats = repeats_for(params)
    results = run_entries(runner, params, model, entries, repeats, racing=params.selection.racing)
    characters = validation_characters(runner, repeats[0])
    first, *others = contenders = make_contenders(
        entries, results, len(repeats), len(runner.classes), runner.largest, characters
    )
    rule = params.selection
    verdict = judge_stage(
        first, others, val_to_train(repeats[0]), rule.risk, rule.equal_within, characters
    )

    recipes = {entry.setting: entry.recipe for entry in entries}
    numbers = metrics(verdict)
    plots = Path("plots", model, technique)
    write_csv(trials_table(contenders, results), plots / "trials.csv")
    write_csv(candidates_table(verdict, results), plots / "candidates.csv")
    write_csv(curves_table(results), plots / "curves.csv")
    write_csv(chain_table(chain, technique, numbers), plots / "chain.csv")
    times = times_table(results, runner.hardware)
    write_csv(times, Path("data/times", model, f"{technique}.csv"))
    write_json(numbers, Path("metrics", model, f"{technique}.json"))
    # The digest makes the stages that start from this recipe depend on the characters as well.
    save_recipe(
        recipes[verdict.winner.setting],
        Path("data/recipes", model, f"{technique}.yaml"),
        f"chosen on training {params.dataset.things} with SHA-256 {runner.digest}",
    )
    show(verdict, results, times)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--technique", required=True, choices=CHAIN)
    parser.add_argument("--incumbent", type=Path, help="the recipe of the stage before")
    parser.add_argument("--chain", type=Path, help="what the stages before concluded")
    arguments = parser.parse_args()
    given = [arguments.incumbent, arguments.chain]
    if arguments.technique != BASELINE and None in given:
        parser.error("every technique but the baseline needs --incumbent and --chain")
    if arguments.technique == BASELINE and given != [None, None]:
        parser.error("the baseline is the first: it takes neither --incumbent nor --chain")
    return arguments


def metrics(verdict: Verdict) -> dict[str, str | float]:
    """The stage in one line of `dvc metrics show`; an incumbent that stays has no gain."""
    won = verdict.won
    numbers = {"gain": won.gain, "low": won.low, "high": won.high}
    tested = {} if verdict.verdict == "kept" else numbers
    return {"accuracy": won.accuracy, **tested, "verdict": verdict.verdict, "winner": won.setting}


def chain_table(
    before: pd.DataFrame, technique: str, numbers: dict[str, str | float]
) -> pd.DataFrame:
    """What the chain concluded up to here: the table of the stage before, and a row of its own."""
    row = pd.DataFrame([{"technique": technique, **numbers}], columns=CHAIN_COLUMNS)
    return row if before.empty else pd.concat([before, row])


def candidates_table(verdict: Verdict, results: Results) -> pd.DataFrame:
    """Every contender's evidence, and how many values its network learns."""
    table = pd.DataFrame([asdict(row) for row in verdict.evidence])
    parameters = [count_parameters(results, setting) for setting in table["setting"]]
    table.insert(table.columns.get_loc("gain"), "parameters", parameters)
    return table


def count_parameters(results: Results, setting: str) -> int:
    """Number of values that a setting's network learns: the same in all its repeats."""
    return results[setting][0].parameters


def show(verdict: Verdict, results: Results, times: pd.DataFrame) -> None:
    """Print the evidence as a person reads it; gains are in percentage points."""
    seconds = times.groupby("setting")["train_seconds"].mean()
    heads = ("accuracy", "gain", "95 % interval", "params", "s")
    table = narrow_table("setting", *heads, finding="left")
    incumbent = verdict.evidence[0]
    for row in verdict.evidence:
        table.add_row(
            row.setting,
            percent(row.accuracy),
            "" if row is incumbent else points(row.gain),
            "" if math.isnan(row.low) else f"{points(row.low)} to {points(row.high)}",
            short(count_parameters(results, row.setting)),
            f"{seconds[row.setting]:.1f}",
            "incumbent" if row is incumbent else row.finding,
            style="bold" if row.role == "winner" else None,
        )
    console.print(table)
    raced_out = [row.setting for row in verdict.evidence if row.raced_out]
    console.print(
        "gain: percentage points over the incumbent, on the repeats that both ran"
        + (f"; raced out: {', '.join(raced_out)}" if raced_out else "")
    )
    for row in verdict.evidence:
        if row.grid_edge:
            console.print(f"{row.setting} is the best at the edge of its grid: widen the grid")
    console.print(f"{verdict.verdict}: [bold]{verdict.winner.setting}[/bold]\n")


if __name__ == "__main__":
    with stage_process():
        main()
