"""Compute the gains of the techniques that the chain changed: alone, in pairs and together.

A greedy chain hides interactions, and the scores of its winners are optimistic. Here, subsets of
the changed techniques are reset to their baseline settings, on fresh repeats of the training
characters that no stage selected on. All recipes train for as many epochs as the final one, unless
`epochs` itself is reset.

A technique with `learning_rate_multiples` in params.yaml is reset at the best of these rates,
chosen on a repeat of selection.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd

from ablation.base.console import announce, console, narrow_table
from ablation.base.errors import UserError
from ablation.base.files import write_csv, write_json
from ablation.base.formatting import counted, points
from ablation.data.splits import val_to_train
from ablation.judge.collapse import has_collapsed
from ablation.judge.worth import Changed, Contribution, Worth, list_trials, weigh_techniques
from ablation.labels import at_rate, label
from ablation.params import Params, load_params
from ablation.processes.stage import stage_process
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.study.committed import computed_elsewhere
from ablation.study.entries import (
    changed_techniques,
    rates_to_try,
    reset_to_baseline,
)
from ablation.study.inputs import (
    make_runner,
    make_trial,
    rate_repeats,
    read_chain,
    read_recipe,
    repeats_for,
    techniques_of,
    validation_characters,
)
from ablation.study.race import Results, best_multiple, contenders_of, run_entries
from ablation.study.tables import times_table as times_of_entries
from ablation.study.trials import run_trials
from ablation.trial.families import FAMILIES
from ablation.trial.recipe import BASELINE, TECHNIQUES, Recipe
from ablation.trial.trials import Result, Trial

EVERYTHING = "all"
MEANING = {
    "share": "mean gain over the orders of adding the techniques (Shapley value); the shares add "
    "up to the total",
    "interaction": "gain of both together minus the sum of their gains",
}
UNKNOWN = Contribution((), math.nan, math.nan, math.nan)

# A recipe and the index of a repeat that it runs on.
Run = tuple[Changed, int]


def main() -> None:
    arguments = parse_arguments()
    model, root = arguments.model, arguments.results
    params = load_params()
    announce(f"leave-one-out of the {model}", root=root)
    final = params.full(model, read_recipe(arguments.recipe, params, model))
    baseline = params.full(model, params.baseline)
    explored = techniques_of(read_chain(arguments.chain)) if arguments.chain else [*TECHNIQUES]
    chain, changed = changed_techniques(explored, final, baseline)

    repeats = repeats_for(params, "leave-one-out")[: params.worth.repeats]
    pairs, seed = params.worth.order_pairs, params.seed
    needed = list_trials(changed, len(repeats), pairs, seed)
    runner = make_runner(params)
    if warning := computed_elsewhere(model, "leave_one_out", runner.hardware, root):
        console.print(warning, style="italic")
    multiples, choosing = choose_rates(runner, params, model, changed, final, baseline)
    trials: dict[Run, Trial] = {
        (recipe, index): make_trial(
            params, model, reset_to_baseline(final, recipe, baseline, multiples), repeats[index]
        )
        for recipe, ran in needed.items()
        for index in ran
    }
    finished = run_trials(runner, trials.values(), model)
    results = {run: finished[trial] for run, trial in trials.items()}
    characters = validation_characters(runner, repeats[0])
    scores = {
        recipe: scores_of(
            recipe, results, len(repeats), len(runner.classes), runner.largest, characters
        )
        for recipe in needed
    }
    if np.isnan(scores[frozenset(changed)]).any():
        raise UserError(
            f"{arguments.recipe}: diverged or collapsed on fresh repeats; lower the learning rates "
            "in params.yaml"
        )
    worth = weigh_techniques(scores, changed, pairs, seed, val_to_train(repeats[0]), characters)
    tables = {
        "trials": trials_table(results, changed),
        "gains": gains_table(worth, chain, changed, baseline, final, multiples, len(repeats)),
        "shapley": parts_table(worth.shapley, ["technique"]),
        "interactions": parts_table(worth.interactions, ["first", "second"]),
    }
    for file, table in tables.items():
        write_csv(table, root / "plots" / model / "leave_one_out" / f"{file}.csv")
    times = [
        times_table(results, changed, runner.hardware),
        times_of_entries(choosing, runner.hardware),
    ]
    write_csv(pd.concat(times), root / "data/times" / model / "leave_one_out.csv")
    write_json(metrics(tables["gains"]), root / "metrics" / model / "leave_one_out.json")
    show(tables)
    epochs = counted(params.spec(model, final).epochs, "epoch")
    unless = ", unless `epochs` was reset" if "epochs" in changed else ""
    console.print(f"all recipes trained for {epochs}, like the final one{unless}\n")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--recipe", required=True, type=Path, help="the final recipe")
    parser.add_argument(
        "--chain",
        type=Path,
        help="chain.csv of the last stage (default: all techniques)",
    )
    parser.add_argument(
        "--results", type=Path, default=Path(), help="folder to write to (default: the study's)"
    )
    return parser.parse_args()


def choose_rates(
    runner: TrialRunner,
    params: Params,
    model: str,
    changed: list[str],
    final: Recipe,
    baseline: Recipe,
) -> tuple[dict[str, float], Results]:
    """Choose the learning rates of reset techniques that have several (`rates_to_try`).

    Returns:
        technique to the best multiple of the learning rate when it alone is reset, and the results
        of all rates tried.

    Raises:
        SplitError: the characters cannot be split as params.yaml specifies.
    """
    repeats = rate_repeats(params)
    multiples: dict[str, float] = {}
    tried: Results = {}
    for technique in changed:
        contest = rates_to_try(params, technique, final, baseline)
        if len(contest.entries) == 1:
            continue
        results = run_entries(
            runner, params, model, contest, repeats, racing=params.selection.racing
        )
        contenders = contenders_of(runner, contest.entries, results, repeats)
        multiples[technique] = best_multiple(contest, contenders)
        tried |= {f"{technique}: {setting}": ran for setting, ran in results.items()}
    return multiples, tried


def scores_of(
    recipe: Changed,
    results: dict[Run, Result],
    repeats: int,
    classes: int,
    largest: float = 0.0,
    characters: float = math.inf,
) -> np.ndarray:
    """(repeats,) scores of a recipe; nan for repeats not run, all nan if it failed.

    classes, largest, characters: as for `has_collapsed`.
    """
    found = {index: result.score for (each, index), result in results.items() if each == recipe}
    scores = np.full(repeats, np.nan)
    # A diverged trial scores 0, which counts as collapsed.
    if not has_collapsed(list(found.values()), classes, largest, characters):
        scores[list(found)] = list(found.values())
    return scores


def name(recipe: Changed, changed: list[str]) -> str:
    """The label of a recipe in the tables: the techniques that have their final setting."""
    return " + ".join(technique for technique in changed if technique in recipe) or BASELINE


def trials_table(results: dict[Run, Result], changed: list[str]) -> pd.DataFrame:
    """One row per trial, without times (`times_table`)."""
    rows = [
        (name(recipe, changed), index, result.score) for (recipe, index), result in results.items()
    ]
    return pd.DataFrame(rows, columns=["recipe", "repeat", "score"])


def times_table(results: dict[Run, Result], changed: list[str], hardware: Hardware) -> pd.DataFrame:
    """Training time of each trial, in the order of `results`.

    Seconds are processor time on a CPU, wall-clock time on a GPU.
    """
    rows = [
        (name(recipe, changed), index, result.train_seconds)
        for (recipe, index), result in results.items()
    ]
    table = pd.DataFrame(rows, columns=["setting", "repeat", "train_seconds"])
    return table.assign(precision=hardware.precision, computer=hardware.computer.name)


def gains_table(
    worth: Worth,
    chain: list[str],
    changed: list[str],
    baseline: Recipe,
    final: Recipe,
    multiples: dict[str, float],
    repeats: int,
) -> pd.DataFrame:
    """The final recipe's gain over itself without each technique; last, over the baseline.

    The gain is nan for a technique that did not change, and if the recipe without it fails
    (`failed`). The interval is nan for a single repeat.
    """
    left_out = dict(zip(changed, worth.left_out, strict=True))
    left_out[EVERYTHING] = worth.whole if changed else UNKNOWN
    rows = []
    for technique in [*chain, EVERYTHING]:
        settings = ("baseline recipe", "final recipe")
        if technique != EVERYTHING:
            settings = (label(baseline.setting(technique)), label(final.setting(technique)))
        if technique in multiples:
            without = reset_to_baseline(final, {*changed} - {technique}, baseline, multiples)
            settings = (
                at_rate(label(without.setting(technique)), without.optimizer.lr),
                at_rate(settings[1], final.optimizer.lr),
            )
        part = left_out.get(technique, UNKNOWN)
        failed = technique in left_out and bool(changed) and math.isnan(part.gain)
        rows.append((technique, *settings, part.gain, part.low, part.high, repeats, failed))
    settings_columns = ["technique", "baseline_setting", "final_setting"]
    return pd.DataFrame(
        rows, columns=[*settings_columns, "gain", "low", "high", "repeats", "failed"]
    )


def parts_table(parts: list[Contribution], names: list[str]) -> pd.DataFrame:
    """One row per part: its techniques, gain and interval."""
    rows = [(*part.techniques, part.gain, part.low, part.high) for part in parts]
    return pd.DataFrame(rows, columns=[*names, "gain", "low", "high"])


def metrics(gains: pd.DataFrame) -> dict[str, float]:
    """The gain of all changes together, with its interval."""
    whole = gains.set_index("technique").loc[EVERYTHING]
    return {column: whole[column] for column in ("gain", "low", "high")}


def show(tables: dict[str, pd.DataFrame]) -> None:
    """Print the gains, shares and interactions, in percentage points."""
    gains = narrow_table("technique", "gain", "95 % interval", change="left")
    for row in tables["gains"].itertuples(index=False):
        change = f"{row.baseline_setting} → {row.final_setting}"
        gain = "failed" if row.failed else points(row.gain)
        if math.isnan(row.gain) and not row.failed:
            gain, change = "unchanged", row.final_setting
        gains.add_row(row.technique, gain, interval(row.low, row.high), change)
    console.print(gains)
    console.print("gain: of the final recipe over the same recipe without the technique\n")
    parts = {"share": tables["shapley"], "interaction": tables["interactions"]}
    for head, table in parts.items():
        if table.empty:
            continue
        printed = narrow_table("technique", head, "95 % interval")
        for *names, gain, low, high in table.itertuples(index=False):
            printed.add_row(" x ".join(names), points(gain), interval(low, high))
        console.print(printed)
        console.print(f"{head}: {MEANING[head]}\n")


def interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{points(low)} to {points(high)}"


if __name__ == "__main__":
    with stage_process():
        main()
