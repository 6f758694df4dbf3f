"""A person's picture: its brightness, the page of ink on it, and what a network sees of it."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ablation.base.errors import UserError, one_line
from ablation.data.conversion import CONVERSIONS, OF_WHOLE_PICTURES, PAGE_SIDE

# A phone's camera takes 50 millions; a page this large takes a second and 2 GB to read.
MOST_PIXELS = 64_000_000
# Pillow knows more, some of which run other programs.
FORMS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp"}
WIDEST = {"I": 65_535, "I;16": 65_535, "I;16B": 65_535, "F": 1}  # white, where it is not 255


def seen(path: Path, conversion: str) -> np.ndarray:
    """What a network sees of a picture.

    Args:
        path: of the picture.
        conversion: one of `CONVERSIONS`.

    Returns:
        (28, 28) uint8.

    Raises:
        UserError: no picture, one too large, or nothing drawn on it where a page is needed.
    """
    try:
        picture = read_picture(path)
        way = CONVERSIONS[conversion]
        return way(picture if conversion in OF_WHOLE_PICTURES else page_of(picture))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_picture(path: Path) -> np.ndarray:
    """The brightness of a picture, (height, width) float32 in 0..1, on white where it is clear.

    Raises:
        UserError: no picture that can be read, or one too large; without the file's name.
    """
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            picture = Image.open(file, formats=FORMS)
            if (width := picture.width) * (height := picture.height) > MOST_PIXELS:
                raise _too_large(f"a picture of {width} x {height} pixels")
            return _brightness(ImageOps.exif_transpose(picture))
    except UserError:
        raise
    except Image.DecompressionBombError:
        raise _too_large("a picture of far too many pixels") from None
    except UnidentifiedImageError:
        raise UserError("not an image that can be read; a PNG or JPEG can") from None
    except Exception as error:  # broken bytes make Pillow's decoders raise whatever they meet
        if isinstance(error, OSError) and error.errno is not None:  # the system's own
            raise UserError(f"{error.strerror}; name a picture") from None
        raise UserError(f"not an image that can be read ({one_line(error)})") from None


def page_of(picture: np.ndarray) -> np.ndarray:
    """A picture of one character, in the middle of a (128, 128) page of ink in 0..1.

    Dark ink on a light ground and light ink on a dark one both do: the ground is what the border
    shows.

    Args:
        picture: (height, width) float, its brightness in 0..1.

    Raises:
        UserError: nothing is drawn on it.
    """
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    ink = np.abs(picture - np.median(border))
    if ink.max() < 0.1:
        raise UserError("an empty page; draw one character, darker than the ground")
    ink /= ink.max()
    rows, columns = (np.flatnonzero((ink > 0.3).any(axis=axis)) for axis in (1, 0))
    drawn = Image.fromarray(ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    scale = 0.6 * PAGE_SIDE / max(drawn.size)
    width, height = (max(1, round(extent * scale)) for extent in drawn.size)
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    top, left = (PAGE_SIDE - height) // 2, (PAGE_SIDE - width) // 2
    page[top : top + height, left : left + width] = np.asarray(
        drawn.resize((width, height), Image.Resampling.BILINEAR)
    )
    return np.clip(page, 0, 1)


def _brightness(picture: Image.Image) -> np.ndarray:
    if white := WIDEST.get(picture.mode):
        return np.clip(np.asarray(picture, np.float32) / white, 0, 1)
    colours = picture.convert("RGBA")
    paper = Image.new("RGBA", colours.size, "white")
    grey = Image.alpha_composite(paper, colours).convert("L")
    return np.asarray(grey, np.float32) / 255


def _too_large(what: str) -> UserError:
    return UserError(f"{what}; make it smaller, {MOST_PIXELS // 10**6} million pixels are the most")
