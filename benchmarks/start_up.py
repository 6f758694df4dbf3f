"""Overhead of a stage besides training, and time of a `dvc repro` with nothing to do.

    python benchmarks/start_up.py

Stages are run as dvc runs them, by one process in place of dvc. The first one starts the fork
server; the others are measured, with libraries already imported, like all but the first in a study.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from results import keep, machine
from study_time import SCRATCH, repro

from ablation.base.checked import read_yaml, to_yaml
from ablation.base.console import console
from ablation.base.files import read_csv
from ablation.processes.fork_server import STAGE_VARIABLE
from ablation.run.result_cache import FOLDER_VARIABLE

ROUNDS = 5
LAUNCHER = "src/ablation/processes/fork_server.py"
BASELINE = ("stages/technique.py", "--model", "mlp", "--stage", "baseline")
TIMES = "data/times/mlp/baseline.csv"


def make_study(folder: Path) -> None:
    """The demo study with its characters, reduced so that a trial takes almost no time."""
    subprocess.run([sys.executable, SCRATCH, folder], check=True)
    params = read_yaml(folder / "params.yaml")
    params["validation"]["repeats"] = 2
    params["models"]["mlp"] = {"hidden": [16, 16, 16], "epochs": 1}
    params["techniques"] = {name: [] for name in params["techniques"]} | {"epochs": [1]}
    (folder / "params.yaml").write_text(to_yaml(params))


def run_stage(study: Path, cache: Path) -> float:
    """Time of the MLP's baseline stage in seconds."""
    variables = {STAGE_VARIABLE: "baseline@mlp", FOLDER_VARIABLE: str(cache), "PYTHONPATH": "src"}
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-S", LAUNCHER, *BASELINE],
        cwd=study,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - started


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        study = Path(folder, "study")
        make_study(study)
        repro(study, Path(folder, "cache"))
        nothing = [repro(study, Path(folder, "cache"))["seconds"] for _ in range(ROUNDS)]
        run_stage(study, Path(folder, "first"))  # starts the server
        time.sleep(20)  # until it has imported everything
        trained, cached = [], []
        for number in range(ROUNDS):
            cache = Path(folder, f"cache {number}")
            seconds = run_stage(study, cache)
            trained.append(seconds - read_csv(study / TIMES)["train_seconds"].max())
            cached.append(run_stage(study, cache))
    rows = {
        "a stage of two tiny trials, beside their trainings": trained,
        "a stage whose trials are all cached": cached,
        "dvc repro with nothing to do": nothing,
    }
    measured = [{"what": what, "seconds": round(median(each), 2)} for what, each in rows.items()]
    keep("start-up", {"machine": machine("cpu"), "rows": measured})
    for row in measured:
        console.print(f"{row['what']}: {row['seconds']:.2f} s")


if __name__ == "__main__":
    main()
