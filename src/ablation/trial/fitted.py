"""A fitted model in one file: weights, sizes, recipe, classes and normalisation."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ablation.base.errors import UserError
from ablation.trial.models import build
from ablation.trial.recipe import CnnSpec, MlpSpec, Recipe
from ablation.trial.training import Normalisation, predict

SPECS: dict[str, type[MlpSpec] | type[CnnSpec]] = {"mlp": MlpSpec, "cnn": CnnSpec}
METADATA = "ablation"


class ModelError(UserError):
    """A model file that is missing, damaged or of another kind."""


@dataclass(frozen=True)
class Fitted:
    """A network with all that is needed to use it: the file alone is enough to predict."""

    model: str
    spec: MlpSpec | CnnSpec
    recipe: Recipe
    classes: tuple[str, ...]
    normalisation: Normalisation
    network: nn.Sequential

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities, computed in float32 on the CPU.

        Args:
            images: (n, 28, 28) uint8, upright, white on black.

        Returns:
            (n, classes) float32; rows add up to 1.
        """
        pixels = self.normalisation(torch.from_numpy(images))
        return predict(self.network, pixels).softmax(1).numpy()

    def to_bytes(self) -> bytes:
        """The content of a safetensors file; equal models give equal bytes."""
        metadata = {
            "model": self.model,
            "spec": self.spec.model_dump(mode="json"),
            "recipe": self.recipe.model_dump(mode="json"),
            "classes": self.classes,
            "normalisation": asdict(self.normalisation),
        }
        weights = {
            name: tensor.detach().cpu().contiguous()
            for name, tensor in self.network.state_dict().items()
        }
        # One key of metadata: safetensors writes several in a random order.
        return safetensors.torch.save(weights, {METADATA: json.dumps(metadata)})

    @classmethod
    def load(cls, path: Path) -> "Fitted":
        """Read a model file.

        Raises:
            ModelError: naming the file, what is wrong with it and what to do.
        """
        try:
            with safe_open(path, framework="pt") as file:
                about = json.loads((file.metadata() or {})[METADATA])
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            spec = SPECS[about["model"]].model_validate(about["spec"])
            recipe = Recipe.model_validate(about["recipe"])
            classes = tuple(about["classes"])
            normalisation = Normalisation(**about["normalisation"])
            network = build(spec, recipe, len(classes), seed=0)
            network.load_state_dict(weights)
        except FileNotFoundError:
            raise ModelError(f"{path}: no such file; `dvc repro fit` makes it") from None
        except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{path}: not a model that `dvc repro fit` wrote ({type(error).__name__}: {error})"
            ) from None
        return cls(about["model"], spec, recipe, classes, normalisation, network)
