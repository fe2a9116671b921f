"""The 25 Hz clock: which source frame ``ffmpeg -vf fps=25`` would show at each tick, without re-encoding.

Tick k is at k / 25 s of the file's timeline; 640 samples of 16 kHz sound lie between two ticks. The rule is that of
ffmpeg's ``fps`` filter (``libavfilter/vf_fps.c``, ``round=near``, ``eof_action=round``): each frame's time is rounded
to a tick, halves away from zero; a tick shows the last frame whose rounded time is not after it; output begins at
the first frame's tick and ends before the tick to which the last frame's end is rounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.probing import VideoInfo


@dataclass(frozen=True)
class Clock:
    """Source frames on the 25 Hz grid.

    Attributes
    ----------
    first_tick : tick of ``frames[0]``; tick k is at k / 25 s of the file's timeline
    frames : int32 (n,), non-decreasing source frame numbers, one a tick
    """

    first_tick: int
    frames: np.ndarray

    @property
    def end_tick(self) -> int:
        """The tick after the last."""
        return self.first_tick + len(self.frames)

    def between(self, start_tick: int, end_tick: int) -> np.ndarray:
        """Source frames of the ticks start_tick … end_tick − 1 that the file has; int32 (≤ n,)."""
        low, high = max(start_tick, self.first_tick), min(end_tick, self.end_tick)
        return self.frames[low - self.first_tick : max(high, low) - self.first_tick]


def round_ticks(pts: np.ndarray, time_base: Fraction, fps_hz: int = FPS_HZ) -> np.ndarray:
    """``pts · time_base · fps`` rounded to whole ticks, halves away from zero, in whole numbers; int64 (n,)."""
    up, down = time_base.numerator * fps_hz, time_base.denominator
    pts = np.asarray(pts, np.int64)
    if len(pts) and int(np.abs(pts).max()) * up * 2 > 1 << 62:  # numpy would overflow
        return np.array([_round(int(p) * up, down) for p in pts], np.int64)
    size = (np.abs(pts) * (2 * up) + down) // (2 * down)
    return np.where(pts < 0, -size, size)


def _round(over: int, under: int) -> int:
    size = (2 * abs(over) + under) // (2 * under)
    return -size if over < 0 else size


def fps_map(pts: np.ndarray, last_pts_end: int, time_base: Fraction, fps_hz: int = FPS_HZ) -> Clock:
    """The ``fps`` filter as a table.

    Parameters
    ----------
    pts : int (n,), presentation times of the frames in ``time_base`` seconds, non-decreasing, 0 = start of the timeline
    last_pts_end : time at which the last frame ends, same unit

    Raises ValueError for no frames or times that go back.
    """
    pts = np.asarray(pts, np.int64)
    if not len(pts) or (np.diff(pts) < 0).any():
        raise ValueError("pts: expected at least one frame and times that do not go back")
    ticks = round_ticks(pts, time_base, fps_hz)
    end = int(round_ticks(np.array([last_pts_end]), time_base, fps_hz)[0])
    wanted = np.arange(int(ticks[0]), end)
    return Clock(int(ticks[0]), (np.searchsorted(ticks, wanted, side="right") - 1).astype(np.int32))


def clock_of(info: VideoInfo) -> Clock:
    """The 25 Hz clock of a probed file. Raises VideoError (broken_timestamps) where its frames' times go back."""
    if (np.diff(info.pts) < 0).any():
        raise VideoError("presentation times go back", "broken_timestamps")
    return fps_map(info.pts - info.start_pts, info.last_pts_end - info.start_pts, info.time_base)


def ticks_of(start_s: float, end_s: float) -> tuple[int, int]:
    """First tick and the tick after the last of an interval of the timeline (both rounded to the grid)."""
    return round(start_s * FPS_HZ), round(end_s * FPS_HZ)
