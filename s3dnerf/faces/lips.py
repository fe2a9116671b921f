"""Lip boxes from landmarks 48–67: one square a clip, a square a frame, and the squares that lip crops are cut by. Pure
functions.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

from s3dnerf.faces.types import LIPS


def lip_boxes(landmarks: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """The clip's lip box float32 (4,) and a box a frame float32 (N, 4): x0, y0, x1, y1 in pixels, square.

    A frame's box follows its lips; all have one side, ``scale`` times the lips' larger extent (its median over the
    clip, or what the mouth at its widest needs). The clip's box stands still and holds the lips of every frame (2nd to
    98th percentile) with the same margin, so that a head that moves keeps its mouth in it.

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


def crop_boxes(landmarks: np.ndarray, scale: float, follow_frames: float = 0.0) -> np.ndarray:
    """The squares that lip crops are cut by, of real and of generated frames alike: float32 (N, 4), of one side.

    With ``follow_frames`` 0 the clip's box, in every frame. Else they follow the head: their centres are the lips'
    centres smoothed by a Gaussian of so many frames, so that a head that moves far does not make its lips small in the
    crop. Much smoothing is needed: boxes that follow syllables tell by their own motion what is said, even on a still
    picture (``benchmarks/sync.py --boxes``: from 9 frames on they tell nothing).

    Parameters
    ----------
    landmarks : float (N, 68, 2)
    scale : float, side in units of the lips' median extent; larger where the lips would leave the crop (98th
        percentile)
    follow_frames : float, standard deviation in frames
    """
    if follow_frames == 0:
        return np.repeat(lip_boxes(landmarks, scale)[0][None], len(landmarks), axis=0)
    lips = np.asarray(landmarks, dtype=np.float64)[:, LIPS]
    low, high = lips.min(axis=1), lips.max(axis=1)
    centres = gaussian_filter1d((low + high) / 2, follow_frames, axis=0, mode="nearest")
    needed = 2 * np.maximum(centres - low, high - centres).max(axis=1)
    side = max(scale * float(np.median((high - low).max(axis=1))), float(np.percentile(needed, 98)))
    return np.concatenate([centres - side / 2, centres + side / 2], axis=1).astype(np.float32)
