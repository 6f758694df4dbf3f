"""Effect of bf16 on accuracy: the same trials in bf16 and in float32, paired by repeat.

    python benchmarks/precision.py

Validation accuracy of params.yaml's baseline on at least five of the study's repeats. Trials are
cached as usual, so only the first run takes long.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from results import find_characters, keep, machine
from rich.table import Table

from ablation.base.console import console
from ablation.base.formatting import percent, points
from ablation.data.splits import Repeat, make_repeats, val_to_train
from ablation.judge.noise import CONFIDENCE, Floats, corrected_interval
from ablation.params import Params, load_params
from ablation.run.hardware import Hardware
from ablation.run.runner import TrialRunner
from ablation.trial.trials import Trial

LEAST_REPEATS = 5


def scores(
    params: Params, model: str, characters: Path, precision: str, repeats: list[Repeat]
) -> Floats:
    """(repeats,) validation accuracy of the baseline in one precision."""
    training = params.training
    hardware = Hardware.choose(training.device, precision, training.workers)
    trials = [Trial(model, params.spec(model), params.baseline, repeat) for repeat in repeats]
    runner = TrialRunner(characters, training.batch_size, hardware)
    found = {trial: result for trial, result, _ in runner.run(trials)}
    return np.array([found[trial].score for trial in trials])


def compare(bf16: Floats, float32: Floats, val_to_train: float) -> dict[str, float]:
    """The difference of paired scores, bf16 minus float32, with its 95 % interval."""
    low, high = corrected_interval(bf16 - float32, val_to_train, CONFIDENCE)
    return {
        "repeats": len(bf16),
        "bf16": round(float(bf16.mean()), 6),
        "float32": round(float(float32.mean()), 6),
        "difference": round(float((bf16 - float32).mean()), 6),
        "difference_low": round(low, 6),
        "difference_high": round(high, 6),
    }


def show(content: dict[str, Any]) -> None:
    """Print the section as a table; differences are in percentage points."""
    table = Table(title=f"Validation accuracy, characters of {content['characters']}")
    table.add_column("model")
    for head in ("bf16", "float32", "bf16 - float32", "95 % interval", "repeats"):
        table.add_column(head, justify="right")
    for row in content["rows"]:
        table.add_row(
            row["model"],
            percent(row["bf16"]),
            percent(row["float32"]),
            points(row["difference"]),
            f"{points(row['difference_low'])} to {points(row['difference_high'])}",
            str(row["repeats"]),
        )
    console.print(table)


def main() -> None:
    params = load_params()
    chosen = params.validation
    count = max(LEAST_REPEATS, chosen.repeats)
    repeats = make_repeats(params.seed, chosen.scheme, chosen.fraction, count)
    device = Hardware.choose(params.training.device, "bf16", params.training.workers).device
    with tempfile.TemporaryDirectory() as folder:
        path, name = find_characters(params, Path(folder))
        rows = []
        for model in params.families:
            bf16, float32 = (
                scores(params, model, path, precision, repeats) for precision in ("bf16", "float32")
            )
            rows.append({"model": model, **compare(bf16, float32, val_to_train(repeats[0]))})
            console.print(
                f"{model}: bf16 {percent(bf16.mean())}, float32 {percent(float32.mean())}"
            )
    content = {"machine": machine(device), "characters": name, "rows": rows}
    keep("precision", content)
    show(content)


if __name__ == "__main__":
    main()
