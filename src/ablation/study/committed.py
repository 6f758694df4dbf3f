"""What git has of a stage's numbers: DVC deletes a stage's outputs before the stage runs."""

import io
import subprocess
from pathlib import Path

import pandas as pd

from ablation.run.hardware import Hardware


def computed_elsewhere(model: str, stage: str, hardware: Hardware, results: Path = Path()) -> str:
    """A remark if the stage's committed numbers were computed on another machine, otherwise "".

    Another machine is one with another processor or GPU, or another precision. There is no remark
    without git, without a repository, and for a stage whose numbers were never committed.

    Args:
        model, stage: whose numbers, such as `mlp` and `dropout`.
        hardware: what the stage is about to run on.
        results: the folder that the stage writes to.
    """
    times = results / "data/times" / model / f"{stage}.csv"
    try:
        shown = subprocess.run(["git", "show", f"HEAD:./{times}"], capture_output=True, check=True)
        rows = pd.read_csv(io.BytesIO(shown.stdout), dtype=str)[["computer", "precision"]].dropna()
    except (OSError, subprocess.CalledProcessError, ValueError, KeyError):
        return ""
    there = (rows["computer"] + " in " + rows["precision"]).unique()
    here = f"{hardware.computer.name} in {hardware.precision}"
    if set(there) <= {here}:
        return ""
    return (
        f"The numbers in git were computed on {' and '.join(there)}; this run uses {here}: "
        "differences of a few tenths of a point may come from that alone. To tell them apart, run "
        "`ablation diff HEAD` afterwards"
    )
