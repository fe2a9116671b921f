"""One photograph made ready for the model: found, aligned, reconstructed and masked as the stages do it to a clip.

Reads a picture and settings; raises :class:`FaceError` with what was found and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3dnerf.core.errors import SettingsError
from s3dnerf.faces.alignment import clip_similarity
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.recon.types import Reconstructor
from s3dnerf.faces.types import Face, FaceBackend, FaceError, main_face
from s3dnerf.faces.warping import apply, warp
from s3dnerf.settings.schema import Settings
from s3dnerf.synthesis.photo_faces import faces_in, landmarks_of
from s3dnerf.synthesis.portrait_checks import check_seen, check_size, check_sure, check_turned, check_whole

CHOICES = ("only", "largest", "left", "right")
NO_FACE = "take one that shows a single uncovered face from the front"
DARK = 40  # a picture whose brightest twentieth is below this level of 255 hides what is in it


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


def check_which(which: str, dashes: str = "") -> None:
    """Raise SettingsError for a choice among faces that there is not."""
    if which not in CHOICES and not (which.isdecimal() and int(which) > 0):
        accepted = f"{', '.join(CHOICES)}, or a number, counted from the left"
        raise SettingsError(f"{dashes}face: got {which} — accepted: {accepted}")


def chosen_face(faces: list[Face], which: str, size_px: tuple[int, int]) -> Face:
    """The face to use among those found.

    Parameters
    ----------
    faces : as a backend detects them
    which : ``only`` (several of similar size are refused), ``largest``, ``left``, ``right`` or a number from the left
    size_px : width and height of the picture

    Raises FaceError (``no_face``, ``several_faces``, ``no_such_face``).
    """
    largest, rivals = main_face(faces)
    if largest is None:
        raise FaceError("no_face", f"no face was found in the picture of {size_px[0]}×{size_px[1]} px; {NO_FACE}")
    if which == "largest" or (which == "only" and rivals == 1):
        return largest
    row = sorted(faces, key=lambda f: -f.side_px)[:rivals]
    row.sort(key=lambda f: f.centre_px)
    places = ", ".join(
        f"{i}: {f.side_px:.0f} px at ({f.centre_px[0]:.0f}, {f.centre_px[1]:.0f})" for i, f in enumerate(row, 1)
    )
    if which == "only":
        raise FaceError(
            "several_faces",
            f"{rivals} faces of similar size were found ({places}); say which by its number, largest, left or right "
            "(--face), or cut the picture to one person",
        )
    number = {"left": 1, "right": rivals}.get(which) or int(which)
    if number > rivals:
        raise FaceError("no_such_face", f"face {number} was asked for and {rivals} of similar size found ({places})")
    return row[number - 1]


def prepare_portrait(
    image: np.ndarray,
    settings: Settings,
    backend: FaceBackend | None = None,
    recon: Reconstructor | None = None,
    which: str = "only",
    faces: list[Face] | None = None,
) -> PortraitFace:
    """Detect, align, reconstruct and mask a face of a photograph.

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB, any size
    settings : Settings
        ``align`` and ``masks`` as the stages use them.
    backend, recon : optional
        Backends already loaded; else those that the settings name.
    which : str
        Which face, where there are several (:func:`chosen_face`).
    faces : optional
        What :func:`s3dnerf.synthesis.photo_faces.faces_in` finds, where that is known.

    Raises
    ------
    FaceError
        ``no_face``, ``several_faces``, ``no_such_face``, ``tilted``, ``face_too_small``, ``no_sure_face``,
        ``face_leaves_frame``, ``turned_away``, ``low_contrast``, ``blurred``: nothing was rendered yet.
    ValueError
        For a picture of another shape or type.
    MissingWeights
        When a backend's files are absent.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"portrait: got shape {image.shape}, {image.dtype}; expected an RGB picture uint8 (h, w, 3)")
    backend = backend or face_backend(settings.align)
    size_px = image.shape[1], image.shape[0]
    faces = faces_in(image, backend, settings.align) if faces is None else faces
    if not faces and (level := float(np.percentile(image, 95))) < DARK:
        raise FaceError(
            "no_face", f"no face was found: the picture is dark (95 % of it below level {level:.0f} of 255)"
        )
    face = chosen_face(faces, which, size_px)
    check_size(face, settings.align.min_face_px, size_px)
    found, doubt = landmarks_of(image, backend, face)
    check_sure(doubt, face)
    check_whole(found, size_px)
    points = found[None]
    matrix = clip_similarity(points, settings.align, size_px)
    frame = warp(image, matrix, settings.align.size_px)
    landmarks = apply(matrix, points).astype(np.float32)
    recon = recon or reconstructor(settings.masks, backend.contour, settings.align.size_px)
    reconstruction = recon.run(landmarks, frame[None])
    check_turned(reconstruction.world_to_camera[0])
    check_seen(frame, reconstruction.mask[0])
    return PortraitFace(
        frame,
        reconstruction.mask[0],
        reconstruction.world_to_camera[0],
        reconstruction.intrinsics[0],
        reconstruction.box,
        landmarks[0],
        matrix,
    )
