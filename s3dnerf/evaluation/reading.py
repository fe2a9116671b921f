"""One video file, made comparable with another: read at 25 Hz and 256², what is wrong with it, and what had to be
changed.

Reads as all of the project does (:mod:`s3dnerf.video.reading`), writes nothing. :mod:`s3dnerf.evaluation.folders`
scores what is read here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.protocol import SIZE_PX, resize
from s3dnerf.video.clock import clock_of
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.reading import frames_with_status, probe

HOW = f"all frames at {FPS_HZ} Hz and {SIZE_PX}×{SIZE_PX}: shrunk by area averaging, enlarged bicubically"


@dataclass(frozen=True)
class Problem:
    """A file that was not scored, not whole, or not compared as it is: ``what`` is a code, ``detail`` says it in
    words.
    """

    name: str
    what: str
    detail: str
    method: str = ""


@dataclass(frozen=True)
class ReadVideo:
    """A video at 25 Hz and 256².

    Attributes
    ----------
    frames : uint8 (n, 256, 256, 3), RGB, frame k at k / 25 s of the file's timeline
    damaged : how many of the file's frames had to be patched up from their neighbours, as players do
    notes : what is done so that frames are shown right (``deinterlaced``, …), in words
    """

    frames: np.ndarray
    damaged: int
    notes: tuple[str, ...]

    def problems(self, name: str, before: str = "") -> list[Problem]:
        """What is to be said of it; ``before`` is put before each code."""
        found = []
        if self.damaged:
            detail = f"{self.damaged} frames are damaged and were patched up from their neighbours"
            found.append(Problem(name, f"{before}damaged", detail))
        if self.notes:
            found.append(Problem(name, f"{before}interpreted", f"as players show it: {', '.join(self.notes)}"))
        return found


def read_video(path: str | Path) -> ReadVideo:
    """A video as it is compared.

    Where the first picture comes late, it is held from the start, so that frame k stays at its time. Raises VideoError
    when the file cannot be read, or not to its end, and VideoError with the reason ``not_square`` for a picture that is
    not.
    """
    info = probe(path)
    if info.width_px != info.height_px:
        reason = (
            f"{info.width_px}×{info.height_px}: expected a square picture (compared at {SIZE_PX}²); crop both videos "
            "to the face alike"
        )
        raise VideoError(f"{path}: {reason}", "not_square")
    clock = clock_of(info)
    index = clock.frames[max(0, -clock.first_tick) :]
    index = np.concatenate([np.full(max(0, clock.first_tick), index[0], index.dtype), index]) if len(index) else index
    if not len(index):
        raise VideoError(f"{path}: no frames")
    frames = np.empty((len(index), SIZE_PX, SIZE_PX, 3), np.uint8)
    damaged, last = 0, -1
    for at, frame in enumerate(frames_with_status(path, index)):
        if frame.number == last:
            frames[at] = frames[at - 1]
            continue
        last = frame.number
        damaged += frame.damaged
        frames[at] = resize(frame.pixels[None])[0]
    return ReadVideo(frames, damaged, info.notes)


def compared_otherwise(name: str, path: Path, truth: Path) -> Iterator[Problem]:
    """What was changed so that the two files could be compared."""
    ours, theirs = probe(path), probe(truth)
    if ours.width_px != theirs.width_px:
        sizes = f"{ours.width_px}×{ours.height_px}, the truth {theirs.width_px}×{theirs.height_px}"
        yield Problem(name, "other_size", f"{sizes}: both compared at {SIZE_PX}×{SIZE_PX}")
    if abs(ours.fps_hz - theirs.fps_hz) > 0.05:
        rates = f"{ours.fps_hz:.2f} fps, the truth {theirs.fps_hz:.2f}"
        yield Problem(name, "other_rate", f"{rates}: paired by time at {FPS_HZ} Hz, the nearest frame each")
    late = clock_of(ours).first_tick
    if late > 0:
        yield Problem(
            name, "starts_late", f"the first picture comes at {late / FPS_HZ:.2f} s and is held from the start"
        )
