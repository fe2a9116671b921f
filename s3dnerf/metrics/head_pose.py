"""Head pose from 68 landmarks: APD, how far the generated head is turned from the truth's, and how much a head moves.

The pose of a frame is the scaled orthographic view of 13 points of an average head (bridge, tip and wings of the nose,
corners of the eyes: what speech hardly moves) that lies nearest to their landmarks: the linear map from the points to
the landmarks by least squares, then the nearest one with perpendicular rows of equal length (POS, DeMenthon & Davis
1995). Its rotation is R = Rz·Ry·Rx of (pitch, yaw, roll). One head for everybody: the angles of a person are off by a
constant, which cancels where two videos of the person, or two frames, are compared.

    APD             = mean over frames and over yaw, pitch, roll of |angle_g − angle_t|
    head dynamics   = √( mean σ(angle) · mean Var(Δ angle) + mean Var(centre) )
    angle deviation = mean over yaw, pitch, roll of σ(angle)

σ and Var over the frames of a clip, Δ between neighbouring frames, centre: the middle of the landmarks' box, x and y.

Source: APD (average pose distance) as reported since Doukas et al. 2021 (HeadGAN), there from 3-D coefficients; head
dynamics: THEval (Quignon et al., CVPR 2026), there with FaceXFormer's angles and RetinaFace's box: its numbers do not
compare with these. Angle deviation: ours. Unit: degrees; head dynamics mixes degrees and pixels at 256². Range:
[0, ∞). APD: less is better. The two others are neither: the truth's own number stands beside.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.faces.camera import angles_of
from s3dnerf.metrics.lmd import NO_FRAME
from s3dnerf.metrics.result import DOWN, NEITHER, Measured, Recipe, not_measured, over_frames

# the average head's rigid points (iBUG, 0-based), units of 10 cm, x to the image's right, y up, z out of the face:
# those of s3dnerf/faces/recon/anatomy.py (a test compares)
RIGID = (27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)
HEAD = np.array([
    (0.000, 0.021, 0.930), (0.000, -0.086, 1.010), (0.000, -0.191, 1.090), (0.000, -0.298, 1.150),
    (-0.123, -0.398, 0.920), (-0.063, -0.416, 0.975), (0.000, -0.431, 1.010), (0.063, -0.416, 0.975),
    (0.123, -0.398, 0.920), (-0.398, -0.008, 0.710), (-0.173, -0.017, 0.815), (0.173, -0.017, 0.815),
    (0.398, -0.008, 0.710),
])  # fmt: skip
LEAST_FRAMES = 10
_POSE = "scaled orthographic fit of 13 rigid points of one average head to the landmarks"
APD_RECIPE = Recipe(
    "apd", "APD", "°", DOWN, "apd-1", 0.0, 180.0,
    f"mean absolute difference of yaw, pitch and roll; {_POSE}", perfect=0.0,
)  # fmt: skip
DYNAMICS_RECIPE = Recipe(
    "head_dynamics", "Head dynamics", "", NEITHER, "head-dynamics-1", 0.0, math.inf,
    f"THEval's √(σ(angle)·Var(Δ angle) + Var(centre)), degrees and pixels at 256²; {_POSE}",
)  # fmt: skip
DEVIATION_RECIPE = Recipe(
    "head_angle_deviation", "Head angle deviation", "°", NEITHER, "head-angle-deviation-1", 0.0, 180.0,
    f"mean over yaw, pitch, roll of the standard deviation over time; {_POSE}",
)  # fmt: skip
_INVERSE = np.linalg.pinv(HEAD - HEAD.mean(axis=0))


def angles_deg(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n 3"]:
    """Yaw, pitch and roll in degrees, signed as :func:`s3dnerf.faces.camera.pose_degrees` does; nan where landmarks
    failed.

    Examples
    --------
    A head that is turned in the picture's plane by 10°, against the clock:

    >>> from s3dnerf.faces.camera import rotation
    >>> turned = HEAD @ rotation(np.radians([0.0, 0.0, 10.0])).T
    >>> landmarks = np.zeros((1, 68, 2))
    >>> landmarks[0, RIGID] = 128 + 100 * turned[:, :2] * [1, -1]
    >>> (angles_deg(landmarks).round(6) + 0.0).tolist()
    [[0.0, 0.0, 10.0]]
    """
    good = np.isfinite(landmarks).all(axis=(1, 2))
    found = np.full((len(landmarks), 3), np.nan)
    if good.any():
        rows, _, _ = views(landmarks[good].astype(np.float64) * (1.0, -1.0))
        third = np.cross(rows[:, 0], rows[:, 1])
        pitch, yaw, roll = np.degrees(angles_of(np.concatenate([rows, third[:, None]], axis=1))).T
        found[good] = np.stack([yaw, pitch, roll], axis=1)
    return found


def views(
    points: Float[np.ndarray, "n 68 2"],
) -> tuple[Float[np.ndarray, "n 2 3"], Float[np.ndarray, " n"], Float[np.ndarray, "n 2"]]:
    """The scaled orthographic view of each frame: landmark ≈ scale · rows · point of the head + shift.

    Parameters
    ----------
    points : (n, 68, 2), y up, all finite

    Returns
    -------
    rows : the nearest pair of perpendicular unit rows
    scale : units of ``points`` for one of :data:`HEAD`
    shift : where the head's origin is seen
    """
    rigid = points[:, RIGID]
    middle = rigid.mean(axis=1)
    left, size, right = np.linalg.svd(np.swapaxes(_INVERSE @ (rigid - middle[:, None]), 1, 2), full_matrices=False)
    rows, scale = left @ right, size.mean(axis=1)
    return rows, scale, middle - scale[:, None] * (rows @ HEAD.mean(axis=0))


def measure(generated: Float[np.ndarray, "n 68 2"], truth: Float[np.ndarray, "n 68 2"]) -> Measured:
    """APD of a clip.

    Examples
    --------
    >>> face = np.random.default_rng(0).uniform(0, 256, (4, 68, 2))
    >>> measure(face + 5, face).value < 1e-9
    True
    """
    apart = np.abs((angles_deg(generated) - angles_deg(truth) + 180) % 360 - 180).mean(axis=1)
    return over_frames(APD_RECIPE, apart, NO_FRAME)


def measure_motion(landmarks: Float[np.ndarray, "n 68 2"], every: int = 1) -> tuple[Measured, Measured]:
    """Head dynamics and angle deviation of one video.

    Parameters
    ----------
    landmarks : of every ``every``-th frame; a row of nan is a frame whose landmarks failed
    every : head dynamics compares neighbouring frames and is not measured where they were not looked at
    """
    angles, good = angles_deg(landmarks), np.isfinite(landmarks).all(axis=(1, 2))
    counted, failed = int(good.sum()), int((~good).sum())
    if counted < LEAST_FRAMES:
        reason = few_frames(counted)
        return not_measured(DYNAMICS_RECIPE, reason, failed), not_measured(DEVIATION_RECIPE, reason, failed)
    spread = float(angles[good].std(axis=0).mean())
    deviation = Measured(DEVIATION_RECIPE, spread, counted, failed)
    if every > 1:
        return not_measured(DYNAMICS_RECIPE, not_neighbours(every), failed), deviation
    steps = np.diff(angles, axis=0)
    steps = steps[np.isfinite(steps).all(axis=1)]
    if len(steps) < 2:
        return not_measured(DYNAMICS_RECIPE, "no three neighbouring frames with landmarks", failed), deviation
    points = landmarks[good].astype(np.float64)
    centre = (points.min(axis=1) + points.max(axis=1)) / 2
    value = math.sqrt(spread * float(steps.var(axis=0).mean()) + float(centre.var(axis=0).mean()))
    return Measured(DYNAMICS_RECIPE, value, counted, failed), deviation


def few_frames(counted: int) -> str:
    """The reason where a motion has too few frames with landmarks."""
    return f"{counted} frames with landmarks: expected {LEAST_FRAMES}" if counted else "no frame has landmarks"


def not_neighbours(every: int) -> str:
    """The reason where what needs neighbouring frames has landmarks of every n-th only."""
    return f"landmarks of one frame in {every}: expected of each (evaluate.landmark_every: 1)"
