"""A fitted model, loaded from its file and ready to predict."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ablation.fitted.model_file import Metadata, not_a_model, unpack
from ablation.trial.models import build, layers
from ablation.trial.training import Normalisation, predict


@dataclass(frozen=True)
class Fitted:
    """A network and the metadata of its file; the file alone is enough to predict."""

    path: Path
    metadata: Metadata
    network: nn.Module

    @property
    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def probabilities(self, images: np.ndarray, *, calibrated: bool = True) -> np.ndarray:
        """Class probabilities, computed on the CPU.

        Args:
            images: (n, 28, 28) uint8, upright, white on black.
            calibrated: whether the logits are divided by the model's temperature.

        Returns:
            (n, classes) float64; rows add up to 1. The float32 logits' order is kept: float32
            probabilities of close or of very unequal logits would be equal.

        Raises:
            ModelError: the outputs are not finite.
        """
        normalise = Normalisation(self.metadata.mean, self.metadata.deviation)
        logits = predict(self.network, torch.from_numpy(images), normalise)
        if not logits.isfinite().all():
            raise not_a_model(self.path, "its outputs are not finite")
        temperature = self.metadata.temperature if calibrated else 1.0
        return (logits.double() / temperature).softmax(1).numpy()

    @classmethod
    def load(cls, path: Path) -> "Fitted":
        """Read a model file.

        Raises:
            ModelError: names the file, what is wrong with it and what to do.
        """
        metadata, tensors = unpack(path)
        if wrong := _shape_mismatch(
            metadata, {name: values.shape for name, values in tensors.items()}
        ):
            raise not_a_model(path, wrong)
        network = build(metadata.spec, metadata.recipe, len(metadata.classes), seed=0)
        network.load_state_dict({k: torch.from_numpy(v) for k, v in tensors.items()})
        return cls(path, metadata, network)


def _shape_mismatch(metadata: Metadata, found: dict[str, tuple[int, ...]]) -> str:
    """Describe the first weight whose shape does not match the metadata's network, or return "".

    Called before the network is allocated, because the metadata could claim any size.
    """
    with torch.device("meta"):
        network = layers(metadata.spec, metadata.recipe, len(metadata.classes))
    needed = {name: tuple(values.shape) for name, values in network.state_dict().items()}
    for name in [*needed, *found]:
        if needed.get(name) != found.get(name):
            return (
                f"{name}: shape {found.get(name, 'missing')}, but the network in its metadata "
                f"has {needed.get(name, 'no such weight')}"
            )
    return ""
