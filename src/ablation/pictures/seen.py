"""What a network sees of a picture's file: the one way there, in training and in every answer."""

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
class Seen:
    """What a picture becomes.

    Attributes:
        images: of (28, 28) uint8: the whole, which is what training sees; then each character from
            left to right, if there are several and the conversion is of what is written.
        picture: (height, width) float32 in 0..1, what was looked at.
        box: left, top, right and bottom of what was read, in shares of the picture's sides.
        warnings: what a person has to know of how the picture was read.
    """

    images: list[np.ndarray]
    picture: np.ndarray
    box: tuple[float, float, float, float] = (0, 0, 1, 1)
    warnings: tuple[str, ...] = ()


def seen(source: Path | BinaryIO, conversion: str, levels: Levels | None = None) -> Seen:
    """What a network sees of a picture.

    Args:
        source: a file, or an open one.
        conversion: one of `CONVERSIONS`. Those of whole pictures take an animation's first frame,
            the others the first on which something is written.
        levels: of the data set that it belongs to, as for `brightness_of`.

    Raises:
        PictureError: no picture, or not one that can be read.
        EmptyPageError: nothing is written on it, and the conversion is of what is written.
    """
    convert = CONVERSIONS[conversion]
    if conversion in OF_WHOLE_PICTURES:
        picture = next(brightness_of(source, levels))
        return Seen([convert(picture)], picture)
    empty = EmptyPageError("")
    for brightness in brightness_of(source, levels):
        if _is_converted(brightness):
            return Seen([as_is(brightness)], brightness)
        try:
            reading = pages(brightness)
            images = [convert(page) for page in reading.pages]
            return Seen(images, brightness, reading.box, reading.warnings)
        except EmptyPageError as error:
            empty = error
    raise empty


def _is_converted(brightness: np.ndarray) -> bool:
    """28 x 28 and white on black, as in the files of EMNIST and MNIST."""
    if brightness.shape != (SIDE, SIDE) or brightness.max() < 0.3:
        return False
    border = np.concatenate([brightness[[0, -1]].ravel(), brightness[:, [0, -1]].ravel()])
    return bool(np.median(border) < 0.1)
