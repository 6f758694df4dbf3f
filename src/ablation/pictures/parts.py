"""The connected parts of what may be ink, and which of them are writing."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

EDGE = 1 / 120  # of the longer side: how far from its edge ink is ink and paper is paper
STEP = 0.15  # of the ink's depth, at the edge of what is drawn; light falls more slowly
SPECK = 0.012  # of the longer side: what is smaller in every direction is no writing
LEAST = 10  # pixels: nor is what is smaller than this, whatever the picture's size
DUST = 0.03  # of the longer side: a smaller blob is no dot of a pen
MOST = 100  # parts that are looked at, the largest first
TALL = 0.4  # of the highest character's height: what is lower is a piece of one
CONTENT = 0.3  # of a frame's hole: what fills less of its side may be a letter's own
OPEN = 2.0  # times the content's width: a comb's, which is open above
RULE = (0.06, 1.5)  # a rule's thickness of its length; and its length of the writing's
ASIDE = "what surrounds the writing is set aside"
PEN = 0.7  # of the writing's pen: print is thinner


Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True, eq=False)
class Part:
    """A connected part of what may be ink.

    Attributes:
        number: in the array of labels.
        box: around it.
        area: pixels.
        radius: of the largest circle in it.
        solidity: its area, of that of its convex hull.
        step: at its edge, as a share of the ink's depth.
        covers: share of the picture's top, bottom, left, right.
        outline: its outer contour.
        holes: the contours of its holes.
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
    """Label what may be ink.

    Args:
        mask: (height, width) bool.
        depth: (height, width) float, 1 where ink is full.

    Returns:
        labels: (height, width) int32, 0 on the ground.
        parts: those that are larger than a speck, the largest first.
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
    hull = cv2.convexHull(outline)  # through the middles of pixels: half a one is added around
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
    """How much the depth changes from inside to outside of a part's edge."""
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    inner = (mask > 0) & (cv2.erode(mask, square) == 0)
    outer = (around == 0) & (cv2.dilate(mask, square) > 0)
    if not inner.any() or not outer.any():
        return 0.0
    return float(depth[inner].mean() - depth[outer].mean())


def rules(labels: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """The printed lines that writing stands on and touches.

    Returns:
        (height, width) bool; where a stroke crosses a line, the crossing is left to the stroke.
    """
    found = np.zeros(labels.shape, bool)
    for part in parts:
        left, top, right, bottom = part.box
        place = found[top:bottom, left:right]
        place |= _rule(labels[top:bottom, left:right] == part.number)
    return found


def _rule(mask: np.ndarray) -> np.ndarray:
    """The line from the left to the right end of a part, or nothing."""
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
    """What is writing among the parts.

    Attributes:
        parts: of the writing; none if there is none.
        doubts: what a person has to know.
    """

    parts: list[Part]
    doubts: tuple[str, ...] = ()


def writing_among(parts: Sequence[Part], longer: int) -> Chosen:
    """Set aside what a desk, a frame, a form, dust or light leaves.

    Args:
        parts: of a picture.
        longer: its longer side in pixels.
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
    return Chosen(kept if any(_is_written(p, longer) for p in kept) else [], chosen.doubts)


def _is_written(part: Part, longer: int) -> bool:
    if part.extent < max(LEAST, SPECK * longer):
        return False
    return part.extent > 4 * DUST * longer or part.radius < 0.35 * part.extent


def _is_sheet(part: Part) -> bool:
    """A page on a desk: without corners that go in, and too wide for a stroke."""
    return part.radius > 0.3 * part.extent and part.solidity > 0.95


def _is_border(part: Part) -> bool:
    return min(part.covers) > 0.85


def _is_shade(part: Part) -> bool:
    """A dark side or corner of the picture."""
    top, bottom, left, right = part.covers
    along = (top > 0.95 and not bottom) or (bottom > 0.95 and not top)
    across = (left > 0.95 and not right) or (right > 0.95 and not left)
    corner = part.touches and not (top and bottom) and not (left and right)
    return (along or across or corner) and part.solidity > 0.9


def _is_cropped(inner: list[Part], outer: list[Part]) -> bool:
    """Whether what touches the edge is the writing itself."""
    if not inner:
        return True
    sides = sum(any(part.covers[side] for part in outer) for side in range(4))
    if sides < 3 or sum(part.area for part in outer) < sum(part.area for part in inner):
        return False
    pens = [max(part.radius for part in some) for some in (outer, inner)]
    return pens[0] < 2 * pens[1]


def _without_print(parts: list[Part], known: list[Part]) -> Chosen:
    """What is left inside of frames, above rules and in combs."""
    frames, inside = set(), set()
    for frame in known:
        for hole in frame.holes:
            content = [part for part in parts if part is not frame and _fills(part, hole)]
            if content:
                frames.add(frame.number)
                inside |= {part.number for part in content}
    kept = [p for p in parts if p.number in inside and p.number not in frames] if inside else parts
    doubts: list[str] = []
    pen = max((part.radius for part in kept), default=0)
    if any(p.number in frames and p.radius > PEN * pen for p in parts):
        doubts.append(ASIDE)
    below = {p.number for p in kept for c in kept if p is not c and _underlines(p, c)}
    kept = [part for part in kept if part.number not in below]
    return Chosen(kept, tuple(doubts))


def _fills(part: Part, hole: np.ndarray) -> bool:
    left, top, width, height = cv2.boundingRect(hole)
    within = left <= part.box[0] and part.box[2] <= left + width
    within = within and top <= part.box[1] and part.box[3] <= top + height
    return within and part.extent > CONTENT * max(width, height)


def _underlines(part: Part, content: Part) -> bool:
    """A rule or a comb below, or around the foot of, what is written."""
    left, _, right, bottom = content.box
    if part.box[0] > left or part.box[2] < right or part.box[3] < bottom - 0.2 * content.height:
        return False
    across, down = sorted(cv2.minAreaRect(part.outline)[1])
    if across <= RULE[0] * down:
        return part.extent > RULE[1] * content.extent
    comb = part.radius < PEN * content.radius and part.width > OPEN * content.width
    return comb and _is_of_lines(part)


def _is_of_lines(part: Part) -> bool:
    """Straight ones, at right angles to each other."""
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
    """Characters, and the dots and bars that belong to them."""
    if not parts:
        return []
    main = max(parts, key=lambda part: part.area)
    tallest = max(part.height for part in parts if part.area > 0.1 * main.area)
    large = [p for p in parts if p.height > TALL * tallest and p.area > 0.1 * main.area]
    large = large or [main]
    return [p for p in parts if p in large or any(_belongs(p, one) for one in large)]


def _belongs(part: Part, main: Part) -> bool:
    """A dot above or below, a bar beside: close, and larger than dust."""
    across = max(0, part.box[0] - main.box[2], main.box[0] - part.box[2])
    down = max(0, part.box[1] - main.box[3], main.box[1] - part.box[3])
    near = across <= 0.15 * main.extent and down < 0.4 * main.extent
    alike = part.radius > 0.4 * main.radius or max(across, down) == 0
    return near and alike and part.area > 0.015 * main.area
