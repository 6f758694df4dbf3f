"""What each technique is worth in the end: the final recipe without it, on fresh repeats.

Greedy order hides interactions and winners are flattered by having been chosen. Here each technique
is put back to its baseline setting, one at a time, on repeats that no stage has selected on.
"""

import argparse
import math
from pathlib import Path

import numpy as np
import pandas as pd
from rich.table import Table

from ablation.base.console import announce, console, plain_errors, points
from ablation.base.errors import UserError
from ablation.base.files import write_csv, write_json
from ablation.data.splits import val_to_train
from ablation.judge.selection import CONFIDENCE, corrected_interval
from ablation.params import load_params
from ablation.recipe import TECHNIQUES, Recipe, label, load_recipe
from ablation.study import Entry, Results, laboratory, repeats_for, run_entries, times_table
from ablation.trial.families import FAMILIES

FINAL = "final recipe"
EVERYTHING = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=FAMILIES)
    parser.add_argument("--recipe", required=True, type=Path, help="the chain's final recipe")
    arguments = parser.parse_args()
    model = arguments.model
    params = load_params()
    announce(f"leave one out of the {model}", params.dataset.note)
    final = load_recipe(arguments.recipe)

    repeats = repeats_for(params, "leave-one-out")
    variants = list_variants(final, params.baseline)
    # A technique still at its baseline setting gives the final recipe itself: trained once.
    entries = [Entry(name, name, recipe) for name, recipe in variants.items()]
    lab = laboratory(params)
    results = run_entries(lab, params, model, entries, repeats, racing=False)
    if any(run.diverged for run in results[FINAL]):
        raise UserError(
            f"{arguments.recipe}: diverged on repeats that it was not chosen on; lower the "
            "learning rates in params.yaml"
        )
    table = gains_table(results, final, params.baseline, val_to_train(repeats[0]))
    write_csv(table, Path("plots", model, "leave_one_out/gains.csv"))
    write_csv(times_table(results, lab.hardware), Path("data/times", model, "leave_one_out.csv"))
    write_json(metrics(table), Path("metrics", model, "leave_one_out.json"))
    show(table)


def list_variants(final: Recipe, baseline: Recipe) -> dict[str, Recipe]:
    """The final recipe; without each technique; and the baseline, which is without all of them."""
    without = {
        technique: final.having(technique, baseline.setting(technique)) for technique in TECHNIQUES
    }
    return {FINAL: final, **without, EVERYTHING: baseline}


def gains_table(
    results: Results, final: Recipe, baseline: Recipe, val_to_train: float
) -> pd.DataFrame:
    """The final recipe's gain over each variant, with its interval; last, over the baseline.

    A technique that is as in the baseline was not tested: it has no gain. Neither has a variant
    that diverged, and the gain of a single repeat has no interval.
    """
    scores = {name: np.array([run.score for run in runs]) for name, runs in results.items()}
    rows = []
    for name in [*TECHNIQUES, EVERYTHING]:
        gains = scores[FINAL] - scores[name]
        low, high = corrected_interval(gains, val_to_train, CONFIDENCE)
        settings = ("baseline recipe", FINAL)
        changed = final != baseline
        if name != EVERYTHING:
            settings = (label(baseline.setting(name)), label(final.setting(name)))
            changed = final.setting(name) != baseline.setting(name)
        diverged = any(run.diverged for run in results[name])
        tested = changed and not diverged
        numbers = (gains.mean(), low, high) if tested else (math.nan,) * 3
        rows.append((name, *settings, *numbers, len(gains), diverged))
    settings_columns = ["technique", "baseline_setting", "final_setting"]
    columns = [*settings_columns, "gain", "low", "high", "repeats", "diverged"]
    return pd.DataFrame(rows, columns=columns).replace([-math.inf, math.inf], math.nan)


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """The whole study's gain with its interval."""
    whole = table.set_index("technique").loc[EVERYTHING]
    return {name: whole[name] for name in ("gain", "low", "high")}


def show(table: pd.DataFrame) -> None:
    shown = Table("technique", "baseline", "final", box=None, header_style="bold")
    shown.add_column("gain", justify="right")
    shown.add_column("95 % interval", justify="right")
    for row in table.itertuples(index=False):
        interval = "" if math.isnan(row.low) else f"{points(row.low)} to {points(row.high)}"
        untested = "diverged" if row.diverged else "unchanged"
        gain = untested if math.isnan(row.gain) else points(row.gain)
        shown.add_row(row.technique, row.baseline_setting, row.final_setting, gain, interval)
    console.print(shown)


if __name__ == "__main__":
    with plain_errors():
        main()
