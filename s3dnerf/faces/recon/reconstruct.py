"""A clip's landmarks (and, for the real network, frames) to coefficients, cameras and inner-face masks.

Two backends, chosen by ``masks.backend``: ``fitted`` (our own morphable model, :mod:`.fit`) stands in; ``deep3d``
(Deep3DFaceRecon's network and BFM 2009) is the real thing. Both give the same outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import gaussian_filter1d

from s3dnerf.config import MasksSettings
from s3dnerf.faces import camera
from s3dnerf.faces.recon.fit import fit_landmarks
from s3dnerf.faces.recon.morphable import COEFFICIENTS, LAYOUT, MorphableModel, own_model
from s3dnerf.faces.recon.rasterise import cover, draw_all


@dataclass(frozen=True)
class Reconstruction:
    """N frames of one clip.

    Attributes
    ----------
    coefficients : float32 (N, 257), Deep3DFaceRecon's layout
    world_to_camera : float32 (N, 3, 4), smoothed along the clip
    intrinsics : float32 (N, 3, 3), of the aligned frame
    box : float32 (4,), centre x, y, z and half side of the head's cube
    raw_camera : float32 (N, 9): angles, translation, crop (scale, tx, ty) before smoothing
    mask : bool (N, size, size)
    error_px : float64 (N,), root mean square landmark distance of the fit; nan where the backend fits none
    """

    coefficients: np.ndarray
    world_to_camera: np.ndarray
    intrinsics: np.ndarray
    box: np.ndarray
    raw_camera: np.ndarray
    mask: np.ndarray
    error_px: np.ndarray


class Reconstructor(Protocol):
    """What turns a clip into a Reconstruction. ``real`` is False where it stands in."""

    name: str
    real: bool
    needs_frames: bool
    model: MorphableModel

    def run(self, landmarks: np.ndarray, frames: np.ndarray | None = None) -> Reconstruction:
        """Landmarks float (N, 68, 2) in pixels of the aligned frame; frames uint8 (N, size, size, 3) where ``needs_frames``."""


def smoothed(values: np.ndarray, frames: float) -> np.ndarray:
    """Gaussian smoothing along the first axis, symmetric, ends held.

    >>> smoothed(np.array([[1.0], [1.0], [1.0]]), 2.0).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    return gaussian_filter1d(values, frames, axis=0, mode="nearest") if frames > 0 and len(values) > 1 else values


def pack_coefficients(identity: np.ndarray, expression: np.ndarray, angles: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Coefficients float32 (N, 257); texture and light zero (the mean ones): landmarks say nothing of them."""
    n = len(expression)
    result = np.zeros((n, COEFFICIENTS), np.float32)
    result[:, LAYOUT["id"]], result[:, LAYOUT["exp"]] = identity, expression
    result[:, LAYOUT["angle"]], result[:, LAYOUT["trans"]] = angles, translation
    return result


class MaskPainter:
    """Draws the inner-face mask of a model from coefficients and cameras."""

    def __init__(self, model: MorphableModel, size_px: int) -> None:
        self.size_px = size_px
        chosen = cover(model)
        self.triangles = chosen.triangles
        self._mean, self._id_base, self._exp_base = (chosen.of(values) for values in (model.mean, model.id_base, model.exp_base))

    def paint(self, identity: np.ndarray, expression: np.ndarray, world_to_camera: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
        """Masks bool (N, size, size); identity (80,), expression (N, 64), cameras (N, 3, 4), intrinsics (3, 3) or (N, 3, 3)."""
        points = (
            self._mean
            + self._id_base @ identity
            + (expression @ self._exp_base.reshape(-1, expression.shape[1]).T).reshape(len(expression), *self._mean.shape)
        )
        return draw_all(camera.project(points, world_to_camera, intrinsics), self.triangles, self.size_px)


class FittedReconstructor:
    """Our own morphable model fitted to landmarks.

    Parameters
    ----------
    settings : MasksSettings
    contour : {"visible", "fixed"}
        The detector's kind of jaw landmarks.
    size_px : int
        Side of the aligned frame.
    """

    name = "fitted"
    real = False
    needs_frames = False

    def __init__(self, settings: MasksSettings, contour: str = "visible", size_px: int = 256) -> None:
        self.settings, self.contour, self.size_px = settings, contour, size_px
        self.model = own_model()
        self._painter = MaskPainter(self.model, size_px)

    def run(self, landmarks: np.ndarray, frames: np.ndarray | None = None) -> Reconstruction:
        n = len(landmarks)
        at = np.unique(np.append(np.arange(0, n, self.settings.fit_every), n - 1))
        fit = fit_landmarks(landmarks[at], self.model, self.size_px, self.contour)

        def between(values: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(np.arange(n), at, column) for column in values.T], axis=1) if len(at) < n else values

        expression, angles, translation = between(fit.expression), between(fit.angles), between(fit.translation)
        k = camera.intrinsics(fit.crop, self.size_px)
        w2c = camera.world_to_camera(smoothed(angles, self.settings.smooth_frames), smoothed(translation, self.settings.smooth_frames))
        raw = np.concatenate([angles, translation, np.tile(fit.crop, (n, 1))], axis=1)
        return Reconstruction(
            coefficients=pack_coefficients(fit.identity, expression, angles, translation),
            world_to_camera=w2c.astype(np.float32),
            intrinsics=np.tile(k, (n, 1, 1)).astype(np.float32),
            box=self.model.box().astype(np.float32),
            raw_camera=raw.astype(np.float32),
            mask=self._painter.paint(fit.identity, expression, w2c, k),
            error_px=np.interp(np.arange(n), at, fit.error_px),
        )


def reconstructor(settings: MasksSettings, contour: str = "visible", size_px: int = 256) -> Reconstructor:
    """The backend that ``masks.backend`` names. Raises MissingWeights with what to fetch when its files are absent."""
    if settings.backend == "fitted":
        return FittedReconstructor(settings, contour, size_px)
    from s3dnerf.faces.recon.deep3d import Deep3DReconstructor

    return Deep3DReconstructor(settings, size_px)
