"""Mouth blur: how blurred the picture is around the mouth, without a reference.

The grey picture (ITU-R 601) of a square around the lips, 0.8 of the distance between the eyes' outer corners wide, is
blurred once more by an 11-pixel average along each axis; the share of its gradient that this takes away says how sharp
it was:

    blur = 1 − Σ max(0, |∇x| − |∇x̄|) / Σ |∇x|,

the larger of both axes, mean over frames. Where generated faces are soft they are soft here first, and CPBD, which
looks at the whole picture, does not see it. It depends on the size of the face: compare videos that frame it alike.

Source: Crété et al. 2007 as scikit-image's ``blur_effect`` computes it; the mouth alone as THEval (Quignon et al., CVPR
2026) does, with a network. Unit: none. Range: [0, 1]. Less is sharper.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float, UInt8
from s3dnerf.metrics.cpbd import grey
from s3dnerf.metrics.face_dynamics import LIPS, eye_distance
from s3dnerf.metrics.result import DOWN, Measured, Recipe, over_frames

SIDE = 0.8  # of the distance between the eyes' outer corners
LEAST_PX = 16
RECIPE = Recipe(
    "mouth_blur", "Mouth blur", "", DOWN, "mouth-blur-1", 0.0, 1.0,
    "Crété et al., scikit-image's blur_effect, in a square around the lips",
)  # fmt: skip


def mouth_crop(frame: UInt8[np.ndarray, "h w 3"], points: Float[np.ndarray, "68 2"]) -> np.ndarray:
    """The square around the lips as far as it lies in the picture, grey: uint8 (h, w)."""
    half = SIDE / 2 * float(eye_distance(points[None].astype(np.float64))[0])
    centre = (points[LIPS].min(axis=0) + points[LIPS].max(axis=0)) / 2
    (x0, y0), (x1, y1) = np.round(centre - half).astype(int), np.round(centre + half).astype(int)
    return grey(frame[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)])


def measure(frames: UInt8[np.ndarray, "n h w 3"], landmarks: Float[np.ndarray, "n 68 2"]) -> Measured:
    """Mean mouth blur over frames with their own landmarks; a frame without, or whose square lies outside the picture,
    is left out and counted.

    Examples
    --------
    >>> random = np.random.default_rng(0)
    >>> points = random.uniform(40, 88, (1, 68, 2))
    >>> points[0, [36, 45]] = (30, 40), (98, 40)
    >>> noise = random.integers(0, 256, (1, 128, 128, 3), dtype=np.uint8)
    >>> measure(noise, points).value < 0.2
    True
    """
    from skimage.measure import blur_effect

    values = np.full(len(frames), math.nan)
    for i in np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2))):
        crop = mouth_crop(frames[i], landmarks[i])
        if min(crop.shape) >= LEAST_PX and np.ptp(crop):
            values[i] = float(blur_effect(crop))
    return over_frames(RECIPE, values, "no frame has a mouth in the picture")
