"""What a training costs on this machine, measured, and what this machine cannot train."""

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

# Of each network: one epoch of so many batches, and then about so many seconds more.
MEASURED_BATCHES = 3
MEASURED_SECONDS = 0.2
MOST_EPOCHS = 20
# Of a training: weights, gradients and the two averages of Adam, four bytes each.
BYTES_A_WEIGHT = 16
REPEAT = Repeat(0, "shuffle", 0.5, 0, 0, 0, 0, 0, 0)


@dataclass(frozen=True)
class Speed:
    """Seconds of a training before its first step, and of an epoch for each image."""

    start: float
    an_image: float


@dataclass(frozen=True)
class TrainingCost:
    """What trainings cost on one core or one GPU.

    images: of the data set that is studied; classes: of it.
    """

    params: Params
    hardware: Hardware
    images: int
    classes: int

    def seconds(self, trial: Trial) -> float:
        """Seconds of one training.

        Each network is measured once, and again for each augmentation of its images. Other settings
        are taken to be as fast as those that the network was first met with.
        """
        key = (trial.spec.model_copy(update={"epochs": 1}), trial.recipe.augmentation)
        if key not in self._measured:
            self._measured[key] = self._measure(key[0], trial.recipe)
        speed = self._measured[key]
        return speed.start + speed.an_image * self.images * trial.spec.epochs

    @cached_property
    def _measured(self) -> dict[object, Speed]:
        if self.hardware.device == "cpu":
            leave_compiler_out()
        prepare_process()
        return {}

    def _measure(self, spec: Spec, recipe: Recipe) -> Speed:
        """A training of random images; two lengths of it tell its epochs from its start."""
        device = self.hardware.device
        clock = CLOCKS[device]
        size = self.params.training.batch_size
        count = MEASURED_BATCHES * size
        rng = np.random.default_rng(0)
        part = Part(
            torch.from_numpy(rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)).to(device),
            torch.from_numpy(rng.integers(0, self.classes, count)).to(device),
        )
        validating = ceil(count * _validating(self.params))

        def spent(epochs: int) -> float:
            started = clock()
            train(
                spec.model_copy(update={"epochs": epochs}),
                recipe,
                REPEAT,
                Part(part.images[validating:], part.labels[validating:]),
                Part(part.images[:validating], part.labels[:validating]),
                classes=self.classes,
                batch_size=min(size, count - validating),
                bf16=self.hardware.bf16,
            )
            return clock() - started

        spent(1)  # warms up
        once = spent(1)
        more = max(1, min(MOST_EPOCHS, round(MEASURED_SECONDS / once)))
        an_epoch = max(0.0, spent(1 + more) - once) / more
        return Speed(max(0.0, once - an_epoch), an_epoch / count)


def _validating(params: Params) -> float:
    rule = params.validation
    return 1 / rule.repeats if rule.scheme == "kfold" else rule.fraction


def refuse_networks_without_memory(params: Params, model: str, classes: int) -> None:
    """Networks of so many classes that this machine cannot train, whatever else it does.

    Raises:
        UserError: naming the sizes.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for entry in list_entries(params, model, "architecture", params.baseline).entries:
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
