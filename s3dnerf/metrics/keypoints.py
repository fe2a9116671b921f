"""AKD: average key point distance, how far all 68 landmarks lie from the truth's, place and pose included.

    AKD = mean over frames and over the 68 points of ‖p_g − p_t‖

It is F-LMD's formula without the centring: a head that is shaped right and stands 5 pixels aside has F-LMD 0 and AKD 5.
Frames are 256², so the unit is pixels of 256. A frame whose landmarks fail in either video is left out of both, and
counted.

Source: Siarohin et al. 2019 (first order motion model), whose code averages |Δx| and |Δy| instead of the Euclidean
distance and uses another detector: its numbers do not compare with these. Unit: pixels at 256². Range: [0, ∞). Less is
better.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.lmd import NO_FRAME
from s3dnerf.metrics.result import DOWN, Measured, Recipe, over_frames

RECIPE = Recipe(
    "akd", "AKD", "px", DOWN, "akd-1", 0.0, math.inf,
    "68 landmarks, not centred; mean Euclidean distance over points, then frames; pixels at 256²", perfect=0.0,
)  # fmt: skip


def measure(generated: Float[np.ndarray, "n 68 2"], truth: Float[np.ndarray, "n 68 2"]) -> Measured:
    """AKD of a clip.

    Parameters
    ----------
    generated, truth : float (n, 68, 2), pixels at 256²; a row with a nan is a frame whose landmarks failed

    Examples
    --------
    A face that stands aside by 3 and below by 4 pixels:

    >>> face = np.random.default_rng(0).uniform(0, 256, (2, 68, 2))
    >>> round(measure(face + (3.0, 4.0), face).value, 6)
    5.0
    """
    apart = np.linalg.norm(generated.astype(np.float64) - truth.astype(np.float64), axis=-1)
    return over_frames(RECIPE, apart.mean(axis=-1), NO_FRAME)
