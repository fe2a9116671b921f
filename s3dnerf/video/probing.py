"""What a raw video file holds: size, sound, rotation, damage, and the exact presentation time of each frame.

Reads the file's packets through ffmpeg, which takes milliseconds; decodes it only where the packets do not tell.
Times are ffmpeg's: 0 is the start of the file's earliest stream, edit lists applied.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np

from s3dnerf.video.child import run_child
from s3dnerf.video.editlist import starts_on_a_frame
from s3dnerf.video.encoding import ADDRESS, VideoError, ffmpeg_path

# containers that hold talking people; playlists and scripts, which name other files, are not among them
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,flv,asf,ogg,wav,mp3,aac,flac"
HEAD_FRAMES = 12
# decodes and prints the time of each frame
SHOW = ("-map", "0:V:0", "-an", "-vf", "showinfo=checksum=0", "-fps_mode", "passthrough", "-f", "null", "-")


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds.

    Attributes
    ----------
    fps_hz : mean frame rate over the file
    width_px, height_px : of the picture as shown (after ``rotation``)
    duration_s : end of the last frame on the file's timeline
    frame_times_s : float64 (n,), presentation times, non-decreasing unless ``ordered`` is False
    has_audio : whether there is a sound track
    rotation : degrees by which the player turns the picture (0, 90, 180, 270), already applied to the size
    pts, time_base : the exact times: ``(pts − start_pts) · time_base`` seconds
    last_pts_end : pts at which the last frame ends, as ffmpeg estimates it
    early_s : by how much ffmpeg shows the picture before its time (see :func:`_edits`); its sound keeps its time, so
        that sound cut for a picture at t must be taken from ``t + early_s``
    several_edits : an edit list joins several pieces; ``early_s`` holds in the first alone
    declared_s : the container's own word for its duration (nan where it says nothing)
    damage : what ffmpeg found wrong while reading ('' for a sound file)
    container : ffmpeg's name of the format
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

    @property
    def ordered(self) -> bool:
        """Whether presentation times strictly increase, as those of every sound file do."""
        return bool((np.diff(self.pts) > 0).all())


def source(path: str | Path) -> list[str]:
    """ffmpeg's input arguments for a raw file: any name, known containers only, one thread."""
    return [
        "-format_whitelist",
        FORMATS,
        "-protocol_whitelist",
        "file,pipe",
        "-threads",
        "1",
        "-i",
        f"file:{os.fspath(path)}",
    ]


def _run(path: str | Path, *output: str, options: tuple[str, ...] = ()) -> tuple[str, str, int]:
    """ffmpeg over a file, with ``options`` of its demuxer: what it wrote, its log with levels, its status.

    Raises PassingFault where it was killed or failed by the machine.
    """
    command = [
        ffmpeg_path(),
        "-hide_banner",
        "-nostdin",
        "-nostats",
        "-v",
        "level+info",
        "-copyts",
        *options,
        *source(path),
        *output,
    ]
    done = run_child(command, path)
    return done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"), done.returncode


def faults(log: str) -> str:
    """The first lines of a log that tell of damage, without addresses."""
    bad = [ADDRESS.sub("", line) for line in log.splitlines() if re.search(r"\[(error|fatal|panic)\]", line)]
    return "; ".join(bad[:2])[:200]


def _packets(text: str) -> tuple[list[tuple[int, int]], bool]:
    """(pts, duration) of each packet that is shown, in file order; and whether all have a time and none is marked
    corrupt.
    """
    rows, whole = [], True
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        parts = line.split(",")
        pts, duration = int(parts[2]), int(parts[3])
        flags = next((int(p.strip()[2:], 16) for p in parts[6:] if p.strip().startswith("F=")), 1)
        whole = whole and pts > -(1 << 62) and not flags & 2
        if not flags & 4:  # hidden by an edit list: decoded, never shown
            rows.append((pts, duration))
    return rows, whole


def _shown(log: str) -> tuple[list[tuple[int, int]], Fraction]:
    """(pts, duration) of each frame that decoding gave, and the unit, from the log of :data:`SHOW`."""
    rows = [(int(m[1]), int(m[2])) for m in re.finditer(r"\bn: *\d+ pts: *(-?\d+) .*?duration: *(-?\d+) ", log)]
    base = re.search(r"config in time_base: (\d+/\d+)", log)
    return rows, Fraction(base[1] if base else "1/1")


def _edits(path: str, first_pts: int, time_base: Fraction) -> tuple[float, bool]:
    """Seconds by which ffmpeg shows a QuickTime or mp4 picture before its time; and whether the edit list has several
    entries.

    An edit list may begin between two frames. ffmpeg hides the frame before its start and moves all others forward,
    until the first one shown stands at the start (``mov_fix_index`` in libavformat/mov.c: the smallest time becomes
    zero); the sound is cut to the sample and not moved. With ``advanced_editlist 0`` the demuxer gives every packet its
    own time, counted from the edit list's start: the first at or after the start tells how far ffmpeg moves.
    ``first_pts``: time of the first frame shown.
    """
    early, several = 0.0, False
    for limit in (
        ("-to", f"{float(first_pts * time_base) + 2:.3f}"),
        (),
    ):  # the start is enough, unless no frame stands there
        text, log, _ = _run(
            path, "-map", "0:V:0", "-c", "copy", *limit, "-f", "framecrc", "pipe:1", options=("-advanced_editlist", "0")
        )
        several = "multiple edit list entries" in log
        after = [pts for pts, _ in _packets(text)[0] if pts >= first_pts]
        if after and f"#tb 0: {time_base}" in text:
            early = float((min(after) - first_pts) * time_base)
            break
    return early, several


def probe(path: str | Path) -> VideoInfo:
    """What a video file holds, by reading its packets (and by decoding it where they do not tell).

    Raises
    ------
    VideoError with a reason: ``missing``, ``zero_bytes``, ``unreadable``, ``no_video``. PassingFault: the
    machine failed.
    """
    try:
        state = os.stat(path)
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file", "missing") from error
    return _probe(os.fspath(path), state.st_size, state.st_mtime_ns)


@functools.lru_cache(maxsize=4)
def _probe(path: str, size: int, mtime_ns: int) -> VideoInfo:
    if size == 0:
        raise VideoError(f"{path}: an empty file", "zero_bytes")
    text, log, status = _run(
        path, "-map", "0:V:0", "-c", "copy", "-f", "framecrc", "pipe:1", "-frames:v", str(HEAD_FRAMES), *SHOW
    )
    header = re.search(r"Input #0, (\S+), from", log)
    if header is None:
        raise VideoError(f"{path}: not a readable video: {faults(log) or 'unknown container'}")
    stream = re.search(r"Stream #0:\d+.*?: Video: (?!.*attached pic).*", log)
    if stream is None:
        raise VideoError(f"{path}: no video stream", "no_video")
    size_px = re.search(r", (\d+)x(\d+)[ ,\[]", stream[0] + " ")
    packets, whole = _packets(text)
    base = re.search(r"#tb 0: (\d+/\d+)", text)
    damage = faults(log)
    rows = sorted(packets)
    # packets may have lost their presentation times and look well: the first frames that decoding gives must agree
    agree = [pts for pts, _ in _shown(log)[0]][:HEAD_FRAMES] == [pts for pts, _ in rows[:HEAD_FRAMES]]
    if (
        not status
        and not damage
        and whole
        and agree
        and base is not None
        and len({pts for pts, _ in rows}) == len(rows)
    ):
        time_base = Fraction(base[1])
    else:
        _, log_of_all, _ = _run(path, *SHOW)
        rows, time_base = _shown(log_of_all)
        damage = damage or faults(log_of_all)
    if not rows or size_px is None:
        raise VideoError(f"{path}: no frame can be decoded: {damage or 'no frames'}")
    pts = np.array([p for p, _ in rows], np.int64)
    last = rows[-1][1] if rows[-1][1] > 0 else int(pts[-1] - pts[-2]) if len(pts) > 1 else 1
    start = re.search(r"Duration: (\S+), start: (-?[\d.]+)", log)
    start_us = round(Fraction(start[2]) * 1_000_000) if start else 0
    start_pts = _rescale(start_us, Fraction(1, 1_000_000), time_base)
    times = (pts - start_pts).astype(np.float64) * float(time_base)
    clock = re.match(r"(\d+):(\d+):([\d.]+)", start[1]) if start else None
    declared = int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]) if clock else float("nan")
    turn = re.search(r"(?i:display ?matrix): rotation of (-?[\d.]+) degrees", log)
    rotation = round(-float(turn[1])) % 360 if turn else 0
    plain = not header[1].startswith("mov") or starts_on_a_frame(path)
    early_s, several = (0.0, False) if plain else _edits(path, int(pts[0]), time_base)
    w, h = int(size_px[1]), int(size_px[2])
    span = float(times[-1] - times[0])
    fps = (len(pts) - 1) / span if len(pts) > 1 and span > 0 else 1 / max(last * float(time_base), 1e-6)
    return VideoInfo(
        fps_hz=round(fps, 6),
        width_px=h if rotation in (90, 270) else w,
        height_px=w if rotation in (90, 270) else h,
        duration_s=float((int(pts[-1]) + last - start_pts) * time_base),
        frame_times_s=times,
        has_audio=re.search(r"Stream #0:\d+.*: Audio:", log) is not None,
        rotation=rotation,
        pts=pts,
        time_base=time_base,
        start_pts=start_pts,
        last_pts_end=int(pts[-1]) + last,
        early_s=early_s,
        several_edits=several,
        declared_s=declared,
        damage=damage,
        container=header[1].rstrip(","),
    )


def _rescale(value: int, given: Fraction, wanted: Fraction) -> int:
    """``value`` counted in ``given`` seconds, counted in ``wanted`` seconds, halves away from zero (ffmpeg's
    av_rescale_q).
    """
    exact = value * given / wanted
    half = Fraction(1, 2)
    return int(exact + half) if exact >= 0 else -int(-exact + half)
