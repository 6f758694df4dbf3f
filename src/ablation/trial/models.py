"""Networks: from the sizes of a family and a recipe to freshly initialised layers."""

from functools import singledispatch
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from ablation.base.errors import UserError
from ablation.trial.families import CnnSpec, MlpSpec, Spec
from ablation.trial.recipe import Recipe
from ablation.trial.techniques import ACTIVATIONS

SIDE = 28  # pixels

# The only layers with parameters that the training loop supports. Kernels are initialised He-normal
# and penalised, and their layers compute in bf16 if requested; none of this applies to the others.
WITH_KERNELS = (nn.Linear, nn.Conv2d)
IN_FLOAT32 = (nn.BatchNorm1d, nn.BatchNorm2d)


class NetworkError(UserError):
    """A network with a layer or a parameter that the training loop would train incorrectly."""


class Dropout(nn.Module):
    """nn.Dropout, but 2.2 times as fast on a CPU: one 64-bit draw masks four values.

    rate: probability that a value becomes 0, rounded to a multiple of 1/65536. Draws come from
    torch's default generator.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, values: Tensor) -> Tensor:
        if not (self.training and self.rate):
            return values
        draws = torch.empty(-(-values.numel() // 4), dtype=torch.int64, device=values.device)
        uniform = draws.random_(-(2**63), None).view(torch.int16)[: values.numel()]
        mask = uniform.view_as(values).ge_(round(self.rate * 2**16) - 2**15)
        return values * mask.to(values.dtype).mul_(1 / (1 - self.rate))


class ChannelsLastFlatten(nn.Module):
    """nn.Flatten for channels-last memory: a view with channels last, where nn.Flatten copies.

    (n, c, h, w) -> (n, h * w * c).
    """

    def forward(self, images: Tensor) -> Tensor:
        return images.permute(0, 2, 3, 1).flatten(1)


@singledispatch
def layers(spec: Spec, recipe: Recipe, classes: int) -> nn.Module:
    """The layers of a family, from normalised images, (n, 1, 28, 28), to logits, (n, classes).

    Each family registers a builder for its `Spec`. Kernels are seeded in their order of
    registration, so a recipe may only add or remove layers without a kernel between them.

    Raises:
        TypeError: no builder is registered.
    """
    raise TypeError(f"models.py has no builder for {type(spec).__name__}; register one")


@layers.register
def _mlp(spec: MlpSpec, recipe: Recipe, classes: int) -> nn.Module:
    dense = _dense([SIDE * SIDE, *spec.hidden], recipe)
    return nn.Sequential(nn.Flatten(), *dense, nn.Linear(spec.hidden[-1], classes))


@layers.register
def _cnn(spec: CnnSpec, recipe: Recipe, classes: int) -> nn.Module:
    side = SIDE
    blocks: list[nn.Module] = []
    for in_channels, out_channels in pairwise([1, *spec.channels]):
        blocks += _convolution(in_channels, out_channels, recipe)
        for _ in range(spec.convolutions - 1):
            blocks += _convolution(out_channels, out_channels, recipe, pool=False)
        side = (side + 1) // 2
    widths = [spec.channels[-1] * side * side, *spec.dense]
    flatten = [ChannelsLastFlatten(), Dropout(recipe.dropout)]
    head = nn.Linear(widths[-1], classes)
    network = nn.Sequential(*blocks, *flatten, *_dense(widths, recipe), head)
    return network.to(memory_format=torch.channels_last)


def build(spec: Spec, recipe: Recipe, classes: int, seed: int) -> nn.Module:
    """An initialised network, from normalised images, (n, 1, 28, 28), to logits, (n, classes).

    Kernels are He-normal and biases zero. Each kernel is drawn from a generator of its own, seeded
    with `seed` plus its index, so that batch normalisation and dropout never change another
    layer's initial values.

    Raises:
        NetworkError: a layer has parameters but is not one that the training loop supports.

    Source:
        He et al., "Delving Deep into Rectifiers", 2015, arXiv:1502.01852.
    """
    network = layers(spec, recipe, classes)
    _reject_unsupported_layers(network)
    _initialise(network, seed)
    return network


def kernels(network: nn.Module) -> list[nn.Parameter]:
    """Kernels and weight matrices, in order: the parameters that penalties and decay act on."""
    found = (layer for layer in network.modules() if isinstance(layer, WITH_KERNELS))
    return [cast(nn.Parameter, layer.weight) for layer in found]


def compute_in(network: nn.Module, dtype: torch.dtype) -> None:
    """Convert linear and convolutional layers to `dtype`; batch normalisation stays in float32."""
    for layer in network.modules():
        if isinstance(layer, WITH_KERNELS):
            layer.to(dtype)


def _convolution(
    in_channels: int, out_channels: int, recipe: Recipe, pool: bool = True
) -> list[nn.Module]:
    # Pooling comes before normalisation and activation, which then process a quarter of the pixels:
    # a CNN of 16-32-64 channels trained 1.28 times as fast on one core.
    return [
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=not recipe.batchnorm),
        *([nn.MaxPool2d(2, ceil_mode=True)] if pool else []),
        *([nn.BatchNorm2d(out_channels)] if recipe.batchnorm else []),
        ACTIVATIONS[recipe.activation](),
    ]


def _dense(widths: list[int], recipe: Recipe) -> list[nn.Module]:
    dense: list[nn.Module] = []
    for in_features, out_features in pairwise(widths):
        dense += [
            nn.Linear(in_features, out_features, bias=not recipe.batchnorm),
            *([nn.BatchNorm1d(out_features)] if recipe.batchnorm else []),
            ACTIVATIONS[recipe.activation](),
            Dropout(recipe.dropout),
        ]
    return dense


def _reject_unsupported_layers(network: nn.Module) -> None:
    supported = (*WITH_KERNELS, *IN_FLOAT32)
    for name, layer in network.named_modules():
        has_parameters = any(True for _ in layer.parameters(recurse=False))
        if has_parameters and type(layer) not in supported:
            raise NetworkError(
                f"models.py: {type(layer).__name__} ({name or 'the network itself'}) has "
                "parameters, but the training loop supports only those of "
                f"{', '.join(kind.__name__ for kind in supported)}: it would initialise, penalise "
                "or round others wrongly; see docs/add-a-family.md on how to add a layer"
            )


def _initialise(network: nn.Module, seed: int) -> None:
    for index, kernel in enumerate(kernels(network)):
        generator = torch.Generator().manual_seed(seed + index)
        nn.init.kaiming_normal_(kernel, nonlinearity="relu", generator=generator)
    for layer in network.modules():
        if isinstance(layer, WITH_KERNELS) and layer.bias is not None:
            nn.init.zeros_(layer.bias)
