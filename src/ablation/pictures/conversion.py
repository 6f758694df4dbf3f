"""Conversions from a picture to a 28 x 28 image, as each data set was made.

Most start from a page: the writing cut out of its picture, with normalised size and background.
Others resize the whole picture.
"""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from ablation.data.characters import SIDE

PAGE_SIDE = 128  # Cohen et al. convert from 128 x 128
MNIST_SIDE = 20  # pixels of the box that MNIST's digits are scaled to


def emnist(page: np.ndarray) -> np.ndarray:
    """Convert a binary scan to 28 x 28 as EMNIST does.

    Args:
        page: (128, 128) float, ink in 0..1.

    Returns:
        (28, 28) uint8: blurred, cropped to the ink, centred in a square with a border, resampled
        bicubically and scaled to 0..255.

    Source:
        Cohen, Afshar, Tapson & van Schaik, "EMNIST: an extension of MNIST to handwritten
        letters", 2017, section II.
    """
    blurred = ndimage.gaussian_filter(page, sigma=1, truncate=3)
    region = _inked(blurred)
    longest = max(region.shape)
    border = round(longest * 2 / (SIDE - 4))  # 2 pixels of the 28 on every side
    square = np.zeros((longest + 2 * border,) * 2, np.float32)
    top, left = ((len(square) - extent) // 2 for extent in region.shape)
    square[top : top + region.shape[0], left : left + region.shape[1]] = region
    small = np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return _bytes(small / small.max())


def mnist(page: np.ndarray) -> np.ndarray:
    """Convert a binary scan to 28 x 28 as MNIST does.

    Args:
        page: (128, 128) float, ink in 0..1.

    Returns:
        (28, 28) uint8: the ink scaled to a 20 x 20 box with its aspect ratio preserved, and
        centred by its centre of mass.

    Source:
        LeCun, Cortes & Burges, "The MNIST database of handwritten digits", 1998.
    """
    region = np.asarray(_inked(page), np.float32)
    height, width = (max(1, round(n * MNIST_SIDE / max(region.shape))) for n in region.shape)
    box = np.asarray(Image.fromarray(region).resize((width, height), Image.Resampling.BICUBIC))
    box = _bytes(box / box.max())
    middle = ndimage.center_of_mass(box)
    places = zip(middle, box.shape, strict=True)
    top, left = (int(np.clip(round(SIDE / 2 - 0.5 - at), 0, SIDE - n)) for at, n in places)
    image = np.zeros((SIDE, SIDE), np.uint8)
    image[top : top + height, left : left + width] = box
    return image


def as_is(picture: np.ndarray) -> np.ndarray:
    """Resize a picture to 28 x 28; one of this size keeps its values.

    Args:
        picture: (height, width) float, brightness in 0..1.

    Returns:
        (28, 28) uint8.
    """
    grey = Image.fromarray(np.asarray(picture, np.float32))
    if picture.shape != (SIDE, SIDE):
        grey = grey.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return _bytes(np.asarray(grey))


CONVERSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "emnist": emnist,
    "mnist": mnist,
    "as-is": as_is,
}


def _inked(page: np.ndarray) -> np.ndarray:
    rows, columns = (np.flatnonzero(page.max(axis=axis) > 0.05) for axis in (1, 0))
    return page[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _bytes(brightness: np.ndarray) -> np.ndarray:
    """0..1 to 0..255, rounded; overshoot of the bicubic resampling is clipped."""
    return np.asarray(np.rint(np.clip(brightness, 0, 1) * 255), dtype=np.uint8)
