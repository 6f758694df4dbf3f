"""The sheet of paper on a picture: what lies around it is a desk, and never ink."""

import cv2
import numpy as np

SIDE = 300  # pixels of the longer side, where it is looked for
CLOSED = 15  # pixels: most strokes are narrower
SHARE = (0.08, 0.95)  # of the picture: its area
CONVEX = 0.93  # of its convex hull: its area
CORNERS = 8  # at most; the picture's edge may cut all four
STEP = 0.12  # of the light: from its edge to what it lies on
LIKE = (0.75, 1.33)  # times as light as the paper at its edge: what is written is not
CLEAN = 0.99  # of its edge: writing does not run over it, as it does over a shadow's


def find_paper(picture: np.ndarray) -> np.ndarray | None:
    """The corners of a sheet that lies on something darker or lighter, or None.

    Args:
        picture: (height, width) uint8.

    Returns:
        (corners, 1, 2) float32: a convex polygon, in shares of the picture's longer side.
    """
    scale = SIDE / max(picture.shape)
    if min(picture.shape) * scale < CLOSED:
        return None
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    small = cv2.medianBlur(cv2.resize(picture, None, None, scale, scale, way), 3)
    for seen in (small, 255 - small):
        square = np.ones((CLOSED, CLOSED), np.uint8)
        closed = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, square)
        _, light = cv2.threshold(closed, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        light = cv2.morphologyEx(light, cv2.MORPH_OPEN, square)
        contours, _ = cv2.findContours(light, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        if contours:
            largest = max(contours, key=cv2.contourArea)
            hull = cv2.convexHull(largest)
            full = cv2.contourArea(largest) > CONVEX * cv2.contourArea(hull)
            if full and _is_paper(seen, closed, hull):
                return np.asarray(hull / np.float32(SIDE), np.float32)
    return None


def _is_paper(seen: np.ndarray, closed: np.ndarray, hull: np.ndarray) -> bool:
    whole = np.zeros_like(seen)
    cv2.fillConvexPoly(whole, hull, 1)
    if not SHARE[0] < whole.mean() < SHARE[1]:
        return False
    if len(cv2.approxPolyDP(hull, 0.02 * cv2.arcLength(hull, True), True)) > CORNERS:
        return False
    inner, outer = _ring(whole), _ring(1 - whole)
    if not inner.any() or not outer.any():
        return False
    edge = np.median(closed[inner])
    along = seen[inner].astype(np.float32)
    clean = (along > LIKE[0] * closed[inner]) & (along < LIKE[1] * edge)
    return bool(edge - closed[outer].mean() > STEP * edge and clean.mean() > CLEAN)


def _ring(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool: along a mask's edge inside of it, but not along the picture's."""
    near, far = (cv2.erode(mask, np.ones((n, n), np.uint8)) for n in (5, 13))
    ring = (near > 0) & (far == 0)
    return np.asarray(ring)


def askew(paper: np.ndarray) -> float:
    """By how many degrees a sheet is turned from upright, -45 to 45."""
    return float((cv2.minAreaRect(paper)[2] + 45) % 90 - 45)
