"""From a picture's brightness to pages of ink: what on a photograph is writing, and what is not.

The ground is local: what is left of the picture when everything narrower than a window is closed.
Light and shadows are wider than strokes, so they are in the ground. Ink is where a pixel is darker
than half of the ink's depth, and where the step to the ground is sharp. What a desk, a frame, dust
or squared paper leave is set aside.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from ablation.base.errors import UserError
from ablation.pictures.conversion import PAGE_SIDE

SEARCH_SIDE = 240  # pixels of the longer side, where writing is looked for
WORKING_SIDE = 480  # and where it is taken from
LEAST_SIDE = 160  # smaller pictures are enlarged
WINDOWS = (0.05, 0.08, 0.13, 0.2, 0.32, 0.5, 0.8, 1.5)  # of the picture's shorter side
LEAST_DEPTH = 0.1  # of the light: what takes away less is paper
NOISES = 10  # so many standard deviations of the picture's noise are paper as well
ALIKE = 0.92  # overlap of what two windows find, from which on they are believed
HARDLY_ALIKE = 0.6  # below, it is light and shade
WIDER = 4.2  # the window of strokes over that of the spaces between them, at most
EDGE = 1 / 120  # of the longer side: how far from its edge ink is ink and paper is paper
STEP = 0.15  # of the ink's depth, at the edge of what is drawn; light falls more slowly
SPECK = 0.03  # of the longer side: what is smaller in every direction is no writing
DRAWN = 0.6  # of a page's side: the longer side of the writing on it
FINE = 3  # pixels of the grid that the pen is changed on, for one of the page
PENS = (8.0, 11.0)  # pixels of the page: the widths that most of EMNIST's writers have


class EmptyPageError(UserError):
    """A picture with no writing on it."""


@dataclass(frozen=True)
class Writing:
    """What was found on a picture.

    Attributes:
        depth: (height, width) float, 0.5 at the edge of the ink.
        parts: (height, width) int, the connected parts of the ink, 0 elsewhere.
        window: the window that it was found with, as a share of the shorter side.
        border: the share of the picture's border that it covers.
        agreed: the overlap of what two windows found.
    """

    depth: np.ndarray
    parts: np.ndarray
    window: float
    border: float
    agreed: float = 0.0

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
    covers: tuple[float, float, float, float]  # share of the picture's top, bottom, left, right
    step: float  # at its edge, as a share of the ink's depth

    @property
    def extent(self) -> int:
        """Its longer side."""
        height, width = self.rows.stop - self.rows.start, self.columns.stop - self.columns.start
        return int(max(height, width))

    @property
    def touches(self) -> bool:
        """Whether it is at the picture's edge."""
        return max(self.covers) > 0


def pages(brightness: np.ndarray) -> list[np.ndarray]:
    """All that is written on a picture, on one page, and each character on one if there are more.

    Args:
        brightness: (height, width) float in 0..1.

    Returns:
        pages of (128, 128) float32, ink in 0..1, the writing in the middle: the whole, then the
        characters from left to right unless there is one.

    Raises:
        EmptyPageError: nothing is written on it.
    """
    writing = find_writing(brightness)
    characters = characters_of(writing)
    whole = [number for numbers in characters for number in numbers]
    each = characters if len(characters) > 1 else []
    return [page_of(writing, numbers) for numbers in (whole, *each)]


def find_writing(brightness: np.ndarray) -> Writing:
    """The ink on a picture, dark on light or light on dark.

    Args:
        brightness: (height, width) float in 0..1.

    Raises:
        EmptyPageError: nothing is written on it.
    """
    coarse = _smoothed(brightness, SEARCH_SIDE)
    dark = _ink(coarse, WINDOWS)
    light = _ink(1 - coarse, _not_much_wider(dark))
    if dark is None and light is None:
        raise EmptyPageError("an empty page; write one character on it, larger than a speck")
    found = _more_likely(dark, light) if dark and light else dark or light
    assert found is not None
    fine = _smoothed(brightness, WORKING_SIDE)
    fine = fine if found is dark else 1 - fine
    return _ink_below(fine, found.window, _noise(fine)) or found


def _smoothed(brightness: np.ndarray, side: int) -> np.ndarray:
    height, width = brightness.shape
    longer = max(height, width)
    scale = min(side, max(LEAST_SIDE, longer)) / longer
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(np.asarray(brightness, dtype=np.float32))
    way = Image.Resampling.BOX if scale < 1 else Image.Resampling.BICUBIC
    resized = np.asarray(image.resize(size, way))
    return np.asarray(np.clip(ndimage.gaussian_filter(resized, 0.7), 0, 1))


def _more_likely(dark: Writing, light: Writing) -> Writing:
    """The ground is along the border. Ink is around the spaces in it, a paper is around the ink."""
    if (dark.agreed >= ALIKE) != (light.agreed >= ALIKE):
        return max(dark, light, key=lambda writing: writing.agreed)
    if (dark.border and light.border) or max(dark.border, light.border) > 0.5:
        return min(dark, light, key=lambda writing: writing.border)
    dark_box, light_box = _box(dark.mask), _box(light.mask)
    if _contains(dark_box, light_box):
        return dark
    if _contains(light_box, dark_box):
        return dark if _solidity(light.mask) > 0.8 else light
    return dark if dark.window <= light.window else light


def _not_much_wider(dark: Writing | None) -> tuple[float, ...]:
    """Strokes need windows like those of the spaces between them."""
    if dark is None or dark.agreed < ALIKE:
        return WINDOWS
    return tuple(window for window in WINDOWS if window <= WIDER * dark.window)


def _ink(picture: np.ndarray, windows: Sequence[float]) -> Writing | None:
    """Dark ink, by the smallest window that the one before agrees with.

    A window that is narrower than a stroke finds parts of it. One that is wider than a shadow takes
    the shadow for ink.
    """
    before: Writing | None = None
    best: Writing | None = None
    noise = _noise(picture)
    for window in windows:
        found = _ink_below(picture, window, noise)
        if before and found:
            found = replace(found, agreed=_overlap(before.mask, found.mask))
            if best is None or found.agreed > best.agreed:
                best = found
            if found.agreed >= ALIKE:
                break
        before = found
    return best if best and best.agreed >= HARDLY_ALIKE else None


def _ground(picture: np.ndarray, size: int) -> np.ndarray:
    """Closing: a shadow's straight edge stays as it is, and so does a slope."""
    if size > max(picture.shape):
        return np.full_like(picture, picture.max())
    size += 1 - size % 2
    return np.asarray(ndimage.grey_closing(picture, (size, size), mode="reflect"))


def _noise(picture: np.ndarray) -> float:
    rough = picture - ndimage.gaussian_filter(picture, 2)
    return float(1.48 * np.median(np.abs(rough)))


def _ink_below(picture: np.ndarray, window: float, noise: float) -> Writing | None:
    """What is darker than half of the ink's depth; specks and edges are set aside meanwhile."""
    ground = _ground(picture, max(3, round(window * min(picture.shape))))
    whole = depth = 1 - (picture + 0.02) / (ground + 0.02)
    least = np.maximum(LEAST_DEPTH, NOISES * noise / (ground + 0.02))
    depth = np.where(whole < least, 0, whole)
    for _ in range(6):
        deepest = depth.max()
        if not deepest:
            return None
        deepest = np.percentile(depth[depth > 0.8 * deepest], 50)
        parts, _count = ndimage.label(depth > deepest / 2, np.ones((3, 3)))
        known = _measured(parts, whole / deepest)
        kept = _writing_among(known, parts)
        if kept:
            chosen = np.where(_those(parts, [part.number for part in kept]), parts, 0)
            return Writing(depth / deepest, chosen, window, _border(chosen))
        depth = np.where(ndimage.binary_dilation(parts > 0, iterations=4), 0, depth)
    return None


def _those(parts: np.ndarray, numbers: list[int]) -> np.ndarray:
    """Where one of these parts is."""
    chosen = np.zeros(max(int(parts.max()), *numbers) + 1, bool)
    chosen[numbers] = True
    return np.asarray(chosen[parts])


def _border(parts: np.ndarray) -> float:
    border = np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])
    return float((border > 0).mean())


def _measured(parts: np.ndarray, depth: np.ndarray) -> list[Part]:
    areas = np.bincount(parts.ravel())
    areas[0] = 0
    steps = _steps(parts, depth)
    known = []
    for number, place in enumerate(ndimage.find_objects(parts), start=1):
        if areas[number] < 0.003 * areas.max():
            continue
        rows, columns = place
        covers = (
            float((parts[0] == number).mean()),
            float((parts[-1] == number).mean()),
            float((parts[:, 0] == number).mean()),
            float((parts[:, -1] == number).mean()),
        )
        known.append(Part(number, rows, columns, int(areas[number]), covers, float(steps[number])))
    return known


def _steps(parts: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """(parts + 1,) how much the depth changes from inside to outside of each part's edge."""
    window = 2 * round(max(parts.shape) * EDGE) + 1
    grown = ndimage.maximum_filter(parts, window)
    inside = (parts > 0) & (ndimage.minimum_filter(parts, window) == 0)
    outside = (parts == 0) & (grown > 0)
    sides = []
    for ring, owner in ((inside, parts), (outside, grown)):
        counts = np.bincount(owner[ring], minlength=parts.max() + 1)
        sums = np.bincount(owner[ring], depth[ring], minlength=parts.max() + 1)
        sides.append(sums / np.maximum(1, counts))
    return np.asarray(sides[0] - sides[1])


def _writing_among(known: list[Part], parts: np.ndarray) -> list[Part]:
    speck = SPECK * max(parts.shape)
    known = [p for p in known if p.step > STEP and not _is_frame(p) and not _is_shade(p, parts)]
    known = [p for p in known if p.extent < 4 * speck or not _is_sheet(p, parts)]
    inner = [part for part in known if not part.touches]
    outer = [part for part in known if part.touches]
    if not any(part.extent > speck for part in inner):
        inner = []
    if outer and _is_cropped(inner, outer, parts):
        inner = inner + outer
    inner = _without_dust(inner)
    if all(part.extent <= speck or _is_dot(part, speck, parts) for part in inner):
        return []
    return inner


def _is_dot(part: Part, speck: float, parts: np.ndarray) -> bool:
    return part.extent < 4 * speck and _radius([part], parts) > 0.35 * part.extent


def _is_sheet(part: Part, parts: np.ndarray) -> bool:
    """A page on a desk: without corners that go in, and too wide for a stroke."""
    return _radius([part], parts) > 0.3 * part.extent and _solidity(parts == part.number) > 0.95


def _is_frame(part: Part) -> bool:
    return min(part.covers) > 0.85


def _is_shade(part: Part, parts: np.ndarray) -> bool:
    """A dark side or corner of the picture."""
    top, bottom, left, right = part.covers
    along = (top > 0.95 and not bottom) or (bottom > 0.95 and not top)
    across = (left > 0.95 and not right) or (right > 0.95 and not left)
    corner = part.touches and not (top and bottom) and not (left and right)
    return (along or across or corner) and _solidity(parts == part.number) > 0.9


def _is_cropped(inner: list[Part], outer: list[Part], parts: np.ndarray) -> bool:
    """Whether what touches the edge is the writing itself."""
    if not inner:
        return True
    sides = sum(any(part.covers[side] for part in outer) for side in range(4))
    if sides < 3 or sum(part.area for part in outer) < sum(part.area for part in inner):
        return False
    return _radius(outer, parts) < 2 * _radius(inner, parts)  # by the same pen


def _radius(some: list[Part], parts: np.ndarray) -> float:
    """Of the largest circle in any of them."""
    firsts = [(part.rows.start, part.columns.start) for part in some]
    lasts = [(part.rows.stop, part.columns.stop) for part in some]
    (top, left), (bottom, right) = np.min(firsts, axis=0), np.max(lasts, axis=0)
    around = parts[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]
    mask = _those(around, [part.number for part in some])
    return float(ndimage.distance_transform_edt(mask).max())


def _without_dust(known: list[Part]) -> list[Part]:
    if not known:
        return []
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
    return bool(max(gaps) < 0.4 * main.extent)


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
    """The numbers of each character's parts, from left to right.

    Parts side by side are several characters if the gap is wide, or if there is a gap and the whole
    is wider than a character. Parts of one character, such as a dot, are low or close.
    """
    numbers = [int(number) for number in np.unique(writing.parts) if number]
    boxes = {number: _box(writing.parts == number) for number in numbers}
    groups: list[list[int]] = []
    for number in sorted(numbers, key=lambda number: boxes[number][2]):
        if groups and boxes[number][2] <= max(boxes[n][3] for n in groups[-1]):
            groups[-1].append(number)
        else:
            groups.append([number])
    hulls = [_around([boxes[number] for number in group]) for group in groups]
    tallest = max(bottom - top for top, bottom, _, _ in hulls)
    whole = _around(hulls)
    least = 0.1 if whole[3] - whole[2] > 1.15 * tallest else 0.5
    characters = [groups[0]]
    for before, hull, group in zip(hulls, hulls[1:], groups[1:], strict=False):
        tall = min(before[1] - before[0], hull[1] - hull[0]) > 0.4 * tallest
        if tall and hull[2] - before[3] > least * tallest:
            characters.append(group)
        else:
            characters[-1] += group
    return characters


def _around(boxes: list[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    tops, bottoms, lefts, rights = zip(*boxes, strict=True)
    return min(tops), max(bottoms), min(lefts), max(rights)


def page_of(writing: Writing, numbers: list[int]) -> np.ndarray:
    """One character, written with a usual pen, in the middle of a page.

    Args:
        writing: where it was found.
        numbers: its parts.

    Returns:
        (128, 128) float32, ink in 0..1.
    """
    fine = _with_usual_pen(_enlarged(writing, numbers))
    size = (round(fine.shape[1] / FINE), round(fine.shape[0] / FINE))
    small = np.asarray(Image.fromarray(fine).resize(size, Image.Resampling.BOX))
    page = np.zeros((PAGE_SIDE, PAGE_SIDE), np.float32)
    top, left = ((PAGE_SIDE - extent) // 2 for extent in small.shape)
    page[top : top + small.shape[0], left : left + small.shape[1]] = small
    return page


def _enlarged(writing: Writing, numbers: list[int]) -> np.ndarray:
    """(height, width) bool, on a grid `FINE` times as fine as the page, with a margin."""
    mask = _those(writing.parts, numbers)
    near = ndimage.binary_dilation(mask, iterations=2)
    ink = np.where(near, np.clip(writing.depth, 0, 1), 0).astype(np.float32)
    top, bottom, left, right = _box(mask)
    ink = np.pad(ink, 1)[top : bottom + 2, left : right + 2]
    scale = DRAWN * PAGE_SIDE * FINE / max(ink.shape)
    size = (max(1, round(ink.shape[1] * scale)), max(1, round(ink.shape[0] * scale)))
    large = np.asarray(Image.fromarray(ink).resize(size, Image.Resampling.BILINEAR))
    return np.pad(large >= 0.5 * min(1, large.max()), 10 * FINE)


def _with_usual_pen(drawn: np.ndarray) -> np.ndarray:
    """Strokes made wider or narrower on both sides, to a width that EMNIST's writers have."""
    inside = ndimage.distance_transform_edt(drawn)
    outside = ndimage.distance_transform_edt(~drawn)
    width = 4 * (inside[drawn].mean() - 0.5)  # a bar's pixels are a quarter of it from its edge
    wanted = np.clip(width, PENS[0] * FINE, PENS[1] * FINE)
    from_edge = np.where(drawn, inside - 0.5, 0.5 - outside) + (wanted - width) / 2
    return np.asarray(np.clip(from_edge + 0.5, 0, 1), dtype=np.float32)
