"""Scaling with the number of workers: overhead of the engine, and efficiency of stages.

    python benchmarks/growth.py

Measured with local workers and with those of a local Dask cluster: trials that sleep (naps.py), and
real ones. Larger stages with up to 64 machines are simulated, with the code that a real stage runs
and a simulated clock.
"""

import heapq
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, cast

import numpy as np
from results import find_characters, keep, machine
from rich.table import Table
from verdicts import simulate

from ablation.base.console import console
from ablation.base.formatting import counted
from ablation.data.characters import CLASSES
from ablation.data.splits import make_repeats
from ablation.params import Params, load_params
from ablation.run.hardware import Hardware
from ablation.run.result_cache import FOLDER_VARIABLE
from ablation.run.runner import Finished, TrialRunner
from ablation.study.entries import Contest, Entry, list_entries
from ablation.study.inputs import make_trial
from ablation.study.race import run_entries
from ablation.trial.recipe import TECHNIQUES
from ablation.trial.trials import Curves, Result, Trial

NAPS = Path(__file__).with_name("naps.py")
NAP_SECONDS = 0.25  # as in naps.py
NAPPERS = (1, 2, 4, 8)
REAL_WORKERS = (1, 2)
REAL_TRIALS = 8
REAL_EPOCHS = 2
PLACES = ("this machine", "Dask") if find_spec("distributed") else ("this machine",)

# Of a simulated trial: about what one of the study in git takes, how much settings differ in it,
# how much the repeats of one do, and what the engine costs beside.
TRIAL_SECONDS = 30.0
SETTINGS_DIFFER, REPEATS_DIFFER = 0.3, 0.05
ENGINE_SECONDS = 0.05
NOISE = 0.003  # of a score, between repeats
LARGE = {"settings": 200, "repeats": 5}
SIMULATED_WORKERS = (8, 64, 256)


@contextmanager
def workers_at(place: str, workers: int, *preload: Path) -> Iterator[str]:
    """The address of a scheduler with this number of workers; empty for local workers."""
    if place == "this machine":
        yield ""
        return
    from distributed import LocalCluster

    options = {"preload": [str(path) for path in preload]}
    with LocalCluster(
        n_workers=workers, threads_per_worker=1, dashboard_address=None, **options
    ) as cluster:
        yield cluster.scheduler_address


def measure_naps(place: str, workers: int) -> dict[str, Any]:
    """The overhead of the engine per trial: the time that a worker does not sleep."""
    with workers_at(place, workers, NAPS) as address:
        command = [sys.executable, str(NAPS), str(workers), *([address] if address else [])]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(said.splitlines()[-1])
    own = found["seconds"] * workers / found["trials"] - NAP_SECONDS
    return row(place, workers, found["trials"], found["seconds"], round(1000 * own, 1))


def measure_real(place: str, workers: int, params: Params, characters: Path) -> dict[str, Any]:
    """Throughput of real trials: the MLP of params.yaml, for a few epochs."""
    spec = params.spec("mlp").model_copy(update={"epochs": REAL_EPOCHS})
    hardware = Hardware.choose("cpu", "float32", workers)
    repeats = make_repeats(workers, "shuffle", 0.15, REAL_TRIALS + workers, place)
    trials = [Trial("mlp", spec, params.baseline, repeat) for repeat in repeats]
    with workers_at(place, workers) as address:
        runner = TrialRunner(characters, params.training.batch_size, hardware, address)
        for _ in runner.run(trials[:workers]):
            pass  # importing torch takes as long as some trials
        started = time.perf_counter()
        for _ in runner.run(trials[workers:]):
            pass
        seconds = time.perf_counter() - started
    return row(place, workers, REAL_TRIALS, seconds, None)


def row(
    place: str, workers: int, trials: int, seconds: float, own_ms: float | None
) -> dict[str, Any]:
    rate = round(60 * trials / seconds, 1)
    own = "" if own_ms is None else f", of its own {own_ms} ms a trial"
    console.print(f"{place}, {counted(workers, 'worker')}: {rate} trials per minute{own}")
    found = {"place": place, "workers": workers, "trials_a_minute": rate}
    return found if own_ms is None else {**found, "own_ms": own_ms}


@dataclass
class SimulatedRunner:
    """A runner with simulated workers and a simulated clock.

    seconds, scores: of each trial that may be requested.
    """

    workers: int
    seconds: dict[Trial, float]
    scores: dict[Trial, float]
    classes: tuple[str, ...] = tuple(CLASSES)
    largest: float = 1 / len(CLASSES)
    count: int = 28_200
    now: float = 0.0
    asked: int = 0

    def is_cached(self, trial: Trial) -> bool:
        """Return False: nothing is cached."""
        return False

    def run(self, trials: Iterable[Trial]) -> Iterator[Finished]:
        """Like `TrialRunner.run`: the next trial is requested when a worker is idle."""
        ahead, numbers = iter(trials), count()
        running: list[tuple[float, int, Trial]] = []
        while True:
            while len(running) < self.workers and (trial := next(ahead, None)):
                self.asked += 1
                end = self.now + self.seconds[trial] + ENGINE_SECONDS
                heapq.heappush(running, (end, next(numbers), trial))
            if not running:
                return
            self.now, _, trial = heapq.heappop(running)
            score = self.scores[trial]
            result = Result(score, Curves([], [], [], []), None, self.seconds[trial], False, 0)
            yield Finished(trial, result, cached=False)


def simulate_stage(
    params: Params, entries: Sequence[Entry], repeats: int, workers: int, seed: int
) -> dict[str, float]:
    """A stage with racing; the true gains have a standard deviation of one standard error.

    Returns:
        seconds that it takes; ideal: those of the trials that count, shared out evenly; trials that
        ran, and those of them that count; decided_ms: what to decide took a trial, in real time.
    """
    generator = np.random.default_rng([seed, len(entries)])
    made = make_repeats(seed, "shuffle", 0.15, repeats)
    gains = generator.standard_normal((1, len(entries) - 1))
    levels = simulate(1, gains, repeats, "differing by 30 %", generator)[0]
    length = TRIAL_SECONDS * np.exp(SETTINGS_DIFFER * generator.standard_normal((len(entries), 1)))
    lengths = length * np.exp(REPEATS_DIFFER * generator.standard_normal(levels.shape))
    trials = [
        [make_trial(params, "mlp", entry.recipe, repeat) for repeat in made] for entry in entries
    ]
    flat = [trial for of_one in trials for trial in of_one]
    scores = dict(zip(flat, (0.85 + NOISE * levels).ravel().tolist(), strict=True))
    runner = SimulatedRunner(workers, dict(zip(flat, lengths.ravel(), strict=True)), scores)
    started = time.perf_counter()
    console.quiet = True
    contest = Contest(tuple(entries))
    results = run_entries(cast(TrialRunner, runner), params, "mlp", contest, made, racing=True)
    console.quiet = False
    decided = time.perf_counter() - started
    needed = [
        runner.seconds[trial]
        for entry, of_one in zip(entries, trials, strict=True)
        for trial, _ in zip(of_one, results[entry.setting], strict=False)
    ]
    return {
        "seconds": runner.now,
        "ideal": sum(needed) / workers,
        "trials": float(runner.asked),
        "counted": float(len(needed)),
        "decided_ms": 1000 * decided / runner.asked,
    }


def simulate_large(params: Params, workers: int) -> dict[str, Any]:
    """A stage of a thousand trials; without racing all of them would count."""
    rates = np.linspace(0.0, 0.9, LARGE["settings"]).round(6).tolist()
    entries = [Entry(f"{r}", f"{r}", params.baseline.having("dropout", r)) for r in rates]
    found = simulate_stage(params, entries, LARGE["repeats"], workers, seed=1)
    return {"stage": "200 settings, 5 repeats", "workers": workers, **summary(found)}


def simulate_chain(params: Params, workers: int) -> dict[str, Any]:
    """All stages of the MLP's chain in params.yaml, one after the other, as DVC runs them."""
    sizes = [
        list_entries(params, "mlp", technique, params.baseline).entries for technique in TECHNIQUES
    ]
    repeats = params.validation.repeats
    stages = [
        simulate_stage(params, entries, repeats, workers, seed)
        for seed, entries in enumerate(sizes)
        if len(entries) > 1
    ]
    whole = {name: sum(stage[name] for stage in stages) for name in stages[0]}
    whole["decided_ms"] /= len(stages)
    return {"stage": "the MLP's chain of params.yaml", "workers": workers, **summary(whole)}


def summary(found: dict[str, float]) -> dict[str, Any]:
    return {
        "trials": int(found["trials"]),
        "counted": int(found["counted"]),
        "minutes": round(float(found["seconds"]) / 60, 1),
        "ideal_minutes": round(float(found["ideal"]) / 60, 1),
        "over_ideal": round(float(found["seconds"] / found["ideal"]), 2),
        "decided_ms": round(found["decided_ms"], 1),
    }


def show(content: dict[str, Any]) -> None:
    """Print the section as tables."""
    for part, title in (("naps", "Trials that sleep for 0.25 s"), ("real", "Real trials")):
        table = Table("workers of", "workers", "trials per minute", "overhead, ms", title=title)
        for each in content[part]:
            own = str(each.get("own_ms", ""))
            table.add_row(each["place"], str(each["workers"]), str(each["trials_a_minute"]), own)
        console.print(table)
    table = Table("stage", "workers", title="Simulated, trials of 30 s")
    names = ("trials", "counted", "minutes", "ideal_minutes", "over_ideal", "decided_ms")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for each in content["simulated"]:
        cells = (str(each[name]) for name in names)
        table.add_row(each["stage"], str(each["workers"]), *cells)
    console.print(table)


def main() -> None:
    params = load_params()
    naps = [measure_naps(place, workers) for place in PLACES for workers in NAPPERS]
    with tempfile.TemporaryDirectory() as folder:
        os.environ[FOLDER_VARIABLE] = str(Path(folder, "cache"))
        path, name = find_characters(params, Path(folder))
        real = [
            measure_real(place, workers, params, path)
            for place in PLACES
            for workers in REAL_WORKERS
        ]
    simulated = [
        simulated(params, workers)
        for simulated in (simulate_large, simulate_chain)
        for workers in SIMULATED_WORKERS
    ]
    content = {
        "machine": machine("cpu"),
        "characters": name,
        "naps": naps,
        "real": real,
        "simulated": simulated,
    }
    keep("growth", content)
    show(content)


if __name__ == "__main__":
    main()
