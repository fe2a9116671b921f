"""What a raw video file holds: size as shown, sound, damage, and the exact presentation time of each frame.

Asks the decoder's process (:mod:`s3dnerf.video.inspection`), which reads the file's packets and decodes it only where
they do not tell. Times are FFmpeg's: 0 is the start of the file's earliest stream, edit lists applied.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from s3dnerf.video.decoder import ask
from s3dnerf.video.encoding import VideoError


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    Attributes
    ----------
    fps_hz : mean frame rate over the file
    width_px, height_px : of the picture as shown (turned, with square pixels)
    duration_s : end of the last frame on the file's timeline
    frame_times_s : float64 (n,), presentation times, non-decreasing unless ``ordered`` is False
    has_audio : whether there is a sound track
    rotation : degrees clockwise by which the player turns the picture (0, 90, 180, 270), already applied to the size
    pts, time_base : the exact times: ``(pts − start_pts) · time_base`` seconds
    last_pts_end : pts at which the last frame ends, as FFmpeg estimates it
    early_s : by how much the picture is shown before its time (:func:`s3dnerf.video.inspection.edit_shift`); its sound
        keeps its time, so that sound cut for a picture at t must be taken from ``t + early_s``
    several_edits : an edit list joins several pieces, which it moves apart
    declared_s : the container's own word for its duration (nan where it says nothing)
    damage : what was found wrong while reading ('' for a sound file)
    container : FFmpeg's name of the format
    notes : what is done so that frames are shown right (``deinterlaced``, ``tone-mapped from HLG``, …), in words
    """

    fps_hz: float
    width_px: int
    height_px: int
    duration_s: float
    frame_times_s: np.ndarray
    has_audio: bool
    rotation: int
    pts: np.ndarray = field(repr=False, default_factory=lambda: np.zeros(0, np.int64))
    time_base: Fraction = Fraction(1, 1)
    start_pts: int = 0
    last_pts_end: int = 0
    early_s: float = 0.0
    several_edits: bool = False
    declared_s: float = float("nan")
    damage: str = ""
    container: str = ""
    notes: tuple[str, ...] = ()

    @property
    def ordered(self) -> bool:
        """Whether presentation times strictly increase, as those of every sound file do."""
        return bool((np.diff(self.pts) > 0).all())


def probe(path: str | Path) -> VideoInfo:
    """What a video file holds.

    Raises
    ------
    VideoError with a reason: ``missing``, ``zero_bytes``, ``unreadable``, ``no_video``, ``crashes_decoder``, or one of
    :mod:`s3dnerf.video.display` where it cannot be shown right. PassingFault: the machine failed.
    """
    try:
        state = os.stat(path)
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file", "missing") from error
    return _probe(os.fspath(path), os.path.abspath(path), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _probe(path: str, absolute: str, size: int, mtime_ns: int) -> VideoInfo:
    ((facts, data),) = list(ask({"do": "probe", "path": path}))
    pts, durations = np.frombuffer(data, np.int64).reshape(2, -1)
    pts.setflags(write=False)
    time_base, start_pts = Fraction(*facts["time_base"]), facts["start_pts"]
    last = int(durations[-1]) if durations[-1] > 0 else int(pts[-1] - pts[-2]) if len(pts) > 1 else 1
    times = (pts - start_pts).astype(np.float64) * float(time_base)
    span = float(times[-1] - times[0])
    fps = (len(pts) - 1) / span if len(pts) > 1 and span > 0 else 1 / max(last * float(time_base), 1e-6)
    return VideoInfo(
        fps_hz=round(fps, 6),
        width_px=facts["width_px"],
        height_px=facts["height_px"],
        duration_s=float((int(pts[-1]) + last - start_pts) * time_base),
        frame_times_s=times,
        has_audio=facts["has_audio"],
        rotation=facts["rotation"],
        pts=pts,
        time_base=time_base,
        start_pts=start_pts,
        last_pts_end=int(pts[-1]) + last,
        early_s=facts["early_s"],
        several_edits=facts["several_edits"],
        declared_s=facts["declared_s"],
        damage=facts["damage"],
        container=facts["container"],
        notes=tuple(facts["notes"]),
    )
