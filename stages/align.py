"""``align``: each clip as a 256×256 all-intra video with 68 landmarks, by one similarity a clip.

Reads ``resample`` packs (``frames.npy``: the source frame of each 25 Hz tick) and the raw videos. Writes per clip
``mp4`` (256×256, 25 Hz), ``landmarks.npy`` float32 (N, 68, 2), ``matrix.npy`` float64 (2, 3), ``scores.npy`` float32
(N,). Clips that cannot be used are quarantined: ``no_face``, ``two_faces``, ``face_lost``, ``face_too_small``,
``face_leaves_frame``, ``scene_cut``, ``unreadable``, ``truncated``, ``damaged``, ``changes_midway``. Run: ``python -m
flows.run align``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3dnerf.faces.alignment import align_track
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.faces.frame_cache import KeptFrames
from s3dnerf.faces.tracking import track_faces
from s3dnerf.faces.types import FaceBackend, FaceError
from s3dnerf.settings.schema import Settings
from s3dnerf.video.encoding import VideoError, encode_clip
from s3dnerf.video.packs import CorpusPacks
from s3dnerf.video.reading import read_frames
from stages.context import Context
from stages.preprocessing import ClipResult, PackJob, PackStage, Quarantine, each_clip, run_packs


def weights(settings: Settings) -> list[Path]:
    """Files whose bytes decide the landmarks."""
    if settings.align.backend == "dlib":
        return [dlib_data("landmarks")]
    return sorted(Path(settings.align.model_dir or "").glob("*.onnx")) if settings.align.model_dir else []


SPEC = PackStage("align", ("resample",), weights, reads_raw=True)


def align_clip(
    read: Callable[[], Iterator[np.ndarray]], count: int, backend: FaceBackend, settings: Settings
) -> dict[str, Any]:
    """The parts of one clip; ``read()`` yields its ``count`` frames from the start. Raises Quarantine."""
    s = settings.align
    frames = KeptFrames(read, count, s.size_px, s.crop_factor)
    try:
        found = align_track(track_faces(frames.first_pass(), backend, s.detect_every, s.detect_px, frames.settled), s)
        mp4 = encode_clip(frames.cuts(found.matrix), s.crf)
    except FaceError as bad:
        raise Quarantine(bad.reason, bad.detail) from bad
    except VideoError as bad:
        raise Quarantine(bad.reason, str(bad)) from bad
    return {"mp4": mp4, "landmarks.npy": found.landmarks, "matrix.npy": found.matrix, "scores.npy": found.scores}


def process(job: PackJob) -> Iterator[ClipResult]:
    """The clips of one pack."""
    cv2.setNumThreads(1)
    backend = face_backend(job.settings.align)
    resampled = CorpusPacks(job.upstream["resample"], job.pack)

    def make(record: dict[str, Any]) -> dict[str, Any]:
        index = resampled.read(record["clip"], "frames.npy")
        x, y, w, h = (int(record[f"crop_{k}"]) for k in "xywh")
        path = Path(job.raw_root) / record["video"]
        return align_clip(
            lambda: read_frames(path, index, None if w < 0 else (x, y, w, h)), len(index), backend, job.settings
        )

    yield from each_clip(job, make)


def main(context: Context) -> dict[str, Any]:
    """Run the stage. Returns counts a corpus."""
    return run_packs(SPEC, context)
