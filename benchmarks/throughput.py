"""Training throughput in images per second: the engine, a plain loop, and the ceiling.

    python benchmarks/throughput.py [cpu|cuda]

All three train the same networks on the same number of images, alternately in one run, after a
warm-up. The engine is `TrialRunner.fit`, as in a study: one process per core trains a candidate on
all characters. The plain loop (plain_loop.py) trains the same candidates one after another. The
ceiling is the engine's forward and backward passes alone, in the same processes and precision, on a
batch that is already on the device: no data loading, no optimizer. The start of processes is not
included. Sizes are those of params.yaml, then those of the demo study.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context, set_start_method
from pathlib import Path
from statistics import median
from typing import Any

import plain_loop
from ceiling import forward_and_backward
from results import find_characters, keep, machine
from rich.table import Table

from ablation.base.checked import read_yaml
from ablation.base.console import console
from ablation.data.characters import Characters
from ablation.data.splits import make_repeats
from ablation.labels import label
from ablation.params import load_params
from ablation.processes.cores import cores
from ablation.processes.pool import run_jobs
from ablation.run.hardware import Hardware
from ablation.run.result_cache import FOLDER_VARIABLE
from ablation.run.runner import TrialRunner
from ablation.trial.families import FAMILIES, Spec, sizes_of
from ablation.trial.models import build
from ablation.trial.recipe import Adam, Constant, Recipe
from ablation.trial.trials import Trial

DEMO = Path("demo/params.yaml")
ROUNDS = 3
WARM_UP = -1  # the warm-up round
# Approximate number per candidate: half a minute of the plain loop for two on two cores.
IMAGES = {"mlp": 112_000, "cnn": 56_000}


@dataclass(frozen=True)
class Work:
    """The work of each side: one candidate per worker, trained for `spec.epochs` epochs.

    characters: a file of `count` characters, a multiple of the batch size.
    """

    model: str
    spec: Spec
    recipe: Recipe
    characters: Path
    count: int
    classes: int
    batch_size: int
    hardware: Hardware

    @property
    def candidates(self) -> int:
        return self.hardware.workers

    @property
    def images(self) -> int:
        """Number of images trained on, over all candidates and epochs."""
        return self.candidates * self.spec.epochs * self.count

    def lasting(self, epochs: int) -> "Work":
        """The same work for another number of epochs."""
        return replace(self, spec=self.spec.model_copy(update={"epochs": epochs}))


def engine(work: Work, turn: int) -> float:
    """Images per second of the engine; each round has new seeds, so no result is cached."""
    runner = TrialRunner(work.characters, work.batch_size, work.hardware)
    seed = turn - WARM_UP
    trials = [
        Trial(work.model, work.spec, work.recipe, repeat)
        for repeat in make_repeats(seed, "shuffle", 0.5, work.candidates, "benchmark")
    ]
    started = time.perf_counter()
    for _ in runner.fit(trials):
        pass
    return work.images / (time.perf_counter() - started)


def ceiling(work: Work, _turn: int) -> float:
    """Images per second of forward and backward passes, in the engine's worker processes."""
    started = time.perf_counter()
    job = partial(
        forward_and_backward,
        work.spec,
        work.recipe,
        work.classes,
        work.batch_size,
        work.spec.epochs * work.count // work.batch_size,
        work.hardware,
    )
    for _ in run_jobs(iter([job] * work.candidates), work.candidates):
        pass
    return work.images / (time.perf_counter() - started)


def plain(work: Work) -> float:
    """Images per second of the plain loop, one candidate after another."""
    characters = Characters.load(work.characters)
    seconds = 0.0
    for seed in range(work.candidates):
        built = build(work.spec, work.recipe, work.classes, seed)
        network = plain_loop.plain_layers(built)
        seconds += plain_loop.train(
            network,
            characters,
            work.recipe,
            work.batch_size,
            work.spec.epochs,
            work.hardware.device,
            cores=cores(),
        )
    return work.images / seconds


def process_apart() -> ProcessPoolExecutor:
    """A new process for the plain loop, without the settings of the engine's processes."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=fork_from_here)


def fork_from_here() -> None:
    """Fork the loader's processes, as usual; a spawned process would spawn them, slowly."""
    set_start_method("fork", force=True)


def measure(work: Work, rounds: int) -> dict[str, list[float]]:
    """Images per second of each side, one value per round."""
    with process_apart() as apart:
        sides: dict[str, Callable[[Work, int], float]] = {
            "plain": lambda work, _turn: apart.submit(plain, work).result(),
            "engine": engine,
            "ceiling": ceiling,
        }
        for side in sides.values():
            side(work.lasting(1), WARM_UP)
        rates: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(rounds):
            for name, side in sides.items():
                rates[name].append(side(work, turn))
                figure = f"{rates[name][-1]:,.0f} images/s"
                console.print(f"{work.model} {sizes(work)}, round {turn + 1}, {name}: {figure}")
    return rates


def sizes(work: Work) -> str:
    """`512-256-128`, or `16-32-64+128`."""
    return label(sizes_of(work.model, work.spec))


def summary(work: Work, rates: dict[str, list[float]]) -> dict[str, Any]:
    """One row: medians over the rounds, and the values of every round."""
    plain, engine, ceiling = (median(rates[name]) for name in ("plain", "engine", "ceiling"))
    return {
        "model": work.model,
        "sizes": sizes(work),
        "images": work.images,
        "candidates": work.candidates,
        "epochs": work.spec.epochs,
        "plain": round(plain),
        "engine": round(engine),
        "ceiling": round(ceiling),
        "engine_over_plain": round(engine / plain, 2),
        "engine_over_ceiling": round(engine / ceiling, 3),
        "rounds": {name: [round(rate) for rate in each] for name, each in rates.items()},
    }


def show(content: dict[str, Any]) -> None:
    """Print the section as a table."""
    where = content["machine"]
    table = Table(
        title=f"Training on {where.get('gpu', where['cpu'])}, images per second: medians of "
        f"{content['rounds']}, characters of {content['characters']}",
        caption=f"engine: {content['precision']}, {content['workers']} processes; "
        f"plain loop: float32, {where['cores']} loader processes",
    )
    table.add_column("model")
    heads = ("plain loop", "engine", "ceiling", "engine / plain loop", "engine / ceiling")
    for head in heads:
        table.add_column(head, justify="right")
    for row in content["rows"]:
        table.add_row(
            f"{row['model']} {row['sizes']}",
            *(f"{row[name]:,}" for name in ("plain", "engine", "ceiling")),
            f"{row['engine_over_plain']:.1f} x",
            f"{100 * row['engine_over_ceiling']:.0f} %",
        )
    console.print(table)


def run(device: str) -> dict[str, Any]:
    """Measure both models on a device."""
    params = load_params()
    batch_size = params.training.batch_size
    hardware = Hardware.choose(device, params.training.precision, params.training.workers)
    recipe = params.baseline.having("scheduler", Constant(name="constant")).having(
        "optimizer", Adam(name="adam", lr=0.001)
    )
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        # Read by workers when they start. With a new folder, no training is cached.
        os.environ[FOLDER_VARIABLE] = str(Path(folder, "cache"))
        path, name = find_characters(params, Path(folder))
        whole = Characters.load(path)
        count = len(whole) // batch_size * batch_size
        path = Path(folder, "whole_batches.npz")
        Characters(whole.images[:count], whole.labels[:count], whole.classes).save(path)
        classes = len(whole.classes)
        demo = read_yaml(DEMO)["models"]
        specs = {m: (params.spec(m), FAMILIES[m].model_validate(demo[m])) for m in IMAGES}
        for model, spec in [(model, spec) for model, both in specs.items() for spec in both]:
            work = Work(model, spec, recipe, path, count, classes, batch_size, hardware)
            work = work.lasting(max(1, round(IMAGES[model] / count)))
            rows.append(summary(work, measure(work, ROUNDS)))
    return {
        "machine": machine(device),
        "characters": name,
        "batch_size": batch_size,
        "precision": "bf16" if hardware.bf16 else "float32",
        "workers": hardware.workers,
        "rounds": ROUNDS,
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("device", choices=["cpu", "cuda"], nargs="?", default="cpu")
    device = parser.parse_args().device
    content = run(device)
    keep(f"throughput-{device}", content)
    show(content)


if __name__ == "__main__":
    main()
