"""The committed results of a stage, read from git: DVC deletes outputs before a stage runs."""

import io
import subprocess
from pathlib import Path

import pandas as pd

from ablation.run.hardware import Hardware


def computed_elsewhere(model: str, stage: str, hardware: Hardware, results: Path = Path()) -> str:
    """A warning if the stage's committed results were computed on other hardware.

    Args:
        model, stage: a family and one of its stages, such as `mlp` and `dropout`.
        hardware: the hardware that the stage will run on.
        results: the folder that the stage writes to.

    Returns:
        one sentence that names both processors (or GPUs) and precisions; empty if they are the
        same, outside a git repository, or if the stage has no committed results.
    """
    times = results / "data/times" / model / f"{stage}.csv"
    try:
        git = subprocess.run(["git", "show", f"HEAD:./{times}"], capture_output=True, check=True)
        rows = pd.read_csv(io.BytesIO(git.stdout), dtype=str)[["computer", "precision"]].dropna()
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError):
        return ""
    committed = (rows["computer"] + " in " + rows["precision"]).unique()
    current = f"{hardware.computer.name} in {hardware.precision}"
    if set(committed) <= {current}:
        return ""
    return (
        f"The committed results were computed on {' and '.join(committed)}; this run uses "
        f"{current}. That alone may change accuracies by a few tenths of a percentage point. To "
        "see which changes exceed the noise, run `ablation diff HEAD` afterwards"
    )
