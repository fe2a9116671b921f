"""Lip boxes from landmarks 48–67: one square a clip, and a square a frame. Pure functions."""

from __future__ import annotations

import numpy as np

from s3dnerf.faces.landmarks import LIPS


def lip_boxes(landmarks: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The clip's lip box float32 (4,) and a box a frame float32 (N, 4): x0, y0, x1, y1 in pixels, square.

    A frame's box follows its lips; all have one side, ``scale`` times the lips' larger extent (its median over the clip, or what the
    mouth at its widest needs). The clip's box stands still and holds the lips of every frame (2nd to 98th percentile) with the same
    margin, so that a head that moves keeps its mouth in it.

    Parameters
    ----------
    landmarks : float (N, 68, 2)
    scale : float

    >>> points = np.zeros((3, 68, 2)); points[:, 48:, 0] = np.linspace(100, 150, 20); points[:, 48:, 1] = 200
    >>> lip_boxes(points, 1.4)[0].tolist()
    [90.0, 165.0, 160.0, 235.0]
    """
    lips = np.asarray(landmarks, dtype=np.float64)[:, LIPS]
    low, high = lips.min(axis=1), lips.max(axis=1)
    extent = (high - low).max(axis=1)
    margin = (scale - 1) * float(np.median(extent))
    side = max(scale * float(np.median(extent)), float(np.percentile(extent, 95)))
    first, last = np.percentile(low, 2, axis=0), np.percentile(high, 98, axis=0)
    clip_side = max(float((last - first).max()) + margin, side)
    centres, middle = (low + high) / 2, (first + last) / 2
    boxes = np.concatenate([centres - side / 2, centres + side / 2], axis=1)
    return np.concatenate([middle - clip_side / 2, middle + clip_side / 2]).astype(np.float32), boxes.astype(np.float32)
