"""What the techniques that the chain changed are worth: one by one, in pairs and together.

Greedy order hides interactions and winners are flattered by having been chosen. Here recipes that
differ in which of the changed techniques are put back to the baseline run on fresh repeats: those
that no stage has selected on, of the same training characters.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from ablation.base.console import announce, console, points, stage_process
from ablation.base.errors import UserError
from ablation.base.files import write_csv, write_json
from ablation.data.splits import val_to_train
from ablation.judge.worth import Changed, Part, Worth, list_recipes, weigh_techniques
from ablation.params import Params, load_params
from ablation.recipe import TECHNIQUES, Recipe, label, load_recipe
from ablation.study import Entry, laboratory, repeats_for, run_entries, times_table, weigh
from ablation.trial.families import FAMILIES

EVERYTHING = "all"
UNKNOWN = Part((), math.nan, math.nan, math.nan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--recipe", required=True, type=Path, help="the chain's final recipe")
    arguments = parser.parse_args()
    model = arguments.model
    params = load_params()
    announce(f"leave one out of the {model}", params.dataset.note)
    final, baseline = load_recipe(arguments.recipe), params.baseline

    changed = [t for t in TECHNIQUES if final.setting(t) != baseline.setting(t)]
    recipes = {
        recipe: having(final, recipe, baseline)
        for recipe in list_recipes(changed, params.worth.order_pairs, params.seed)
    }
    entries = [Entry(name(recipe), name(recipe), made) for recipe, made in recipes.items()]
    repeats = repeats_for(params, "leave-one-out")
    lab = laboratory(params)
    results = run_entries(lab, params, model, entries, repeats, racing=False)
    contenders = weigh(entries, results, len(repeats), len(lab.classes))
    if contenders[-1].failed:
        raise UserError(
            f"{arguments.recipe}: diverged or collapsed on repeats that it was not chosen on; "
            "lower the learning rates in params.yaml"
        )
    scores = {
        recipe: np.full(len(repeats), np.nan) if contender.failed else contender.scores
        for recipe, contender in zip(recipes, contenders, strict=True)
    }
    worth = weigh_techniques(
        scores, changed, params.worth.order_pairs, params.seed, val_to_train(repeats[0])
    )
    tables = {
        "trials": trials_table(scores),
        "gains": gains_table(worth, changed, final, params),
        "shapley": parts_table(worth.shapley, ["technique"]),
        "interactions": parts_table(worth.interactions, ["first", "second"]),
    }
    for file, table in tables.items():
        write_csv(table, Path("plots", model, "leave_one_out", f"{file}.csv"))
    write_csv(times_table(results, lab.hardware), Path("data/times", model, "leave_one_out.csv"))
    write_json(metrics(tables["gains"]), Path("metrics", model, "leave_one_out.json"))
    show(tables)


def having(final: Recipe, kept: Changed, baseline: Recipe) -> Recipe:
    """The baseline with the final settings of some techniques."""
    recipe = baseline
    for technique in kept:
        recipe = recipe.having(technique, final.setting(technique))
    return recipe


def name(kept: Changed) -> str:
    """What a recipe is called here: its techniques that are not as in the baseline."""
    return " + ".join(technique for technique in TECHNIQUES if technique in kept) or "baseline"


def trials_table(scores: dict[Changed, np.ndarray]) -> pd.DataFrame:
    """One row a trial; a recipe is named by its techniques that differ from the baseline's."""
    rows = [
        (name(recipe), repeat, score)
        for recipe, each in scores.items()
        for repeat, score in enumerate(each)
    ]
    return pd.DataFrame(rows, columns=["recipe", "repeat", "score"])


def gains_table(worth: Worth, changed: list[str], final: Recipe, params: Params) -> pd.DataFrame:
    """The final recipe's gain over itself without each technique; last, over the baseline.

    A technique that is as in the baseline was not tested: it has no gain. Neither has one without
    which the recipe fails (`failed`), and the gain of a single repeat has no interval.
    """
    baseline = params.baseline
    left_out = dict(zip(changed, worth.left_out, strict=True))
    left_out[EVERYTHING] = worth.whole if changed else UNKNOWN
    rows = []
    for technique in [*TECHNIQUES, EVERYTHING]:
        settings = ("baseline recipe", "final recipe")
        if technique != EVERYTHING:
            settings = (label(baseline.setting(technique)), label(final.setting(technique)))
        part = left_out.get(technique, UNKNOWN)
        failed = technique in left_out and bool(changed) and math.isnan(part.gain)
        numbers = (part.gain, part.low, part.high, params.validation.repeats, failed)
        rows.append((technique, *settings, *numbers))
    settings_columns = ["technique", "baseline_setting", "final_setting"]
    return pd.DataFrame(
        rows, columns=[*settings_columns, "gain", "low", "high", "repeats", "failed"]
    )


def parts_table(parts: list[Part], names: list[str]) -> pd.DataFrame:
    """One row a part: the techniques that it belongs to, its gain and interval."""
    rows = [(*part.techniques, part.gain, part.low, part.high) for part in parts]
    return pd.DataFrame(rows, columns=[*names, "gain", "low", "high"])


def metrics(gains: pd.DataFrame) -> dict[str, float]:
    """The whole study's gain with its interval."""
    whole = gains.set_index("technique").loc[EVERYTHING]
    return {column: whole[column] for column in ("gain", "low", "high")}


def show(tables: dict[str, pd.DataFrame]) -> None:
    """Print what was found as a person reads it, in percentage points."""
    table = Table("technique", "baseline", "final", box=None, header_style="bold")
    for head in ("without it", "95 % interval", "its share", "95 % interval"):
        table.add_column(head, justify="right")
    shares = tables["shapley"].set_index("technique")
    for row in tables["gains"].itertuples(index=False):
        share: list[str] = ["", ""]
        if row.technique in shares.index:
            part = shares.loc[row.technique]
            share = [points(part["gain"]), interval(part["low"], part["high"])]
        untested = "failed" if row.failed else "unchanged"
        gain = untested if math.isnan(row.gain) else points(row.gain)
        settings = (row.technique, row.baseline_setting, row.final_setting)
        table.add_row(*settings, gain, interval(row.low, row.high), *share)
    console.print(table)
    for row in tables["interactions"].itertuples(index=False):
        console.print(
            f"{row.first} and {row.second} together: {points(row.gain)} beyond the sum of their "
            f"own, {interval(row.low, row.high)}"
        )
    console.print(
        "without it: what the final recipe gains by it. Its share (Shapley value): its mean gain "
        "over all orders; the shares add up to the whole\n"
    )


def interval(low: float, high: float) -> str:
    return "" if math.isnan(low) else f"{points(low)} to {points(high)}"


if __name__ == "__main__":
    with stage_process():
        main()
