"""Coverage of the intervals on real characters, with real noise.

    python benchmarks/coverage.py [--worlds N]

EMNIST Mini does not use 180,918 characters of NIST's two test partitions. They are divided into 45
disjoint *worlds* of about 4,000, with the same number of each class; classes with too few
characters for a stratified split in every world are excluded, and listed in the result. Each world
is a study of its own: a stage with three contenders on the study's repeats, small MLPs trained with
its baseline recipe at a higher learning rate.

    relu          the incumbent
    relu-again    the same recipe and splits with other seeds: the true difference is 0
    gelu          the true difference is small, and measured here

Every network of a world is also evaluated on 10,000 characters of the other worlds (not on all
176,000, which would take longer than training). The true gain of gelu over relu is the mean
difference of these accuracies over all repeats of all worlds: the expected gain for training sets
of this size, not that in one world.

Finished worlds are cached like trials: an interrupted run is resumed, and other kinds of intervals
can be evaluated without training.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import scipy.stats
import torch
from numpy.typing import NDArray
from results import keep, machine
from rich.table import Table

from ablation.base.console import console, plain_errors
from ablation.base.formatting import points
from ablation.data.characters import Characters
from ablation.data.splits import Repeat, make_repeats, split, val_to_train
from ablation.judge.noise import (
    CONFIDENCE,
    Estimate,
    Floats,
    against_first,
    estimate,
    measure_noise,
)
from ablation.params import Params, load_params
from ablation.processes.cores import cores
from ablation.raw.emnist import load_left_over
from ablation.run import result_cache
from ablation.run.hardware import Hardware
from ablation.trial.families import MlpSpec
from ablation.trial.recipe import Adam
from ablation.trial.training import Part, predict, prepare_process, train
from ablation.trial.trials import Trial

WORLDS = 45
LEAST = 7  # characters of a class per world, so that 15 % of them are at least one
OUTSIDE = 10_000
SPEC = MlpSpec(hidden=(64, 48, 32), epochs=6)
OPTIMIZER = Adam(name="adam", lr=0.003)  # three times the baseline's, so that six epochs are enough
BATCH_SIZE = 128

CONTENDERS = ("relu", "relu-again", "gelu")
HARDWARE = Hardware("cpu", bf16=False, workers=cores())


def deal(labels: NDArray[np.uint8], worlds: int, least: int, seed: int) -> NDArray[np.int64]:
    """Divide characters into disjoint worlds at random, stratified by class.

    Args:
        labels: (n,) the class of every character.
        worlds: their number. Their sizes differ by at most one, also within each class.
        least: classes with fewer characters per world are excluded.

    Returns:
        (n,) the world of every character, -1 for excluded ones.
    """
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    order = order[np.bincount(labels)[labels[order]] >= least * worlds]
    place = np.full(len(labels), -1)
    place[order] = np.arange(len(order)) % worlds
    return place


def draw_outside(place: NDArray[np.int64], world: int, count: int, seed: int) -> NDArray[np.int64]:
    """Random rows of the other worlds, or all of them if there are fewer."""
    others = np.flatnonzero((place >= 0) & (place != world))
    random = np.random.default_rng((seed, world))
    return np.sort(random.choice(others, min(count, len(others)), replace=False))


def make_trials(params: Params, spec: MlpSpec, world: int) -> list[list[Trial]]:
    """(contenders, repeats): each world has its own repeats, shared by its contenders.

    The repeated contender has the same splits and other seeds for everything else.
    """
    repeats, others = (_repeats(params, f"world {world}{which}") for which in ("", ", again"))
    again = [
        replace(other, split_seed=repeat.split_seed)
        for repeat, other in zip(repeats, others, strict=True)
    ]
    baseline = params.baseline.having("optimizer", OPTIMIZER)
    relu, gelu = (baseline.having("activation", name) for name in ("relu", "gelu"))
    return [
        [Trial("mlp", spec, recipe, repeat) for repeat in chosen]
        for recipe, chosen in ((relu, repeats), (relu, again), (gelu, repeats))
    ]


def measure(
    world: Characters, outside: Characters, trials: list[list[Trial]], batch_size: int, place: Path
) -> Floats:
    """Accuracies of one world, cached or trained; runs in a worker process.

    Args:
        world: the characters that are split into training and validation parts.
        outside: characters that are not used for training.
        trials: (contenders, repeats).
        place: the cache folder.

    Returns:
        (2, contenders, repeats): validation accuracy, which a stage uses, and accuracy outside.
    """
    key = result_cache.key(
        work="coverage",
        characters=[world.digest(), outside.digest()],
        trials=[[_determinants(trial) for trial in row] for row in trials],
        batch_size=batch_size,
        arithmetic=HARDWARE.arithmetic,
    )
    payload = result_cache.get(key, place)
    if payload is None:
        prepare_process()
        pairs = [
            [_accuracies(world, outside, trial, batch_size) for trial in row] for row in trials
        ]
        payload = json.dumps(np.moveaxis(np.array(pairs), -1, 0).tolist()).encode()
        result_cache.put(key, payload, place)
    return np.array(json.loads(payload))


def measure_all(params: Params, left_over: Characters, worlds: int) -> Iterator[Floats]:
    """The results of `measure` for the first `worlds` worlds, in order."""
    place = deal(left_over.labels, WORLDS, LEAST, params.seed)

    def jobs() -> Iterator[Any]:
        for world in range(worlds):
            yield joblib.delayed(measure)(
                _rows(left_over, np.flatnonzero(place == world)),
                _rows(left_over, draw_outside(place, world, OUTSIDE, params.seed)),
                make_trials(params, SPEC, world),
                BATCH_SIZE,
                result_cache.folder(),
            )

    with joblib.parallel_config("loky", inner_max_num_threads=1):
        # Without max_nbytes the characters would become files that torch may not write to.
        pool = joblib.Parallel(
            HARDWARE.workers, return_as="generator", pre_dispatch="n_jobs", max_nbytes=None
        )
        yield from pool(jobs())


def intervals(scores: Floats, ratio: float) -> dict[str, Estimate]:
    """Intervals of the gains over the first contender, by kind of noise estimate.

    Args:
        scores: (worlds, contenders, repeats).
        ratio: size of a repeat's validation part over its training part.

    Returns:
        for each kind (worlds, contenders - 1). The former one is `corrected_interval` of the pair.
    """
    pairs = np.stack([scores[:, [0, other]] for other in range(1, scores.shape[1])], axis=1)
    former = estimate(pairs, against_first(2)[1:], measure_noise(pairs), ratio)
    return {
        "former: the pair's own noise": Estimate(
            former.gain[..., 0], former.error[..., 0], former.freedom[..., 0]
        ),
        "new: the stage's noise": estimate(
            scores, against_first(scores.shape[1])[1:], measure_noise(scores), ratio
        ),
    }


def judge(accuracies: Floats, ratio: float) -> list[dict[str, Any]]:
    """One row per comparison and interval.

    Args:
        accuracies: (worlds, 2, contenders, repeats), from `measure`.
        ratio: size of a repeat's validation part over its training part.

    Returns:
        truth, outside: the true gain, and the mean gain outside (with its standard error over
        worlds); they differ if the truth is known to be 0. gain: mean over worlds as validation
        saw it. held: worlds whose interval holds the truth, share: the same over all worlds, low,
        high: its 95 % interval. width: mean of the intervals. claimed: standard error as the
        intervals have it, and real: as gains are spread around the truth (root mean squares).
    """
    scores, outside = accuracies[:, 0], accuracies[:, 1].mean(-1)
    gains_outside = outside[:, 1:] - outside[:, :1]
    rows = []
    for pair, name in enumerate(CONTENDERS[1:]):
        seen = gains_outside[:, pair]
        truth = 0.0 if name == "relu-again" else float(seen.mean())
        for way, found in intervals(scores, ratio).items():
            low, high = (bound[:, pair] for bound in found.interval())
            gain = found.gain[:, pair]
            held = int(((low <= truth) & (truth <= high)).sum())
            share = scipy.stats.binomtest(held, len(scores)).proportion_ci(CONFIDENCE, "wilson")
            numbers = {
                "truth": truth,
                "outside": seen.mean(),
                "outside_error": scipy.stats.sem(seen),
                "gain": gain.mean(),
                "share": held / len(scores),
                "low": share.low,
                "high": share.high,
                "width": (high - low).mean(),
                "claimed": np.sqrt((found.error[:, pair] ** 2).mean()),
                "real": np.sqrt(((gain - truth) ** 2).mean()),
            }
            rounded = {key: round(float(number), 6) for key, number in numbers.items()}
            rows.append({"contender": name, "interval": way, "held": held, **rounded})
    return rows


def report_world(world: int, worlds: int, accuracies: Floats, ratio: float) -> None:
    """Print the gains and the half-widths of the intervals of a finished world."""
    cells = []
    found = intervals(accuracies[None, 0], ratio)
    for pair, name in enumerate(CONTENDERS[1:]):
        gain = next(iter(found.values())).gain[0, pair]
        reaches = [np.subtract(*way.interval()[::-1])[0, pair] / 2 for way in found.values()]
        outside = (accuracies[1, pair + 1] - accuracies[1, 0]).mean()
        said = " or ".join(f"{100 * reach:.2f}" for reach in reaches)
        cells.append(f"{name} {points(gain)} +- {said}, outside {points(outside)}")
    console.print(f"world {world + 1}/{worlds}: {'; '.join(cells)}")


def show(content: dict[str, Any]) -> None:
    """Print the section as a table; everything except shares in percentage points."""
    table = Table(title=f"Intervals in {content['worlds']} worlds of real characters")
    table.add_column("minus relu", no_wrap=True)
    table.add_column("noise from", no_wrap=True)
    for head in ("truth", "outside", "held", "share (95 %)", "width", "claimed", "real"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in content["rows"]:
        table.add_row(
            row["contender"],
            row["interval"],
            points(row["truth"]),
            points(row["outside"]),
            str(row["held"]),
            f"{100 * row['share']:.0f} ({100 * row['low']:.0f} to {100 * row['high']:.0f}) %",
            *(f"{100 * row[name]:.2f}" for name in ("width", "claimed", "real")),
        )
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", type=int, choices=range(2, WORLDS + 1), default=WORLDS)
    worlds = parser.parse_args().worlds
    params = load_params()
    started = time.perf_counter()
    left_over = load_left_over(Path(params.data.raw))
    counts = left_over.counts()
    missing = np.flatnonzero(counts < LEAST * WORLDS)
    ratio = val_to_train(_repeats(params, "world 0")[0])
    found = []
    for world, accuracies in enumerate(measure_all(params, left_over, worlds)):
        found.append(accuracies)
        report_world(world, worlds, accuracies, ratio)
    content = {
        "machine": machine(HARDWARE.device),
        "worlds": worlds,
        "characters": (int(counts.sum()) - int(counts[missing].sum())) // WORLDS,
        "left_out": {left_over.classes[k]: int(counts[k]) for k in missing},
        "outside": OUTSIDE,
        "repeats": params.validation.repeats,
        "validation": round(ratio / (1 + ratio), 6),
        "mlp": {**SPEC.model_dump(mode="json"), "batch_size": BATCH_SIZE, "lr": OPTIMIZER.lr},
        "accuracy": {
            name: round(float(accuracy), 6)
            for name, accuracy in zip(CONTENDERS, np.mean(found, axis=(0, 3))[1], strict=True)
        },
        "rows": judge(np.array(found), ratio),
    }
    keep("coverage", content)
    show(content)
    console.print(f"{(time.perf_counter() - started) / 60:.1f} minutes")


def _repeats(params: Params, purpose: str) -> list[Repeat]:
    chosen = params.validation
    return make_repeats(params.seed, chosen.scheme, chosen.fraction, chosen.repeats, purpose)


def _rows(characters: Characters, rows: NDArray[np.int64]) -> Characters:
    return Characters(characters.images[rows], characters.labels[rows], characters.classes)


def _determinants(trial: Trial) -> dict[str, Any]:
    return {
        "spec": trial.spec.model_dump(mode="json"),
        "recipe": trial.recipe.model_dump(mode="json"),
        "repeat": asdict(trial.repeat),
    }


def _accuracies(
    world: Characters, outside: Characters, trial: Trial, batch_size: int
) -> tuple[float, float]:
    training, validation = (_part(_rows(world, rows)) for rows in split(world.labels, trial.repeat))
    trained = train(
        trial.spec,
        trial.recipe,
        trial.repeat,
        training,
        validation,
        classes=len(world.classes),
        batch_size=batch_size,
        bf16=HARDWARE.bf16,
    )
    unseen = _part(outside)
    guesses = predict(trained.network, unseen.images, trained.normalisation).argmax(1)
    accuracy = (guesses == unseen.labels).double().mean().item()
    return trained.curves.validation_accuracy[-1], accuracy


def _part(characters: Characters) -> Part:
    return Part(torch.from_numpy(characters.images), torch.from_numpy(characters.labels).long())


if __name__ == "__main__":
    with plain_errors():
        main()
