"""Whether the head has depth: how far the nose moves against the jaw as the head turns, beside the truth's.

The parallax of a frame is the nose's tip (30) less the middle of the jaw line (0–16), across the face, over the
distance between the eyes' outer corners (36–45; 0-based, the 300-W order). A flat picture that is only moved and turned
in its plane keeps it; a head that turns changes it. Over the frames whose landmarks were found in both videos

    parallax = cov(p_g, p_t) / var(p_t),

the slope of the least-squares line of the generated head's parallax on the truth's. Where the truth's head hardly turns
there is nothing to measure. Source: ours. Unit: none. Range: (−∞, ∞); 1 for a head that turns as the truth's, 0 for a
flat one. More is better, as far as 1.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.lmd import NO_FRAME
from s3dnerf.metrics.result import UP, Measured, Recipe, not_measured

NOSE, JAW, EYES = 30, slice(0, 17), (36, 45)
LEAST_FRAMES = 10
LEAST = 0.01  # deviation, of the distance between the eyes: a head that turns less is taken to stand still
RECIPE = Recipe(
    "parallax", "Parallax slope", "", UP, "parallax-1", -math.inf, math.inf,
    "slope of nose-against-jaw displacement, across the face, on the truth's", perfect=1.0,
)  # fmt: skip


def displacement(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, " n"]:
    """Nose against jaw, along the line of the eyes' outer corners, in their distance; nan where landmarks failed."""
    points = landmarks.astype(np.float64)
    eyes = points[:, EYES[1]] - points[:, EYES[0]]
    nose = points[:, NOSE] - points[:, JAW].mean(axis=1)
    return (nose * eyes).sum(axis=-1) / np.maximum((eyes**2).sum(axis=-1), 1e-6)


def measure(generated: Float[np.ndarray, "n 68 2"], truth: Float[np.ndarray, "n 68 2"]) -> Measured:
    """Parallax slope of a clip.

    Examples
    --------
    >>> turn = np.sin(np.arange(40) / 5)
    >>> truth = np.tile(np.random.default_rng(0).uniform(0, 256, (1, 68, 2)), (40, 1, 1))
    >>> flat = truth.copy()
    >>> truth[:, 30, 0] += 8 * turn
    >>> measure(flat, truth).value, measure(truth + 5, truth).value
    (0.0, 1.0)
    """
    ours, theirs = displacement(generated), displacement(truth)
    good = np.isfinite(ours) & np.isfinite(theirs)
    counted, failed = int(good.sum()), int((~good).sum())
    if counted < LEAST_FRAMES:
        reason = f"{counted} frames with landmarks in both videos: expected {LEAST_FRAMES}" if counted else NO_FRAME
        return not_measured(RECIPE, reason, failed)
    if theirs[good].std() < LEAST:
        return not_measured(RECIPE, "the truth's head hardly turns", failed)
    across = theirs[good] - theirs[good].mean()
    slope = float((ours[good] * across).sum() / (across**2).sum())
    return Measured(RECIPE, round(slope, 12) + 0.0, counted, failed)
