"""Videos made for tests: each frame carries its number as blocks of black and white; flashes and beeps at known times."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from s3dnerf.speech.audio import wav_bytes
from s3dnerf.video.encoding import ffmpeg_path

BITS, BLOCK = 12, 16
WIDTH, HEIGHT = BITS * BLOCK, 64
X264 = ("-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "30", "-pix_fmt", "yuv420p")


def stamp(number: int) -> np.ndarray:
    """uint8 (64, 192, 3) with ``number`` (below 4096) in twelve blocks, lowest bit left."""
    frame = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            frame[16:48, bit * BLOCK : (bit + 1) * BLOCK] = 225
    return frame


def number_of(frame: np.ndarray) -> int:
    """The number that :func:`stamp` wrote."""
    return sum(int(frame[24:40, bit * BLOCK + 4 : (bit + 1) * BLOCK - 4].mean() > 128) << bit for bit in range(BITS))


def ffmpeg(*arguments: str, data: bytes | None = None) -> subprocess.CompletedProcess:
    """Run ffmpeg; a failure is the test's failure."""
    return subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-y", *map(str, arguments)], input=data, capture_output=True, check=True
    )


def tone(seconds: float, rate_hz: int = 16000) -> np.ndarray:
    """A speech-loud 220 Hz tone, float32."""
    return (0.3 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate_hz)) / rate_hz)).astype(np.float32)


def write(
    path: Path,
    frames: Iterable[np.ndarray] | int,
    rate: str,
    *,
    filters: str = "null",
    sound: np.ndarray | None = None,
    codec: Sequence[str] = X264,
    extra: Sequence[str] = (),
    audio_codec: Sequence[str] = ("-c:a", "aac"),
) -> Path:
    """A video of these frames (or so many numbered ones) at ``rate``; ``sound``: 16 kHz samples, '' none.

    ``filters`` that set a time base (``settb``) keep their times: the encoder would round them to the frame rate's.
    """
    frames = [stamp(i) for i in range(frames)] if isinstance(frames, int) else list(frames)
    h, w = frames[0].shape[:2]
    path.parent.mkdir(parents=True, exist_ok=True)
    inputs = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{w}x{h}", "-r", rate, "-i", "pipe:0"]
    if sound is not None:
        wav = path.with_suffix(".made.wav")
        wav.write_bytes(wav_bytes(sound))
        inputs += ["-i", str(wav), "-map", "0:v", "-map", "1:a", *audio_codec]
    clock = ("-enc_time_base", "filter") if "settb" in filters else ()
    ffmpeg(
        *inputs,
        "-vf",
        filters,
        "-fps_mode",
        "passthrough",
        *clock,
        *codec,
        *extra,
        path,
        data=b"".join(f.tobytes() for f in frames),
    )
    if sound is not None:
        wav.unlink()
    return path


def fps25(path: Path) -> tuple[int, list[int]]:
    """What ``ffmpeg -vf fps=25`` gives: the tick of the first frame and the number in each frame."""
    done = ffmpeg(
        "-v",
        "info",
        "-i",
        path,
        "-map",
        "0:V:0",
        "-an",
        "-vf",
        "fps=25,showinfo=checksum=0",
        "-fps_mode",
        "passthrough",
        "-pix_fmt",
        "rgb24",
        "-f",
        "rawvideo",
        "pipe:1",
    )
    first = re.search(r"n: *0 pts: *(-?\d+) ", done.stderr.decode())
    frames = np.frombuffer(done.stdout, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    return int(first[1]), [number_of(frame) for frame in frames]
