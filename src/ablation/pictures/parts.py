"""Connected components of candidate ink, and the selection of those that are writing."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

EDGE = 1 / 120  # of the longer side: distance from an edge at which ink and paper are sampled
STEP = 0.15  # of the ink's depth: minimum step across a stroke's edge; shadows are softer
SPECK = 0.012  # of the longer side: minimum extent of writing
LEAST = 10  # pixels: minimum extent of writing, whatever the picture's size
DUST = 0.03  # of the longer side: smaller blobs are not pen dots
MOST = 100  # largest components that are considered
TALL = 0.4  # of the tallest character's height: lower components are parts of a character
CONTENT = 0.3  # of a hole's side: minimum extent of a frame's content; a letter's counter has less
OPEN = 2.0  # minimum width of a comb, a box that is open at the top, relative to its content
RULE = (0.06, 1.5)  # a rule's maximum thickness / length, and minimum length / writing's extent
ASIDE = "ignored the frame around the writing"
PEN = 0.7  # of the writing's pen width: printed lines are thinner


Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, eq=False)
class Part:
    """A connected component of candidate ink.

    Attributes:
        number: its value in the label array.
        box: bounding box.
        area: in pixels.
        radius: of the largest inscribed circle.
        solidity: its area relative to its convex hull's.
        step: change of depth across its edge, relative to the ink's depth.
        covers: fractions of the picture's top, bottom, left and right edge that it touches.
        outline: outer contour.
        holes: inner contours.
    """

    number: int
    box: Box
    area: int
    radius: float
    solidity: float
    step: float
    covers: tuple[float, float, float, float]
    outline: np.ndarray
    holes: tuple[np.ndarray, ...]

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    @property
    def extent(self) -> int:
        """Its longer side."""
        return max(self.width, self.height)

    @property
    def touches(self) -> bool:
        """Whether it is at the picture's edge."""
        return max(self.covers) > 0

    @property
    def middle(self) -> tuple[float, float]:
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


def measure(mask: np.ndarray, depth: np.ndarray) -> tuple[np.ndarray, list[Part]]:
    """Label the connected components of a mask.

    Args:
        mask: (height, width) bool.
        depth: (height, width) float, 1 for full ink.

    Returns:
        labels: (height, width) int32, 0 for the background.
        parts: those larger than a speck, in descending order of area.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    longer = max(mask.shape)
    extents = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1)
    areas = stats[:, cv2.CC_STAT_AREA]
    large = np.flatnonzero(extents >= max(LEAST, SPECK * longer) / 2)
    large = large[large > 0]
    large = large[np.argsort(-areas[large], kind="stable")][:MOST]
    return labels, [_part(int(n), labels, stats[n], depth) for n in large]


def _part(number: int, labels: np.ndarray, stats: np.ndarray, depth: np.ndarray) -> Part:
    left, top, width, height, area = (int(value) for value in stats)
    reach = 2 + round(max(labels.shape) * EDGE)
    rows = slice(max(0, top - reach), top + height + reach)
    columns = slice(max(0, left - reach), left + width + reach)
    around = labels[rows, columns]
    mask = (around == number).astype(np.uint8)
    contours, order = cv2.findContours(
        mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(columns.start, rows.start)
    )
    outline = contours[0]
    for contour, place in zip(contours, order[0], strict=True):
        if place[3] < 0:
            outline = contour
    holes = tuple(c for c, place in zip(contours, order[0], strict=True) if place[3] >= 0)
    hull = cv2.convexHull(outline)  # passes through pixel centres: half a pixel is added around it
    whole = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    inside = cv2.distanceTransform(np.pad(mask, 1), cv2.DIST_L2, 3)
    edges = (
        labels[0, left : left + width] if top == 0 else labels[:0, 0],
        labels[-1, left : left + width] if top + height == len(labels) else labels[:0, 0],
        labels[top : top + height, 0] if left == 0 else labels[:0, 0],
        labels[top : top + height, -1] if left + width == labels.shape[1] else labels[:0, 0],
    )
    lengths = (labels.shape[1],) * 2 + (labels.shape[0],) * 2
    covers = [float((e == number).sum() / n) for e, n in zip(edges, lengths, strict=True)]
    return Part(
        number,
        (left, top, left + width, top + height),
        area,
        float(inside.max()),
        area / whole,
        _step(mask, around, depth[rows, columns], reach - 2),
        (covers[0], covers[1], covers[2], covers[3]),
        outline,
        holes,
    )


def _step(mask: np.ndarray, around: np.ndarray, depth: np.ndarray, reach: int) -> float:
    """Difference in depth between the inner and outer side of a part's edge."""
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    inner = (mask > 0) & (cv2.erode(mask, square) == 0)
    outer = (around == 0) & (cv2.dilate(mask, square) > 0)
    if not inner.any() or not outer.any():
        return 0.0
    return float(depth[inner].mean() - depth[outer].mean())


def rules(labels: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Find printed lines that touch the writing.

    Returns:
        (height, width) bool; pixels where a stroke crosses a line are not included.
    """
    found = np.zeros(labels.shape, bool)
    for part in parts:
        left, top, right, bottom = part.box
        place = found[top:bottom, left:right]
        place |= _rule(labels[top:bottom, left:right] == part.number)
    return found


def _rule(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool, a straight line through a part from left to right; or all False."""
    nothing = np.zeros_like(mask)
    height, width = mask.shape
    end = width // 10
    if end < 4 or width < height:
        return nothing
    thick = float(np.median(np.r_[mask[:, :end].sum(axis=0), mask[:, -end:].sum(axis=0)]))
    if thick > RULE[0] * width:
        return nothing
    rows, columns = np.mgrid[:height, :width]
    ends = [rows[:, part][mask[:, part]].mean() for part in (slice(end), slice(-end, None))]
    line = np.interp(columns[0], (end / 2, width - end / 2), ends)
    band = np.abs(rows - line) <= thick / 2 + 1.5
    rest = mask & ~band
    across = np.flatnonzero(rest.any(axis=0))
    if not len(across) or (mask & band).any(axis=0).mean() < 0.97:
        return nothing
    extent = max(np.ptp(across), np.ptp(np.flatnonzero(rest.any(axis=1)))) + 1
    if min(across[0], width - across[-1]) < end / 2 or width < RULE[1] * extent:
        return nothing
    crossed = (rest & (rows < line)).any(axis=0) & (rest & (rows > line)).any(axis=0)
    return np.asarray(band & mask & ~crossed)


@dataclass(frozen=True)
class Chosen:
    """The parts selected as writing.

    Attributes:
        parts: empty if there is no writing.
        warnings: about parts that were ignored.
    """

    parts: list[Part]
    warnings: tuple[str, ...] = ()


def writing_among(parts: Sequence[Part], longer: int) -> Chosen:
    """Select the parts that are writing; drop background, frames, form lines, dust and shadows.

    Args:
        parts: all parts of a picture.
        longer: the picture's longer side in pixels.
    """
    parts = [p for p in parts if p.step > STEP and not (_is_border(p) or _is_shade(p))]
    parts = [p for p in parts if p.extent < 2 * DUST * longer or not _is_sheet(p)]
    inner = [part for part in parts if not part.touches]
    outer = [part for part in parts if part.touches]
    if not any(_is_written(part, longer) for part in inner):
        inner = []
    if outer and _is_cropped(inner, outer):
        inner = inner + outer
    chosen = _without_print(inner, parts)
    kept = _near_the_main(chosen.parts)
    return Chosen(kept if any(_is_written(p, longer) for p in kept) else [], chosen.warnings)


def _is_written(part: Part, longer: int) -> bool:
    if part.extent < max(LEAST, SPECK * longer):
        return False
    return part.extent > 4 * DUST * longer or part.radius < 0.35 * part.extent


def _is_sheet(part: Part) -> bool:
    """Whether it is a sheet of paper: convex, and too wide for a stroke."""
    return part.radius > 0.3 * part.extent and part.solidity > 0.95


def _is_border(part: Part) -> bool:
    return min(part.covers) > 0.85


def _is_shade(part: Part) -> bool:
    """Whether it is a dark side or corner of the picture."""
    top, bottom, left, right = part.covers
    along = (top > 0.95 and not bottom) or (bottom > 0.95 and not top)
    across = (left > 0.95 and not right) or (right > 0.95 and not left)
    corner = part.touches and not (top and bottom) and not (left and right)
    return (along or across or corner) and part.solidity > 0.9


def _is_cropped(inner: list[Part], outer: list[Part]) -> bool:
    """Whether the parts at the picture's edge are writing as well."""
    if not inner:
        return True
    sides = sum(any(part.covers[side] for part in outer) for side in range(4))
    if sides < 3 or sum(part.area for part in outer) < sum(part.area for part in inner):
        return False
    pens = [max(part.radius for part in some) for some in (outer, inner)]
    return pens[0] < 2 * pens[1]


def _without_print(parts: list[Part], known: list[Part]) -> Chosen:
    """Drop frames, rules and combs; keep what is written in or on them."""
    frames, inside = set(), set()
    for frame in known:
        for hole in frame.holes:
            content = [part for part in parts if part is not frame and _fills(part, hole)]
            if content:
                frames.add(frame.number)
                inside |= {part.number for part in content}
    kept = [p for p in parts if p.number in inside and p.number not in frames] if inside else parts
    warnings: list[str] = []
    pen = max((part.radius for part in kept), default=0)
    if any(p.number in frames and p.radius > PEN * pen for p in parts):
        warnings.append(ASIDE)
    below = {p.number for p in kept for c in kept if p is not c and _underlines(p, c)}
    kept = [part for part in kept if part.number not in below]
    return Chosen(kept, tuple(warnings))


def _fills(part: Part, hole: np.ndarray) -> bool:
    left, top, width, height = cv2.boundingRect(hole)
    within = left <= part.box[0] and part.box[2] <= left + width
    within = within and top <= part.box[1] and part.box[3] <= top + height
    return within and part.extent > CONTENT * max(width, height)


def _underlines(part: Part, content: Part) -> bool:
    """Whether it is a rule or a comb below the content or around its foot."""
    left, _, right, bottom = content.box
    if part.box[0] > left or part.box[2] < right or part.box[3] < bottom - 0.2 * content.height:
        return False
    across, down = sorted(cv2.minAreaRect(part.outline)[1])
    if across <= RULE[0] * down:
        return part.extent > RULE[1] * content.extent
    comb = part.radius < PEN * content.radius and part.width > OPEN * content.width
    return comb and _is_of_lines(part)


def _is_of_lines(part: Part) -> bool:
    """Whether it consists of straight lines at right angles."""
    angle = cv2.minAreaRect(part.outline)[2]
    angle = (angle + 45) % 90 - 45
    left, top, _, _ = part.box
    middle = part.middle
    size = (part.width + 20, part.height + 20)
    mask = np.zeros(size[::-1], np.uint8)
    offset = (10 - left, 10 - top)
    cv2.drawContours(mask, [part.outline, *part.holes], -1, 1, cv2.FILLED, offset=offset)
    about = (middle[0] + offset[0], middle[1] + offset[1])
    mask = cv2.warpAffine(mask, cv2.getRotationMatrix2D(about, angle, 1), size)
    long = max(5, round(6 * part.radius))
    bars = (np.ones((1, long), np.uint8), np.ones((long, 1), np.uint8))
    across, down = (cv2.morphologyEx(mask, cv2.MORPH_OPEN, bar) > 0 for bar in bars)
    return bool((across | down).sum() > 0.8 * mask.sum())


def _near_the_main(parts: list[Part]) -> list[Part]:
    """Keep characters, and the dots and bars that belong to them."""
    if not parts:
        return []
    main = max(parts, key=lambda part: part.area)
    tallest = max(part.height for part in parts if part.area > 0.1 * main.area)
    large = [p for p in parts if p.height > TALL * tallest and p.area > 0.1 * main.area]
    large = large or [main]
    return [p for p in parts if p in large or any(_belongs(p, one) for one in large)]


def _belongs(part: Part, main: Part) -> bool:
    """Whether a small part belongs to a character: close to it, and larger than dust."""
    across = max(0, part.box[0] - main.box[2], main.box[0] - part.box[2])
    down = max(0, part.box[1] - main.box[3], main.box[1] - part.box[3])
    near = across <= 0.15 * main.extent and down < 0.4 * main.extent
    alike = part.radius > 0.4 * main.radius or max(across, down) == 0
    return near and alike and part.area > 0.015 * main.area
