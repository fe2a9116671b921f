"""F-LMD and M-LMD: how far the face's and the mouth's landmarks are from the truth's, pose apart.

68 landmarks a frame (0-based, the 300-W order). Each set (all 68; the mouth, 48–67) is centred on its own mean, in each
video on its own; then the Euclidean distance, averaged over points, then over frames. A frame whose landmarks fail in
either video is left out of both, and counted.

Source: Chen et al. 2018/2019 (ATVGnet) introduced the distance; circulating codes differ. ATVGnet sums over points, EAT
measures at 128 pixels: neither is comparable. Unit: pixels at 256². Range: [0, ∞). Less is better.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.result import DOWN, Measured, Recipe, over_frames

MOUTH = slice(48, 68)
_SOURCE = "68 landmarks, each set centred on its own mean; mean over points, then frames; pixels at 256²"
FACE_RECIPE = Recipe("f_lmd", "F-LMD", "px", DOWN, "f-lmd-1", 0.0, math.inf, _SOURCE + "; all 68", perfect=0.0)
MOUTH_RECIPE = Recipe("m_lmd", "M-LMD", "px", DOWN, "m-lmd-1", 0.0, math.inf, _SOURCE + "; 48–67", perfect=0.0)
NO_FRAME = "no frame has landmarks in both videos"


def landmark_distance(generated: Float[np.ndarray, "n p 2"], truth: Float[np.ndarray, "n p 2"]) -> np.ndarray:
    """Centred landmark distance of each frame.

    Parameters
    ----------
    generated, truth : float (n, p, 2), pixels; a row with a nan is a frame whose landmarks failed

    Returns
    -------
    float64 (n,), pixels; nan where either frame failed

    Examples
    --------
    A shift of the whole face is pose, not shape:

    >>> import numpy as np
    >>> face = np.random.default_rng(0).uniform(0, 256, (3, 68, 2))
    >>> bool(np.allclose(landmark_distance(face + 5.0, face), 0))
    True
    """
    if generated.shape != truth.shape:
        raise ValueError(f"landmark_distance: landmarks of one shape expected, got {generated.shape} and {truth.shape}")
    generated, truth = generated.astype(np.float64), truth.astype(np.float64)
    apart = (generated - generated.mean(axis=1, keepdims=True)) - (truth - truth.mean(axis=1, keepdims=True))
    return np.sqrt((apart**2).sum(axis=-1)).mean(axis=-1)


def measure(generated: np.ndarray, truth: np.ndarray) -> tuple[Measured, Measured]:
    """F-LMD and M-LMD of a clip from (n, 68, 2) landmarks of both videos."""
    face = landmark_distance(generated, truth)
    mouth = landmark_distance(generated[:, MOUTH], truth[:, MOUTH])
    return over_frames(FACE_RECIPE, face, NO_FRAME), over_frames(MOUTH_RECIPE, mouth, NO_FRAME)


def mouth_opening(landmarks: Float[np.ndarray, "n 68 2"]) -> np.ndarray:
    """Distance between the inner lips' middles (62 and 66), float64 (n,), pixels; nan where landmarks failed. A curve
    to look at, not a metric."""
    return np.linalg.norm(landmarks[:, 66].astype(np.float64) - landmarks[:, 62].astype(np.float64), axis=-1)
