"""Cutting a square picture out of a frame by a similarity, correctly when it shrinks.

``cv2.warpAffine`` samples four neighbours whatever the scale, so a shrinking warp aliases: the frame is reduced by
area averaging first, and the rest of the way is bilinear. Pure functions; positions are continuous pixels.
"""

from __future__ import annotations

import cv2
import numpy as np


def similarity_scale(matrix: np.ndarray) -> float:
    """Scale of a similarity (2, 3): output pixels a source pixel."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def apply(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (…, 2) moved by a (2, 3) matrix.

    >>> apply(np.array([[2.0, 0, 1], [0, 2.0, -1]]), np.array([3.0, 4.0]))
    array([7., 7.])
    """
    return points @ matrix[:, :2].T + matrix[:, 2]


def invert(matrix: np.ndarray) -> np.ndarray:
    """The (2, 3) matrix that undoes a (2, 3) matrix."""
    inverse = np.linalg.inv(matrix[:, :2])
    return np.column_stack([inverse, -inverse @ matrix[:, 2]])


def warp(image: np.ndarray, matrix: np.ndarray, size_px: int) -> np.ndarray:
    """The square cut (size_px, size_px, …) of a picture by a similarity, edges repeated outside the picture.

    Parameters
    ----------
    image : uint8 (h, w) or (h, w, 3)
    matrix : float (2, 3)
        Source → cut, both in continuous pixels (pixel i covers [i, i + 1)).
    size_px : int
    """
    corners = apply(invert(matrix), np.array([[0, 0], [size_px, 0], [0, size_px], [size_px, size_px]], float))
    low = np.floor(corners.min(axis=0)).astype(int) - 4
    high = np.ceil(corners.max(axis=0)).astype(int) + 4
    x0, y0 = np.clip(low, 0, (image.shape[1] - 1, image.shape[0] - 1))
    x1, y1 = np.clip(high, (x0 + 1, y0 + 1), (image.shape[1], image.shape[0]))
    part = image[y0:y1, x0:x1]
    shift = np.array([[1.0, 0, x0], [0, 1, y0]])
    scale = similarity_scale(matrix)
    if scale < 0.75:  # reduce by area first, to about the size of the cut
        width, height = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
        shift = np.array([[part.shape[1] / width, 0, x0], [0, part.shape[0] / height, y0]])
        part = cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA)
    local = np.column_stack([matrix[:, :2] @ shift[:, :2], matrix[:, :2] @ shift[:, 2] + matrix[:, 2]])
    centres = local.copy()
    centres[:, 2] += local[:, :2] @ [0.5, 0.5] - 0.5  # warpAffine counts pixel centres
    return cv2.warpAffine(np.ascontiguousarray(part), centres, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
