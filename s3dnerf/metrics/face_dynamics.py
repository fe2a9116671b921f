"""How much lips and eyebrows move, and how much the landmarks tremble, of one video for itself.

    lip dynamics     = mean over pairs of the 20 lip points of the standard deviation over time (N − 1) of their
                       distance
    eyebrow dynamics = mean over both sides of the standard deviation over time of the distance from the eye's centre
                       to the brow's, across the line of the eyes
    jitter           = mean over triples of frames at rest, and over 13 points of nose and eyes' corners, of
                       |p(t − 1) − 2 p(t) + p(t + 1)|

Lips and jitter are in per cent of the distance between the eyes' outer corners (36–45), brows of that between the
eyes' centres, as THEval normalises them. At rest is the half of the triples in which the 13 points' mean moves least
from t − 1 to t + 1: of independent errors of the landmarks the choice takes no side, since this difference and the
second one do not depend on each other. Landmarks of real video tremble too (a detector looks at each frame for itself):
the truth's own number stands beside.

Source: lips and eyebrows: THEval (Quignon et al., CVPR 2026), formulas of the paper (its code differs: variances for
the lips, mean steps for the brows); it takes 40 lip points of MediaPipe, here are the 20 of the 68: its numbers do not
compare with these. Jitter: ours. Unit: per cent. Range: [0, ∞). Less jitter is better as far as the truth's and no
further; of lips and brows neither is: a still picture has 0.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.head_pose import LEAST_FRAMES, RIGID, few_frames, not_neighbours
from s3dnerf.metrics.result import NEITHER, Measured, Recipe, not_measured

LIPS = slice(48, 68)
LEFT_EYE, RIGHT_EYE, LEFT_BROW, RIGHT_BROW = slice(36, 42), slice(42, 48), slice(17, 22), slice(22, 27)
OUTER = (36, 45)
LIP_RECIPE = Recipe(
    "lip_dynamics", "Lip dynamics", "%", NEITHER, "lip-dynamics-1", 0.0, math.inf,
    "THEval: mean standard deviation over time of the 20 lip points' pairwise distances, per cent of 36–45",
)  # fmt: skip
BROW_RECIPE = Recipe(
    "brow_dynamics", "Eyebrow dynamics", "%", NEITHER, "brow-dynamics-1", 0.0, math.inf,
    "THEval: standard deviation over time of the eye's distance to the brow, per cent of the eyes' distance",
)  # fmt: skip
JITTER_RECIPE = Recipe(
    "jitter", "Landmark jitter", "%", NEITHER, "jitter-1", 0.0, math.inf,
    "mean second difference over time of 13 rigid points, of the calmer half of the frames, per cent of 36–45",
)  # fmt: skip
RECIPES = (LIP_RECIPE, BROW_RECIPE, JITTER_RECIPE)


def eye_distance(points: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, " n"]:
    """Distance between the eyes' outer corners in pixels; nan where landmarks failed."""
    return np.maximum(np.linalg.norm(points[:, OUTER[1]] - points[:, OUTER[0]], axis=-1), 1e-6)


def lip_dynamics(points: Float[np.ndarray, "n 68 2"]) -> float:
    """Lip dynamics in per cent of landmarks that are all there, n at least 2."""
    lips = points[:, LIPS]
    first, second = np.triu_indices(lips.shape[1], 1)
    apart = np.linalg.norm(lips[:, first] - lips[:, second], axis=-1) / eye_distance(points)[:, None]  # [n, pairs]
    return float(100 * apart.std(axis=0, ddof=1).mean())


def brow_heights(points: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n 2"]:
    """How far each brow's centre lies from its eye's, across the line of the eyes, in the eyes' distance."""
    left, right = points[:, LEFT_EYE].mean(axis=1), points[:, RIGHT_EYE].mean(axis=1)
    line = right - left
    across = np.stack([line[:, 1], -line[:, 0]], axis=1)  # the picture's y goes down: this one points to the brows
    length = np.maximum((line**2).sum(axis=1), 1e-12)
    brows = points[:, LEFT_BROW].mean(axis=1), points[:, RIGHT_BROW].mean(axis=1)
    return np.stack([((brow - eye) * across).sum(axis=1) / length for brow, eye in zip(brows, (left, right))], axis=1)


def tremble(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, " m"]:
    """Mean second difference of each triple of frames at rest, in distances between the eyes; triples that lack a
    frame are left out.
    """
    points = landmarks[:, RIGID].astype(np.float64)
    second = np.linalg.norm(points[:-2] - 2 * points[1:-1] + points[2:], axis=-1).mean(axis=-1)
    second /= eye_distance(landmarks[1:-1].astype(np.float64))
    motion = np.linalg.norm((points[2:] - points[:-2]).mean(axis=1), axis=-1)
    good = np.isfinite(second) & np.isfinite(motion)
    second, motion = second[good], motion[good]
    return second[motion <= np.median(motion)] if len(motion) else second


def measure(landmarks: Float[np.ndarray, "n 68 2"], every: int = 1) -> tuple[Measured, Measured, Measured]:
    """Lip dynamics, eyebrow dynamics and jitter of one video.

    Parameters
    ----------
    landmarks : of every ``every``-th frame; a row of nan is a frame whose landmarks failed
    every : jitter compares neighbouring frames and is not measured where they were not looked at

    Examples
    --------
    A face that jumps to and fro by 1 % of its eyes' distance, and does nothing else:

    >>> face = np.random.default_rng(0).uniform(0, 256, (1, 68, 2))
    >>> face[0, [36, 45]] = (50, 100), (150, 100)
    >>> jumping = face + (np.arange(20) % 2)[:, None, None] * (1.0, 0.0)
    >>> [round(m.value, 6) for m in measure(jumping)]
    [0.0, 0.0, 2.0]
    """
    good = np.isfinite(landmarks).all(axis=(1, 2))
    counted, failed = int(good.sum()), int((~good).sum())
    if counted < LEAST_FRAMES:
        lips, brows, jitter = (not_measured(recipe, few_frames(counted), failed) for recipe in RECIPES)
        return lips, brows, jitter
    points = landmarks[good].astype(np.float64)
    lips = Measured(LIP_RECIPE, lip_dynamics(points), counted, failed)
    brows = Measured(BROW_RECIPE, float(100 * brow_heights(points).std(axis=0).mean()), counted, failed)
    if every > 1:
        return lips, brows, not_measured(JITTER_RECIPE, not_neighbours(every), failed)
    calm = tremble(landmarks)
    if not len(calm):
        return lips, brows, not_measured(JITTER_RECIPE, "no three neighbouring frames with landmarks", failed)
    return lips, brows, Measured(JITTER_RECIPE, float(100 * calm.mean()), counted, failed)
