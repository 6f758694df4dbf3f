"""The measured cost of a training on this machine, and networks too large for its memory."""

import os
from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
import torch

from ablation.base.errors import UserError
from ablation.data.splits import Repeat
from ablation.params import PARAMS, Params
from ablation.run.hardware import Hardware
from ablation.run.no_compiler import leave_compiler_out
from ablation.study.entries import list_entries
from ablation.trial.families import Spec
from ablation.trial.models import layers
from ablation.trial.recipe import Recipe
from ablation.trial.training import CLOCKS, Part, prepare_process, train
from ablation.trial.trials import Trial

# Each network is timed for one epoch of MEASURED_BATCHES, then for about MEASURED_SECONDS more.
MEASURED_BATCHES = 3
MEASURED_SECONDS = 0.2
MAX_EPOCHS = 20
# Weights, gradients and the two moments of Adam, four bytes each.
BYTES_PER_WEIGHT = 16
REPEAT = Repeat(0, "shuffle", 0.5, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Speed:
    """Seconds before a training's first step, and seconds per image and epoch."""

    startup: float
    per_image: float


@dataclass(frozen=True)
class TrainingCost:
    """Estimates the time of trainings on one core or one GPU.

    Attributes:
        params: the content of params.yaml.
        hardware: device and precision to measure.
        images: number of training images of the data set.
        classes: number of its classes.
    """

    params: Params
    hardware: Hardware
    images: int
    classes: int

    def seconds(self, trial: Trial) -> float:
        """Estimated seconds of a training.

        Each pair of network and augmentation is measured once, with the other settings of its
        first trial; those are assumed not to affect the speed.
        """
        key = (trial.spec.model_copy(update={"epochs": 1}), trial.recipe.augmentation)
        if key not in self._measured:
            self._measured[key] = self._measure(key[0], trial.recipe)
        speed = self._measured[key]
        return speed.startup + speed.per_image * self.images * trial.spec.epochs

    @cached_property
    def _measured(self) -> dict[object, Speed]:
        if self.hardware.device == "cpu":
            leave_compiler_out()
        prepare_process()
        return {}

    def _measure(self, spec: Spec, recipe: Recipe) -> Speed:
        """Train on random images; two lengths separate the time per epoch from the startup."""
        device = self.hardware.device
        clock = CLOCKS[device]
        size = self.params.training.batch_size
        count = MEASURED_BATCHES * size
        rng = np.random.default_rng(0)
        part = Part(
            torch.from_numpy(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)).to(device),
            torch.from_numpy(rng.integers(0, self.classes, count)).to(device),
        )
        validation = ceil(count * _validation_share(self.params))

        def measure(epochs: int) -> float:
            started = clock()
            train(
                spec.model_copy(update={"epochs": epochs}),
                recipe,
                REPEAT,
                Part(part.images[validation:], part.labels[validation:]),
                Part(part.images[:validation], part.labels[:validation]),
                classes=self.classes,
                batch_size=min(size, count - validation),
                bf16=self.hardware.bf16,
            )
            return clock() - started

        measure(1)  # warm-up
        once = measure(1)
        more = max(1, min(MAX_EPOCHS, round(MEASURED_SECONDS / once)))
        per_epoch = max(0.0, measure(1 + more) - once) / more
        return Speed(max(0.0, once - per_epoch), per_epoch / count)


def _validation_share(params: Params) -> float:
    rule = params.validation
    return 1 / rule.repeats if rule.scheme == "kfold" else rule.fraction


def refuse_networks_without_memory(params: Params, model: str, classes: int) -> None:
    """Check that this machine has enough memory to train every architecture of a family.

    Args:
        params: the content of params.yaml.
        model: the family.
        classes: number of classes.

    Raises:
        UserError: names the sizes, the memory they need and the memory of this machine.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for entry in list_entries(params, model, "architecture", params.baseline).entries:
        weights = count_weights(params.spec(model, entry.recipe), entry.recipe, classes)
        if weights * BYTES_PER_WEIGHT > memory:
            raise UserError(
                f"{PARAMS}: {model} of {entry.setting}: {weights / 1e9:.1f} billion weights need "
                f"{weights * BYTES_PER_WEIGHT / 1e9:,.0f} GB to train, and this machine has "
                f"{memory / 1e9:,.0f} GB; make it smaller"
            )


def count_weights(spec: Spec, recipe: Recipe, classes: int) -> int:
    """Number of trainable parameters of a network, without allocating it."""
    with torch.device("meta"):
        return sum(each.numel() for each in layers(spec, recipe, classes).parameters())
