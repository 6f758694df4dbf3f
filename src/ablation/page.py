"""From a picture's brightness to pages of ink: what on a photograph is writing, and what is not.

The ground is local: what is left of the picture when everything narrower than a window is closed.
Light and shadows are wider than strokes, so they are in the ground. Ink is where a pixel is darker
than half of the ink's depth. What a desk, a frame, dust or squared paper leave is set aside.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image
from scipy import ndimage

from ablation.base.errors import UserError
from ablation.data.conversion import PAGE_SIDE

SEARCH_SIDE = 240
WORKING_SIDE = 480  # pixels of the longer side that writing is looked for at
WINDOWS = (0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 3.0)  # of the shorter side; the last is all
LEAST_DEPTH = 0.1  # of the light: what takes away less is paper
NOISES = 10  # so many standard deviations of the picture's noise are paper as well
ALIKE = 0.85  # overlap of what two windows find, from which on the smaller one is believed
SPECK = 0.03  # of the longer side: what is smaller in every direction is no writing
DRAWN = 0.6  # of a page's side: the longer side of the writing on it


class EmptyPageError(UserError):
    """A picture with no writing on it."""


@dataclass(frozen=True)
class Writing:
    """What was found on a picture.

    Attributes:
        depth: (height, width) float, 0.5 at the edge of the ink.
        parts: (height, width) int, the connected parts of the ink, 0 elsewhere.
        window: the window that it was found with.
        cut: whether it touches the picture's edge.
    """

    depth: np.ndarray
    parts: np.ndarray
    window: float
    cut: bool

    @property
    def mask(self) -> np.ndarray:
        """(height, width) bool."""
        return np.asarray(self.parts > 0)


@dataclass(frozen=True)
class Part:
    """A connected part of what may be ink."""

    number: int
    rows: slice
    columns: slice
    area: int
    radius: float  # of the largest circle in it
    covers: tuple[float, float, float, float]  # share of the picture's top, bottom, left, right

    @property
    def extent(self) -> int:
        return max(self.rows.stop - self.rows.start, self.columns.stop - self.columns.start)

    @property
    def touches(self) -> bool:
        return max(self.covers) > 0


def pages(brightness: np.ndarray) -> list[np.ndarray]:
    """The characters on a picture, from left to right.

    Args:
        brightness: (height, width) float in 0..1.

    Returns:
        pages of (128, 128) float, ink in 0..1, the character in the middle.

    Raises:
        EmptyPageError: nothing is written on it.
    """
    writing = find_writing(brightness)
    return [page_of(writing, numbers) for numbers in characters_of(writing)]


def find_writing(brightness: np.ndarray) -> Writing:
    """The ink on a picture, dark on light or light on dark.

    Args:
        brightness: (height, width) float in 0..1.

    Raises:
        EmptyPageError: nothing is written on it.
    """
    coarse = _smoothed(brightness, SEARCH_SIDE)
    dark, light = _ink(coarse), _ink(1 - coarse)
    if dark is None and light is None:
        raise EmptyPageError("an empty page")
    found = _more_likely(dark, light) if dark and light else dark or light
    assert found is not None
    fine = _smoothed(brightness, WORKING_SIDE)
    fine = fine if found is dark else 1 - fine
    return _ink_below(fine, found.window) or found


def _smoothed(brightness: np.ndarray, side: int) -> np.ndarray:
    height, width = brightness.shape
    scale = min(1, side / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.asarray(brightness, dtype=np.float32))
    small = np.asarray(image.resize(size, Image.Resampling.BOX)) if scale < 1 else brightness
    return np.clip(ndimage.gaussian_filter(small.astype(np.float32), 0.7), 0, 1)


def _more_likely(dark: Writing, light: Writing) -> Writing:
    """The ink is around the spaces in it, but a paper around the ink is not."""
    dark_box, light_box = _box(dark.mask), _box(light.mask)
    if _contains(dark_box, light_box):
        return dark
    if _contains(light_box, dark_box):
        return dark if _solidity(light.mask) > 0.8 else light
    return dark if dark.window <= light.window else light


def _ink(picture: np.ndarray) -> Writing | None:
    """Dark ink, by the smallest window that the next one agrees with."""
    before: Writing | None = None
    best, best_overlap = None, 0.0
    for window in WINDOWS:
        found = _ink_below(picture, window)
        if before is not None and found is not None:
            overlap = _overlap(before.mask, found.mask)
            if overlap > best_overlap:
                best, best_overlap = before, overlap
            if overlap >= ALIKE:
                return before
        before = found
    return best or before


def _ground(picture: np.ndarray, size: int) -> np.ndarray:
    """Closing: a shadow's straight edge stays as it is, and so does a slope."""
    if size > max(picture.shape):
        return np.full_like(picture, picture.max())
    size += 1 - size % 2
    return np.asarray(ndimage.grey_closing(picture, (size, size), mode="reflect"))


def _noise(picture: np.ndarray) -> float:
    rough = picture - ndimage.gaussian_filter(picture, 2)
    return float(1.48 * np.median(np.abs(rough)))


def _ink_below(picture: np.ndarray, window: float) -> Writing | None:
    """What is darker than half of the ink's depth; specks and edges are set aside meanwhile."""
    ground, noise = _ground(picture, max(3, round(window * min(picture.shape)))), _noise(picture)
    depth = 1 - (picture + 0.02) / (ground + 0.02)
    depth[depth < np.maximum(LEAST_DEPTH, NOISES * noise / (ground + 0.02))] = 0
    for _ in range(6):
        deepest = depth.max()
        if not deepest:
            return None
        deepest = np.percentile(depth[depth > 0.8 * deepest], 50)
        parts, _count = ndimage.label(depth > deepest / 2, np.ones((3, 3)))
        known = _measured(parts)
        kept = _writing_among(known, parts)
        if kept:
            numbers = [part.number for part in kept]
            chosen = np.where(np.isin(parts, numbers), parts, 0)
            cut = any(part.touches for part in kept)
            return Writing(depth / deepest, chosen, window, cut)
        depth = np.where(ndimage.binary_dilation(parts > 0, iterations=4), 0, depth)
    return None


def _measured(parts: np.ndarray) -> list[Part]:
    distances = ndimage.distance_transform_edt(parts)
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    known = []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        if areas[number] < 0.003 * areas.max():
            continue
        inside = parts[place] == number
        rows, columns = place
        covers = (
            float((parts[0] == number).sum()) / parts.shape[1],
            float((parts[-1] == number).mean()),
            float((parts[:, 0] == number).mean()),
            float((parts[:, -1] == number).mean()),
        )
        radius = float(distances[place][inside].max())
        known.append(Part(number, rows, columns, int(inside.sum()), radius, covers))
    return known


def _writing_among(known: list[Part], parts: np.ndarray) -> list[Part]:
    speck = SPECK * max(parts.shape)
    known = [p for p in known if not _is_frame(p) and not _is_strip(p, parts)]
    inner = [part for part in known if not part.touches]
    outer = [part for part in known if part.touches]
    if not any(part.extent > speck for part in inner):
        inner = []
    if outer and _is_cropped(inner, outer):
        inner = inner + outer
    if not inner or max(part.extent for part in inner) <= speck:
        return []
    return _without_dust(inner)


def _is_frame(part: Part) -> bool:
    return min(part.covers) > 0.85


def _is_strip(part: Part, parts: np.ndarray) -> bool:
    top, bottom, left, right = part.covers
    along = (top > 0.95 and not bottom) or (bottom > 0.95 and not top)
    across = (left > 0.95 and not right) or (right > 0.95 and not left)
    return (along or across) and _solidity(parts == part.number) > 0.9


def _is_cropped(inner: list[Part], outer: list[Part]) -> bool:
    """Whether what touches the edge is the writing itself."""
    if not inner:
        return True
    sides = sum(any(part.covers[side] for part in outer) for side in range(4))
    same_pen = max(p.radius for p in outer) < 2 * max(p.radius for p in inner)
    return (
        sides >= 3 and same_pen and sum(p.area for p in outer) > sum(p.area for p in inner)
    )


def _without_dust(known: list[Part]) -> list[Part]:
    main = max(known, key=lambda part: part.area)
    whole = sum(part.area for part in known)
    return [
        part
        for part in known
        if part is main
        or (part.area > 0.015 * whole and (part.area > 0.1 * main.area or _near(part, main)))
    ]


def _near(part: Part, main: Part) -> bool:
    gaps = (
        max(0, part.rows.start - main.rows.stop, main.rows.start - part.rows.stop),
        max(0, part.columns.start - main.columns.stop, main.columns.start - part.columns.stop),
    )
    return max(gaps) < 0.4 * main.extent


def _box(mask: np.ndarray) -> tuple[int, int, int, int]:
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def _contains(outer: tuple[int, int, int, int], inner: tuple[int, int, int, int]) -> bool:
    return (
        outer[0] <= inner[0]
        and inner[1] <= outer[1]
        and outer[2] <= inner[2]
        and inner[3] <= outer[3]
    )


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def _solidity(mask: np.ndarray) -> float:
    """Its area, of that of its convex hull."""
    from scipy.spatial import ConvexHull, QhullError

    rows = np.flatnonzero(mask.any(axis=1))
    firsts = mask[rows].argmax(axis=1)
    lasts = mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    corners = [np.stack([y, x], 1) for y in (rows, rows + 1) for x in (firsts, lasts)]
    try:
        return float(mask.sum() / ConvexHull(np.concatenate(corners)).volume)
    except QhullError:
        return 1.0


def characters_of(writing: Writing) -> list[list[int]]:
    """The numbers of each character's parts, from left to right."""
    numbers = [int(n) for n in np.unique(writing.parts) if n]
    return [numbers]


FINE = 3
USUAL = (0.0, 99.0)


def page_of(writing: Writing, numbers: list[int]) -> np.ndarray:
    """One character in the middle of a (128, 128) page of ink in 0..1."""
    mask = np.isin(writing.parts, numbers)
    near = ndimage.binary_dilation(mask, iterations=2)
    ink = np.where(near, np.clip(writing.depth, 0, 1), 0).astype(np.float32)
    top, bottom, left, right = _box(mask)
    ink = np.pad(ink, 2)[top : bottom + 4, left : right + 4]
    scale = DRAWN * PAGE_SIDE * FINE / max(bottom - top, right - left)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    large = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))
    drawn = large > 0.5
    if not drawn.any():
        drawn = large > large.max() / 2
    drawn = np.pad(drawn, 30)
    inside = ndimage.distance_transform_edt(drawn)
    outside = ndimage.distance_transform_edt(~drawn)
    width = 4 * (inside[drawn] - 0.5).mean()
    grow = (np.clip(width, *(u * FINE for u in USUAL)) - width) / 2
    signed = np.where(drawn, inside - 0.5, 0.5 - outside)
    fine = np.clip(signed + grow + 0.5, 0, 1).astype(np.float32)
    small = Image.fromarray(fine).resize(
        (max(1, round(fine.shape[1] / FINE)), max(1, round(fine.shape[0] / FINE))),
        Image.Resampling.BOX,
    )
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    y, x = (PAGE_SIDE - small.height) // 2, (PAGE_SIDE - small.width) // 2
    page[y : y + small.height, x : x + small.width] = np.asarray(small)
    page_of.width = width / FINE
    return page
