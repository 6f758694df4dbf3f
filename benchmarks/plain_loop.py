"""A typical training loop, as a reference for the engine."""

import time
from itertools import chain

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision.datasets import MNIST
from torchvision.transforms import Compose, Normalize, ToTensor

from ablation.data.characters import Characters
from ablation.trial.models import ChannelsLastFlatten, Dropout
from ablation.trial.recipe import Recipe

# As in tutorials for EMNIST.
MEAN, DEVIATION = 0.1736, 0.3317


class CharacterDataset(MNIST):  # type: ignore[misc]  # torchvision has no types
    """Like torchvision's EMNIST: a PIL image for every sample."""

    def __init__(self, characters: Characters) -> None:
        self.data = torch.from_numpy(characters.images)
        self.targets = torch.from_numpy(characters.labels)
        self.transform = Compose([ToTensor(), Normalize((MEAN,), (DEVIATION,))])
        self.target_transform = None


def plain_layers(network: nn.Module) -> nn.Sequential:
    """A typical network: torch's own layers, channels first in memory.

    The order of pixels after flattening differs, which is equivalent for new weights.
    """
    return nn.Sequential(*map(_plain_layer, network.children())).to(
        memory_format=torch.contiguous_format
    )


def train(
    network: nn.Module,
    characters: Characters,
    recipe: Recipe,
    batch_size: int,
    epochs: int,
    device: str,
    cores: int,
) -> float:
    """Train a network: float32, torch's default threads, a constant rate.

    Returns:
        seconds, measured in each epoch from the first batch on. The start of the loader's
        processes, and what they prepare until then, is not included.
    """
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        CharacterDataset(characters), batch_size=batch_size, shuffle=True, num_workers=cores
    )
    network.to(device).train()
    rate, decay = recipe.optimizer.lr, recipe.regularization.l2
    optimizer = torch.optim.Adam(network.parameters(), lr=rate, weight_decay=decay)
    seconds = 0.0
    for _ in range(epochs):
        loss_sum = 0.0
        batches = iter(loader)
        first = next(batches)
        started = time.perf_counter()
        for images, labels in chain([first], batches):
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = F.cross_entropy(network(images), labels)
            loss.backward()
            optimizer.step()
            loss_sum += loss.item()
        seconds += time.perf_counter() - started
    return seconds


def _plain_layer(layer: nn.Module) -> nn.Module:
    match layer:
        case Dropout():
            return nn.Dropout(layer.rate)
        case ChannelsLastFlatten():
            return nn.Flatten()
        case _:
            return layer
