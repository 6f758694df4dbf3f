"""A stage whose trials sleep, so that the remaining time is the overhead of the engine.

    python benchmarks/naps.py WORKERS [ADDRESS] [--hundredths OF_A_SECOND]

A process that loads this module sleeps instead of training. Local workers import it; workers of a
cluster, whose scheduler's address is given, need the option `--preload`.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ablation.data.characters import SIDE, Characters
from ablation.data.splits import Repeat, make_repeats
from ablation.params import load_params
from ablation.processes import pool
from ablation.run import worker
from ablation.run.hardware import Hardware
from ablation.run.job import TrainingJob
from ablation.run.result_cache import FOLDER_VARIABLE
from ablation.run.runner import TrialRunner
from ablation.study.entries import Contest, Entry
from ablation.study.race import run_entries
from ablation.trial.families import MlpSpec
from ablation.trial.trials import Curves, Result

SETTINGS_A_WORKER = 8
REPEATS = 5


def nap(job: TrainingJob, load: Callable[[], Characters]) -> bytes:
    """Replaces `worker._train`: sleeps instead of training."""
    time.sleep(job.trial.spec.epochs / 100)  # the only parameter of a trial that workers receive
    score = 0.8 + np.random.default_rng(job.trial.repeat.init_seed).normal(0, 0.003)
    return Result(score, Curves([], [], [], []), None, 0.0, False, 0).to_bytes()


worker._train = nap
pool.WORKER = (__file__, "--worker")


def measure(workers: int, address: str, hundredths: int, folder: Path) -> dict[str, float]:
    """The number of trials of a stage, and its time in seconds, without starting the workers."""
    os.environ[FOLDER_VARIABLE] = str(folder / "cache")
    images = np.zeros((47, SIDE, SIDE), np.uint8)
    names = tuple(map(str, range(47)))
    Characters(images, np.arange(47, dtype=np.uint8), names).save(folder / "train.npz")
    runner = TrialRunner(folder / "train.npz", 1, Hardware("cpu", False, workers), address)
    params = load_params()
    models: Any = params.models
    spec = MlpSpec(hidden=(8, 8, 8), epochs=hundredths)
    params = params.model_copy(update={"models": models.model_copy(update={"mlp": spec})})
    rates = np.linspace(0.0, 0.5, SETTINGS_A_WORKER * workers).round(6).tolist()
    entries = [Entry("", f"{r}", params.baseline.having("dropout", r)) for r in rates]

    def stage(some: list[Entry], repeats: list[Repeat]) -> float:
        started = time.perf_counter()
        run_entries(runner, params, "mlp", Contest(tuple(some)), repeats, racing=False)
        return time.perf_counter() - started

    stage(entries[:workers], make_repeats(1, "shuffle", 0.15, 1))
    seconds = stage(entries, make_repeats(2, "shuffle", 0.15, REPEATS))
    return {"trials": len(entries) * REPEATS, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("workers", type=int)
    parser.add_argument("address", nargs="?", default="")
    parser.add_argument("--hundredths", type=int, default=25)
    if "--worker" in sys.argv:
        return pool.serve()
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(given.workers, given.address, given.hundredths, Path(folder))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
