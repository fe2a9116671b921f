"""One photograph made ready for the model: found, aligned, reconstructed and masked as the stages do it to a clip.

Reads a picture and settings; raises :class:`FaceError` with what was found and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3dnerf.faces.alignment import check_inside, clip_similarity, too_small
from s3dnerf.faces.detectors import face_backend, refined_landmarks
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.recon.types import Reconstructor
from s3dnerf.faces.types import FaceBackend, FaceError, main_face
from s3dnerf.faces.warping import apply, warp
from s3dnerf.settings.schema import Settings


@dataclass(frozen=True)
class PortraitFace:
    """A portrait as the model takes it.

    Attributes
    ----------
    frame : uint8 (256, 256, 3), RGB, aligned
    mask : bool (256, 256), the inner face
    world_to_camera : float32 (3, 4)
    intrinsics : float32 (3, 3), of the aligned frame
    box : float32 (4,), centre and half side of the head's cube
    landmarks : float32 (68, 2), pixels of the aligned frame
    matrix : float64 (2, 3), picture px → aligned px
    """

    frame: np.ndarray
    mask: np.ndarray
    world_to_camera: np.ndarray
    intrinsics: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    matrix: np.ndarray


def prepare_portrait(
    image: np.ndarray, settings: Settings, backend: FaceBackend | None = None, recon: Reconstructor | None = None
) -> PortraitFace:
    """Detect, align, reconstruct and mask the one face of a photograph.

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB, any size
    settings : Settings
        ``align`` and ``masks`` as the stages use them.
    backend, recon : optional
        Backends already loaded; else those that the settings name.

    Raises
    ------
    FaceError
        ``no_face``, ``several_faces``, ``face_too_small``, ``face_leaves_frame``.
    ValueError
        For a picture of another shape or type.
    MissingWeights
        When a backend's files are absent.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"portrait: got shape {image.shape}, {image.dtype}; expected an RGB picture uint8 (h, w, 3)")
    backend = backend or face_backend(settings.align)
    faces = backend.detect(image, settings.align.detect_px)
    face, rivals = main_face(faces)
    if face is None:
        raise FaceError(
            "no_face",
            f"no face was found in the picture of {image.shape[1]}×{image.shape[0]} px; "
            "take one that shows a single face from the front, at least a fifth of the picture high",
        )
    if rivals > 1:
        places = ", ".join(
            f"{f.side_px:.0f} px at ({f.centre_px[0]:.0f}, {f.centre_px[1]:.0f})" for f in faces[:rivals]
        )
        raise FaceError(
            "several_faces",
            f"{rivals} faces of similar size were found ({places}); cut the picture to one person",
        )
    if face.side_px < settings.align.min_face_px:
        raise too_small(face.side_px, settings.align)
    points = refined_landmarks(image, backend, face)[0][None].astype(np.float64)
    size_px = image.shape[1], image.shape[0]
    check_inside(points, size_px)
    matrix = clip_similarity(points, settings.align, size_px)
    frame = warp(image, matrix, settings.align.size_px)
    landmarks = apply(matrix, points).astype(np.float32)
    recon = recon or reconstructor(settings.masks, backend.contour, settings.align.size_px)
    reconstruction = recon.run(landmarks, frame[None])
    return PortraitFace(
        frame,
        reconstruction.mask[0],
        reconstruction.world_to_camera[0],
        reconstruction.intrinsics[0],
        reconstruction.box,
        landmarks[0],
        matrix,
    )
