"""Random affine and elastic distortions of images, drawn for each image separately."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ablation.trial.recipe import Affine, Augmentation, Elastic, NoAugmentation

KNOTS = 5  # per side of the displacement grid of an elastic distortion, seven pixels apart


def make_augment(
    setting: Augmentation, generator: torch.Generator, side: int
) -> Callable[[Tensor], Tensor]:
    """A function that distorts a batch of images, (n, 1, side, side) float32, into a new one.

    Parameters are drawn for each image, whereas torchvision's transforms draw them once per batch.
    Edge pixels are replicated. All distortions are combined in one sampling grid, so that an image
    is interpolated only once.

    Args:
        setting: the setting of a recipe.
        generator: source of all random numbers, on the device of the images.
        side: height and width of the images.

    Source:
        Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks Applied to
        Visual Document Analysis", ICDAR 2003. Their displacement field is smoothed by a Gaussian;
        this one is interpolated from a coarse grid.
    """
    if isinstance(setting, NoAugmentation):
        return lambda images: images
    device = generator.device
    interpolation = _interpolation(side).to(device)

    def augment(images: Tensor) -> Tensor:
        count = len(images)
        draws = torch.rand(6, count, generator=generator, device=device).mul_(2).sub_(1)
        grid = F.affine_grid(
            _matrices(setting, draws, side), [count, 1, side, side], align_corners=False
        )
        if isinstance(setting, Elastic):
            knots = torch.randn(count, 2, KNOTS, KNOTS, generator=generator, device=device)
            field = interpolation @ knots.mul_(2 * setting.push / side) @ interpolation.T
            grid += field.permute(0, 2, 3, 1)
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False)

    return augment


def _matrices(setting: Affine, draws: Tensor, side: int) -> Tensor:
    """(n, 2, 3) matrices that map output to input coordinates; draws: (6, n), in -1..1."""
    angle = draws[0] * math.radians(setting.rotation)
    shear = (draws[1] * math.radians(setting.shear)).tan()
    width, height = 1 / (1 + setting.scale * draws[2:4])
    x, y = draws[4:6] * (2 * setting.shift / side)
    sine, cosine = angle.sin(), angle.cos()
    first = torch.stack([width * cosine, width * (shear * cosine - sine), x], 1)
    second = torch.stack([height * sine, height * (shear * sine + cosine), y], 1)
    return torch.stack([first, second], 1)


def _interpolation(side: int) -> Tensor:
    """(side, KNOTS) bicubic weights, from values at the knots of a line to those at its pixels."""
    unit_values = torch.eye(KNOTS)[None, :, None, :]
    return F.interpolate(unit_values, (1, side), mode="bicubic", align_corners=True)[0, :, 0].T
