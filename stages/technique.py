"""One stage of the chain: compare a technique's settings in the incumbent recipe, keep the winner.

`baseline` scores the recipe in params.yaml that every chain starts from. `dropout_again` and
`dropout_backward` explore dropout in a later round (`ablation.labels.ChainStage`).
"""

import argparse
import math
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from ablation.base.checked import ParamsError
from ablation.base.console import announce, console, narrow_table
from ablation.base.files import write_csv, write_json
from ablation.base.formatting import percent, points, short
from ablation.data.splits import val_to_train
from ablation.judge.selection import Verdict, judge_stage
from ablation.labels import ChainStage
from ablation.params import load_params
from ablation.processes.stage import stage_process
from ablation.study.committed import computed_elsewhere
from ablation.study.entries import list_entries
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
from ablation.trial.recipe import BASELINE, save_recipe


def main() -> None:
    arguments = parse_arguments()
    model, stage = arguments.model, arguments.stage
    params = load_params()
    announce(f"{stage.name} of the {model}", params.dataset.note)
    chain, incumbent = pd.DataFrame(), params.baseline
    if stage.technique != BASELINE:
        incumbent = read_recipe(arguments.incumbent, params, model)
        chain = read_chain(arguments.chain, stage.name)
    contest = list_entries(params, model, stage.name, incumbent)
    entries = contest.entries
    for line in params.warnings:
        console.print(line)

    runner = make_runner(params)
    if remark := computed_elsewhere(model, stage.name, runner.hardware):
        console.print(remark, style="italic")
    repeats = repeats_for(params)
    results = run_entries(runner, params, model, contest, repeats, racing=params.selection.racing)
    characters = validation_characters(runner, repeats[0])
    first, *others = contenders = make_contenders(
        entries, results, len(repeats), len(runner.classes), runner.largest, characters
    )
    rule = params.selection
    verdict = judge_stage(
        first,
        others,
        val_to_train(repeats[0]),
        rule.risk,
        rule.equal_within,
        characters,
        contest.simpler,
    )

    recipes = {entry.setting: entry.recipe for entry in entries}
    numbers = metrics(verdict)
    plots = Path("plots", model, stage.name)
    write_csv(trials_table(contenders, results), plots / "trials.csv")
    write_csv(candidates_table(verdict, results), plots / "candidates.csv")
    write_csv(curves_table(results), plots / "curves.csv")
    write_csv(chain_table(chain, stage.name, numbers), plots / "chain.csv")
    times = times_table(results, runner.hardware)
    write_csv(times, Path("data/times", model, f"{stage.name}.csv"))
    write_json(numbers, Path("metrics", model, f"{stage.name}.json"))
    # With the digest, stages that start from this recipe also depend on the characters.
    save_recipe(
        recipes[verdict.winner.setting],
        Path("data/recipes", model, f"{stage.name}.yaml"),
        f"chosen on training {params.dataset.things} with SHA-256 {runner.digest}",
    )
    show(verdict, results, times)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--stage", required=True, type=parse_stage, help="its name in dvc.yaml")
    parser.add_argument("--incumbent", type=Path, help="recipe of the previous stage")
    parser.add_argument("--chain", type=Path, help="chain.csv of the previous stage")
    arguments = parser.parse_args()
    given = [arguments.incumbent, arguments.chain]
    first = arguments.stage.technique == BASELINE
    if not first and None in given:
        parser.error("every stage except the baseline needs --incumbent and --chain")
    if first and given != [None, None]:
        parser.error("the baseline is the first stage: remove --incumbent and --chain")
    return arguments


def parse_stage(name: str) -> ChainStage:
    """Parse a stage name for argparse."""
    try:
        return ChainStage.named(name)
    except ParamsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def metrics(verdict: Verdict) -> dict[str, str | float]:
    """The stage's row of `dvc metrics show`; without a gain if the incumbent was kept."""
    won = verdict.won
    numbers = {"gain": won.gain, "low": won.low, "high": won.high}
    gain = {} if verdict.verdict == "kept" else numbers
    return {"accuracy": won.accuracy, **gain, "verdict": verdict.verdict, "winner": won.setting}


def chain_table(before: pd.DataFrame, stage: str, numbers: dict[str, str | float]) -> pd.DataFrame:
    """The previous stage's table with a row for this stage."""
    row = pd.DataFrame([{"stage": stage, **numbers}], columns=CHAIN_COLUMNS)
    return row if before.empty else pd.concat([before, row])


def candidates_table(verdict: Verdict, results: Results) -> pd.DataFrame:
    """The evidence on every contender, with the number of parameters of its network."""
    table = pd.DataFrame([asdict(row) for row in verdict.evidence])
    parameters = [count_parameters(results, setting) for setting in table["setting"]]
    table.insert(table.columns.get_loc("gain"), "parameters", parameters)
    return table


def count_parameters(results: Results, setting: str) -> int:
    """Number of trainable parameters of a setting's network, the same in all repeats."""
    return results[setting][0].parameters


def show(verdict: Verdict, results: Results, times: pd.DataFrame) -> None:
    """Print the evidence and the verdict; gains in percentage points."""
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
    console.print("s: seconds per training; processor time on a CPU, wall-clock time on a GPU")
    for row in verdict.evidence:
        if row.grid_edge:
            console.print(f"{row.setting} is the best of its grid and at its edge: widen the grid")
    console.print(f"{verdict.verdict}: [bold]{verdict.winner.setting}[/bold]\n")


if __name__ == "__main__":
    with stage_process():
        main()
