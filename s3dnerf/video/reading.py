"""Frames of a raw video by number, forward only: memory does not grow with the video.

Reads raw video files through ffmpeg (one thread, a process of its own: a damaged file cannot take the worker along),
writes nothing. decord reads the clips of our own packs (:mod:`s3dnerf.video.encoding`) but not raw files: it subtracts
a late start, has times in single precision, and counts the frames an edit list hides (they come out as repeats of the
last).

Frame numbers count the frames that decoding gives, in presentation order, as :func:`s3dnerf.video.probing.probe` lists
them.
"""

from __future__ import annotations

import io
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from s3dnerf.video.child import Guard, patience_s, refuse_passing
from s3dnerf.video.encoding import VideoError, ffmpeg_path, plain_log
from s3dnerf.video.probing import VideoInfo, faults, probe, source

__all__ = ["VideoInfo", "probe", "read_frames", "source"]

# containers in which ffmpeg finds the key frame before a time reliably; others are decoded from their start
SEEKABLE = ("mov", "matroska")
SEEK_BEFORE_S = 1.0
# what ffmpeg says of a frame whose data are broken, and which it gives all the same, patched up from its neighbours
PATCHED = "corrupt decoded frame"


def read_frames(
    path: str | Path, index: np.ndarray, crop: tuple[int, int, int, int] | None = None
) -> Iterator[np.ndarray]:
    """Frames by number, one by one, decoding forward only: memory does not grow with the video.

    Parameters
    ----------
    index : int (n,), non-decreasing frame numbers in presentation order; a number that repeats gives the same frame
        again
    crop : x, y, w, h in pixels of the picture as shown, inside it; None for the whole frame

    Yields
    ------
    uint8 (h, w, 3) RGB, writable, the same array again for a repeated number

    Raises
    ------
    VideoError: what :func:`probe` raises; ``truncated`` when fewer frames can be decoded than the file announces;
    ``damaged`` when one of them had to be patched up from its neighbours. PassingFault: ffmpeg was killed or did not
    move on, so that nothing is known of the file.
    """
    index = np.asarray(index)
    if index.ndim != 1 or (len(index) and (index[0] < 0 or (np.diff(index) < 0).any())):
        raise ValueError("index: expected non-decreasing frame numbers ≥ 0, shape (n,)")
    if not len(index):
        return
    info = probe(path)
    count = len(info.pts)
    if index[-1] >= count:
        raise VideoError(f"{path}: frame {index[-1]} of {count}", "truncated")
    x, y, w, h = crop or (0, 0, info.width_px, info.height_px)
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > info.width_px or y + h > info.height_px:
        raise ValueError(f"crop {crop}: expected inside {info.width_px}×{info.height_px}")
    first, last = int(index[0]), int(index[-1])
    # chroma lies on even pixels: cut a little more in YUV, the rest after conversion
    x0, y0, x1, y1 = x - x % 2, y - y % 2, min(x + w + 1, info.width_px), min(y + h + 1, info.height_px)
    wide, high = x1 - x0, y1 - y0
    chain = f"trim=start_pts={info.pts[first]}:end_pts={info.pts[last] + 1}"
    if (wide, high) != (info.width_px, info.height_px):
        chain += f",crop={wide}:{high}:{x0}:{y0}:exact=1"
    # one path for all sizes: a crop equals the whole's part
    chain += ",scale=flags=bilinear+accurate_rnd+full_chroma_int,format=rgb24"
    seek: list[str] = []
    start_s = info.frame_times_s[first] - SEEK_BEFORE_S
    if start_s > 0 and info.container.split(",")[0] in SEEKABLE:
        seek = ["-noaccurate_seek", "-ss", f"{start_s:.3f}"]
    command = [
        ffmpeg_path(),
        "-v",
        "level+warning",
        "-nostdin",
        "-copyts",
        *seek,
        *source(path),
        "-map",
        "0:V:0",
        "-vf",
        chain,
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "pipe:1",
    ]
    given = 0
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, bufsize=1 << 20) as process,
        Guard(process, patience_s(path)) as guard,
    ):
        stream = cast(io.BufferedReader, process.stdout)
        try:
            numbers = iter(index.tolist())
            number = next(numbers, None)
            for at in range(first, last + 1):
                data = bytearray(wide * high * 3)
                with guard.waiting():
                    whole = stream.readinto(data) == len(data)
                if not whole:
                    break
                given += 1
                frame = np.frombuffer(data, np.uint8).reshape(high, wide, 3)[y - y0 : y - y0 + h, x - x0 : x - x0 + w]
                while number == at:
                    yield frame
                    number = next(numbers, None)
            with guard.waiting():  # its own end says whether it was killed; there is nothing more to come
                extra = len(stream.read(1)) if given == last + 1 - first else 0
                code = 0 if extra else process.wait()
        finally:
            process.kill()
            process.wait()
        guard.refuse_expired(str(path))
        log.seek(0)
        said = log.read().decode(errors="replace")
        refuse_passing(code, said, str(path))
        if given != last + 1 - first or extra:
            raise VideoError(
                f"{path}: {given} frames could be decoded of {last + 1 - first} from frame {first} on. "
                f"{plain_log(said)}",
                "truncated",
            )
        patched = said.count(PATCHED)
        if patched:
            raise VideoError(
                f"{path}: {patched} of {given} frames from frame {first} on are damaged. {faults(said)}", "damaged"
            )
