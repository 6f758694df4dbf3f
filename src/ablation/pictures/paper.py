"""Finds the sheet of paper on a photograph; nothing outside of it is ink."""

import cv2
import numpy as np

SIDE = 300  # pixels of the longer side of the picture that is searched
CLOSED = 15  # pixels of the closing, wider than most strokes
SHARE = 0.08  # of the picture's area: the smallest sheet
CONVEX = 0.93  # minimum area relative to the convex hull
STEP = 0.12  # minimum step in brightness to the surroundings, relative to the sheet's edge
LIKE = (0.75, 1.33)  # brightness relative to the sheet's edge that is still paper, not ink
CLEAN = 0.99  # minimum share of the edge without ink: writing crosses shadows, not a sheet's edge


WHOLE = np.array([[[0, 0]], [[1, 0]], [[1, 1]], [[0, 1]]], np.float32)


def resized(picture: np.ndarray, scale: float) -> np.ndarray:
    """A picture at another resolution, of one pixel at least."""
    size = [max(1, round(scale * n)) for n in picture.shape[::-1]]
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, None, 0, 0, way))


def papers(picture: np.ndarray) -> list[np.ndarray]:
    """Where to look for writing: on a sheet, if one is found, then on the whole picture.

    Args:
        picture: (height, width) uint8.

    Returns:
        (corners, 1, 2) float32 each: a convex polygon, in units of the picture's longer side.
    """
    small = cv2.medianBlur(resized(picture, SIDE / max(picture.shape)), 3)
    square = np.ones((CLOSED, CLOSED), np.uint8)
    for seen in (small, 255 - small) if min(small.shape) >= CLOSED else ():
        closed = cv2.morphologyEx(seen, cv2.MORPH_CLOSE, square)
        _, light = cv2.threshold(closed, 0, 1, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        light = cv2.morphologyEx(light, cv2.MORPH_OPEN, square)
        contours, _ = cv2.findContours(light, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        largest = max(contours, key=cv2.contourArea, default=None)
        if largest is not None and _is_paper(seen, closed, largest):
            return [np.asarray(cv2.convexHull(largest) / np.float32(SIDE), np.float32), WHOLE]
    return [WHOLE]


def _is_paper(seen: np.ndarray, closed: np.ndarray, contour: np.ndarray) -> bool:
    hull = cv2.convexHull(contour)
    whole = np.zeros_like(seen)
    cv2.fillConvexPoly(whole, hull, 1)
    inner, outer = _ring(whole), _ring(1 - whole)
    if whole.mean() < SHARE or not inner.any() or not outer.any():
        return False
    edge = np.median(closed[inner])
    along = seen[inner].astype(np.float32)
    clean = (along > LIKE[0] * closed[inner]) & (along < LIKE[1] * edge)
    full = cv2.contourArea(contour) > CONVEX * cv2.contourArea(hull)
    return full and bool(edge - closed[outer].mean() > STEP * edge and clean.mean() > CLEAN)


def _ring(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool: a band just inside a mask's edge, excluding the picture's edge."""
    near, far = (cv2.erode(mask, np.ones((n, n), np.uint8)) for n in (5, 13))
    return np.asarray(near > far)


def interior(paper: np.ndarray, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(height, width) bool each: a sheet without a margin at its edge, and its new edge."""
    mask = np.zeros(shape, np.uint8)
    cv2.fillConvexPoly(mask, np.rint(paper * max(shape)).astype(np.int32), 1)
    near = 2 * max(2, round(0.008 * max(shape))) + 1
    sheet = cv2.erode(mask, np.ones((near, near), np.uint8))
    return sheet > 0, sheet > cv2.erode(sheet, np.ones((5, 5), np.uint8))


def askew(paper: np.ndarray) -> float:
    """Rotation of a sheet in degrees, -45 to 45."""
    return float((cv2.minAreaRect(paper)[2] + 45) % 90 - 45)
