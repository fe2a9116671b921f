"""Our own morphable model fitted to 68 landmarks of a clip: one identity, a pose and an expression a frame.

Gauss-Newton with priors, batched over frames. Identity is solved together with pose and expression of a few frames (the
frames' own unknowns are eliminated by a Schur complement), then held while pose and expression of all frames are
solved. Jaw landmarks lie far behind the others and on a silhouette, not on a place: given a full say they make heads
turn too little (by a fifth, against both Deep3DFaceRecon and the synthetic truth). They hardly speak while pose is
sought, and shape identity and jaw opening afterwards, pose held. The camera is Deep3DFaceRecon's: focal length 1015 in
a 224-pixel crop, the crop being one a clip. Pure functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3dnerf.faces import camera
from s3dnerf.faces.recon.contour import contour_paths, outermost
from s3dnerf.faces.recon.crop import crop_for
from s3dnerf.faces.recon.morphable import EXP, ID, MorphableModel, five_of

NOISE_PX = 2.0  # standard deviation of a landmark at 256 px, detector bias included
IDENTITY_FRAMES = 24  # frames that identity is solved on
IDENTITY_VOTES = 6.0  # … but they share the detector's bias: together they count as so many
POSE_WEIGHTS = np.concatenate(
    [np.full(17, 0.01), np.full(10, 0.7), np.full(9, 1.0), np.full(12, 1.0), np.full(20, 0.7)]
)
SHAPE_WEIGHTS = np.concatenate(
    [np.full(17, 0.35), np.full(10, 0.7), np.full(9, 1.0), np.full(12, 1.0), np.full(20, 1.0)]
)
RIGID_STEPS, SHARED_STEPS, FRAME_STEPS, SHAPE_STEPS = 6, 6, 3, 2
EXPRESSION_PRIOR = 1.0


@dataclass(frozen=True)
class Fit:
    """What the fit says of N frames.

    Attributes
    ----------
    identity : float64 (80,)
    expression : float64 (N, 64)
    angles, translation : float64 (N, 3), Deep3D's radians and units
    crop : float64 (3,), Deep3D's crop of the picture: scale, tx, ty
    error_px : float64 (N,), root mean square distance of the landmarks' projections, weighted
    """

    identity: np.ndarray
    expression: np.ndarray
    angles: np.ndarray
    translation: np.ndarray
    crop: np.ndarray
    error_px: np.ndarray


class _Problem:
    """Residuals and derivatives of landmarks (N, 68, 2) under a model, a focal length and a principal point."""

    def __init__(self, landmarks: np.ndarray, model: MorphableModel, intrinsics: np.ndarray, slide: bool) -> None:
        self.observed, self.model, self.k = landmarks, model, intrinsics
        self.weigh(POSE_WEIGHTS)
        self.slide = slide
        fixed = model.keypoints
        paths = contour_paths() if slide else fixed[:17, None]
        vertices = np.concatenate([fixed, paths.ravel()])
        self.mean, self.id_base, self.exp_base = model.mean[vertices], model.id_base[vertices], model.exp_base[vertices]
        self.shape_of_paths = paths.shape
        self.chosen = np.tile(np.arange(68), (len(landmarks), 1))

    def weigh(self, point_weights: np.ndarray) -> None:
        """How much each landmark says (68,)."""
        self.row_weights = np.sqrt(point_weights) / NOISE_PX

    def choose(self, rotation: np.ndarray, shift: np.ndarray, identity: np.ndarray) -> None:
        """Put each jaw landmark on the outermost vertex of its path, in the pose given."""
        if not self.slide:
            return
        rows = slice(68, None)
        points = self.mean[rows] + self.id_base[rows] @ identity
        pixels = self._project(points[None] @ np.swapaxes(rotation, 1, 2) + shift[:, None])
        roll = np.arctan2(-rotation[:, 1, 0], rotation[:, 0, 0])
        best = outermost(pixels.reshape(len(rotation), *self.shape_of_paths, 2), roll)
        self.chosen[:, :17] = 68 + np.arange(17) * self.shape_of_paths[1] + best

    def _project(self, points: np.ndarray) -> np.ndarray:
        return self.k[0, 0] * points[..., :2] / points[..., 2:] + self.k[:2, 2]

    def step(
        self, rotation: np.ndarray, shift: np.ndarray, identity: np.ndarray, expression: np.ndarray, shape: str
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Weighted residuals (N, 136), derivatives (N, 136, 6 or 70) for pose (and expression), and (N, 136, 80 or 0)
        for identity.

        ``shape``: ``rigid`` (pose), ``frame`` (pose and expression) or ``shared`` (identity as well).
        """
        n = len(rotation)
        points = self.mean + self.id_base @ identity
        moved = np.take(points, self.chosen, axis=0)
        base = self.exp_base[self.chosen] if self.slide else None
        if base is None:
            moved = moved + (expression @ self.exp_base[:68].reshape(-1, EXP).T).reshape(n, 68, 3)
        else:
            moved = moved + np.matmul(base.reshape(n, -1, EXP), expression[:, :, None]).reshape(n, 68, 3)
        turned = moved @ np.swapaxes(rotation, 1, 2)
        x, y, z = np.moveaxis(turned + shift[:, None], -1, 0)
        f, w = self.k[0, 0], self.row_weights
        d = np.zeros((n, 68, 2, 3))
        d[..., 0, 0] = d[..., 1, 1] = w * f / z
        d[..., 0, 2], d[..., 1, 2] = -w * f * x / z**2, -w * f * y / z**2
        residual = (self.observed - np.stack([f * x / z + self.k[0, 2], f * y / z + self.k[1, 2]], axis=-1)) * w[
            :, None
        ]
        cross = np.zeros((n, 68, 3, 3))
        a, b, c = np.moveaxis(turned, -1, 0)
        cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = c, -b, a
        cross[..., 1, 0], cross[..., 2, 0], cross[..., 2, 1] = -c, b, -a
        parts = [(d @ cross).reshape(n, 136, 3), d.reshape(n, 136, 3)]
        shared = np.zeros((n, 136, 0))
        if shape != "rigid":
            turned_d = d @ rotation[:, None]  # (n, 68, 2, 3)
            parts.append(self._through(turned_d, self.exp_base))
            if shape == "shared":
                shared = self._through(turned_d, self.id_base)
        return residual.reshape(n, 136), np.concatenate(parts, axis=2), shared

    def _through(self, d: np.ndarray, base: np.ndarray) -> np.ndarray:
        """d (n, 68, 2, 3) times each landmark's basis (68, 3, m) → (n, 136, m)."""
        n, m = len(d), base.shape[-1]
        if not self.slide:
            return np.einsum("nkij,kjm->nkim", d, base[:68], optimize=True).reshape(n, 136, m)
        fixed = (
            np.matmul(d[:, 17:].transpose(1, 0, 2, 3).reshape(51, 2 * n, 3), base[17:68])
            .reshape(51, n, 2, m)
            .transpose(1, 0, 2, 3)
        )
        jaw = np.matmul(d[:, :17], base[self.chosen[:, :17]])
        return np.concatenate([jaw, fixed], axis=1).reshape(n, 136, m)


def _turn(rotation: np.ndarray, omega: np.ndarray) -> np.ndarray:
    """exp([ω]×)·R for small rotation vectors ω (N, 3), by Rodrigues."""
    angle = np.linalg.norm(omega, axis=1)[:, None, None] + 1e-12
    kx = np.zeros((len(omega), 3, 3))
    a, b, c = (omega / angle[:, 0]).T
    kx[:, 0, 1], kx[:, 0, 2], kx[:, 1, 2] = -c, b, -a
    kx[:, 1, 0], kx[:, 2, 0], kx[:, 2, 1] = c, -b, a
    return (np.eye(3) + np.sin(angle) * kx + (1 - np.cos(angle)) * kx @ kx) @ rotation


def _solve_frames(
    problem: _Problem,
    rotation: np.ndarray,
    shift: np.ndarray,
    identity: np.ndarray,
    expression: np.ndarray,
    steps: int,
    shape: str,
    held: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pose (and expression) of every frame, identity given; with ``held``, expression alone."""
    size = 6 if shape == "rigid" else 6 + EXP
    prior = np.diag(np.concatenate([np.full(6, 1e-6), np.full(EXP, EXPRESSION_PRIOR)])[:size])
    for _ in range(steps):
        problem.choose(rotation, shift, identity)
        residual, j, _ = problem.step(rotation, shift, identity, expression, shape)
        if held:
            j[:, :, :6] = 0.0
        jt = np.swapaxes(j, 1, 2)
        gradient = (jt @ residual[..., None])[..., 0]
        if size > 6:
            gradient[:, 6:] -= EXPRESSION_PRIOR * expression
        change = np.linalg.solve(jt @ j + prior, gradient[..., None])[..., 0]
        rotation, shift = _turn(rotation, change[:, :3]), shift + change[:, 3:6]
        if size > 6:
            expression = expression + change[:, 6:]
    return rotation, shift, expression


def _solve_shared(
    problem: _Problem,
    rotation: np.ndarray,
    shift: np.ndarray,
    identity: np.ndarray,
    expression: np.ndarray,
    steps: int,
    held: bool = False,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Identity together with expression and, unless ``held``, pose of a few frames."""
    n = len(rotation)
    own_prior = np.diag(np.concatenate([np.full(6, 1e-6), np.full(EXP, EXPRESSION_PRIOR)]))
    shared_prior = max(n / IDENTITY_VOTES, 1.0)
    for _ in range(steps):
        problem.choose(rotation, shift, identity)
        residual, j, ji = problem.step(rotation, shift, identity, expression, "shared")
        if held:
            j[:, :, :6] = 0.0
        jt, jit = np.swapaxes(j, 1, 2), np.swapaxes(ji, 1, 2)
        own, mixed = jt @ j + own_prior, jt @ ji  # (n, 70, 70), (n, 70, 80)
        g_own = (jt @ residual[..., None])[..., 0]
        g_own[:, 6:] -= EXPRESSION_PRIOR * expression
        g_shared = (jit @ residual[..., None])[..., 0].sum(axis=0) - shared_prior * identity
        eliminated = np.linalg.solve(own, np.concatenate([mixed, g_own[..., None]], axis=2))
        left = (
            (jit @ ji).sum(axis=0)
            + shared_prior * np.eye(ID)
            - (np.swapaxes(mixed, 1, 2) @ eliminated[..., :-1]).sum(axis=0)
        )
        d_identity = np.linalg.solve(
            left, g_shared - (np.swapaxes(mixed, 1, 2) @ eliminated[..., -1:])[..., 0].sum(axis=0)
        )
        change = eliminated[..., -1] - eliminated[..., :-1] @ d_identity
        identity = identity + d_identity
        rotation, shift, expression = _turn(rotation, change[:, :3]), shift + change[:, 3:6], expression + change[:, 6:]
    return identity, rotation, shift, expression


def fit_landmarks(landmarks: np.ndarray, model: MorphableModel, height_px: float, contour: str = "visible") -> Fit:
    """Fit the model to a clip's landmarks.

    Parameters
    ----------
    landmarks : float (N, 68, 2), pixels of the picture, y down
    model : MorphableModel
        With ``contour="visible"`` it must be our own model (the paths over the cheek are laid on it).
    height_px : float
        Height of the picture.
    contour : {"visible", "fixed"}
        How the detector places jaw landmarks (see FaceBackend).
    """
    observed = np.asarray(landmarks, dtype=np.float64)
    n = len(observed)
    crop = np.median(crop_for(five_of(observed), model.five_points(), height_px), axis=0)
    k = camera.intrinsics(crop, height_px)
    problem = _Problem(observed, model, k, contour == "visible")
    start = camera.world_to_camera(np.zeros((n, 3)), np.zeros((n, 3)))
    rotation, shift = start[..., :3], start[..., 3]
    rotation, shift, _ = _solve_frames(problem, rotation, shift, np.zeros(ID), np.zeros((n, EXP)), RIGID_STEPS, "rigid")
    few = np.unique(np.linspace(0, n - 1, min(n, IDENTITY_FRAMES)).round().astype(int))
    part = _Problem(observed[few], model, k, contour == "visible")
    identity, _, _, few_expression = _solve_shared(
        part, rotation[few], shift[few], np.zeros(ID), np.zeros((len(few), EXP)), SHARED_STEPS
    )
    nearest = np.abs(np.arange(n)[:, None] - few).argmin(axis=1)
    rotation, shift, _ = _solve_frames(problem, rotation, shift, identity, few_expression[nearest], 2, "rigid")
    rotation, shift, expression = _solve_frames(
        problem, rotation, shift, identity, few_expression[nearest], FRAME_STEPS, "frame"
    )
    problem.weigh(SHAPE_WEIGHTS)
    part.weigh(SHAPE_WEIGHTS)
    identity, *_ = _solve_shared(part, rotation[few], shift[few], identity, expression[few], SHAPE_STEPS, held=True)
    _, _, expression = _solve_frames(problem, rotation, shift, identity, expression, SHAPE_STEPS, "frame", held=True)
    problem.choose(rotation, shift, identity)
    residual = problem.step(rotation, shift, identity, expression, "rigid")[0].reshape(n, 68, 2)
    error = np.sqrt((residual**2).sum(axis=(1, 2)) / SHAPE_WEIGHTS.sum()) * NOISE_PX
    angles, translation = camera.pose_of(np.concatenate([rotation, shift[..., None]], axis=2))
    return Fit(identity, expression, angles, translation, crop, error)
