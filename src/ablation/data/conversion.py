"""From a page with a drawing to the image that a network sees: each data set has its way."""

from collections.abc import Callable

import numpy as np
from PIL import Image
from scipy import ndimage

from ablation.data.characters import SIDE

PAGE_SIDE = 128  # Cohen et al. convert from 128 x 128


def emnist(page: np.ndarray) -> np.ndarray:
    """EMNIST's way from a binary scan to 28 x 28.

    Args:
        page: (128, 128) float, ink in 0..1.

    Returns:
        (28, 28) uint8: blurred, cropped to the ink, centred in a square with a border, resampled
        bi-cubically and stretched to 0..255.

    Source:
        Cohen, Afshar, Tapson & van Schaik, "EMNIST: an extension of MNIST to handwritten
        letters", 2017, section II.
    """
    blurred = ndimage.gaussian_filter(page, sigma=1, truncate=3)
    rows = np.flatnonzero(blurred.max(axis=1) > 0.05)
    columns = np.flatnonzero(blurred.max(axis=0) > 0.05)
    region = blurred[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    longest = max(region.shape)
    border = round(longest * 2 / (SIDE - 4))  # 2 pixels of the 28 on every side
    square = np.zeros((longest + 2 * border,) * 2, np.float32)
    top, left = ((len(square) - extent) // 2 for extent in region.shape)
    square[top : top + region.shape[0], left : left + region.shape[1]] = region
    small = np.asarray(Image.fromarray(square).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return np.asarray(np.rint(np.clip(small / small.max(), 0, 1) * 255), dtype=np.uint8)


CONVERSIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"emnist": emnist}
