"""Whether the mouth opens as far, and when, as the truth's: deviation and correlation of its opening over time.

The opening of a frame is the mean of the inner lips' three distances (61–67, 62–66, 63–65; 0-based, the 300-W order)
over the distance between the eyes' outer corners (36–45), so that neither size nor distance to the camera counts. Over
the frames whose landmarks were found in both videos:

    opening deviation   = min(s_g, s_t) / max(s_g, s_t),  s = standard deviation of the opening
    opening correlation = Pearson's r of both openings

A mean landmark distance rewards a mouth that hardly moves; these two do not. Source: ours. Unit: none. Range: [0, 1]
and [−1, 1]. More is better.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.lmd import NO_FRAME
from s3dnerf.metrics.result import UP, Measured, Recipe, not_measured

INNER = ((61, 67), (62, 66), (63, 65))
EYES = (36, 45)
LEAST_FRAMES = 10
LEAST = 1e-4  # of the distance between the eyes: a mouth that moves less does not move
_OPENING = "mean of 61–67, 62–66, 63–65 over 36–45"
DEVIATION_RECIPE = Recipe(
    "opening_deviation", "Opening deviation", "", UP, "opening-deviation-1", 0.0, 1.0,
    f"smaller over larger standard deviation of the mouth's opening ({_OPENING})", perfect=1.0,
)  # fmt: skip
CORRELATION_RECIPE = Recipe(
    "opening_correlation", "Opening correlation", "", UP, "opening-correlation-1", -1.0, 1.0,
    f"Pearson correlation of the mouth's opening ({_OPENING}) with the truth's", perfect=1.0,
)  # fmt: skip


def opening(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, " n"]:
    """The mouth's opening in distances between the eyes' outer corners; nan where landmarks failed."""
    points = landmarks.astype(np.float64)
    apart = [np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in (*INNER, EYES)]
    return np.mean(apart[:3], axis=0) / np.maximum(apart[3], 1e-6)


def measure(generated: Float[np.ndarray, "n 68 2"], truth: Float[np.ndarray, "n 68 2"]) -> tuple[Measured, Measured]:
    """Opening deviation and opening correlation of a clip.

    Examples
    --------
    A mouth that opens half as far at the right time:

    >>> face = np.random.default_rng(0).uniform(0, 256, (1, 68, 2))
    >>> truth, half = np.tile(face, (40, 1, 1)), np.tile(face, (40, 1, 1))
    >>> for video, far in ((truth, 10.0), (half, 5.0)):
    ...     video[:, [61, 62, 63]] = video[:, [67, 66, 65]]
    ...     video[:, [61, 62, 63], 1] -= far * (1 + np.sin(np.arange(40)))[:, None]
    >>> [round(m.value, 3) for m in measure(half, truth)]
    [0.5, 1.0]
    """
    ours, theirs = opening(generated), opening(truth)
    good = np.isfinite(ours) & np.isfinite(theirs)
    counted, failed = int(good.sum()), int((~good).sum())
    if counted < LEAST_FRAMES:
        reason = f"{counted} frames with landmarks in both videos: expected {LEAST_FRAMES}" if counted else NO_FRAME
        deviation, correlation = (not_measured(r, reason, failed) for r in (DEVIATION_RECIPE, CORRELATION_RECIPE))
        return deviation, correlation
    moved = ours[good].std(), theirs[good].std()
    if max(moved) < LEAST:
        still = "neither mouth moves"
        return not_measured(DEVIATION_RECIPE, still, failed), not_measured(CORRELATION_RECIPE, still, failed)
    deviation = Measured(DEVIATION_RECIPE, float(min(moved) / max(moved)), counted, failed)
    if min(moved) < LEAST:
        return deviation, not_measured(CORRELATION_RECIPE, "one mouth does not move: nothing to correlate", failed)
    r = float(np.clip(np.corrcoef(ours[good], theirs[good])[0, 1], -1.0, 1.0))
    return deviation, Measured(CORRELATION_RECIPE, r, counted, failed)
