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
BORDER = 0.85  # of every edge of the picture: what covers more is a border
MOST = 100  # largest components that are considered
TALL = 0.4  # of the tallest character's height: lower components are parts of a character
CONTENT = 0.3  # of a hole's side: minimum extent of a frame's content; a letter's counter has less
COMB = (2.0, 1.5)  # minimum width and maximum height of an open box, relative to its content
RULE = (0.06, 1.5)  # a rule's maximum thickness / length, and minimum length / writing's extent
LONG = 40  # pixels: minimum length of a rule
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
    covers: tuple[float, ...]
    outline: np.ndarray
    holes: list[np.ndarray]

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


def measure(mask: np.ndarray, depth: np.ndarray, full: float) -> tuple[np.ndarray, list[Part]]:
    """Label the connected components of a mask.

    Args:
        mask: (height, width) bool, not empty.
        depth: (height, width) float.
        full: depth of full ink.

    Returns:
        labels: (height, width) int32, 0 for the background.
        parts: those larger than a speck, in descending order of area.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    place = (slice(top, top + height), slice(left, left + width))
    labels = np.zeros(mask.shape, np.int32)
    count, labels[place], stats, _ = cv2.connectedComponentsWithStats(mask[place].view(np.uint8))
    stats[:, :2] += (left, top)
    edges = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    covers = np.array([np.bincount(edge, minlength=count) / len(edge) for edge in edges])
    least = max(LEAST, SPECK * max(mask.shape)) / 2
    order = np.argsort(-stats[:, cv2.CC_STAT_AREA], kind="stable").tolist()
    large = [n for n in order if n and max(stats[n, 2:4]) >= least][:MOST]
    return labels, [_part(n, labels, stats[n], covers[:, n], depth, full) for n in large]


def _part(
    number: int,
    labels: np.ndarray,
    stats: np.ndarray,
    covers: np.ndarray,
    depth: np.ndarray,
    full: float,
) -> Part:
    left, top, width, height, area = stats.tolist()
    mask = (labels[top : top + height, left : left + width] == number).astype(np.uint8)
    contours, _ = cv2.findContours(
        mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(left, top)
    )
    outline, *holes = sorted(contours, key=cv2.contourArea, reverse=True)
    hull = cv2.convexHull(outline)  # passes through pixel centres: half a pixel is added around it
    whole = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    reach = 2 + round(max(labels.shape) * EDGE)
    rows = slice(max(0, top - reach), top + height + reach)
    around = (rows, slice(max(0, left - reach), left + width + reach))
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    return Part(
        number,
        (left, top, left + width, top + height),
        area,
        float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max()),
        area / whole,
        _step(number, labels[around], depth[around], reach - 2) / full,
        tuple(covers.tolist()),
        outline,
        holes,
    )


def _step(number: int, labels: np.ndarray, depth: np.ndarray, reach: int) -> float:
    """Difference in depth between the inner and outer side of a part's edge."""
    mask = (labels == number).astype(np.uint8)
    square = np.ones((2 * reach + 1,) * 2, np.uint8)
    inner = mask - cv2.erode(mask, square)
    outer = (labels == 0) & cv2.dilate(mask, square)
    if not inner.any() or not outer.any():
        return 0.0
    return cv2.mean(depth, inner)[0] - cv2.mean(depth, outer)[0]


def rules(labels: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Find printed lines that touch the writing.

    Returns:
        (height, width) bool; pixels where a stroke crosses a line are not included.
    """
    found = np.zeros(labels.shape, bool)
    for part in parts:
        left, top, right, bottom = part.box
        found[top:bottom, left:right] |= _rule(labels[top:bottom, left:right] == part.number)
    return found


def _rule(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool, a straight line through a part from left to right; or all False."""
    height, width = mask.shape
    end = max(1, width // 10)
    ends = (mask[:, :end], mask[:, -end:])
    thick = float(np.median(np.hstack(ends).sum(axis=0)))
    if thick > min(RULE[0] * width, height - 4) or width < max(height, LONG):
        return np.zeros_like(mask)
    rows = np.arange(height)[:, None]
    heights = [np.nonzero(each)[0].mean() for each in ends]
    line = np.interp(np.arange(width), (end / 2, width - end / 2), heights)
    band = np.abs(rows - line) <= thick / 2 + 1.5
    rest = mask & ~band
    left, _, across, down = cv2.boundingRect(rest.astype(np.uint8))
    crossed = (rest & (rows < line)).any(axis=0) & (rest & (rows > line)).any(axis=0)
    is_rule = (
        (mask & band).any(axis=0).mean() >= 0.97
        and min(left, width - left - across + 1) >= end / 2
        and across > 0
        and width >= RULE[1] * max(across, down)
    )
    return np.asarray(band & mask & ~crossed & is_rule)


def writing_among(parts: Sequence[Part], longer: int) -> tuple[list[Part], tuple[str, ...]]:
    """Select the parts that are writing; drop background, frames, form lines, dust and shadows.

    Args:
        parts: all parts of a picture.
        longer: the picture's longer side in pixels.

    Returns:
        The parts, none if there is no writing, and warnings about ignored ones.
    """
    parts = [p for p in parts if p.step > STEP and min(p.covers) <= BORDER and not _is_shade(p)]
    parts = [p for p in parts if p.extent < 2 * DUST * longer or not _is_sheet(p)]
    inner = [part for part in parts if not part.touches]
    outer = [part for part in parts if part.touches]
    if not any(_is_written(part, longer) for part in inner):
        inner = []
    if outer and _is_cropped(inner, outer):
        inner = inner + outer
    content, warnings = _without_print(inner, parts)
    kept = _near_the_main(content)
    return kept if any(_is_written(p, longer) for p in kept) else [], warnings


def _is_written(part: Part, longer: int) -> bool:
    if part.extent < max(LEAST, SPECK * longer):
        return False
    return part.extent > 4 * DUST * longer or part.radius < 0.35 * part.extent


def _is_sheet(part: Part) -> bool:
    """Whether it is a sheet of paper: convex, and too wide for a stroke."""
    return part.radius > 0.3 * part.extent and part.solidity > 0.95


def _is_shade(part: Part) -> bool:
    """Whether it is a dark side or corner of the picture."""
    pairs = (part.covers[:2], part.covers[2:])
    side = any(max(pair) > 0.95 and not min(pair) for pair in pairs)
    corner = part.touches and not any(map(min, pairs))
    return (side or corner) and part.solidity > 0.9


def _is_cropped(inner: list[Part], outer: list[Part]) -> bool:
    """Whether the parts at the picture's edge are writing as well."""
    if not inner:
        return True
    sides = sum(any(part.covers[side] for part in outer) for side in range(4))
    if sides < 3 or sum(part.area for part in outer) < sum(part.area for part in inner):
        return False
    pens = [max(part.radius for part in some) for some in (outer, inner)]
    return pens[0] < 2 * pens[1]


def _without_print(parts: list[Part], known: list[Part]) -> tuple[list[Part], tuple[str, ...]]:
    """Drop frames, rules and combs; keep what is written in or on them."""
    inside = {
        frame.number: [
            p for p in parts if p is not frame and any(_fills(p, h) for h in frame.holes)
        ]
        for frame in known
    }
    frames = {number for number, content in inside.items() if content}
    content = {part.number for some in inside.values() for part in some} - frames
    kept = [part for part in parts if part.number in content] if frames else parts
    pen = max((part.radius for part in kept), default=0)
    same_pen = any(p.number in frames and p.radius > PEN * pen for p in parts)
    above = [p for p in kept if not any(_underlines(p, c) for c in kept if c is not p)]
    return above, (ASIDE,) if same_pen else ()


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
    lower = part.height < COMB[1] * content.height
    return lower and part.radius < PEN * content.radius and part.width > COMB[0] * content.width


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
