"""A fitted model: a network with all that is needed to use it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ablation.model_file import About, not_a_model, unpack
from ablation.trial.models import build
from ablation.trial.training import Normalisation, predict


@dataclass(frozen=True)
class Fitted:
    """A network, and what its file says of it: the file alone is enough to predict."""

    about: About
    network: nn.Module

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
        normalise = Normalisation(self.about.mean, self.about.deviation)
        return predict(self.network, normalise(torch.from_numpy(images))).softmax(1).numpy()

    @classmethod
    def load(cls, path: Path) -> "Fitted":
        """Read a model file.

        Raises:
            ModelError: naming the file, what is wrong with it and what to do.
        """
        about, tensors = unpack(path)
        try:
            network = build(about.spec, about.recipe, len(about.classes), seed=0)
            network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
        except (ValueError, TypeError, RuntimeError) as error:
            raise not_a_model(path, error) from None
        return cls(about, network)
