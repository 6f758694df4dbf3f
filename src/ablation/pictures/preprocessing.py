"""Preprocessing of picture files, the same in training and prediction."""

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ablation.data.characters import SIDE
from ablation.data.datasets import OF_WHOLE_PICTURES
from ablation.pictures.conversion import CONVERSIONS, as_is
from ablation.pictures.page import EmptyPageError, pages
from ablation.pictures.picture import Levels, brightness_of


@dataclass(frozen=True)
class Preprocessed:
    """A preprocessed picture.

    Attributes:
        images: (28, 28) uint8 each: all of the writing, which is the one used in training; then
            each character from left to right, if several are found.
        picture: (height, width) float32 in 0..1, the frame that was read.
        box: left, top, right and bottom of the writing, as fractions of the picture's sides.
        warnings: problems found while reading the picture.
    """

    images: list[np.ndarray]
    picture: np.ndarray
    box: tuple[float, float, float, float] = (0, 0, 1, 1)
    warnings: tuple[str, ...] = ()


def preprocess(
    source: Path | BinaryIO, conversion: str, levels: Levels | None = None
) -> Preprocessed:
    """Convert a picture to the input of a network.

    Args:
        source: a path or an open file.
        conversion: one of `CONVERSIONS`. Those in `OF_WHOLE_PICTURES` use an animation's first
            frame, the others the first frame with writing on it.
        levels: of its data set, see `brightness_of`.

    Raises:
        PictureError: not a picture that can be read.
        EmptyPageError: there is no writing on it, and the conversion needs some.
    """
    convert = CONVERSIONS[conversion]
    if conversion in OF_WHOLE_PICTURES:
        picture = next(brightness_of(source, levels))
        return Preprocessed([convert(picture)], picture)
    empty = EmptyPageError("")
    for brightness in brightness_of(source, levels):
        if _is_converted(brightness):
            return Preprocessed([as_is(brightness)], brightness)
        try:
            reading = pages(brightness)
            images = [convert(page) for page in reading.pages]
            return Preprocessed(images, brightness, reading.box, reading.warnings)
        except EmptyPageError as error:
            empty = error
    raise empty


def _is_converted(brightness: np.ndarray) -> bool:
    """Whether the picture is 28 x 28 and white on black, like EMNIST's and MNIST's images."""
    if brightness.shape != (SIDE, SIDE) or brightness.max() < 0.3:
        return False
    border = np.concatenate([brightness[[0, -1]].ravel(), brightness[:, [0, -1]].ravel()])
    return bool(np.median(border) < 0.1)
