"""Training time added by augmentation, label smoothing and weight averaging.

    python benchmarks/additions.py [cpu|cuda]

The engine trains params.yaml's baseline with and without each candidate of these techniques,
alternately, in one process on one core or one GPU.
"""

import argparse
import tempfile
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any

import torch
from results import find_characters, keep, machine
from rich.table import Table

from ablation.base.console import console
from ablation.data.characters import Characters
from ablation.data.splits import make_repeats
from ablation.labels import label
from ablation.params import Params, load_params
from ablation.run.hardware import Hardware
from ablation.trial.families import Spec
from ablation.trial.recipe import Recipe
from ablation.trial.training import Part, prepare_process, train

TECHNIQUES = ("augmentation", "smoothing", "averaging")
ROUNDS = 5
SECONDS = 4  # minimum duration of a timed training


def variants(params: Params, model: str) -> dict[str, Recipe]:
    """The baseline, and the baseline with each other setting of the techniques."""
    baseline = params.baseline
    found = {"baseline": baseline}
    for technique in TECHNIQUES:
        listed = (candidate.settings for candidate in params.candidates(technique, model))
        for setting in chain.from_iterable(listed):
            if setting != baseline.setting(technique):
                found[f"{technique}: {label(setting)}"] = baseline.having(technique, setting)
    return found


def measure(
    spec: Spec, recipes: dict[str, Recipe], part: Part, params: Params, hardware: Hardware
) -> dict[str, list[float]]:
    """Training time of each recipe in seconds, per round, after a warm-up."""
    repeat = make_repeats(params.seed, "shuffle", 0.5, 1)[0]
    options: dict[str, Any] = {
        "classes": int(part.labels.max()) + 1,
        "batch_size": params.training.batch_size,
        "bf16": hardware.bf16,
    }

    def seconds(recipe: Recipe) -> float:
        return train(spec, recipe, repeat, part, None, **options).seconds

    first = {name: seconds(recipe) for name, recipe in recipes.items()}
    epochs = max(1, round(SECONDS / first["baseline"]))
    spec = spec.model_copy(update={"epochs": epochs})
    times: dict[str, list[float]] = {name: [] for name in recipes}
    for _ in range(ROUNDS):
        for name, recipe in recipes.items():
            times[name].append(seconds(recipe))
    return times


def summary(model: str, times: dict[str, list[float]]) -> list[dict[str, Any]]:
    """One row per recipe except the baseline: its time relative to the baseline's.

    The median over rounds of the ratio within a round, since rounds differ in what else runs.
    """
    baseline = times["baseline"]
    return [
        {
            "model": model,
            "with": name,
            "over_baseline": round(
                median(own / plain for own, plain in zip(each, baseline, strict=True)), 3
            ),
            "rounds": [round(second, 2) for second in each],
        }
        for name, each in times.items()
        if name != "baseline"
    ]


def show(content: dict[str, Any]) -> None:
    """Print the section as a table."""
    table = Table(title=f"Time over the baseline's, characters of {content['characters']}")
    for head in ("model", "with", "time"):
        table.add_column(head)
    for row in content["rows"]:
        table.add_row(row["model"], row["with"], f"{row['over_baseline']:.2f} x")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("device", choices=["cpu", "cuda"], nargs="?", default="cpu")
    device = parser.parse_args().device
    prepare_process()
    params = load_params()
    hardware = Hardware.choose(device, params.training.precision, 1)
    with tempfile.TemporaryDirectory() as folder:
        path, name = find_characters(params, Path(folder))
        whole = Characters.load(path)
    rows = []
    for model in params.families:
        spec = params.spec(model).model_copy(update={"epochs": 1})
        part = Part(
            torch.from_numpy(whole.images[::3].copy()).to(device),
            torch.from_numpy(whole.labels[::3].copy()).long().to(device),
        )
        found = summary(model, measure(spec, variants(params, model), part, params, hardware))
        for row in found:
            console.print(f"{row['model']}, {row['with']}: {row['over_baseline']:.2f} x")
        rows += found
    content = {
        "machine": machine(device),
        "characters": name,
        "precision": hardware.precision,
        "rows": rows,
    }
    keep(f"additions-{device}", content)
    show(content)


if __name__ == "__main__":
    main()
