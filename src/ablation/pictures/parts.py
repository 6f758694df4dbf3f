"""Connected components of candidate ink, and the selection of those that are writing."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

EDGE = 1 / 120  # of the longer side: distance from an edge at which ink and paper are sampled
STEP = 0.15  # of the ink's depth: minimum step across a stroke's edge; shadows are softer
DUST = 0.03  # of the longer side: smaller blobs are not pen dots
BORDER = 0.85  # of every edge of the picture: what covers more is a border
MOST = 100  # largest components that are considered
TALL = 0.4  # of the tallest character's height: lower components are parts of a character
CONTENT = 0.3  # of a hole's side: minimum extent of a frame's content; a letter's counter has less
COMB = (2.0, 1.5)  # minimum width and maximum height of an open box, relative to its content
RULE = (0.06, 1.5)  # a rule's maximum thickness / length, and minimum length / writing's extent
LONG = 40  # pixels: minimum length of a rule
WIDE = 1.3  # minimum aspect ratio of a rule with writing on it
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
        covers: (4,) fractions of the picture's top, bottom, left and right edge that it touches.
        holes: their bounding boxes.
    """

    number: int
    box: Box
    area: int
    radius: float
    solidity: float
    step: float
    covers: np.ndarray
    holes: list[Box]

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
    def place(self) -> tuple[slice, slice]:
        """The rows and columns of its box."""
        return slice(self.box[1], self.box[3]), slice(self.box[0], self.box[2])


def edges(values: np.ndarray) -> tuple[np.ndarray, ...]:
    """The top, bottom, left and right edge of a (height, width) array."""
    return values[0], values[-1], values[:, 0], values[:, -1]


def measure(mask: np.ndarray, depth: np.ndarray, least: float) -> tuple[np.ndarray, list[Part]]:
    """Label the connected components of a mask.

    Args:
        mask: (height, width) bool, not empty.
        depth: (height, width) float, 1 for full ink.
        least: minimum extent of writing in pixels.

    Returns:
        labels: (height, width) int32, 0 for the background.
        parts: those of at least half that extent, in descending order of area.
    """
    left, top, width, height = cv2.boundingRect(mask.view(np.uint8))
    place = np.s_[top : top + height, left : left + width]
    labels = np.zeros(mask.shape, np.int32)
    count, labels[place], stats, _ = cv2.connectedComponentsWithStats(mask[place].view(np.uint8))
    stats[:, :2] += (left, top)
    covers = np.array([np.bincount(e, minlength=count) / len(e) for e in edges(labels)])
    order = np.argsort(-stats[:, cv2.CC_STAT_AREA], kind="stable").tolist()
    large = [n for n in order if n and max(stats[n, 2:4]) >= least / 2][:MOST]
    return labels, [_part(n, labels, stats[n].tolist(), covers[:, n], depth) for n in large]


def _part(
    number: int, labels: np.ndarray, stats: list[int], covers: np.ndarray, depth: np.ndarray
) -> Part:
    left, top, width, height, area = stats
    reach = round(max(labels.shape) * EDGE)
    start = max(0, left - reach - 2), max(0, top - reach - 2)
    place = np.s_[start[1] : top + height + reach + 2, start[0] : left + width + reach + 2]
    mask = (labels[place] == number).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=start)
    outline, *holes = sorted(contours, key=cv2.contourArea, reverse=True)
    hull = cv2.convexHull(outline)  # passes through pixel centres: half a pixel is added around it
    whole = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    padded = cv2.copyMakeBorder(mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT)
    near = np.ones((2 * reach + 1,) * 2, np.uint8)
    inner, outer = mask - cv2.erode(mask, near), (labels[place] == 0) & cv2.dilate(mask, near)
    both_sides = inner.any() and outer.any()
    step = cv2.mean(depth[place], inner)[0] - cv2.mean(depth[place], outer)[0] if both_sides else 0
    return Part(
        number,
        (left, top, left + width, top + height),
        area,
        float(cv2.distanceTransform(padded, cv2.DIST_L2, 3).max()),
        area / whole,
        step,
        covers,
        [(x, y, x + w, y + h) for x, y, w, h in map(cv2.boundingRect, holes)],
    )


def rules(labels: np.ndarray, parts: Sequence[Part]) -> np.ndarray:
    """Find printed lines that touch the writing.

    Returns:
        (height, width) bool; pixels where a stroke crosses a line are not included.
    """
    found = np.zeros(labels.shape, bool)
    for part in (p for p in parts if p.width >= max(WIDE * p.height, LONG)):
        found[part.place] |= _rule(labels[part.place] == part.number)
    return found


def _rule(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool, a straight line through a part from left to right; or all False."""
    height, width = mask.shape
    end = max(1, width // 10)
    ends = (mask[:, :end], mask[:, -end:])
    thick = float(np.median(np.hstack(ends).sum(axis=0)))
    if thick > min(RULE[0] * width, height - 4):
        return np.zeros_like(mask)
    heights = [np.nonzero(each)[0].mean() for each in ends]
    line = np.interp(np.arange(width), (end / 2, width - end / 2), heights)
    below = np.arange(height)[:, None] - line
    band = np.abs(below) <= thick / 2 + 1.5
    rest = mask & ~band
    left, _, across, down = cv2.boundingRect(rest.astype(np.uint8))
    crossed = (rest & (below < 0)).any(axis=0) & (rest & (below > 0)).any(axis=0)
    is_rule = (
        (mask & band).any(axis=0).mean() >= 0.97
        and min(left, width - left - across + 1) >= end / 2
        and 0 < RULE[1] * max(across, down) <= width
    )
    return np.asarray(band & mask & ~crossed & is_rule)


def writing_among(
    parts: Sequence[Part], longer: int, least: float
) -> tuple[list[Part], tuple[str, ...]]:
    """Select the parts that are writing; drop background, frames, form lines, dust and shadows.

    Args:
        parts: all parts of a picture.
        longer: the picture's longer side in pixels.
        least: minimum extent of writing in pixels.

    Returns:
        The parts, none if there is no writing, and warnings about ignored ones.
    """
    parts = [p for p in parts if p.step > STEP and p.covers.min() <= BORDER]
    parts = [p for p in parts if not _is_shade(p) and not _is_sheet(p, longer)]
    inner = [part for part in parts if not part.covers.any()]
    outer = [part for part in parts if part.covers.any()]
    if not any(_is_written(part, longer, least) for part in inner):
        inner = outer
    elif _area(outer) > _area(inner) and np.any([p.covers for p in outer], axis=0).sum() > 2:
        inner = parts  # a tight crop
    content, warnings = _without_print(inner, parts)
    kept = _near_the_main(content)
    return kept if any(_is_written(p, longer, least) for p in kept) else [], warnings


def _area(parts: list[Part]) -> int:
    return sum(part.area for part in parts)


def _is_written(part: Part, longer: int, least: float) -> bool:
    if part.extent < least:
        return False
    return part.extent > 4 * DUST * longer or part.radius < 0.35 * part.extent


def _is_sheet(part: Part, longer: int) -> bool:
    """Whether it is a sheet of paper: convex, and too wide for a stroke."""
    wide = part.radius > 0.3 * part.extent and part.extent >= 2 * DUST * longer
    return wide and part.solidity > 0.95


def _is_shade(part: Part) -> bool:
    """Whether it is a dark side or corner of the picture."""
    pairs = (part.covers[:2], part.covers[2:])
    side = any(max(pair) > 0.95 and not min(pair) for pair in pairs)
    corner = part.covers.any() and not any(map(min, pairs))
    return bool(side or corner) and part.solidity > 0.9


def _without_print(parts: list[Part], known: list[Part]) -> tuple[list[Part], tuple[str, ...]]:
    """Drop frames, rules and combs; keep what is written in or on them."""
    inside = {
        frame.number: {p.number for p in parts if p is not frame and _fits(p, frame.holes)}
        for frame in known
    }
    frames = {number for number, content in inside.items() if content}
    content = set().union(*inside.values()) - frames
    kept = [part for part in parts if part.number in content] if frames else parts
    pen = max((part.radius for part in kept), default=0)
    same_pen = any(p.number in frames and p.radius > PEN * pen for p in parts)
    above = [p for p in kept if not any(_underlines(p, c) for c in kept if c is not p)]
    return above, (ASIDE,) if same_pen else ()


def _fits(part: Part, holes: list[Box]) -> bool:
    """Whether it is in a hole that it fills to a large part."""
    left, top, right, bottom = part.box
    around = [h for h in holes if h[0] <= left and h[1] <= top and right <= h[2] and bottom <= h[3]]
    return any(part.extent > CONTENT * max(h[2] - h[0], h[3] - h[1]) for h in around)


def _underlines(part: Part, content: Part) -> bool:
    """Whether it is a rule or a comb below the content or around its foot."""
    left, _, right, bottom = part.box
    if left > content.box[0] or right < content.box[2]:
        return False
    if bottom < content.box[3] - 0.2 * content.height:
        return False
    if 2 * part.radius <= RULE[0] * part.extent and part.height < TALL * content.height:
        return part.extent > RULE[1] * content.extent
    lower = part.height < COMB[1] * content.height
    wide = part.width > COMB[0] * content.width
    return lower and wide and part.radius < PEN * content.radius


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
