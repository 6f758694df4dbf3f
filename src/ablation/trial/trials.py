"""Trials and their results, in a form that can be sent between processes and stored."""

import json
import math
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import safetensors.numpy

from ablation.data.splits import Repeat
from ablation.trial.families import Spec
from ablation.trial.recipe import Recipe

# Bounds of a temperature. Without them, it would be 0 for a network that makes no error on its
# validation part, and infinite for one that is no better than chance.
TEMPERATURES = (0.1, 100.0)


@dataclass(frozen=True)
class Trial:
    """One training: a family, a recipe and a repeat.

    model: name of the family; spec: its sizes and epochs.
    """

    model: str
    spec: Spec
    recipe: Recipe
    repeat: Repeat


@dataclass(frozen=True)
class Curves:
    """Learning curves: one entry per epoch; accuracies are fractions, losses are in nats.

    Losses are mean cross-entropies without label smoothing and penalties. Training values are means
    over the epoch while the weights change, with dropout and augmentation. The validation lists
    are empty without a validation part. A diverged training has no later epochs, and no validation
    values for an epoch whose training loss is not finite.
    """

    train_loss: list[float]
    train_accuracy: list[float]
    validation_loss: list[float]
    validation_accuracy: list[float]

    @property
    def diverged(self) -> bool:
        """Whether a loss of the last epoch is not finite."""
        last = [*self.train_loss[-1:], *self.validation_loss[-1:]]
        return not all(map(math.isfinite, last))


@dataclass(frozen=True)
class Result:
    """Outcome of a training.

    score: validation accuracy after the last epoch, a fraction; 0 if the training diverged or had
    no validation part.
    temperature: divisor of the logits that calibrates them, fitted on the validation part; within
    `TEMPERATURES`, or None if the training diverged or had no validation part.
    train_seconds: of the training loop, with evaluation: processor time on a CPU, wall-clock time
    on a GPU.
    parameters: number of trainable parameters.
    """

    score: float
    curves: Curves
    temperature: float | None
    train_seconds: float
    diverged: bool
    parameters: int

    def to_bytes(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, line: bytes) -> Self:
        """Inverse of `to_bytes`, exact to the last bit."""
        content = json.loads(line)
        return cls(**{**content, "curves": Curves(**content["curves"])})


@dataclass(frozen=True, eq=False)
class Learnt:
    """State of a network after a training on all characters.

    mean, deviation: of pixels in 0..1; the network's input is (pixel - mean) / deviation.
    tensors: weights and batch statistics, with the names and shapes of the `state_dict`.
    """

    mean: float
    deviation: float
    tensors: dict[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """A line of JSON, followed by a safetensors file."""
        numbers = {"mean": self.mean, "deviation": self.deviation}
        return json.dumps(numbers).encode() + b"\n" + safetensors.numpy.save(self.tensors)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Inverse of `to_bytes`, exact to the last bit."""
        numbers, _, tensors = content.partition(b"\n")
        return cls(**json.loads(numbers), tensors=safetensors.numpy.load(tensors))
