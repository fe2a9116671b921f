"""The head's poses in a video of somebody: movement that a portrait can borrow.

Reads any video of one person, up to :data:`LONGEST_S` seconds of it; raises :class:`FaceError` or ``VideoError`` with
what was found. Frames are taken at 25 Hz, tracked, aligned and reconstructed as the stages do it to a clip. Where the
video is cut, or the face is gone for a while, the longest stretch without either is used, and the log says which.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from s3dnerf.core.file_names import shown
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.faces.alignment import AlignedTrack, align_track
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.recon.types import Reconstructor
from s3dnerf.faces.tracking import Track, Tracks, gaps, track_faces
from s3dnerf.faces.types import FaceBackend, FaceError
from s3dnerf.faces.warping import warp
from s3dnerf.settings.schema import Settings
from s3dnerf.video.clock import clock_of
from s3dnerf.video.probing import probe
from s3dnerf.video.reading import read_frames

logger = logging.getLogger(__name__)

# what the real network needs as aligned frames, 200 MB of them; movement is played forth and back beyond
LONGEST_S = 40.0
LEAST_S = 1.0  # a stretch that is shorter is no movement to borrow
GONE_S = 0.4  # a face that is away for longer ends a stretch; shorter gaps are bridged


def part_of(found: Tracks, first: int, end: int) -> Tracks:
    """The tracks of the frames ``first`` … ``end`` − 1, counted from 0, as if they were a video of their own."""
    tracks = []
    for track in found.tracks:
        kept = [at for at in track.landmarks if first <= at < end]
        if kept:
            landmarks = {at - first: track.landmarks[at] for at in kept}
            boxes = {at - first: track.boxes[at] for at in kept}
            scores = {at - first: track.scores[at] for at in kept if at in track.scores}
            tracks.append(Track(landmarks, boxes, scores, track.doubt))
    cuts = [cut - first for cut in found.cuts if first < cut < end]
    return replace(found, frames=end - first, tracks=tracks, cuts=cuts, stands_out=found.stands_out[first:end])


def stretches(found: Tracks) -> list[tuple[int, int]]:
    """First frame and the frame after the last of each stretch without a cut in which a face is there, gaps of up to
    :data:`GONE_S` apart; those of at least :data:`LEAST_S`, the longest first.
    """
    cuts = {*found.cuts, *(at for track in found.tracks for at in found.leaps(track))}
    present = np.zeros(found.frames, bool)
    for track in found.tracks:
        present[list(track.landmarks)] = True
    edges = [0, *sorted(cuts), found.frames]
    result = []
    for first, end in zip(edges, edges[1:]):
        begin = first
        for gone, back in [*((first + a, first + b) for a, b in gaps(present[first:end])), (end, end)]:
            at_an_end = gone == begin or back == end
            if back - gone <= GONE_S * FPS_HZ and not at_an_end:
                continue
            if gone - begin >= LEAST_S * FPS_HZ:
                result.append((begin, gone))
            begin = back
    return sorted(result, key=lambda ends: ends[0] - ends[1])


def poses_of_video(
    path: str | Path,
    settings: Settings,
    seconds: float = LONGEST_S,
    backend: FaceBackend | None = None,
    recon: Reconstructor | None = None,
) -> np.ndarray:
    """Poses ``world_to_camera`` float32 (M, 3, 4) at 25 Hz of the one person in a video, smoothed along it.

    Of a video with cuts, or one that the face leaves for more than :data:`GONE_S`: those of the longest stretch that
    can be used, at least :data:`LEAST_S`.

    Parameters
    ----------
    seconds : how much is wanted, from the start; at most :data:`LONGEST_S` are read
    settings : ``align`` and ``masks`` as the stages use them
    backend, recon : already loaded ones; else those that the settings name

    Raises
    ------
    VideoError: the file is missing or no readable video. FaceError, of the video as a whole: no face, several, a face
    that leaves the frame, or cuts that leave no stretch to use.
    """
    index = clock_of(probe(path)).frames[: max(1, round(min(seconds, LONGEST_S) * FPS_HZ))]
    backend = backend or face_backend(settings.align)

    def frames() -> Iterator[np.ndarray]:
        return read_frames(path, index)

    found = track_faces(frames(), backend, settings.align.detect_every, settings.align.detect_px)
    aligned, first = _usable(found, settings, path)
    recon = recon or reconstructor(settings.masks, backend.contour, settings.align.size_px)
    pictures = None
    if recon.needs_frames:
        index = index[first : first + len(aligned.landmarks)]
        pictures = np.stack([warp(f, aligned.matrix, settings.align.size_px) for f in frames()])
    return recon.run(aligned.landmarks, pictures).world_to_camera


def _usable(found: Tracks, settings: Settings, path: str | Path) -> tuple[AlignedTrack, int]:
    """The first stretch, the longest first, whose face can be aligned; and the frame that it begins at."""
    for first, end in stretches(found):
        try:
            aligned = align_track(part_of(found, first, end), settings.align)
        except FaceError:
            continue
        if end - first < found.frames:
            times = f"{first / FPS_HZ:.1f} to {end / FPS_HZ:.1f} s of {found.frames / FPS_HZ:.1f} s"
            logger.info(f"{shown(path)}: head movement is taken from {times}: it is cut, or the face is gone, beyond")
        return aligned, first
    return align_track(found, settings.align), 0  # of a video shorter than a stretch; else it raises what is wrong
