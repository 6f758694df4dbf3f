"""Time of the demo study: from scratch, with all trials cached, with one candidate added.

    python benchmarks/study_time.py

Real `dvc repro` in the scratch copy of `make demo`, with a cache of its own. Warm means that DVC
runs every stage again (`--force`), with all trials cached. The added candidate is a new entry under
`optimizer`; DVC then runs the affected stages.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from results import keep, machine
from rich.table import Table

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.console import console
from ablation.params import load_params
from ablation.run.hardware import Hardware
from ablation.run.result_cache import FOLDER_VARIABLE

SCRATCH = Path(__file__).parents[1] / "demo/scratch.py"
KEY_LENGTH = 64  # names of trainings in the cache folder
CANDIDATE = {"name": "sgd", "lr": 0.01, "momentum": 0.5}


def add_candidate(params: Path) -> None:
    """Add `CANDIDATE` to the optimizers of a params.yaml."""
    content = read_yaml(params)
    content["techniques"]["optimizer"].append(CANDIDATE)
    params.write_text(to_yaml(content))


def repro(study: Path, cache: Path, *options: str) -> dict[str, Any]:
    """Time of one `dvc repro` in seconds, and the number of trainings added to the cache."""
    tools = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        FOLDER_VARIABLE: str(cache),
        "PATH": os.pathsep.join([tools, os.environ["PATH"]]),
    }
    before = trainings(cache)
    started = time.perf_counter()
    subprocess.run(["dvc", "repro", "--quiet", *options], cwd=study, env=environment, check=True)
    found = {
        "seconds": round(time.perf_counter() - started, 1),
        "trainings": trainings(cache) - before,
    }
    console.print(f"dvc repro: {found['seconds']} s, {found['trainings']} trainings")
    return found


def trainings(cache: Path) -> int:
    """Number of finished trainings in a cache."""
    return sum(len(path.name) == KEY_LENGTH for path in cache.glob("*"))


def show(content: dict[str, Any]) -> None:
    """Print the section as a table."""
    table = Table("the demo study", title="dvc repro")
    for head in ("seconds", "of cold", "trainings"):
        table.add_column(head, justify="right")
    for row in content["rows"]:
        table.add_row(
            row["way"],
            f"{row['seconds']:.1f}",
            f"{100 * row['over_cold']:.0f} %",
            str(row["trainings"]),
        )
    console.print(table)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        study, cache = Path(folder, "study"), Path(folder, "cache")
        subprocess.run([sys.executable, SCRATCH, study], check=True)
        ways = {
            "cold": repro(study, cache),
            "warm: every trial cached": repro(study, cache, "--force"),
        }
        add_candidate(study / "params.yaml")
        ways["one candidate added"] = repro(study, cache)
        training = load_params(study / "params.yaml").training
    cold = ways["cold"]["seconds"]
    rows = [
        {"way": way, **found, "over_cold": round(found["seconds"] / cold, 3)}
        for way, found in ways.items()
    ]
    device = Hardware.choose(training.device, training.precision, training.workers).device
    content = {"machine": machine(device), "rows": rows}
    keep("study-time", content)
    show(content)


if __name__ == "__main__":
    main()
