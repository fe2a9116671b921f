"""The head's poses in a video of somebody: movement that a portrait can borrow.

Reads any video of one person, up to :data:`LONGEST_S` seconds of it; raises :class:`FaceError` or ``VideoError`` with
what was found. Frames are taken at 25 Hz, tracked, aligned and reconstructed as the stages do it to a clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.faces.alignment import align_track
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.recon.types import Reconstructor
from s3dnerf.faces.tracking import track_faces
from s3dnerf.faces.types import FaceBackend
from s3dnerf.faces.warping import warp
from s3dnerf.settings.schema import Settings
from s3dnerf.video.clock import clock_of
from s3dnerf.video.probing import probe
from s3dnerf.video.reading import read_frames

LONGEST_S = (
    40.0  # what the real network needs as aligned frames, 200 MB of them; movement is played forth and back beyond
)


def poses_of_video(
    path: str | Path,
    settings: Settings,
    seconds: float = LONGEST_S,
    backend: FaceBackend | None = None,
    recon: Reconstructor | None = None,
) -> np.ndarray:
    """Poses ``world_to_camera`` float32 (M, 3, 4) at 25 Hz of the one person in a video, smoothed along it.

    Parameters
    ----------
    seconds : how much is wanted, from the start; at most :data:`LONGEST_S` are read
    settings : ``align`` and ``masks`` as the stages use them
    backend, recon : already loaded ones; else those that the settings name

    Raises
    ------
    VideoError: the file is missing or no readable video. FaceError: no face, several, a cut, a face that leaves the
    frame.
    """
    index = clock_of(probe(path)).frames[: max(1, round(min(seconds, LONGEST_S) * FPS_HZ))]
    backend = backend or face_backend(settings.align)

    def frames() -> Iterator[np.ndarray]:
        return read_frames(path, index)

    aligned = align_track(
        track_faces(frames(), backend, settings.align.detect_every, settings.align.detect_px), settings.align
    )
    recon = recon or reconstructor(settings.masks, backend.contour, settings.align.size_px)
    pictures = (
        np.stack([warp(f, aligned.matrix, settings.align.size_px) for f in frames()]) if recon.needs_frames else None
    )
    return recon.run(aligned.landmarks, pictures).world_to_camera
