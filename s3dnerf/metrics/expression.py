"""AED from 68 landmarks: how far the generated face's expression lies from the truth's, pose and person apart.

The expression of a frame is 64 coefficients β of our own morphable model (:mod:`s3dnerf.faces.recon.morphable`), found
by one linear least squares: with the frame's scaled orthographic view (scale s, rotation rows R (2 × 3) and shift t,
fitted to 13 rigid points as :mod:`s3dnerf.metrics.head_pose` does), the mean head m_i and the expression basis B_i of
landmark i, and its weight w_i,

    β = argmin Σ_i w_i ‖p_i − s R (m_i + B_i β) − t‖² / 2² + ‖β‖²
    AED = mean over frames and over the 64 coefficients of |β_g − β_t|

All frames of a video are solved at once. The head is one average head for everybody: what makes a person differ from it
enters β as an offset, the same in two videos of the person, which the difference takes out. Jaw landmarks lie on a
silhouette and not on a place: their weight is 0. A frame whose landmarks fail in either video is left out of both, and
counted.

Source: AED (average expression distance) as reported since Doukas et al. 2021 (HeadGAN), there from the 64 expression
coefficients that DECA or Deep3DFaceRecon's network reads off the picture. The basis here is another and landmarks are
all that is seen: the name says so, and the numbers do not compare with published ones. Unit: standard deviations of the
model's prior. Range: [0, ∞). Less is better.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.metrics.head_pose import HEAD, RIGID, views
from s3dnerf.metrics.lmd import NO_FRAME
from s3dnerf.metrics.result import DOWN, Measured, Recipe, over_frames

NOISE_PX = 2.0  # of a landmark at 256², as the fit of preprocessing has it
WEIGHTS = np.concatenate([np.zeros(17), np.full(10, 0.7), np.ones(41)])
RECIPE = Recipe(
    "aed_landmarks", "AED (landmarks)", "", DOWN, "aed-landmarks-1", 0.0, math.inf,
    "mean absolute difference of 64 expression coefficients of our own morphable model (not Deep3D's), by linear least "
    "squares from 51 landmarks", perfect=0.0,
)  # fmt: skip


@functools.cache
def _basis() -> tuple[np.ndarray, np.ndarray]:
    """The mean head (68, 3), in the place of :data:`s3dnerf.metrics.head_pose.HEAD`, and the basis (68, 3, 64)."""
    from s3dnerf.faces.recon.morphable import own_model

    model = own_model()
    mean, basis = model.mean[model.keypoints], model.exp_base[model.keypoints]
    return mean + (HEAD - mean[list(RIGID)]).mean(axis=0), basis


def coefficients(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n 64"]:
    """Expression coefficients of each frame; nan where landmarks failed.

    Parameters
    ----------
    landmarks : float (n, 68, 2), pixels at 256², y down; a row with a nan is a frame whose landmarks failed
    """
    mean, basis = _basis()
    good = np.isfinite(landmarks).all(axis=(1, 2))
    found = np.full((len(landmarks), basis.shape[-1]), np.nan)
    if not good.any():
        return found
    points = landmarks[good].astype(np.float64) * (1.0, -1.0)  # y up
    rows, scale, shift = views(points)
    view = scale[:, None, None] * rows  # [n, 2, 3]
    apart = points - mean @ np.swapaxes(view, 1, 2) - shift[:, None]  # [n, 68, 2]
    seen = np.flatnonzero(WEIGHTS)
    root = np.sqrt(WEIGHTS[seen]) / NOISE_PX
    design = np.einsum("nij,kjm->nkim", view, root[:, None, None] * basis[seen], optimize=True)
    design = design.reshape(len(points), 2 * len(seen), -1)  # [n, 102, 64]
    target = (apart[:, seen] * root[:, None]).reshape(len(points), -1, 1)
    across = np.swapaxes(design, 1, 2)
    found[good] = np.linalg.solve(across @ design + np.eye(basis.shape[-1]), across @ target)[..., 0]
    return found


def measure(generated: Float[np.ndarray, "n 68 2"], truth: Float[np.ndarray, "n 68 2"]) -> Measured:
    """AED of a clip.

    Parameters
    ----------
    generated, truth : float (n, 68, 2), pixels at 256²; a row with a nan is a frame whose landmarks failed

    Examples
    --------
    A face that stands 5 pixels aside has the same expression:

    >>> face = np.random.default_rng(0).uniform(64, 192, (4, 68, 2))
    >>> measure(face + 5, face).value < 1e-9
    True
    """
    apart = np.abs(coefficients(generated) - coefficients(truth)).mean(axis=1)
    return over_frames(RECIPE, apart, NO_FRAME)
