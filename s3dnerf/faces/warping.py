"""Cutting a square picture out of a frame by a similarity, correctly when it shrinks.

``cv2.warpAffine`` samples four neighbours whatever the scale, so a shrinking warp aliases: the frame is halved by area
averaging as long as that leaves enough, then softened by as much as the rest of the way shrinks it, and sampled
bilinearly once. (Reducing by area to the cut's size and sampling that blurs twice: against four-fold supersampling it
is two to five times further off, and slower.) Pure functions; positions are continuous pixels.
"""

from __future__ import annotations

import cv2
import numpy as np

HALVE = 0.36  # cuts smaller than this share of the source are halved first: a 3×3 kernel softens no further
SOFTEN = 0.75  # a cut that shrinks less than this aliases too little to see


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


def _part(image: np.ndarray, matrix: np.ndarray, size_px: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of a picture that its cut depends on, at least a pixel, and the matrix from that part to the cut."""
    corners = apply(invert(matrix), np.array([[0, 0], [size_px, 0], [0, size_px], [size_px, size_px]], float))
    low = np.floor(corners.min(axis=0)).astype(int) - 4
    high = np.ceil(corners.max(axis=0)).astype(int) + 4
    x0, y0 = np.clip(low, 0, (image.shape[1] - 1, image.shape[0] - 1))
    x1, y1 = np.clip(high, (x0 + 1, y0 + 1), (image.shape[1], image.shape[0]))
    return image[y0:y1, x0:x1], np.column_stack([matrix[:, :2], matrix[:, :2] @ [x0, y0] + matrix[:, 2]])


def grey_warp(image: np.ndarray, matrix: np.ndarray, size_px: int) -> np.ndarray:
    """:func:`warp` of a picture's luminance: one channel, not three.

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB

    Returns
    -------
    uint8 (size_px, size_px)
    """
    part, local = _part(image, matrix, size_px)
    return _cut(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), local, size_px)


def warp(image: np.ndarray, matrix: np.ndarray, size_px: int) -> np.ndarray:
    """The square cut (size_px, size_px, …) of a picture by a similarity, edges repeated outside the picture.

    Parameters
    ----------
    image : uint8 (h, w) or (h, w, 3)
    matrix : float (2, 3)
        Source → cut, both in continuous pixels (pixel i covers [i, i + 1)).
    size_px : int
    """
    return _cut(*_part(image, matrix, size_px), size_px)


def _cut(part: np.ndarray, local: np.ndarray, size_px: int) -> np.ndarray:
    """The cut of a :func:`_part`, by the part's own matrix."""
    local = local.copy()
    while similarity_scale(local) < HALVE and min(part.shape[:2]) > 1:
        height, width = part.shape[0] // 2, part.shape[1] // 2
        part = cv2.resize(part[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        local[:, :2] *= 2
    scale = similarity_scale(local)
    if scale < SOFTEN:
        # the spread of a cut pixel's area, less a source pixel's
        part = cv2.GaussianBlur(part, (3, 3), np.sqrt((1 / scale**2 - 1) / 12))
    centres = local.copy()
    centres[:, 2] += local[:, :2] @ [0.5, 0.5] - 0.5  # warpAffine counts pixel centres
    return cv2.warpAffine(
        np.ascontiguousarray(part), centres, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
