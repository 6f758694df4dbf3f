"""A fitted model as a file: weights, and all that is needed to use them. Does without torch.

Kernels and weight matrices, nearly all of a network, are rounded to half precision: the file then
takes half the room in git. What is evaluated is the file, so its accuracy is that of these weights.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError, safe_open

from ablation.base.errors import UserError
from ablation.recipe import Recipe
from ablation.trial.families import FAMILIES, Spec
from ablation.trial.trials import Learnt, Trial

METADATA = "ablation"
CONVERSION = "emnist"  # of models from before the conversion was written into the file


class ModelError(UserError):
    """A model file that is missing, damaged or of another kind."""


@dataclass(frozen=True)
class About:
    """What a model file says of its weights.

    Attributes:
        model: the family; spec: its sizes.
        recipe: how it was built and trained.
        classes: (k,) the characters, in the order of the network's outputs.
        conversion: the way from a page to an image that its training characters went.
        mean, deviation: of the training pixels in 0..1, which the network sees normalised by them.
    """

    model: str
    spec: Spec
    recipe: Recipe
    classes: tuple[str, ...]
    conversion: str
    mean: float
    deviation: float

    def to_json(self) -> str:
        """One line of JSON."""
        return json.dumps(
            {
                "model": self.model,
                "spec": self.spec.model_dump(mode="json", exclude_defaults=True),
                "recipe": self.recipe.model_dump(mode="json"),
                "classes": self.classes,
                "conversion": self.conversion,
                "normalisation": {"mean": self.mean, "deviation": self.deviation},
            }
        )

    @classmethod
    def from_json(cls, line: str) -> Self:
        """What `to_json` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is not of that form.
        """
        content = json.loads(line)
        return cls(
            content["model"],
            FAMILIES[content["model"]].model_validate(content["spec"]),
            Recipe.model_validate(content["recipe"]),
            tuple(content["classes"]),
            content.get("conversion", CONVERSION),
            **content["normalisation"],
        )


def pack(trial: Trial, learnt: Learnt, classes: tuple[str, ...], conversion: str) -> bytes:
    """The content of a model file, in safetensors' form; equal models give equal bytes."""
    tensors = {name: _rounded(values) for name, values in learnt.tensors.items()}
    about = About(
        trial.model,
        trial.spec,
        trial.recipe,
        classes,
        conversion,
        learnt.mean,
        learnt.deviation,
    )
    # One key of metadata: safetensors writes several in a random order.
    return safetensors.numpy.save(tensors, {METADATA: about.to_json()})


def unpack(path: Path) -> tuple[About, dict[str, np.ndarray]]:
    """What a model file says, and its weights by name.

    Raises:
        ModelError: naming the file, what is wrong with it and what to do.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            about = About.from_json((file.metadata() or {})[METADATA])
            return about, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; `dvc repro fit` makes it") from None
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise not_a_model(path, error) from None


def _rounded(values: np.ndarray) -> np.ndarray:
    """Kernels and weight matrices in half precision, if it can hold them."""
    fits = values.ndim > 1 and np.abs(values).max() < np.finfo(np.float16).max
    return values.astype(np.float16) if fits else values


def not_a_model(path: Path, error: Exception) -> ModelError:
    """The error for a file that is no model of this project's."""
    what = f"{type(error).__name__}: {error}"
    return ModelError(f"{path}: not a model that `dvc repro fit` wrote ({what})")
