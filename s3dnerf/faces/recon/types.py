"""What a reconstruction of a clip is, who makes one, and the smoothing of poses that all backends share.

Two backends: ``fitted`` (:mod:`.reconstruct`, which also chooses) and ``deep3d`` (:mod:`.deep3d`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.ndimage import gaussian_filter1d

from s3dnerf.faces.recon.morphable import MorphableModel


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
        """Landmarks float (N, 68, 2) in pixels of the aligned frame; frames uint8 (N, size, size, 3) where
        ``needs_frames``.
        """


def smoothed(values: np.ndarray, frames: float) -> np.ndarray:
    """Gaussian smoothing along the first axis, symmetric, ends held.

    >>> smoothed(np.array([[1.0], [1.0], [1.0]]), 2.0).ravel().tolist()
    [1.0, 1.0, 1.0]
    """
    return gaussian_filter1d(values, frames, axis=0, mode="nearest") if frames > 0 and len(values) > 1 else values
