"""A trial and what comes of it, in a form that can be sent to a worker and remembered."""

import json
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import safetensors.numpy

from ablation.data.splits import Repeat
from ablation.trial.families import Spec
from ablation.trial.recipe import Recipe


@dataclass(frozen=True)
class Trial:
    """One recipe on one repeat: trained on the split's training part, scored on the other.

    model: the family's name; spec: its sizes.
    """

    model: str
    spec: Spec
    recipe: Recipe
    repeat: Repeat


@dataclass(frozen=True)
class Curves:
    """One entry an epoch; accuracies are fractions, losses mean cross-entropies in nats.

    Training values are running means over the epoch, with dropout; without a validation part the
    validation lists are empty. A training that diverged has the epochs up to there.
    """

    train_loss: list[float]
    train_accuracy: list[float]
    validation_loss: list[float]
    validation_accuracy: list[float]


@dataclass(frozen=True)
class Result:
    """What a training on a split gave, or, with a score of 0, one on all characters.

    score: validation accuracy after the last epoch, a fraction; 0 if the training diverged.
    parameters: number of trained values.
    """

    score: float
    curves: Curves
    train_seconds: float
    diverged: bool
    parameters: int

    def to_bytes(self) -> bytes:
        """One line of JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def from_bytes(cls, line: bytes) -> Self:
        """What `to_bytes` wrote, to the last bit."""
        content = json.loads(line)
        return cls(**{**content, "curves": Curves(**content["curves"])})


@dataclass(frozen=True, eq=False)
class Learnt:
    """What a training on all characters leaves behind.

    mean, deviation: of the pixels in 0..1, which the network sees as (pixel - mean) / deviation;
    tensors: every weight and statistic of the network by its name.
    """

    mean: float
    deviation: float
    tensors: dict[str, np.ndarray]

    def to_bytes(self) -> bytes:
        """A line of JSON and a safetensors file."""
        numbers = {"mean": self.mean, "deviation": self.deviation}
        return json.dumps(numbers).encode() + b"\n" + safetensors.numpy.save(self.tensors)

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """What `to_bytes` wrote, to the last bit."""
        numbers, _, tensors = content.partition(b"\n")
        return cls(**json.loads(numbers), tensors=safetensors.numpy.load(tensors))
