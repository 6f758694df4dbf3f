"""Synthetic handwriting in 47 classes, generated from matplotlib's fonts.

A glyph is thinned to its centre line. Each character is drawn along that line with a random slant,
proportions, wobble and pen width, and then converted as EMNIST's scans were.
"""

from functools import cache
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from ablation.data.characters import CLASSES, MERGED, Characters, DataError
from ablation.pictures.conversion import PAGE_SIDE, emnist

SEED = 20170217  # arbitrary: the date of Cohen et al.'s paper
TRAIN_PER_CLASS = 60
TEST_PER_CLASS = 40

# Regular and slanted faces only: the centre line of a bold stem forks at its ends.
FONTS = (
    "DejaVuSans",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralItalic",
    "cmr10",
    "cmss10",
    "cmti10",
    "cmtt10",
)

LINE_SIDE = 64  # pixels; thinning at the page's resolution takes 4 times longer for no benefit
GLYPH_SIDE = 46
WOBBLES = 4  # control points per side of the page; the wobble is interpolated between them


def load_glyphs(dataset: str, raw: Path) -> tuple[Characters, Characters]:
    """Generate the training and test sets; every call on a machine gives the same bytes.

    Args:
        dataset, raw: the arguments of every loader; not used.

    Returns:
        (train, test): `TRAIN_PER_CLASS` and `TEST_PER_CLASS` characters of each of 47 classes,
        shuffled.

    Raises:
        DataError: a matplotlib font is missing or lacks a character.
    """
    rng = np.random.default_rng(SEED)
    per_class = TRAIN_PER_CLASS + TEST_PER_CLASS
    labels = np.repeat(np.arange(len(CLASSES), dtype=np.uint8), per_class)
    images = np.stack([write(CLASSES[label], rng) for label in labels])
    is_test = np.arange(len(labels)) % per_class >= TRAIN_PER_CLASS
    test = rng.permutation(np.flatnonzero(is_test))
    train = rng.permutation(np.flatnonzero(~is_test))
    return (
        Characters(images[train], labels[train], CLASSES),
        Characters(images[test], labels[test], CLASSES),
    )


def write(character: str, rng: np.random.Generator) -> np.ndarray:
    """Draw one character of a class.

    Args:
        character: the class; merged classes are drawn in either case, as in EMNIST.
        rng: the only source of randomness.

    Returns:
        (28, 28) uint8, upright, white on black.
    """
    both_cases = character.lower() in MERGED and rng.random() < 0.5
    form = character.lower() if both_cases else character
    distances = line_distances()[rng.integers(len(FONTS)), _forms().index(form)]
    rows, columns = _bent_page(rng).astype(np.float32)
    page_distances = cv2.remap(
        distances, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    pen = rng.uniform(1.6, 3.4) + 0.5 * _smooth(rng)  # half the width of the line, in line pixels
    ink = np.clip(2 * (pen - page_distances), 0, 1)
    return emnist(ink)


@cache
def line_distances() -> np.ndarray:
    """(fonts, forms, 64, 64) float32: distance of each pixel from the centre line."""
    masks = np.array([[_mask(font, form) for form in _forms()] for font in FONTS])
    lines = thin(masks.reshape(-1, LINE_SIDE, LINE_SIDE)).reshape(masks.shape)
    return np.array(
        [[ndimage.distance_transform_edt(~line) for line in font] for font in lines], np.float32
    )


def thin(masks: np.ndarray) -> np.ndarray:
    """Thin strokes to lines one pixel wide, in all masks at once.

    Own code, because scikit-image, whose `skeletonize` thins one mask per call, would be installed
    for this alone, and OpenCV has thinning only in its contrib package.

    Args:
        masks: (n, height, width) bool, False on the outermost pixels.

    Returns:
        bool, the same shape.

    Source:
        Zhang & Suen, "A fast parallel algorithm for thinning digital patterns", CACM 27, 1984.
    """
    first_pass, second_pass = _removable()
    lines = masks.copy()
    while True:
        before = lines.sum()
        for removable in (first_pass, second_pass):
            lines &= ~removable[_neighbourhoods(lines)]
        if lines.sum() == before:
            return lines


# The eight neighbours (row, column) clockwise from north: Zhang & Suen's P2 .. P9.
_COMPASS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))


def _neighbourhoods(lines: np.ndarray) -> np.ndarray:
    codes = np.zeros(lines.shape, np.uint8)
    for bit, (row, column) in enumerate(_COMPASS):
        codes |= np.roll(lines, (-row, -column), axis=(1, 2)).view(np.uint8) << bit
    return codes


def _removable() -> tuple[np.ndarray, np.ndarray]:
    neighbours = (np.arange(256)[:, None] >> np.arange(8)) & 1
    north, east, south, west = neighbours[:, ::2].T
    inked = neighbours.sum(axis=1)
    rises = ((neighbours == 0) & (np.roll(neighbours, -1, axis=1) == 1)).sum(axis=1)
    border = (inked >= 2) & (inked <= 6) & (rises == 1)
    first = border & (north * east * south == 0) & (east * south * west == 0)
    second = border & (north * east * west == 0) & (north * south * west == 0)
    return first, second


def _forms() -> str:
    return "".join(CLASSES) + MERGED


def _mask(font: str, form: str) -> np.ndarray:
    face = _face(font, 160)
    left, top, right, bottom = face.getbbox(form)
    glyph = Image.new("L", (round(right - left), round(bottom - top)))
    ImageDraw.Draw(glyph).text((-left, -top), form, fill=255, font=face)
    scale = GLYPH_SIDE / max(glyph.size)
    width, height = (max(1, round(extent * scale)) for extent in glyph.size)
    canvas = Image.new("L", (LINE_SIDE, LINE_SIDE))
    small = glyph.resize((width, height), Image.Resampling.BOX)
    canvas.paste(small, ((LINE_SIDE - width) // 2, (LINE_SIDE - height) // 2))
    return np.asarray(canvas) > 64  # a threshold of 128 would break the hairlines of cmr10


@cache
def _face(font: str, size: int) -> ImageFont.FreeTypeFont:
    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    if not path.is_file():
        raise DataError(f"{path}: this matplotlib font is missing (reinstall matplotlib)")
    known = FT2Font(str(path)).get_charmap()
    lacking = [form for form in _forms() if ord(form) not in known]
    if lacking:
        raise DataError(f"{path}: the font has no {' '.join(lacking)} (reinstall matplotlib)")
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


def _bent_page(rng: np.random.Generator) -> np.ndarray:
    """(2, 128, 128): the (row, column) on the 64 x 64 grid that each page pixel is sampled from."""
    turn, slant = rng.normal(0, 0.14), rng.normal(0, 0.2)
    stretch = np.exp(rng.normal(0, 0.14, size=2))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine = rotation @ np.array([[1, 0], [slant, 1]]) @ np.diag(stretch)
    grid = np.linspace(-LINE_SIDE / 2, LINE_SIDE / 2, PAGE_SIDE)
    rows, columns = np.meshgrid(grid, grid, indexing="ij", sparse=True)
    bent = [a * rows + b * columns for a, b in affine]
    return np.stack([axis + 1.8 * _smooth(rng) for axis in bent]) + (LINE_SIDE - 1) / 2


def _smooth(rng: np.random.Generator) -> np.ndarray:
    """(128, 128) noise of unit variance at the control points, interpolated in between."""
    curve = _interpolation()
    return np.asarray(curve @ rng.normal(size=(WOBBLES, WOBBLES)) @ curve.T)


@cache
def _interpolation() -> np.ndarray:
    zoom = PAGE_SIDE / WOBBLES
    smooth = ndimage.zoom(np.eye(WOBBLES), (zoom, 1), order=3, mode="nearest", grid_mode=True)
    return np.asarray(smooth)
