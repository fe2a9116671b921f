"""Flicker: how much the picture trembles from frame to frame, in the face and in the background.

    flicker = mean over pixels and frames of |x(t − 1) − 2 x(t) + x(t + 1)|,

the second difference over time of the grey level (ITU-R 601): steady motion across a ramp gives 0, a pixel that jumps
to and fro twice its jump. The face is the box around the truth's landmarks of the clip; the background what lies above
and beside it, at least half its height above and a third of its width beside, where hair, neck and shoulders are not.
Moving faces are never at 0: the truth's own number stands beside.

Source: ours. Unit: grey levels of 255. Range: [0, 510]. Less is better as far as the truth's and no further (a still
picture has none), so that no test says which of two is better.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.shapes import Bool, Float, UInt8
from s3dnerf.metrics.cpbd import grey
from s3dnerf.metrics.lmd import NO_FRAME
from s3dnerf.metrics.result import NEITHER, Measured, Recipe, not_measured

ABOVE, BESIDE = 0.5, 1 / 3  # of the landmarks' box, which ends at the brows
_SOURCE = "mean absolute second difference over time of the grey level"
FACE_RECIPE = Recipe(
    "flicker_face", "Flicker, face", "/255", NEITHER, "flicker-face-1", 0.0, 510.0,
    f"{_SOURCE}, in the box of the truth's landmarks",
)  # fmt: skip
BACKGROUND_RECIPE = Recipe(
    "flicker_background", "Flicker, background", "/255", NEITHER, "flicker-background-1", 0.0, 510.0,
    f"{_SOURCE}, above and beside the face",
)  # fmt: skip


def regions(
    landmarks: Float[np.ndarray, "n 68 2"], height: int, width: int
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]] | None:
    """Which pixels are face and which are background, of a whole clip; None where no frame has landmarks."""
    points = landmarks[np.isfinite(landmarks).all(axis=(1, 2))].reshape(-1, 2)
    if not len(points):
        return None
    (x0, y0), (x1, y1) = points.min(axis=0), points.max(axis=0)
    x, y = np.arange(width)[None] + 0.5, np.arange(height)[:, None] + 0.5
    face = (x >= x0) & (x < x1) & (y >= y0) & (y < y1)
    wide, tall = BESIDE * (x1 - x0), ABOVE * (y1 - y0)
    background = ((x < x0 - wide) | (x >= x1 + wide) | (y < y0 - tall)) & (y < y1)
    return face, background


def measure(frames: UInt8[np.ndarray, "n h w 3"], landmarks: Float[np.ndarray, "m 68 2"]) -> tuple[Measured, Measured]:
    """Flicker of a clip in the face and in the background.

    Parameters
    ----------
    landmarks : the truth's, of any of its frames; a row of nan is a frame whose landmarks failed

    Examples
    --------
    >>> points = np.tile(np.random.default_rng(0).uniform(20, 44, (1, 68, 2)), (5, 1, 1))
    >>> ramp = np.zeros((5, 64, 64, 3), np.uint8) + 10 * np.arange(5, dtype=np.uint8)[:, None, None, None]
    >>> jumps = np.zeros((5, 64, 64, 3), np.uint8) + 10 * (np.arange(5, dtype=np.uint8) % 2)[:, None, None, None]
    >>> [m.value for m in measure(ramp, points)], [m.value for m in measure(jumps, points)]
    ([0.0, 0.0], [20.0, 20.0])
    """
    if len(frames) < 3:
        short = f"{len(frames)} frames: expected 3"
        return not_measured(FACE_RECIPE, short), not_measured(BACKGROUND_RECIPE, short)
    found = regions(landmarks, *frames.shape[1:3])
    if found is None:
        return not_measured(FACE_RECIPE, NO_FRAME), not_measured(BACKGROUND_RECIPE, NO_FRAME)
    total = np.zeros(frames.shape[1:3])
    before, now = grey(frames[0]).astype(np.float64), grey(frames[1]).astype(np.float64)
    for frame in frames[2:]:
        after = grey(frame).astype(np.float64)
        total += np.abs(before - 2.0 * now + after)
        before, now = now, after
    counted = len(frames) - 2

    def over(recipe: Recipe, region: np.ndarray) -> Measured:
        if not region.any():
            return not_measured(recipe, "the face fills the picture")
        return Measured(recipe, float(total[region].mean() / counted), counted)

    return over(FACE_RECIPE, found[0]), over(BACKGROUND_RECIPE, found[1])
