"""F-LMD and M-LMD: how far the face's and the mouth's landmarks are from the truth's, pose apart.

68 landmarks a frame (0-based, the 300-W order). Each set (all 68; the mouth, 48–67) is centred on its own mean, in each
video on its own; then the Euclidean distance, averaged over points, then over frames. A frame whose landmarks fail in
either video is left out of both, and counted.

Source: Chen et al. 2018/2019 (ATVGnet) introduced the distance; circulating codes differ. ATVGnet sums over points, EAT
measures at 128 pixels: neither is comparable. Unit: pixels at 256². Range: [0, ∞). Less is better.

Landmarks are taken from each frame for itself: one detection, one answer; no tracking, no smoothing, no averaging.
Preprocessing asks the landmark finder several times and smooths along the clip, which is right for alignment; a metric
must give the numbers that a plain script with the same detector gives (``tests/evaluation/test_folders.py`` compares
with such a script, to 1 %).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from s3dnerf.core.shapes import Float, UInt8
from s3dnerf.faces.types import main_face
from s3dnerf.metrics.result import DOWN, Measured, Recipe, over_frames

MOUTH = slice(48, 68)
_SOURCE = "68 landmarks, each set centred on its own mean; mean over points, then frames; pixels at 256²"
FACE_RECIPE = Recipe("f_lmd", "F-LMD", "px", DOWN, "f-lmd-1", 0.0, math.inf, _SOURCE + "; all 68", perfect=0.0)
MOUTH_RECIPE = Recipe("m_lmd", "M-LMD", "px", DOWN, "m-lmd-1", 0.0, math.inf, _SOURCE + "; 48–67", perfect=0.0)
NO_FRAME = "no frame has landmarks in both videos"


def metric_landmarks(frames: UInt8[np.ndarray, "n h w 3"], backend: Any) -> Float[np.ndarray, "n 68 2"]:
    """68 landmarks of each frame, pixels; a row of nan where no face, or no single one, is found.

    ``backend`` is a :class:`s3dnerf.faces.detectors.FaceBackend`; its ``plain_landmarks`` is asked where it has one.
    A second face counts when it is at least 0.6 of the first one's size (:func:`s3dnerf.faces.detectors.main_face`).
    """
    answer = getattr(backend, "plain_landmarks", backend.landmarks)
    found = np.full((len(frames), 68, 2), np.nan, np.float32)
    for i, frame in enumerate(frames):
        face, rivals = main_face(backend.detect(frame))
        if face is not None and rivals == 1:
            found[i] = answer(frame, face.box_px)
    return found


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
