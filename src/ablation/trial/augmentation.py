"""Images that are drawn a little differently each time: turned, sheared, scaled, shifted, bent."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ablation.trial.recipe import Affine, Elastic, Same

KNOTS = 5  # of the grid that bends an image, along each side: seven pixels apart


def make_augment(
    setting: Same | Affine | Elastic, dice: torch.Generator, side: int
) -> Callable[[Tensor], Tensor]:
    """What is done to a batch of images, (n, 1, side, side) float32, before the network sees it.

    Every image gets draws of its own. What comes in from beyond the edge is as the edge is. One
    grid of places a batch is computed and sampled, whatever is drawn (torchvision's transforms
    draw once for the whole batch).

    dice: all draws are theirs, on the device where they are.

    Source:
        Simard, Steinkraus & Platt, "Best Practices for Convolutional Neural Networks Applied to
        Visual Document Analysis", ICDAR 2003; the field is smooth by a coarse grid here.
    """
    if isinstance(setting, Same):
        return lambda images: images
    device = dice.device
    bends = _between_knots(side).to(device)

    def augment(images: Tensor) -> Tensor:
        count = len(images)
        draws = torch.rand(6, count, generator=dice, device=device).mul_(2).sub_(1)
        places = F.affine_grid(
            _matrices(setting, draws, side), [count, 1, side, side], align_corners=False
        )
        if isinstance(setting, Elastic):
            knots = torch.randn(count, 2, KNOTS, KNOTS, generator=dice, device=device)
            pushes = bends @ knots.mul_(2 * setting.push / side) @ bends.T
            places += pushes.permute(0, 2, 3, 1)
        return F.grid_sample(images, places, padding_mode="border", align_corners=False)

    return augment


def _matrices(setting: Affine, draws: Tensor, side: int) -> Tensor:
    """(n, 2, 3): where each pixel of a result lies in its image, from (6, n) draws in -1..1."""
    turn = draws[0] * math.radians(setting.rotation)
    lean = (draws[1] * math.radians(setting.shear)).tan()
    wide, high = 1 / (1 + setting.scale * draws[2:4])
    right, down = draws[4:6] * (2 * setting.shift / side)
    sine, cosine = turn.sin(), turn.cos()
    first = torch.stack([wide * cosine, wide * (lean * cosine - sine), right], 1)
    second = torch.stack([high * sine, high * (lean * sine + cosine), down], 1)
    return torch.stack([first, second], 1)


def _between_knots(side: int) -> Tensor:
    """(side, KNOTS): how much each knot of a line pushes each pixel of it, by bicubic weights."""
    lines = torch.eye(KNOTS)[None, :, None, :]  # a line for each knot
    return F.interpolate(lines, (1, side), mode="bicubic", align_corners=True)[0, :, 0].T
