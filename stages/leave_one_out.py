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
from ablation.params import MODELS, load_params, load_recipe
from ablation.study import Entry, Results, repeats_for, run_entries
from ablation.trial.recipe import TECHNIQUES, Recipe, label

FINAL = "final recipe"
EVERYTHING = "all"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, choices=MODELS)
    parser.add_argument("--recipe", required=True, type=Path, help="the chain's final recipe")
    arguments = parser.parse_args()
    model = arguments.model
    params = load_params()
    announce(f"leave one out of the {model}", params.data.dataset)
    final = load_recipe(arguments.recipe)

    repeats = repeats_for(params, "leave-one-out")
    variants = list_variants(final, params.baseline)
    # A technique still at its baseline setting gives the final recipe itself: trained once.
    entries = [Entry(name, name, recipe) for name, recipe in variants.items()]
    results = run_entries(params, model, entries, repeats, racing=False)
    if any(run.diverged for run in results[FINAL]):
        raise UserError(
            f"{arguments.recipe}: diverged on repeats that it was not chosen on; lower the "
            "learning rates in params.yaml"
        )
    table = gains_table(results, final, params.baseline, val_to_train(repeats[0]))
    write_csv(table, Path("plots", model, "leave_one_out/gains.csv"))
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

    A gain over a variant that diverged is no number, and neither is the interval of one repeat.
    """
    scores = {name: np.array([run.score for run in runs]) for name, runs in results.items()}
    rows = []
    for name in [*TECHNIQUES, EVERYTHING]:
        gains = scores[FINAL] - scores[name]
        low, high = corrected_interval(gains, val_to_train, CONFIDENCE)
        settings = ("baseline recipe", FINAL)
        if name != EVERYTHING:
            settings = (label(baseline.setting(name)), label(final.setting(name)))
        diverged = any(run.diverged for run in results[name])
        numbers = (math.nan,) * 3 if diverged else (gains.mean(), low, high)
        rows.append((name, *settings, *numbers, len(gains), diverged))
    settings_columns = ["technique", "baseline_setting", "final_setting"]
    columns = [*settings_columns, "gain", "gain_low", "gain_high", "repeats", "diverged"]
    return pd.DataFrame(rows, columns=columns).replace([-math.inf, math.inf], math.nan)


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """The whole study's gain with its interval, and each technique's."""
    gains = table.set_index("technique")
    whole = gains.loc[EVERYTHING]
    return {
        "final_over_baseline": whole["gain"],
        "final_over_baseline_low": whole["gain_low"],
        "final_over_baseline_high": whole["gain_high"],
        **{technique: gains.loc[technique, "gain"] for technique in TECHNIQUES},
    }


def show(table: pd.DataFrame) -> None:
    shown = Table("technique", "baseline", "final", box=None, header_style="bold")
    shown.add_column("gain", justify="right")
    shown.add_column("95 % interval", justify="right")
    for row in table.itertuples(index=False):
        interval = f"{points(row.gain_low)} to {points(row.gain_high)}"
        settings = (row.technique, row.baseline_setting, row.final_setting)
        gain = "diverged" if row.diverged else points(row.gain)
        shown.add_row(*settings, gain, "" if math.isnan(row.gain_low) else interval)
    console.print(shown)


if __name__ == "__main__":
    with plain_errors():
        main()
