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

import cv2
import numpy as np

from ablation.base.errors import UserError
from ablation.pictures.conversion import PAGE_SIDE
from ablation.pictures.paper import askew, interior, papers, resized
from ablation.pictures.parts import TALL, Box, Part, edges, measure, rules, writing_among

WINDOWS = (0.02, 0.03, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 1.5)  # of the shorter side
SIDES = (240, 1800)  # minimum and maximum longer side in pixels of the resized pictures
SPECK = 0.012  # of the longer side: minimum extent of readable writing
LEAST = 10  # pixels: minimum extent of writing that is searched, at the resolution of the search
# Maximum longer side of the searched picture, and minimum extent of writing relative to it.
SEARCH = (1200, SPECK)
CLOSER = (SIDES[1], 0.0)  # for writing that is too small to be read, if there is no other
ACROSS = 36  # target size of a window in pixels, within `SIDES`
LEAST_SIDE = 160  # smaller pictures are enlarged
LEAST_DEPTH = 0.1  # minimum darkening by ink, relative to the background
NOISES = 10  # minimum darkening by ink, in standard deviations of the noise
MOST = 0.75  # maximum share of ink; what covers more of a picture is its background
AROUND = 0.12  # of the writing's longer side: distance at which its surroundings are sampled
ALIKE = 0.92  # minimum overlap of two windows' results for them to be trusted
HARDLY_ALIKE = 0.6  # with less overlap, it is not writing
STROKE = 0.15  # of the writing's longer side: the widest pen
NARROW = 1.5  # minimum window, in radii of a stroke
READ = 240  # pixels of the writing's longer side at which its shape is extracted
LEGIBLE = 16  # pixels: minimum height of readable writing
GAP = 0.02  # of the tallest character's height: minimum gap between characters
DRAWN = 0.6  # of a page's side: the writing's longer side
FINE = 3  # oversampling of the page when adjusting the pen width
PENS = (8.0, 11.0)  # pixels on the page: the usual range of pen widths in EMNIST
WIDE = 2.2  # aspect ratio above which it is probably more than one character
ASKEW = 15  # degrees: a larger rotation may change a character's meaning
SURE = 24  # pixels: writing lower than that is upscaled
NOTHING = "no writing found; write one character, larger than a speck"
TOO_SMALL = "the largest writing is {:.0f} pixels high: crop the picture to it"
TOUCHED = "ignored a line that touches the writing"
TURNED = "the sheet is rotated: rotate the picture until the writing is upright"
FAINT = "low contrast between writing and background, so this may not be writing"
JOINED = "more than twice as wide as high: write one character, or leave gaps between several"


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


def pages(brightness: np.ndarray) -> Reading:
    """Extract all writing on a picture, and each character if there are several.

    Args:
        brightness: (height, width) float in 0..1.

    Raises:
        EmptyPageError: there is no writing, or none that is large enough.
    """
    picture = cv2.convertScaleAbs(brightness, None, 255 / max(float(brightness.max()), 1e-6))
    ink, extent = _find_writing(picture)
    labels, boxes, depth = _closely(255 - picture if ink.light else picture, ink)
    characters = _characters(boxes)
    each = characters if len(characters) > 1 else []
    rows, columns = ink.mask.shape
    left, top, right, bottom = ink.box
    warnings = {
        FAINT: ink.agreed < ALIKE,
        f"the writing is only {extent:.0f} pixels high: use a larger picture": extent < SURE,
        JOINED: not each and right - left > WIDE * (bottom - top),
    }
    return Reading(
        [_page(labels, depth, numbers) for numbers in ([*boxes], *each)],
        (*ink.warnings, *(warning for warning, holds in warnings.items() if holds)),
        (left / columns, top / rows, right / columns, bottom / rows),
    )


def _find_writing(picture: np.ndarray) -> tuple[Ink, float]:
    """The writing, and its extent in pixels."""
    longer = max(picture.shape)
    if ink := _search(picture, *SEARCH):
        top, left, bottom, right = ink.box
        extent = max(bottom - top, right - left) * longer / max(ink.mask.shape)
        if extent >= LEGIBLE:
            return ink, extent
        raise EmptyPageError(TOO_SMALL.format(extent))
    if seen := _search(picture, *CLOSER):
        extent = max(part.extent for part in seen.parts) * longer / max(seen.mask.shape)
        if extent < SPECK * longer:
            raise EmptyPageError(TOO_SMALL.format(extent))
    raise EmptyPageError(NOTHING)


def _search(picture: np.ndarray, longest: int, speck: float) -> Ink | None:
    longer = max(picture.shape)
    large = resized(picture, min(longest, max(LEAST_SIDE, longer)) / longer)
    for paper in papers(large):
        level = cache(partial(_level, large, paper))
        if found := _dark_or_light(cache(partial(_ink_below, level, speck)), large):
            turned = (TURNED,) if abs(askew(paper)) > ASKEW else ()
            return replace(found, warnings=found.warnings + turned)
    return None


def _dark_or_light(
    below: Callable[[int, bool, float], Ink | None], picture: np.ndarray
) -> Ink | None:
    dark = _ink(below, False)
    if dark and dark.agreed >= ALIKE and _is_on_light(dark, picture):
        return dark  # no light ink could be more likely
    light = _ink(below, True, dark.window / 2 if dark and dark.agreed >= ALIKE else 0.0)
    return _more_likely(dark, light, picture) if dark and light else dark or light


def _brightness(ink: Ink, picture: np.ndarray) -> float:
    """The ink's median brightness, plus 5 grey levels, as in `_depth`."""
    small = cv2.resize(picture, ink.mask.shape[::-1], None, 0, 0, cv2.INTER_NEAREST)
    return float(np.median(small[ink.mask])) + 5


def _is_on_light(dark: Ink, picture: np.ndarray) -> bool:
    """Whether dark ink has more contrast with the background than any lighter pixel."""
    ground = float(np.median(picture[::8, ::8])) + 5
    return ground / _brightness(dark, picture) > (float(picture.max()) + 5) / ground


# A picture at one resolution, the standard deviation of its noise, the sheet and its edge.
Level = tuple[np.ndarray, float, np.ndarray, np.ndarray]


def _level(large: np.ndarray, paper: np.ndarray, side: int) -> Level:
    picture = cv2.GaussianBlur(resized(large, min(1, side / max(large.shape))), (0, 0), 0.7)
    rough = cv2.absdiff(picture, cv2.GaussianBlur(picture, (0, 0), 2))
    counts = np.cumsum(cv2.calcHist([rough], [0], None, [256], (0, 256))) / rough.size
    noise = 1.48 * float(np.interp(0.5, counts, np.arange(256) + 0.5))
    return picture, noise, *interior(paper, picture.shape)


def _more_likely(dark: Ink, light: Ink, picture: np.ndarray) -> Ink:
    """Choose ink that two windows agree on, or which differs more from what surrounds both."""
    longer = max(picture.shape)
    boxes = [np.divide(ink.box, max(ink.mask.shape)) * longer for ink in (dark, light)]
    left, top, right, bottom = (round(edge) for edge in _around(boxes))
    reach = round(AROUND * max(right - left, bottom - top))
    rows, columns = (slice(max(0, a - reach), b + reach) for a, b in ((top, bottom), (left, right)))
    ground = np.median(np.concatenate(edges(picture[rows, columns])))

    def likelihood(ink: Ink) -> tuple[bool, float]:
        contrast = np.log(_brightness(ink, picture) / (ground + 5))
        return ink.agreed >= ALIKE, float(abs(contrast))

    return max(dark, light, key=likelihood)


def _ink(
    below: Callable[[int, bool, float], Ink | None], light: bool, least: float = 0.0
) -> Ink | None:
    """Find dark or light ink, using the smallest window whose result the next one confirms.

    A window narrower than a stroke finds only parts of it; one wider than a shadow mistakes the
    shadow for ink.
    """
    best: Ink | None = None
    for window, wider in pairwise(WINDOWS):
        if window < least:
            continue
        side = int(np.clip(ACROSS / window, *SIDES))
        found = below(side, light, window)
        if found is None:
            continue
        left, top, right, bottom = found.box
        stroke = STROKE * max(right - left, bottom - top) / min(found.mask.shape)
        again = below(side, light, max(wider, stroke))
        if again:  # the wider window preserves more ink where strokes meet
            found = replace(again, agreed=_overlap(found.mask, again.mask))
            least = NARROW * max(part.radius for part in again.parts) / min(again.mask.shape)
        if best is None or found.agreed > best.agreed:
            best = found
        if found.agreed >= ALIKE:
            return found
    return best if best and best.agreed >= HARDLY_ALIKE else None


def _depth(picture: np.ndarray, window: float) -> tuple[np.ndarray, np.ndarray]:
    """Darkening in grey levels, and as a fraction of the background.

    The background is estimated by closing, which preserves straight shadow edges and gradients.
    """
    size = max(3, round(window)) | 1
    wide = size > max(picture.shape)
    square = np.ones((size, size), np.uint8)
    ground = picture.max() if wide else cv2.morphologyEx(picture, cv2.MORPH_CLOSE, square)
    darker = ground - picture
    return darker, darker / (ground + np.float32(5))


def _ink_below(
    level: Callable[[int], Level], speck: float, side: int, light: bool, window: float
) -> Ink | None:
    """Threshold at half of the ink's depth, excluding specks and edges until writing remains."""
    picture, noise, inside, edge = level(side)
    darker, depth = _depth(255 - picture if light else picture, window * min(picture.shape))
    longer = max(picture.shape)
    least = max(LEAST, speck * longer)
    possible = (darker >= ceil(NOISES * noise)) & (depth >= LEAST_DEPTH) & inside
    for _ in range(6):
        depths = depth[possible]
        if not len(depths):
            return None
        depth /= np.median(depths[depths > 0.8 * depths.max()])
        mask = possible & (depth > 0.5)
        if np.count_nonzero(mask) > MOST * mask.size:
            return None
        labels, parts = measure(mask, depth, least)
        lines = rules(labels, parts)
        if lines.any():
            labels, parts = measure(mask & ~lines, depth, least)
        cut = {*labels[edge].tolist()}  # parts that cross the sheet's edge
        parts = [part for part in parts if part.number not in cut]
        writing, warnings = writing_among(parts, longer, least)
        if writing:
            mine = np.zeros_like(mask)
            for part in writing:
                mine[part.place] |= labels[part.place] == part.number
            warnings += (TOUCHED,) if lines.any() else ()
            return Ink(mine, mask & ~mine, writing, warnings, light, window)
        possible &= cv2.dilate(mask.astype(np.uint8), np.ones((9, 9))) == 0
    return None


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return np.count_nonzero(one & other) / np.count_nonzero(one | other)


def _closely(picture: np.ndarray, ink: Ink) -> tuple[np.ndarray, dict[int, Box], np.ndarray]:
    """Labels and boxes of the writing's parts, and its depth, at a suitable resolution."""
    left, top, right, bottom = ink.box
    ratio = max(picture.shape) / max(ink.mask.shape)
    scale = max(1 / ratio, min(1.0, READ / (ratio * max(right - left, bottom - top))))
    reach = round(ink.window * min(ink.mask.shape)) + 4
    place = np.s_[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach]
    rows, columns = (slice(round(s.start * ratio), round(s.stop * ratio)) for s in place)
    small = cv2.GaussianBlur(resized(picture[rows, columns], scale), (0, 0), 0.7)
    _, depth = _depth(small, scale * ink.window * min(picture.shape))
    near = cv2.dilate(ink.mask[place].astype(np.uint8), np.ones((5, 5)))
    near[ink.aside[place]] = 0
    depth[cv2.resize(near, depth.shape[::-1], None, 0, 0, cv2.INTER_NEAREST) == 0] = 0
    depth /= np.median(depth[depth > 0.8 * depth.max()])
    _, labels, stats, _ = cv2.connectedComponentsWithStats((depth > 0.5).astype(np.uint8))
    sizes = enumerate(stats[:, :4].tolist())
    return labels, {n: (x, y, x + w, y + h) for n, (x, y, w, h) in sizes if n}, depth


def _characters(boxes: Mapping[int, Box]) -> list[list[int]]:
    """Group parts into characters, line by line, from left to right.

    One in 600 of EMNIST's characters would be split, having two tall parts side by side.
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


def _page(labels: np.ndarray, depth: np.ndarray, numbers: list[int]) -> np.ndarray:
    """Draw parts in the middle of a page, with a pen width that is usual in EMNIST."""
    mask = np.isin(labels, numbers).astype(np.uint8)
    ink = (np.clip(depth, 0, 1) * cv2.dilate(mask, np.ones((5, 5)))).astype(np.float32)
    side = FINE * PAGE_SIDE
    place = np.reshape(cv2.boundingRect(mask), (2, 2)).astype(float)  # of its corner, and its size
    scale = DRAWN * side / (place[1].max() + 2)
    corner = (side - scale * place[1]) / 2
    moved = np.column_stack([scale * np.eye(2), corner - scale * (place[0] - 0.5) - 0.5])
    large = cv2.warpAffine(ink, moved, (side, side))
    drawn = large >= 0.5 * min(1, large.max())
    inside, outside = (
        cv2.distanceTransform(each.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for each in (drawn, ~drawn)
    )
    pen = 4 * (inside[drawn].mean() - 0.5)  # a bar's mean distance to its edge is width / 4
    wider = np.clip(pen, PENS[0] * FINE, PENS[1] * FINE) - pen
    fine = np.clip(np.where(drawn, inside, 1 - outside) + wider / 2, 0, 1).astype(np.float32)
    return np.asarray(cv2.resize(fine, (PAGE_SIDE, PAGE_SIDE), None, 0, 0, cv2.INTER_AREA))
