"""What trainings cost, in floating-point operations: a number that depends on no machine.

PyTorch counts the operations of matrix products and convolutions, forward and backward. Everything
else (augmentation, normalisation, the optimizer's step, validation) is left out.
"""

import math
from dataclasses import dataclass
from functools import cache

import torch
from torch.utils.flop_counter import FlopCounterMode

from ablation.data.characters import Characters
from ablation.study.inputs import TRAINING_CHARACTERS
from ablation.trial.families import Spec
from ablation.trial.models import layers
from ablation.trial.recipe import (
    Adam,
    Constant,
    NoAugmentation,
    NoAveraging,
    Recipe,
    Regularization,
)
from ablation.trial.trials import Trial

PETA = 1e15
COUNTED_IMAGES = 2  # the fewest that batch normalisation takes
# Settings that leave the network as it is, so that recipes which differ in these are counted once.
NEUTRAL = {
    "scheduler": Constant(name="constant"),
    "optimizer": Adam(name="adam", lr=0.001),
    "regularization": Regularization(l1=0.0, l2=0.0),
    "augmentation": NoAugmentation(),
    "smoothing": 0.0,
    "averaging": NoAveraging(),
}


@dataclass(frozen=True)
class Cost:
    """What the trainings of a study cost.

    images: of which each trial trains on a part; classes: of them.
    """

    images: int
    classes: int

    @classmethod
    def of_study(cls) -> "Cost":
        """That of trials on the characters that training may see.

        Raises:
            UserError: they cannot be read.
        """
        characters = Characters.load(TRAINING_CHARACTERS)
        return cls(len(characters), len(characters.classes))

    def __call__(self, trial: Trial) -> float:
        """10^15 operations of a training, as if it ran to its last epoch."""
        training = self.images - math.ceil(self.images * trial.repeat.fraction)
        once = trial.spec.model_copy(update={"epochs": 1})
        an_image = operations(once, trial.recipe.model_copy(update=NEUTRAL), self.classes)
        return an_image * training * trial.spec.epochs / PETA


@cache
def operations(spec: Spec, recipe: Recipe, classes: int) -> float:
    """Floating-point operations of one image's forward and backward pass."""
    with (
        torch.device("meta"),
        FlopCounterMode(display=False) as counter,
    ):  # counts, computes nothing
        network = layers(spec, recipe, classes)
        network(torch.zeros(COUNTED_IMAGES, 1, 28, 28)).sum().backward()
    return float(counter.get_total_flops()) / COUNTED_IMAGES
