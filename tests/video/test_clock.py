"""The 25 Hz clock is ffmpeg's ``fps=25``, frame for frame, for every kind of timing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.video.clock import Clock, clock_of, fps_map, round_ticks, ticks_of
from s3dnerf.video.reading import probe, read_frames
from tests.video.numbered import ffmpeg, fps25, number_of, tone, write

RATES = {
    "23.976": "24000/1001",
    "24": "24",
    "25": "25",
    "29.97": "30000/1001",
    "30": "30",
    "50": "50",
    "59.94": "60000/1001",
    "12": "12",
    "15": "15",
    "60": "60",
}


def cut(source: Path, path: Path, start: str) -> Path:
    """A stream copy from ``start`` on: ffmpeg writes an edit list that hides the frames before it."""
    ffmpeg("-ss", start, "-i", source, "-c", "copy", path)
    return path


def make(kind: str, folder: Path) -> Path:
    """One made video of a kind of timing."""
    path = folder / f"{kind}.mp4"
    vfr = "setpts='(N/30+0.013*mod(N*N,7))/TB'"
    if kind in RATES:
        return write(path, 100, RATES[kind])
    if kind == "vfr":
        return write(path, 100, "30", filters="settb=1/90000," + vfr)
    if kind == "vfr in matroska":  # milliseconds, which halve no tick
        return write(folder / "vfr.mkv", 100, "30", filters="settb=1/1000," + vfr)
    if kind == "frames dropped":
        return write(path, 100, "30", filters="select='not(mod(n,3)-1)+not(mod(n,7))'")
    if kind == "half ticks":  # every time lies exactly between two ticks
        return write(path, 60, "25", filters="settb=1/50,setpts='2*N+1'", sound=tone(2.4))
    if kind == "start offset":
        return write(path, 100, "30", filters="setpts=PTS+0.3/TB", sound=tone(3.6))
    if kind == "edit list":
        return cut(write(folder / "whole.mp4", 120, "30000/1001", sound=tone(4)), path, "0.7")
    if kind == "edit list and late picture":
        return cut(write(folder / "late.mp4", 120, "24", filters="setpts=PTS+0.21/TB", sound=tone(5)), path, "1.3")
    if kind == "long last frame":
        return write(path, 40, "30", filters="settb=1/600,setpts='if(eq(N,39),1000,N*20)'")
    if kind == "mpeg":
        return write(folder / "p.mpg", 75, "25", codec=("-c:v", "mpeg1video", "-bf", "2", "-q:v", "2"))
    if kind == "no frame predicted from later ones":
        return write(path, 75, "30", codec=("-c:v", "libx264", "-bf", "0"))
    if kind == "avi":
        return write(folder / "a.avi", 75, "30000/1001", codec=("-c:v", "mpeg4", "-bf", "2", "-q:v", "2"))
    assert kind == "one frame"
    return write(path, 1, "30")


KINDS = [
    *RATES,
    "vfr",
    "vfr in matroska",
    "frames dropped",
    "half ticks",
    "start offset",
    "edit list",
    "edit list and late picture",
    "long last frame",
    "mpeg",
    "avi",
    "no frame predicted from later ones",
    "one frame",
]


@pytest.mark.parametrize("kind", KINDS)
def test_equals_ffmpeg_frame_for_frame(kind: str, tmp_path: Path) -> None:
    path = make(kind, tmp_path)
    clock = clock_of(probe(path))
    first_tick, numbers = fps25(path)
    assert clock.first_tick == first_tick
    assert [number_of(frame) for frame in read_frames(path, clock.frames)] == numbers
    assert clock.end_tick == first_tick + len(numbers)


def test_late_picture_is_late_on_the_clock(tmp_path: Path) -> None:
    assert clock_of(probe(make("start offset", tmp_path))).first_tick == 8  # 0.3 s is 7.5 ticks: away from zero


def test_edit_list_hides_frames(tmp_path: Path) -> None:
    info = probe(make("edit list", tmp_path))
    assert len(info.pts) < 120 and number_of(next(read_frames(tmp_path / "edit list.mp4", np.array([0])))) == 120 - len(
        info.pts
    )


def test_rounds_halves_away_from_zero() -> None:
    assert round_ticks(np.array([-3, -1, 0, 1, 3, 4]), Fraction(1, 50)).tolist() == [-2, -1, 0, 1, 2, 2]
    huge = np.array([1 << 60, -(1 << 60)])
    assert round_ticks(huge, Fraction(1, 25)).tolist() == huge.tolist()


def test_clock_cuts_by_tick() -> None:
    clock = Clock(2, np.array([0, 1, 2, 4, 5], np.int32))
    assert clock.between(0, 4).tolist() == [0, 1]
    assert clock.between(3, 100).tolist() == [1, 2, 4, 5]
    assert clock.between(9, 12).tolist() == []
    assert ticks_of(0.08, 10.08) == (2, 252)


def test_refuses_times_that_go_back() -> None:
    with pytest.raises(ValueError, match="do not go back"):
        fps_map(np.array([0, 2, 1]), 3, Fraction(1, 25))


def test_real_clips(shared: Path) -> None:
    """The clip that starts at 0.08 s; and a fractional rate's number of ticks."""
    assert clock_of(probe(shared / "corpora/HDTF/clips/EX_Macron_000.mp4")).first_tick == 2
    assert len(clock_of(probe(shared / "corpora/MEAD/M030/video/front/sad/level_3/001.mp4")).frames) == 93
