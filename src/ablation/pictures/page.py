"""From a picture's brightness to pages of ink: what on a photograph is writing, and what is not.

The ground is local: what is left of the picture when everything narrower than a window is closed.
Light and shadows are wider than strokes, so they are in the ground. Ink is where a pixel is darker
than half of the ink's depth, and where the step to the ground is sharp. Small windows look at
large pictures, for small writing; large ones at small pictures.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import pairwise

import cv2
import numpy as np

from ablation.base.errors import UserError
from ablation.pictures.conversion import PAGE_SIDE
from ablation.pictures.paper import askew, find_paper
from ablation.pictures.parts import TALL, Box, Part, measure, rules, writing_among

WINDOWS = (0.02, 0.032, 0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 1.5)  # of the shorter side
SIDES = (240, 1200)  # pixels of the longer side of the pictures that windows look at
ACROSS = 36  # pixels of a window, if its picture may be as large
LEAST_SIDE = 160  # smaller pictures are enlarged
LEAST_DEPTH = 0.1  # of the light: what takes away less is paper
NOISES = 10  # so many standard deviations of the picture's noise are paper as well
ALIKE = 0.92  # overlap of what two windows find, from which on they are believed
HARDLY_ALIKE = 0.6  # below, it is light and shade
STROKE = 0.15  # of the writing's longer side: the widest pen
WIDER = 4.2  # the window of strokes over that of the spaces between them, at most
READ = 240  # pixels of the writing's longer side, in the picture that it is read from
LEGIBLE = 16  # pixels: what is lower cannot be read
GAP = 0.02  # of the highest character's height: the least from one to the next
DRAWN = 0.6  # of a page's side: the longer side of the writing on it
FINE = 3  # pixels of the grid that the pen is changed on, for one of the page
PENS = (8.0, 11.0)  # pixels of the page: the widths that most of EMNIST's writers have


WIDE = 2.2  # times as wide as high: hardly one character
ASKEW = 15  # degrees: more change what a character is
MARKS = 12  # parts: more are hardly one line of characters
SURE = 24  # pixels: what is lower is enlarged to EMNIST's size
TOUCHED = "a line that touches the writing is set aside"
TURNED = "the sheet lies askew: turn the picture until the writing is upright"
FAINT = "the writing hardly stands out from its ground, so this may be something else"
JOINED = "more than twice as wide as high: write one character, or leave gaps between several"
MANY = "many marks are taken for writing: crop the picture to one character"


class EmptyPageError(UserError):
    """A picture with no writing on it."""


@dataclass(frozen=True)
class Reading:
    """What is written on a picture.

    Attributes:
        pages: of (128, 128) float32, ink in 0..1, the writing in the middle: the whole, then the
            characters, line by line, unless there is one.
        warnings: what a person has to know of it.
        box: left, top, right and bottom of the writing in the picture, in shares of its sides.
    """

    pages: list[np.ndarray]
    warnings: tuple[str, ...]
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class Ink:
    """What one window finds.

    Attributes:
        mask: (height, width) bool, the writing.
        aside: (height, width) bool, what is as dark and no writing.
        parts: its connected parts.
        doubts: about what was set aside.
        window: as a share of the picture's shorter side.
        agreed: the overlap with what the next window finds.
    """

    mask: np.ndarray
    aside: np.ndarray
    parts: list[Part]
    doubts: tuple[str, ...]
    window: float
    agreed: float = 0.0

    @property
    def box(self) -> Box:
        """Left, top, right, bottom."""
        return _around([part.box for part in self.parts])

    @property
    def border(self) -> float:
        """The share of the picture's border that it covers."""
        edges = (self.mask[0], self.mask[-1], self.mask[:, 0], self.mask[:, -1])
        return float(np.concatenate(edges).mean())


def pages(brightness: np.ndarray) -> Reading:
    """All that is written on a picture, on one page, and each character on one if there are more.

    Args:
        brightness: (height, width) float in 0..1.

    Raises:
        EmptyPageError: nothing is written on it, or nothing that is large enough.
    """
    picture = np.rint(255 * brightness / max(brightness.max(), 1e-6)).astype(np.uint8)
    ink, is_dark = find_writing(picture)
    scale = max(picture.shape) / max(ink.mask.shape)
    extent = scale * max(ink.box[2] - ink.box[0], ink.box[3] - ink.box[1])
    if extent < LEGIBLE:
        raise EmptyPageError(
            f"the largest writing is {extent:.0f} pixels high: crop the picture to it"
        )
    labels, depth = _closely(picture if is_dark else 255 - picture, ink)
    characters = characters_of(labels)
    whole = [number for numbers in characters for number in numbers]
    each = characters if len(characters) > 1 else []
    rows, columns = ink.mask.shape
    left, top, right, bottom = ink.box
    doubts = {
        FAINT: ink.agreed < ALIKE,
        f"the writing is only {extent:.0f} pixels high: a larger picture is read better": (
            extent < SURE
        ),
        JOINED: not each and right - left > WIDE * (bottom - top),
        MANY: len(characters) > MARKS,
    }
    return Reading(
        [page_of(labels, depth, numbers) for numbers in (whole, *each)],
        (*ink.doubts, *(doubt for doubt, holds in doubts.items() if holds)),
        (left / columns, top / rows, right / columns, bottom / rows),
    )


def find_writing(picture: np.ndarray) -> tuple[Ink, bool]:
    """The ink on a picture, and whether it is dark on light.

    Args:
        picture: (height, width) uint8.

    Raises:
        EmptyPageError: nothing is written on it.
    """
    level = cache(
        partial(_smoothed, _reduced(picture, SIDES[1]))
    )  # both kinds of ink look at the same ones
    for paper in (find_paper(picture), None):
        dark = _ink(level, False, WINDOWS, paper)
        light = _ink(level, True, _alike(dark), paper)
        if dark or light:
            found = _more_likely(dark, light, picture) if dark and light else dark or light
            is_dark = found is dark
            assert found is not None
            if paper is not None and abs(askew(paper)) > ASKEW:
                found = replace(found, doubts=(*found.doubts, TURNED))
            return found, is_dark
        if paper is None:
            break
    raise EmptyPageError("an empty page; write one character on it, larger than a speck")


def _reduced(picture: np.ndarray, side: int) -> np.ndarray:
    longer = max(picture.shape)
    scale = min(side, max(LEAST_SIDE, longer)) / longer
    height, width = (max(1, round(n * scale)) for n in picture.shape)
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), None, 0, 0, way))


def _smoothed(picture: np.ndarray, side: int) -> np.ndarray:
    return np.asarray(cv2.GaussianBlur(_reduced(picture, side), (0, 0), 0.7))


def _more_likely(dark: Ink, light: Ink, picture: np.ndarray) -> Ink:
    """The ground is along the border. Ink is around the spaces in it, a paper is around the ink."""
    if (dark.agreed >= ALIKE) != (light.agreed >= ALIKE):
        return max(dark, light, key=lambda ink: ink.agreed)
    if (dark.border and light.border) or max(dark.border, light.border) > 0.5:
        return min(dark, light, key=lambda ink: ink.border)
    boxes = [np.divide(ink.box, max(ink.mask.shape)) for ink in (dark, light)]
    if _contains(boxes[0], boxes[1]):
        return dark
    if _contains(boxes[1], boxes[0]) and _largest(light).solidity > 0.8:
        return dark
    ground = _brightness_around(picture, _around([tuple(box) for box in boxes]))
    inks = [float(np.median(_at(picture, ink.mask))) for ink in (dark, light)]
    away = [abs(float(np.log((ink + 5) / (ground + 5)))) for ink in inks]
    return dark if away[0] > away[1] else light


def _largest(ink: Ink) -> Part:
    return max(ink.parts, key=lambda part: part.area)


def _brightness_around(picture: np.ndarray, box: tuple[float, float, float, float]) -> float:
    """The median in a ring around a box, whose edges are shares of the longer side."""
    left, top, right, bottom = (round(edge * max(picture.shape)) for edge in box)
    near, far = (round(share * max(right - left, bottom - top)) for share in (0.05, 0.3))
    ring = np.zeros(picture.shape, bool)
    ring[max(0, top - far) : bottom + far, max(0, left - far) : right + far] = True
    ring[max(0, top - near) : bottom + near, max(0, left - near) : right + near] = False
    return float(np.median(picture[ring])) if ring.any() else 255.0


def _at(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    size = (mask.shape[1], mask.shape[0])
    return np.asarray(cv2.resize(picture, size, None, 0, 0, cv2.INTER_AREA)[mask])


def _alike(dark: Ink | None) -> tuple[float, ...]:
    """Strokes need windows like those of the spaces between them; wider ones find thin strokes."""
    if dark is None or dark.agreed < ALIKE:
        return WINDOWS
    return tuple(w for w in WINDOWS if dark.window / 2 <= w <= WIDER * dark.window)


def _ink(
    level: Callable[[int], np.ndarray],
    light: bool,
    windows: tuple[float, ...],
    paper: np.ndarray | None,
) -> Ink | None:
    """Dark or light ink, by the smallest window that the next one agrees with.

    A window that is narrower than a stroke finds parts of it. One that is wider than a shadow takes
    the shadow for ink.
    """
    best: Ink | None = None
    for window, wider in pairwise(windows):
        small = level(int(np.clip(ACROSS / window, *SIDES)))
        small = 255 - small if light else small
        inside = None if paper is None else _filled(paper, small.shape)
        noise = _noise(small)
        found = _ink_below(small, window, noise, inside)
        if found is None:
            continue
        left, top, right, bottom = found.box
        stroke = STROKE * max(right - left, bottom - top) / min(small.shape)
        again = _ink_below(small, max(wider, stroke), noise, inside)
        if again:  # the wider window loses less where strokes meet
            found = replace(again, agreed=_overlap(found.mask, again.mask))
        if best is None or found.agreed > best.agreed:
            best = found
        if found.agreed >= ALIKE:
            return found
    return best if best and best.agreed >= HARDLY_ALIKE else None


def _filled(paper: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(height, width) bool, inside of a paper, and not at its edge."""
    mask = np.zeros(shape, np.uint8)
    corners = np.rint(paper * max(shape)).astype(np.int32)
    cv2.fillConvexPoly(mask, corners, 1)
    near = 2 * max(2, round(0.008 * max(shape))) + 1
    return np.asarray(cv2.erode(mask, np.ones((near, near), np.uint8)) > 0)


def _ground(picture: np.ndarray, size: int) -> np.ndarray:
    """Closing: a shadow's straight edge stays as it is, and so does a slope."""
    if size > max(picture.shape):
        return np.full_like(picture, picture.max())
    square = np.ones((size + 1 - size % 2,) * 2, np.uint8)
    return np.asarray(cv2.morphologyEx(picture, cv2.MORPH_CLOSE, square))


def _depth(picture: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    ground = _ground(picture, size).astype(np.float32) + 5
    return 1 - (picture + np.float32(5)) / ground, ground


def _noise(picture: np.ndarray) -> float:
    rough = cv2.absdiff(picture, cv2.GaussianBlur(picture, (0, 0), 2))
    counts = np.cumsum(cv2.calcHist([rough], [0], None, [256], (0, 256))) / rough.size
    return 1.48 * float(np.interp(0.5, counts, np.arange(256) + 0.5))


def _ink_below(
    picture: np.ndarray, window: float, noise: float, inside: np.ndarray | None
) -> Ink | None:
    """What is darker than half of the ink's depth; specks and edges are set aside meanwhile."""
    whole, ground = _depth(picture, max(3, round(window * min(picture.shape))))
    least = np.maximum(LEAST_DEPTH, NOISES * noise / ground)
    depth = np.where(whole < least, 0, whole)
    if inside is not None:
        depth[~inside] = 0
    for _ in range(6):
        deepest = depth.max()
        if not deepest:
            return None
        deepest = np.median(depth[depth > 0.8 * deepest])
        mask = depth > deepest / 2
        labels, parts = measure(mask, whole / deepest)
        lines = rules(labels, parts)
        if lines.any():
            labels, parts = measure(mask & ~lines, whole / deepest)
        if inside is not None:  # what leaves the paper is the desk
            cut = np.unique(labels[cv2.dilate(1 - inside.view(np.uint8), np.ones((5, 5))) > 0])
            parts = [part for part in parts if part.number not in cut]
        chosen = writing_among(parts, max(picture.shape))
        if chosen.parts:
            mine = _those(labels, [part.number for part in chosen.parts])
            doubts = chosen.doubts + ((TOUCHED,) if lines.any() else ())
            return Ink(mine, mask & ~mine, chosen.parts, doubts, window)
        depth[cv2.dilate(mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0] = 0
    return None


def _those(labels: np.ndarray, numbers: list[int]) -> np.ndarray:
    """Where one of these parts is."""
    chosen = np.zeros(max(int(labels.max()), *numbers) + 1, bool)
    chosen[numbers] = True
    return np.asarray(chosen[labels])


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def _closely(picture: np.ndarray, ink: Ink) -> tuple[np.ndarray, np.ndarray]:
    """The writing at its own resolution: its connected parts, and its depth."""
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
    depth, _ = _depth(small, max(3, window))
    near = cv2.dilate(ink.mask[rows, columns].astype(np.uint8), np.ones((5, 5), np.uint8))
    near[ink.aside[rows, columns]] = 0
    depth[cv2.resize(near, (width, height), None, 0, 0, cv2.INTER_NEAREST) == 0] = 0
    depth = depth / np.median(depth[depth > 0.8 * depth.max()])
    _, labels = cv2.connectedComponents((depth > 0.5).astype(np.uint8))
    return labels, depth


def characters_of(labels: np.ndarray) -> list[list[int]]:
    """The numbers of each character's parts, line by line, from left to right.

    Of EMNIST's own characters one in six hundred has two high parts side by side.

    Args:
        labels: (height, width) int, the connected parts of the ink.
    """
    boxes = dict(_boxes(labels))
    lines = _apart([*boxes], boxes, axis=1)
    return [character for line in lines for character in _apart(line, boxes, axis=0)]


def _apart(numbers: list[int], boxes: Mapping[int, Box], axis: int) -> list[list[int]]:
    """Parts that a gap separates along an axis; what is low, such as a dot, stays with the rest."""
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


def _boxes(labels: np.ndarray) -> Iterator[tuple[int, Box]]:
    _, _, stats, _ = cv2.connectedComponentsWithStats((labels > 0).astype(np.uint8))
    for number in range(1, len(stats)):
        left, top, width, height = (int(value) for value in stats[number, :4])
        yield number, (left, top, left + width, top + height)


def _around(boxes: list[Box]) -> Box:
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def _contains(outer: np.ndarray, inner: np.ndarray) -> bool:
    return bool((outer[:2] <= inner[:2]).all() and (inner[2:] <= outer[2:]).all())


def page_of(labels: np.ndarray, depth: np.ndarray, numbers: list[int]) -> np.ndarray:
    """One character, written with a usual pen, in the middle of a page.

    Args:
        labels: (height, width) int, the connected parts of the ink.
        depth: (height, width) float, 0.5 at the edge of the ink.
        numbers: the character's parts.

    Returns:
        (128, 128) float32, ink in 0..1.
    """
    fine = _with_usual_pen(_enlarged(_those(labels, numbers), depth))
    size = (round(fine.shape[1] / FINE), round(fine.shape[0] / FINE))
    small = cv2.resize(fine, size, None, 0, 0, cv2.INTER_AREA)
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    top, left = ((PAGE_SIDE - extent) // 2 for extent in small.shape)
    page[top : top + small.shape[0], left : left + small.shape[1]] = small
    return page


def _enlarged(mask: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(height, width) bool, on a grid `FINE` times as fine as the page, with a margin."""
    near = cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    ink = np.where(near, np.clip(depth, 0, 1), 0).astype(np.float32)
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    ink = np.pad(ink, 1)[top : top + height + 2, left : left + width + 2]
    scale = DRAWN * PAGE_SIDE * FINE / max(ink.shape)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    large = cv2.resize(ink, size, None, 0, 0, cv2.INTER_LINEAR if scale > 1 else cv2.INTER_AREA)
    return np.pad(large >= 0.5 * min(1, large.max()), 10 * FINE)


def _with_usual_pen(drawn: np.ndarray) -> np.ndarray:
    """Strokes made wider or narrower on both sides, to a width that EMNIST's writers have."""
    inside, outside = (
        cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for mask in (drawn, ~drawn)
    )
    width = 4 * (inside[drawn].mean() - 0.5)  # a bar's pixels are a quarter of it from its edge
    wanted = np.clip(width, PENS[0] * FINE, PENS[1] * FINE)
    from_edge = np.where(drawn, inside - 0.5, 0.5 - outside) + (wanted - width) / 2
    return np.asarray(np.clip(from_edge + 0.5, 0, 1), dtype=np.float32)
