"""How many trainings a study is, and about how long they take on this machine.

    python -m ablation.study.forecast

A process of its own, which `check` starts: it makes networks of the sizes that params.yaml asks
for, whatever these are, and needs what stages need that are asked for much later. What it prints is
nobody's input.
"""

import os
import time
from math import ceil
from typing import Any

import numpy as np
import torch

from ablation.base.console import plain_errors
from ablation.base.errors import UserError
from ablation.data.splits import Repeat
from ablation.judge.worth import list_trials
from ablation.params import PARAMS, Params, load_params
from ablation.raw.loading import expected_size
from ablation.run.no_compiler import leave_compiler_out
from ablation.run.precision import hardware_for
from ablation.study.entries import list_entries
from ablation.study.inputs import repeats_for
from ablation.trial.families import Spec
from ablation.trial.models import layers
from ablation.trial.recipe import TECHNIQUES, Recipe, plain
from ablation.trial.training import Part, prepare_process, train

FEWEST_CLASSES = 2  # of a network, where nobody knows yet how many there are
# Measured in a second or two, on the baseline's network: of two epochs the second, which is warm.
MEASURED_BATCHES = 6
# Of a training: weights, gradients and the two averages of Adam, four bytes each.
BYTES_A_WEIGHT = 16


def main() -> None:
    params = load_params()
    hardware, _ = hardware_for(
        params.training.precision, params.training.device, params.training.workers
    )
    if hardware.device == "cpu":
        leave_compiler_out()
    prepare_process()
    size = expected_size(params)
    if size:
        params.refuse_large_batches(size.training)
        params.refuse_small_classes(size.at_most)
    for model in params.families:
        refuse_networks_without_memory(params, model, size.classes if size else FEWEST_CLASSES)
    seconds = 0.0
    for model in params.families:
        trials, epochs = count_trials(params, model)
        more = count_leave_one_out(params, model)
        fits = 2 * params.fit.seeds
        print(f"{model}: {trials} trials at most, {more} of leave-one-out at most, {fits} fits")
        if size:
            an_image = measure(params, model, size.classes, hardware.device, hardware.bf16)
            epochs += (more + epochs_of_fits(params, model)) * params.spec(model).epochs
            seconds += an_image * size.training * epochs / hardware.workers
    if size:
        print(
            f"about {duration(seconds)} on this machine, {hardware.workers} at a time, if all "
            "train as fast as the baseline: larger networks and augmentation take longer"
        )
        print("racing, and trainings that are remembered, spare some")
    else:
        print(f"how long they take is not known before the {params.dataset.things} are read")


def count_trials(params: Params, model: str) -> tuple[int, int]:
    """The trials of the chain without racing, and the epochs of all of them.

    What a stage starts from was trained by the stage before.
    """
    settings, epochs = 1, 1
    for technique in TECHNIQUES:
        _, *others = list_entries(params, model, technique, params.baseline)
        settings += len(others)
        epochs += sum(entry.recipe.epochs for entry in others)
    repeats = params.validation.repeats
    return settings * repeats, epochs * repeats * params.spec(model).epochs


def count_leave_one_out(params: Params, model: str) -> int:
    """The trials that take the winner apart, were every technique's another than the baseline's."""
    changed = [
        technique
        for technique in TECHNIQUES
        if technique != "epochs" and list_entries(params, model, technique, params.baseline)[1:]
    ]
    needed = list_trials(changed, 1, params.worth.order_pairs, params.seed)
    return len(needed) * params.validation.repeats


def epochs_of_fits(params: Params, model: str) -> int:
    """The trainings of `fit`, one of twice the epochs as two; of the final recipe the longest."""
    listed = list_entries(params, model, "epochs", params.baseline)
    return params.fit.seeds * (1 + max(entry.recipe.epochs for entry in listed))


def measure(params: Params, model: str, classes: int, device: str, bf16: bool) -> float:
    """Seconds that an epoch of the baseline's network takes for each image of the data set.

    On a processor those that are spent computing, as if nothing else ran on its cores.
    """
    clock = time.perf_counter if device == "cuda" else time.process_time
    size = params.training.batch_size
    count = MEASURED_BATCHES * size
    dice = np.random.default_rng(0)
    part = Part(
        torch.from_numpy(dice.integers(0, 256, (count, 28, 28), dtype=np.uint8)).to(device),
        torch.from_numpy(dice.integers(0, classes, count)).to(device),
    )
    validating = ceil(count * repeats_for(params)[0].fraction)
    repeat = Repeat(0, "shuffle", 0.5, 0, 0, 0, 0, 0, 0)
    spec = params.spec(model).model_copy(update={"epochs": 1})
    spent = []
    for _ in range(2):
        started = clock()
        train(
            spec,
            plain(params.baseline),
            repeat,
            Part(part.images[validating:], part.labels[validating:]),
            Part(part.images[:validating], part.labels[:validating]),
            classes=classes,
            batch_size=min(size, count - validating),
            bf16=bf16,
        )
        spent.append(clock() - started)
    return min(spent) / count


def refuse_networks_without_memory(params: Params, model: str, classes: int) -> None:
    """Networks of so many classes that this machine cannot train, whatever else it does.

    Raises:
        UserError: naming the sizes.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for entry in list_entries(params, model, "architecture", params.baseline):
        weights = count_weights(params.spec(model, entry.recipe), entry.recipe, classes)
        if weights * BYTES_A_WEIGHT > memory:
            raise UserError(
                f"{PARAMS}: {model} of {entry.setting}: {weights / 1e9:.1f} billion weights need "
                f"{weights * BYTES_A_WEIGHT / 1e9:,.0f} GB to train, and this machine has "
                f"{memory / 1e9:,.0f} GB; make it smaller"
            )


def count_weights(spec: Spec, recipe: Recipe, classes: int) -> int:
    """How many values a network learns; it is not made."""
    with torch.device("meta"):
        return sum(each.numel() for each in layers(spec, recipe, classes).parameters())


def duration(seconds: float) -> str:
    """5400 -> 2 h"""
    units: dict[str, Any] = {"days": 86400, "h": 3600, "min": 60}
    for unit, length in units.items():
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{ceil(seconds / 10) * 10} s"


if __name__ == "__main__":
    with plain_errors():
        main()
