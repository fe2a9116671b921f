"""A clip's landmarks (and, for the real network, frames) to coefficients, cameras and inner-face masks.

Two backends, chosen by ``masks.backend``: ``fitted`` (our own morphable model, :mod:`.fit`) stands in; ``deep3d``
(Deep3DFaceRecon's network and BFM 2009) is the real thing. Both give the same outputs.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.faces import camera
from s3dnerf.faces.recon.fit import fit_landmarks
from s3dnerf.faces.recon.morphable import COEFFICIENTS, LAYOUT, own_model
from s3dnerf.faces.recon.rasterise import MaskPainter
from s3dnerf.faces.recon.types import Reconstruction, Reconstructor, smoothed
from s3dnerf.settings.schema import MasksSettings


def pack_coefficients(
    identity: np.ndarray, expression: np.ndarray, angles: np.ndarray, translation: np.ndarray
) -> np.ndarray:
    """Coefficients float32 (N, 257); texture and light zero (the mean ones): landmarks say nothing of them."""
    n = len(expression)
    result = np.zeros((n, COEFFICIENTS), np.float32)
    result[:, LAYOUT["id"]], result[:, LAYOUT["exp"]] = identity, expression
    result[:, LAYOUT["angle"]], result[:, LAYOUT["trans"]] = angles, translation
    return result


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
        """A clip's reconstruction from landmarks (n, 68, 2): every ``fit_every``-th frame is fitted, the others lie
        between.
        """
        n = len(landmarks)
        at = np.unique(np.append(np.arange(0, n, self.settings.fit_every), n - 1))
        fit = fit_landmarks(landmarks[at], self.model, self.size_px, self.contour)

        def between(values: np.ndarray) -> np.ndarray:
            return (
                np.stack([np.interp(np.arange(n), at, column) for column in values.T], axis=1)
                if len(at) < n
                else values
            )

        expression, angles, translation = between(fit.expression), between(fit.angles), between(fit.translation)
        k = camera.intrinsics(fit.crop, self.size_px)
        w2c = camera.world_to_camera(
            smoothed(angles, self.settings.smooth_frames), smoothed(translation, self.settings.smooth_frames)
        )
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
