"""The builders: sizes and a recipe in, a freshly initialised network out."""

from collections.abc import Iterator
from functools import singledispatch
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ablation.base.errors import UserError
from ablation.trial.families import CnnSpec, MlpSpec, Spec
from ablation.trial.recipe import Recipe
from ablation.trial.techniques import ACTIVATIONS

PIXELS = 28

# The layers that the engine trains as they need it. Kernels and weight matrices start He-normal,
# are penalised, and compute in bf16 where that is asked for; the others do none of this.
WITH_KERNELS = (nn.Linear, nn.Conv2d)
IN_FLOAT32 = (nn.BatchNorm1d, nn.BatchNorm2d)


class NetworkError(UserError):
    """A network with something that the engine would train wrongly without a word."""


class Dropout(nn.Module):
    """nn.Dropout, 2.2 times faster on a CPU: one 64-bit draw decides for four values.

    Draws from torch's default generator. The rate is rounded to a multiple of 1/65536.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        if not (self.training and self.rate):
            return values
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64, device=values.device)
        sixteenths = draws.random_(-(2**63), None).view(torch.int16)[: values.numel()]
        kept = sixteenths.view_as(values).ge_(round(self.rate * 2**16) - 2**15)
        return values * kept.to(values.dtype).mul_(1 / (1 - self.rate))


class ChannelsLastFlatten(nn.Module):
    """nn.Flatten for images that lie channels-last in memory: a view, where nn.Flatten copies."""

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)


@singledispatch
def layers(spec: Spec, recipe: Recipe, classes: int) -> nn.Module:
    """The network of a family, from (n, 1, 28, 28) normalised images to (n, classes) logits.

    A family registers a builder for its sizes here. The order of its kernels is the order of their
    seeds: a layer that a recipe adds or drops in between must be one without a kernel.
    """
    raise TypeError(f"models.py has no builder for {type(spec).__name__}; register one")


@layers.register
def _mlp(spec: MlpSpec, recipe: Recipe, classes: int) -> nn.Module:
    dense = _dense([PIXELS * PIXELS, *spec.hidden], recipe)
    return nn.Sequential(nn.Flatten(), *dense, nn.Linear(spec.hidden[-1], classes))


@layers.register
def _cnn(spec: CnnSpec, recipe: Recipe, classes: int) -> nn.Module:
    side = PIXELS
    blocks: list[nn.Module] = []
    for entering, leaving in pairwise([1, *spec.channels]):
        blocks += _convolution(entering, leaving, recipe)
        for _ in range(spec.convolutions - 1):
            blocks += _convolution(leaving, leaving, recipe, halve=False)
        side = (side + 1) // 2
    widths = [spec.channels[-1] * side * side, *spec.dense]
    entrance = [ChannelsLastFlatten(), Dropout(recipe.dropout)]
    head = nn.Linear(widths[-1], classes)
    network = nn.Sequential(*blocks, *entrance, *_dense(widths, recipe), head)
    return network.to(memory_format=torch.channels_last)


def build(spec: Spec, recipe: Recipe, classes: int, seed: int) -> nn.Module:
    """A family's network at its start.

    Weights are He-normal (He et al. 2015, arXiv:1502.01852), each layer's drawn from a generator
    of its own: batch normalisation or dropout in between never change another layer's start.

    Raises:
        NetworkError: a layer that the engine does not know how to train.
    """
    network = layers(spec, recipe, classes)
    _refuse_what_is_unknown(network)
    _initialise(network, seed)
    return network


def kernels(network: nn.Module) -> list[nn.Parameter]:
    """The kernels and weight matrices: what L1, L2 and weight decay act on."""
    layers = (layer for layer in network.modules() if isinstance(layer, WITH_KERNELS))
    return [cast(nn.Parameter, layer.weight) for layer in layers]


def compute_in(network: nn.Module, dtype: torch.dtype) -> None:
    """Let all layers compute in `dtype`; what batch normalisation learns and counts is float32."""
    for layer in network.modules():
        if isinstance(layer, WITH_KERNELS):
            layer.to(dtype)


def _convolution(
    entering: int, leaving: int, recipe: Recipe, halve: bool = True
) -> list[nn.Module]:
    # Pooling comes before normalisation and activation: these then touch a quarter of the pixels,
    # which made a CNN of 16-32-64 channels train 1.28 times faster on one core.
    return [
        nn.Conv2d(entering, leaving, 3, padding=1, bias=not recipe.batchnorm),
        *([nn.MaxPool2d(2, ceil_mode=True)] if halve else []),
        *([nn.BatchNorm2d(leaving)] if recipe.batchnorm else []),
        ACTIVATIONS[recipe.activation](),
    ]


def _dense(widths: list[int], recipe: Recipe) -> list[nn.Module]:
    dense: list[nn.Module] = []
    for entering, leaving in pairwise(widths):
        dense += [
            nn.Linear(entering, leaving, bias=not recipe.batchnorm),
            *([nn.BatchNorm1d(leaving)] if recipe.batchnorm else []),
            ACTIVATIONS[recipe.activation](),
            Dropout(recipe.dropout),
        ]
    return dense


def _refuse_what_is_unknown(network: nn.Module) -> None:
    for name, layer in _learning(network):
        if type(layer) not in (*WITH_KERNELS, *IN_FLOAT32):
            known = ", ".join(kind.__name__ for kind in (*WITH_KERNELS, *IN_FLOAT32))
            raise NetworkError(
                f"models.py: {type(layer).__name__} ({name or 'the network itself'}) holds values "
                f"to learn, but the engine knows only those of {known}: it would start, penalise "
                "or round others wrongly; docs/add-a-family.md says how to teach it a layer"
            )


def _learning(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The layers that hold parameters of their own, with their names."""
    for name, layer in network.named_modules():
        if any(True for _ in layer.parameters(recurse=False)):
            yield name, layer


def _initialise(network: nn.Module, seed: int) -> None:
    for place, weights in enumerate(kernels(network)):
        dice = torch.Generator().manual_seed(seed + place)
        nn.init.kaiming_normal_(weights, nonlinearity="relu", generator=dice)
    for layer in network.modules():
        if isinstance(layer, WITH_KERNELS) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
