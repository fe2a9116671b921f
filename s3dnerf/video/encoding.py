"""Frames through a pipe into ffmpeg, to a small all-intra mp4 and back; and where ffmpeg is.

The encoder is one thread, bit-exact and without times or versions in the container, so equal frames give equal
bytes. Reads and writes nothing but a temporary folder.
"""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, Any, cast

import numpy as np

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.video.child import Guard, patience_s, refuse_passing


class VideoError(S3DNeRFError, OSError):
    """A video cannot be read or written as asked. ``reason`` is a quarantine code (``unreadable``, ``truncated``,
    …).
    """

    def __init__(self, message: str, reason: str = "unreadable") -> None:
        super().__init__(message)
        self.reason = reason


ADDRESS = re.compile(r"\[[\w#:/,]+ @ 0x[0-9a-f]+\] ")


class NoFrames(S3DNeRFError, ValueError):
    """A video without a frame was to be written."""


@functools.cache
def ffmpeg_path() -> str:
    """The static ffmpeg that comes with ``imageio-ffmpeg``. Raises RuntimeError when the package brings none."""
    import imageio_ffmpeg

    return imageio_ffmpeg.get_ffmpeg_exe()


def plain_log(log: str, most: int = 200) -> str:
    """The end of ffmpeg's log on one line, without addresses: they differ from run to run, and reasons are kept in
    hashed tables.

    >>> plain_log("[mov @ 0x55d0c8] moov atom not found\\nx.mp4: Invalid data\\n")
    'moov atom not found; x.mp4: Invalid data'
    """
    return "; ".join(line.strip() for line in ADDRESS.sub("", log).splitlines() if line.strip())[-most:]


def _size_of(frame: np.ndarray) -> tuple[int, int]:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        raise ValueError(f"a frame of shape {frame.shape}, {frame.dtype}: expected (h, w, 3) uint8 RGB")
    h, w = frame.shape[:2]
    if h % 2 or w % 2:
        raise ValueError(f"a frame of {w}×{h}: yuv420p needs even sides")
    return h, w


def feed_ffmpeg(frames: Iterable[np.ndarray], output: Sequence[str], fps: int, inputs: Sequence[str] = ()) -> int:
    """Run ffmpeg over frames as they come: ``ffmpeg -i <frames> inputs… output…``. Returns how many frames it was
    given.

    Parameters
    ----------
    frames : uint8 (h, w, 3) each, RGB, even sides, all of one size; may be a generator, of which one frame is held at a
        time
    output : arguments for what is written, its name last; input 0 is the frames
    fps : frames per second, Hz
    inputs : arguments that open further inputs

    Raises
    ------
    NoFrames; ValueError for frames that differ in shape; VideoError when ffmpeg fails; PassingFault when it was killed
    or did not move on; what ``frames`` raises. ffmpeg has ended by then.
    """
    frames = iter(frames)
    first = next(frames, None)
    if first is None:
        raise NoFrames("no frames to encode")
    h, w = _size_of(first)
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", str(fps), "-i", "pipe:0"]
    command = [ffmpeg_path(), "-v", "error", "-nostdin", "-y", *raw, *inputs, *output]
    count = 0
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=log)
        pipe = cast(IO[bytes], process.stdin)
        with Guard(process, patience_s()) as guard:
            try:
                for frame in itertools.chain([first], frames):
                    if _size_of(frame) != (h, w):
                        raise ValueError(
                            f"a frame of {frame.shape[1]}×{frame.shape[0]} after frames of {w}×{h}: expected one size"
                        )
                    with guard.waiting():
                        pipe.write(np.ascontiguousarray(frame).tobytes())
                    count += 1
                with guard.waiting():
                    pipe.close()
                    process.wait()
            except BrokenPipeError:
                pass  # ffmpeg ended early: its status and log say why
            except BaseException:
                process.kill()
                raise
            finally:
                code = process.wait()
        guard.refuse_expired("encoding")
        log.seek(0)
        said = log.read().decode(errors="replace")
        refuse_passing(code, said, "encoding")
        if code:
            raise VideoError(f"ffmpeg could not encode ({code}): {plain_log(said, 500)}")
    return count


def encode_clip(frames: Iterable[np.ndarray], crf: int, fps: int = 25) -> bytes:
    """All-intra H.264 (yuv420p) in mp4, without sound.

    Parameters
    ----------
    frames : uint8 (h, w, 3) each, RGB, even sides, all of one size; may be a generator
    crf : x264 quality, 0 (best) to 51
    fps : frames per second, Hz

    Raises ValueError for no frames or frames that differ in shape, VideoError when ffmpeg fails.
    """
    picture = [
        "-an",
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        str(crf),
        "-g",
        "1",
        "-bf",
        "0",
        "-pix_fmt",
        "yuv420p",
    ]
    exact = [
        "-threads",
        "1",
        "-fflags",
        "+bitexact",
        "-flags:v",
        "+bitexact",
        "-map_metadata",
        "-1",
        "-movflags",
        "+faststart",
    ]
    with tempfile.TemporaryDirectory(prefix="s3dnerf-") as folder:
        target = Path(folder, "clip.mp4")
        feed_ffmpeg(frames, [*picture, *exact, str(target)], fps)
        return target.read_bytes()


def decode_clip(data: bytes) -> np.ndarray:
    """Frames of a clip made by :func:`encode_clip`, uint8 (N, h, w, 3) RGB. Raises VideoError for bytes that are no
    video.
    """
    with _clip_reader(data) as reader:
        return np.stack([reader.next().asnumpy() for _ in range(len(reader))])


def decode_frames(data: bytes, at: Sequence[int]) -> np.ndarray:
    """Some frames of a clip made by :func:`encode_clip`, uint8 (n, h, w, 3) RGB: those of :func:`decode_clip`, to the
    bit, without decoding the others (every frame of such a clip stands alone).

    Parameters
    ----------
    at : numbers of the frames, 0 … N − 1, in any order

    Raises VideoError for bytes that are no video, or one that has no such frame.
    """
    with _clip_reader(data) as reader:
        if not all(0 <= i < len(reader) for i in at):
            raise ValueError(f"{len(reader)} frames, asked for {sorted(map(int, at))}")
        return reader.get_batch([int(i) for i in at]).asnumpy()


@contextlib.contextmanager
def _clip_reader(data: bytes) -> Iterator[Any]:
    """decord's reader of a clip in memory; what goes wrong inside becomes VideoError."""
    decord = decord_quietly()
    try:
        yield decord.VideoReader(io.BytesIO(data), num_threads=1)
    except (decord.DECORDError, RuntimeError, StopIteration, ValueError) as error:
        raise VideoError(f"no readable video in {len(data)} bytes: {str(error).splitlines()[0][:200]}") from error


@functools.cache
def decord_quietly() -> ModuleType:
    """The ``decord`` module with its own logging off: what is wrong with a file is said once, by an exception."""
    os.environ.setdefault("DECORD_EOF_RETRY_MAX", "1024")
    import decord

    decord.logging.set_level(decord.logging.FATAL)
    return decord
