"""``masks``: 257 coefficients, a camera a frame and the inner-face mask (mouth filled) of each aligned clip.

Reads ``align`` packs (``landmarks.npy``, and ``mp4`` for the deep3d backend). Writes per clip ``coefficients.npy``
float32 (N, 257), ``world_to_camera.npy`` float32 (N, 3, 4), ``intrinsics.npy`` float32 (N, 3, 3), ``box.npy`` float32
(4,), ``raw_camera.npy`` float32 (N, 9), ``mask.npy`` uint8 (N, 256, 32): ``np.packbits`` along x. A clip whose
landmarks fit no face is quarantined: ``fit_failed``. Run: ``python -m flows.run masks``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3dnerf.faces.recon.morphable import STANDARD_POINTS
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.recon.types import Reconstructor
from s3dnerf.settings.schema import Settings
from s3dnerf.video.encoding import decode_clip
from s3dnerf.video.packs import CorpusPacks
from stages.context import Context
from stages.preprocessing import ClipResult, PackJob, PackStage, Quarantine, each_clip, run_packs

LARGEST_ERROR_PX = 8.0  # median landmark distance beyond which the landmarks are not a face's; real clips have 0.6–1.5
CONTOUR = {"dlib": "visible", "insightface": "fixed"}  # the detectors' kinds of jaw landmarks (FaceBackend.contour)


def weights(settings: Settings) -> list[Path]:
    """Files whose bytes decide the reconstruction."""
    if settings.masks.backend == "fitted":
        return []
    named = [Path(p) for p in (settings.masks.network, settings.masks.morphable_model) if p]
    return [*named, *(p.with_name(STANDARD_POINTS) for p in named[1:])]


SPEC = PackStage("masks", ("align",), weights)


def masks_of(landmarks: np.ndarray, frames: np.ndarray | None, recon: Reconstructor) -> dict[str, Any]:
    """The parts of one clip. Raises Quarantine ``fit_failed``."""
    found = recon.run(landmarks, frames)
    error = float(np.nanmedian(found.error_px)) if np.isfinite(found.error_px).any() else 0.0
    if not np.isfinite(found.world_to_camera).all() or error > LARGEST_ERROR_PX:
        raise Quarantine(
            "fit_failed",
            f"the face model misses the landmarks by {error:.1f} px (median; at most {LARGEST_ERROR_PX:g})",
        )
    empty = int((~found.mask.any(axis=(1, 2))).sum())
    if empty:
        raise Quarantine("fit_failed", f"the mask of {empty} of {len(landmarks)} frames is empty")
    return {
        "coefficients.npy": found.coefficients,
        "world_to_camera.npy": found.world_to_camera,
        "intrinsics.npy": found.intrinsics,
        "box.npy": found.box,
        "raw_camera.npy": found.raw_camera,
        "mask.npy": np.packbits(found.mask, axis=-1),
    }


def process(job: PackJob) -> Iterator[ClipResult]:
    """The clips of one pack."""
    cv2.setNumThreads(1)
    settings = job.settings
    aligned = CorpusPacks(job.upstream["align"], job.pack)
    recon = reconstructor(settings.masks, CONTOUR[settings.align.backend], settings.align.size_px)

    def make(record: dict[str, Any]) -> dict[str, Any]:
        frames = decode_clip(aligned.read(record["clip"], "mp4")) if recon.needs_frames else None
        return masks_of(aligned.read(record["clip"], "landmarks.npy"), frames, recon)

    yield from each_clip(job, make)


def main(context: Context) -> dict[str, Any]:
    """Run the stage. Returns counts a corpus."""
    return run_packs(SPEC, context)
