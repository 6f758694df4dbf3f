"""Finds the writing on a photograph and extracts it as pages of ink.

The background is estimated locally by a morphological closing with a window: lighting and shadows
are wider than strokes, so they become part of it. Ink is darker than half of the ink's depth, with
a sharp edge. Small windows run on a large version of the picture, for small writing; large windows
on a small one.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise
from math import ceil
from typing import NamedTuple

import cv2
import numpy as np

from ablation.base.errors import UserError
from ablation.pictures.conversion import PAGE_SIDE
from ablation.pictures.paper import askew, find_paper
from ablation.pictures.parts import TALL, Box, Part, measure, rules, writing_among

WINDOWS = (0.02, 0.03, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 1.5)  # of the shorter side
SIDES = (240, 1200)  # minimum and maximum longer side in pixels of the resized pictures
ACROSS = 36  # target size of a window in pixels, within `SIDES`
LEAST_SIDE = 160  # smaller pictures are enlarged
LEAST_DEPTH = 0.1  # minimum darkening by ink, relative to the background
NOISES = 10  # minimum darkening by ink, in standard deviations of the noise
MOST = 0.75  # maximum share of ink; what covers more of a picture is its background
ALIKE = 0.92  # minimum overlap of two windows' results for them to be trusted
HARDLY_ALIKE = 0.6  # with less overlap, it is not writing
STROKE = 0.15  # of the writing's longer side: the widest pen
WIDER = 4.2  # maximum ratio of the window for strokes to that for the gaps between them
READ = 240  # pixels of the writing's longer side at which its shape is extracted
LEGIBLE = 16  # pixels: minimum height of readable writing
GAP = 0.02  # of the tallest character's height: minimum gap between characters
DRAWN = 0.6  # of a page's side: the writing's longer side
FINE = 3  # oversampling of the page when adjusting the pen width
PENS = (8.0, 11.0)  # pixels on the page: the usual range of pen widths in EMNIST


WIDE = 2.2  # aspect ratio above which it is probably more than one character
ASKEW = 15  # degrees: a larger rotation may change a character's meaning
MARKS = 12  # more characters are probably not a single line
SURE = 24  # pixels: writing lower than that is upscaled
TOUCHED = "ignored a line that touches the writing"
TURNED = "the sheet is rotated: rotate the picture until the writing is upright"
FAINT = "low contrast between writing and background, so this may not be writing"
JOINED = "more than twice as wide as high: write one character, or leave gaps between several"
MANY = "many marks were found: crop the picture to one character"


class EmptyPageError(UserError):
    """A picture with no writing on it."""


@dataclass(frozen=True)
class Reading:
    """The writing on a picture.

    Attributes:
        pages: (128, 128) float32 each, ink in 0..1, centred: all of the writing, then, if there
            are several characters, each of them, line by line.
        warnings: about problems that affect recognition.
        box: left, top, right and bottom of the writing, as fractions of the picture's sides.
    """

    pages: list[np.ndarray]
    warnings: tuple[str, ...]
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Ink:
    """The ink found with one window.

    Attributes:
        mask: (height, width) bool, the writing.
        aside: (height, width) bool, other pixels that are as dark.
        parts: connected components of the writing.
        warnings: about ignored parts.
        light: whether it is lighter than the background.
        window: size as a fraction of the picture's shorter side.
        agreed: overlap with the next larger window's result.
    """

    mask: np.ndarray
    aside: np.ndarray
    parts: list[Part]
    warnings: tuple[str, ...]
    light: bool
    window: float
    agreed: float = 0.0

    @property
    def box(self) -> Box:
        """Left, top, right, bottom."""
        return _around([part.box for part in self.parts])

    @property
    def border(self) -> float:
        """Fraction of the picture's border that it covers."""
        edges = (self.mask[0], self.mask[-1], self.mask[:, 0], self.mask[:, -1])
        return float(np.concatenate(edges).mean())


def pages(brightness: np.ndarray) -> Reading:
    """Extract all writing on a picture, and each character if there are several.

    Args:
        brightness: (height, width) float in 0..1.

    Raises:
        EmptyPageError: there is no writing, or none that is large enough.
    """
    picture = cv2.convertScaleAbs(brightness, None, 255 / max(float(brightness.max()), 1e-6))
    ink = find_writing(picture)
    scale = max(picture.shape) / max(ink.mask.shape)
    extent = scale * max(ink.box[2] - ink.box[0], ink.box[3] - ink.box[1])
    if extent < LEGIBLE:
        raise EmptyPageError(
            f"the largest writing is {extent:.0f} pixels high: crop the picture to it"
        )
    labels, boxes, depth = _closely(255 - picture if ink.light else picture, ink)
    characters = characters_of(boxes)
    whole = [number for numbers in characters for number in numbers]
    each = characters if len(characters) > 1 else []
    rows, columns = ink.mask.shape
    left, top, right, bottom = ink.box
    warnings = {
        FAINT: ink.agreed < ALIKE,
        f"the writing is only {extent:.0f} pixels high: use a larger picture": (extent < SURE),
        JOINED: not each and right - left > WIDE * (bottom - top),
        MANY: len(characters) > MARKS,
    }
    return Reading(
        [page_of(labels, depth, numbers) for numbers in (whole, *each)],
        (*ink.warnings, *(warning for warning, holds in warnings.items() if holds)),
        (left / columns, top / rows, right / columns, bottom / rows),
    )


def find_writing(picture: np.ndarray) -> Ink:
    """Find the ink on a picture.

    Args:
        picture: (height, width) uint8.

    Raises:
        EmptyPageError: there is no writing on it.
    """
    large = _reduced(picture, SIDES[1])
    sheet = find_paper(large)
    for paper in (None,) if sheet is None else (sheet, None):
        below = cache(partial(_ink_below, cache(partial(_level, large, paper))))
        dark = _ink(below, False, WINDOWS)
        light = _ink(below, True, _alike(dark))
        if found := _more_likely(dark, light, large) if dark and light else dark or light:
            if paper is not None and abs(askew(paper)) > ASKEW:
                found = replace(found, warnings=(*found.warnings, TURNED))
            return found
    raise EmptyPageError("no writing found; write one character, larger than a speck")


def _reduced(picture: np.ndarray, side: int) -> np.ndarray:
    longer = max(picture.shape)
    scale = min(side, max(LEAST_SIDE, longer)) / longer
    height, width = (max(1, round(n * scale)) for n in picture.shape)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), None, 0, 0, way))


class Level(NamedTuple):
    """A picture at one resolution.

    Attributes:
        picture: (height, width) uint8.
        noise: its standard deviation.
        inside: (height, width) bool, the interior of the sheet; None without one.
    """

    picture: np.ndarray
    noise: float
    inside: np.ndarray | None


def _level(large: np.ndarray, paper: np.ndarray | None, side: int) -> Level:
    picture = cv2.GaussianBlur(_reduced(large, side), (0, 0), 0.7)
    rough = cv2.absdiff(picture, cv2.GaussianBlur(picture, (0, 0), 2))
    counts = np.cumsum(cv2.calcHist([rough], [0], None, [256], (0, 256))) / rough.size
    noise = 1.48 * float(np.interp(0.5, counts, np.arange(256) + 0.5))
    return Level(picture, noise, None if paper is None else _filled(paper, picture.shape))


def _more_likely(dark: Ink, light: Ink, picture: np.ndarray) -> Ink:
    """Choose between dark and light ink: the background extends to the border and encloses ink."""
    if (dark.agreed >= ALIKE) != (light.agreed >= ALIKE):
        return max(dark, light, key=lambda ink: ink.agreed)
    if (dark.border and light.border) or max(dark.border, light.border) > 0.5:
        return min(dark, light, key=lambda ink: ink.border)
    boxes = [tuple(np.divide(ink.box, max(ink.mask.shape))) for ink in (dark, light)]
    around = _around(boxes)
    largest = max(light.parts, key=lambda part: part.area)
    if around == boxes[0] or (around == boxes[1] and largest.solidity > 0.8):
        return dark
    ground = _brightness_around(picture, around)
    away = [abs(np.log((_brightness(picture, ink) + 5) / (ground + 5))) for ink in (dark, light)]
    return dark if away[0] > away[1] else light


def _brightness(picture: np.ndarray, ink: Ink) -> float:
    small = cv2.resize(picture, ink.mask.shape[::-1], None, 0, 0, cv2.INTER_AREA)
    return float(np.median(small[ink.mask]))


def _brightness_around(picture: np.ndarray, box: tuple[float, float, float, float]) -> float:
    """Median brightness in a ring around a box, given in units of the longer side."""
    left, top, right, bottom = (round(edge * max(picture.shape)) for edge in box)
    ring = np.zeros(picture.shape, np.uint8)
    for value, share in ((1, 0.3), (0, 0.05)):
        reach = round(share * max(right - left, bottom - top))
        corners = (left - reach, top - reach), (right + reach - 1, bottom + reach - 1)
        cv2.rectangle(ring, *corners, value, cv2.FILLED)
    return float(np.median(picture[ring > 0])) if ring.any() else 255.0


def _alike(dark: Ink | None) -> tuple[float, ...]:
    """Strokes need windows like those of the spaces between them; wider ones find thin strokes."""
    if dark is None or dark.agreed < ALIKE:
        return WINDOWS
    return tuple(w for w in WINDOWS if dark.window / 2 <= w <= WIDER * dark.window)


def _ink(
    below: Callable[[int, bool, float], Ink | None], light: bool, windows: tuple[float, ...]
) -> Ink | None:
    """Find dark or light ink, using the smallest window whose result the next one confirms.

    A window narrower than a stroke finds only parts of it; one wider than a shadow mistakes the
    shadow for ink.
    """
    best: Ink | None = None
    for window, wider in pairwise(windows):
        side = int(np.clip(ACROSS / window, *SIDES))
        found = below(side, light, window)
        if found is None:
            continue
        left, top, right, bottom = found.box
        stroke = STROKE * max(right - left, bottom - top) / min(found.mask.shape)
        again = below(side, light, max(wider, stroke))
        if again:  # the wider window preserves more ink where strokes meet
            found = replace(again, agreed=_overlap(found.mask, again.mask))
        if best is None or found.agreed > best.agreed:
            best = found
        if found.agreed >= ALIKE:
            return found
    return best if best and best.agreed >= HARDLY_ALIKE else None


def _filled(paper: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(height, width) bool: the interior of the sheet, without a margin at its edge."""
    mask = np.zeros(shape, np.uint8)
    corners = np.rint(paper * max(shape)).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1)
    near = 2 * max(2, round(0.008 * max(shape))) + 1
    return np.asarray(cv2.erode(mask, np.ones((near, near), np.uint8)) > 0)


def _depth(picture: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Darkening in grey levels, and as a fraction of the background.

    The background is estimated by closing, which preserves straight shadow edges and gradients.
    """
    square = np.ones((size | 1, size | 1), np.uint8)
    wide = size > max(picture.shape)
    ground = picture.max() if wide else cv2.morphologyEx(picture, cv2.MORPH_CLOSE, square)
    darker = ground - picture
    return darker, darker / (ground + np.float32(5))


def _ink_below(level: Callable[[int], Level], side: int, light: bool, window: float) -> Ink | None:
    """Threshold at half of the ink's depth, excluding specks and edges until writing remains."""
    picture, noise, inside = level(side)
    window_side = max(3, round(window * min(picture.shape)))
    darker, depth = _depth(255 - picture if light else picture, window_side)
    possible = (darker >= ceil(NOISES * noise)) & (depth >= LEAST_DEPTH)
    if inside is not None:
        possible &= inside
    for _ in range(6):
        depths = depth[possible]
        if not len(depths):
            return None
        full = float(np.median(depths[depths > 0.8 * depths.max()]))
        mask = possible & (depth > full / 2)
        if np.count_nonzero(mask) > MOST * mask.size:
            return None
        labels, parts = measure(mask, depth, full)
        lines = rules(labels, parts)
        if lines.any():
            labels, parts = measure(mask & ~lines, depth, full)
        if inside is not None:  # parts that cross the sheet's edge are background
            edge = cv2.dilate(1 - inside.view(np.uint8), np.ones((5, 5))) > 0
            cut = {*labels[edge & mask].tolist()}
            parts = [part for part in parts if part.number not in cut]
        writing, warnings = writing_among(parts, max(picture.shape))
        if writing:
            mine = np.zeros_like(mask)
            left, top, right, bottom = _around([part.box for part in writing])
            place = (slice(top, bottom), slice(left, right))
            mine[place] = np.isin(labels[place], [part.number for part in writing])
            warnings += (TOUCHED,) if lines.any() else ()
            return Ink(mine, mask & ~mine, writing, warnings, light, window)
        possible &= cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) == 0
    return None


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def _closely(picture: np.ndarray, ink: Ink) -> tuple[np.ndarray, dict[int, Box], np.ndarray]:
    """Labels and boxes of the writing's parts, and its depth, at a suitable resolution."""
    left, top, right, bottom = ink.box
    ratio = max(picture.shape) / max(ink.mask.shape)
    scale = min(1.0, READ / (ratio * max(right - left, bottom - top)))
    reach = round(ink.window * min(ink.mask.shape)) + 4
    rows = slice(max(0, top - reach), bottom + reach)
    columns = slice(max(0, left - reach), right + reach)
    there = [slice(round(s.start * ratio), round(s.stop * ratio)) for s in (rows, columns)]
    crop = picture[there[0], there[1]]
    height, width = (max(8, round(n * max(scale, 1 / ratio))) for n in crop.shape)
    way = cv2.INTER_AREA if height < crop.shape[0] else cv2.INTER_CUBIC
    small = cv2.GaussianBlur(cv2.resize(crop, (width, height), None, 0, 0, way), (0, 0), 0.7)
    window = round(ink.window * min(picture.shape) * height / crop.shape[0])
    _, depth = _depth(small, max(3, window))
    near = cv2.dilate(ink.mask[rows, columns].astype(np.uint8), np.ones((5, 5), np.uint8))
    near[ink.aside[rows, columns]] = 0
    depth[cv2.resize(near, (width, height), None, 0, 0, cv2.INTER_NEAREST) == 0] = 0
    depth = depth / np.median(depth[depth > 0.8 * depth.max()])
    _, labels, stats, _ = cv2.connectedComponentsWithStats((depth > 0.5).astype(np.uint8))
    sizes = enumerate(stats[:, :4].tolist())
    return labels, {n: (x, y, x + w, y + h) for n, (x, y, w, h) in sizes if n}, depth


def characters_of(boxes: Mapping[int, Box]) -> list[list[int]]:
    """Group parts into characters, line by line, from left to right.

    One in 600 of EMNIST's characters would be split, having two tall parts side by side.

    Args:
        boxes: bounding boxes of the connected parts of the ink, by label.

    Returns:
        The labels of each character's parts.
    """
    lines = _apart([*boxes], boxes, axis=1)
    return [character for line in lines for character in _apart(line, boxes, axis=0)]


def _apart(numbers: list[int], boxes: Mapping[int, Box], axis: int) -> list[list[int]]:
    """Group parts by gaps along an axis; small parts, such as dots, join the group before."""
    groups: list[list[int]] = []
    for number in sorted(numbers, key=lambda number: boxes[number][axis]):
        if groups and boxes[number][axis] <= max(boxes[n][axis + 2] for n in groups[-1]):
            groups[-1].append(number)
        else:
            groups.append([number])
    hulls = [_around([boxes[number] for number in group]) for group in groups]
    tallest = max(bottom - top for _, top, _, bottom in hulls)
    apart = [groups[0]]
    for before, hull, group in zip(hulls, hulls[1:], groups[1:], strict=False):
        high = min(before[3] - before[1], hull[3] - hull[1]) > TALL * tallest
        if high and hull[axis] - before[axis + 2] > GAP * tallest:
            apart.append(group)
        else:
            apart[-1] += group
    return apart


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def page_of(labels: np.ndarray, depth: np.ndarray, numbers: list[int]) -> np.ndarray:
    """Draw one character, with a normalised pen width, in the middle of a page.

    Args:
        labels: (height, width) int, the connected parts of the ink.
        depth: (height, width) float, 0.5 at the edge of the ink.
        numbers: the character's parts.

    Returns:
        (128, 128) float32, ink in 0..1.
    """
    fine = _with_usual_pen(_enlarged(np.isin(labels, numbers), depth))
    size = (round(fine.shape[1] / FINE), round(fine.shape[0] / FINE))
    small = cv2.resize(fine, size, None, 0, 0, cv2.INTER_AREA)
    margins = [((PAGE_SIDE - n) // 2, (PAGE_SIDE - n + 1) // 2) for n in small.shape]
    return np.pad(small, margins)


def _enlarged(mask: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(height, width) bool, scaled to `FINE` times the page's resolution, with a margin."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    ink = np.where(near, np.clip(depth, 0, 1), 0).astype(np.float32)
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    ink = np.pad(ink, 1)[top : top + height + 2, left : left + width + 2]
    scale = DRAWN * PAGE_SIDE * FINE / max(ink.shape)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    large = cv2.resize(ink, size, None, 0, 0, cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
    return np.pad(large >= 0.5 * min(1, large.max()), 10 * FINE)


def _with_usual_pen(drawn: np.ndarray) -> np.ndarray:
    """Dilate or erode strokes to a pen width that is usual in EMNIST."""
    inside, outside = (
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for mask in (drawn, ~drawn)
    )
    width = 4 * (inside[drawn].mean() - 0.5)  # a bar's mean distance to its edge is width / 4
    wanted = np.clip(width, PENS[0] * FINE, PENS[1] * FINE)
    from_edge = np.where(drawn, inside - 0.5, 0.5 - outside) + (wanted - width) / 2
    return np.asarray(np.clip(from_edge + 0.5, 0, 1), dtype=np.float32)
