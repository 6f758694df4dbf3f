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


def find_paper(picture: np.ndarray) -> np.ndarray | None:
    """Find a sheet on a darker or lighter background.

    Args:
        picture: (height, width) uint8.

    Returns:
        (corners, 1, 2) float32: a convex polygon, in units of the picture's longer side; None if
        no sheet is found.
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
    inner, outer = _ring(whole), _ring(1 - whole)
    if whole.mean() < SHARE or not inner.any() or not outer.any():
        return False
    edge = np.median(closed[inner])
    along = seen[inner].astype(np.float32)
    clean = (along > LIKE[0] * closed[inner]) & (along < LIKE[1] * edge)
    return bool(edge - closed[outer].mean() > STEP * edge and clean.mean() > CLEAN)


def _ring(mask: np.ndarray) -> np.ndarray:
    """(height, width) bool: a band just inside a mask's edge, excluding the picture's edge."""
    near, far = (cv2.erode(mask, np.ones((n, n), np.uint8)) for n in (5, 13))
    return np.asarray(near > far)


def askew(paper: np.ndarray) -> float:
    """Rotation of a sheet in degrees, -45 to 45."""
    return float((cv2.minAreaRect(paper)[2] + 45) % 90 - 45)
