"""Compare a technique's settings in the incumbent recipe, and keep the winner.

`baseline` scores the recipe in params.yaml that every chain starts from. `dropout_again` explores
dropout in a later round, `backward` every technique of the chain (`ablation.labels.ChainStage`).
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
from ablation.judge.selection import Verdict
from ablation.labels import ChainStage, stages_in
from ablation.params import Params, load_params
from ablation.processes.stage import stage_process
from ablation.run.runner import TrialRunner
from ablation.study.committed import computed_elsewhere
from ablation.study.entries import list_entries
from ablation.study.inputs import (
    CHAIN_COLUMNS,
    make_runner,
    provenance,
    read_chain,
    read_recipe,
    repeats_for,
    techniques_of,
)
from ablation.study.race import Results, judge_contest, run_entries
from ablation.study.tables import curves_table, times_table, trials_table
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import BASELINE, Recipe, save_recipe


def main() -> None:
    arguments = parse_arguments()
    model, name = arguments.model, arguments.stage
    params = load_params()
    announce(f"{name} of the {model}")
    chain, recipe = pd.DataFrame(), params.baseline
    if name != BASELINE:
        recipe = read_recipe(arguments.incumbent, params, model)
        chain = read_chain(arguments.chain, name)
    for line in params.warnings:
        console.print(line)
    runner = make_runner(params)
    stages = stages_in(name, techniques_of(chain) if len(chain) else ())
    for stage in stages:
        if stage.name != name:
            console.print(stage.technique, style="bold")
        recipe, chain = explore(runner, params, model, stage, recipe, chain)
        write_winner(runner, params, model, stage.name, recipe, chain)
    if name not in [stage.name for stage in stages]:  # a round: it ends with its last winner
        write_winner(runner, params, model, name, recipe, chain)


def explore(
    runner: TrialRunner,
    params: Params,
    model: str,
    stage: ChainStage,
    incumbent: Recipe,
    chain: pd.DataFrame,
) -> tuple[Recipe, pd.DataFrame]:
    """Run one contest, and write its tables.

    Returns:
        the winning recipe, and the chain with a row for this stage.
    """
    if warning := computed_elsewhere(model, stage.name, runner.hardware):
        console.print(warning, style="italic")
    contest = list_entries(params, model, stage.name, incumbent)
    repeats = repeats_for(params)
    results = run_entries(runner, params, model, contest, repeats, racing=params.selection.racing)
    verdict = judge_contest(runner, params, contest, results, repeats)

    recipes = {entry.setting: entry.recipe for entry in contest.entries}
    numbers = metrics(verdict)
    plots = Path("plots", model, stage.name)
    write_csv(trials_table(verdict.evidence, results), plots / "trials.csv")
    write_csv(candidates_table(verdict, results), plots / "candidates.csv")
    write_csv(curves_table(results), plots / "curves.csv")
    times = times_table(results, runner.hardware)
    write_csv(times, Path("data/times", model, f"{stage.name}.csv"))
    write_json(numbers, Path("metrics", model, f"{stage.name}.json"))
    show(stage.name, verdict, results, times)
    return recipes[verdict.winner.setting], chain_table(chain, stage.name, numbers)


def write_winner(
    runner: TrialRunner,
    params: Params,
    model: str,
    stage: str,
    recipe: Recipe,
    chain: pd.DataFrame,
) -> None:
    """Write the two files that the next stage starts from."""
    write_csv(chain, Path("plots", model, stage, "chain.csv"))
    path = Path("data/recipes", model, f"{stage}.yaml")
    save_recipe(recipe, path, provenance(params, model, runner.digest))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--stage", required=True, type=parse_stage, help="its name in dvc.yaml")
    parser.add_argument("--incumbent", type=Path, help="recipe of the previous stage")
    parser.add_argument("--chain", type=Path, help="chain.csv of the previous stage")
    arguments = parser.parse_args()
    given = [arguments.incumbent, arguments.chain]
    first = arguments.stage == BASELINE
    if not first and None in given:
        parser.error("every stage except the baseline needs --incumbent and --chain")
    if first and given != [None, None]:
        parser.error("the baseline is the first stage: remove --incumbent and --chain")
    return arguments


def parse_stage(name: str) -> str:
    """Check a stage name for argparse."""
    try:
        stages_in(name, ())
    except ParamsError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


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


def show(stage: str, verdict: Verdict, results: Results, times: pd.DataFrame) -> None:
    """Print the evidence and the verdict; gains in percentage points."""
    conclusion = f"{verdict.verdict}: [bold]{verdict.winner.setting}[/bold]"
    if stage != BASELINE and len(verdict.evidence) == 1:
        console.print(f"{conclusion}; no other setting to compare\n")
        return
    seconds = times.groupby("setting")["train_seconds"].mean()
    heads = ("accuracy", "gain", "95 % interval", "n", "params", "s")
    table = narrow_table("setting", *heads, finding="left")
    incumbent = verdict.evidence[0]
    for row in verdict.evidence:
        table.add_row(
            row.setting,
            percent(row.accuracy),
            "" if row is incumbent else points(row.gain),
            "" if math.isnan(row.low) else f"{points(row.low)} to {points(row.high)}",
            str(row.repeats),
            short(count_parameters(results, row.setting)),
            f"{seconds[row.setting]:.1f}",
            "incumbent" if row is incumbent else row.finding,
            style="bold" if row.role == "winner" else None,
        )
    console.print(table)
    if stage == BASELINE:
        console.print(
            "gain: percentage points over the incumbent, on the repeats that both ran\n"
            "n: number of repeats, fewer if racing stopped the setting\n"
            "s: seconds per training; processor time on a CPU, wall-clock time on a GPU"
        )
    if verdict.won.grid_edge:
        console.print("the winner is at the edge of its grid: widen the grid")
    console.print(f"{conclusion}\n")


if __name__ == "__main__":
    with stage_process():
        main()
