"""Sound as 16 kHz mono: cut from any file by time, through ffmpeg; int16 WAV bytes and back.

Time 0 is the start of the file's timeline as ffmpeg counts it (the earliest stream), so that sound and picture cut
at the same seconds belong together even when one stream starts late.
"""

from __future__ import annotations

import io
import wave
from pathlib import Path

import numpy as np

from s3dnerf.core.rates import RATE_HZ
from s3dnerf.video.child import run_child
from s3dnerf.video.encoding import VideoError, ffmpeg_path, plain_log
from s3dnerf.video.probing import source

FULL_SCALE = 32768  # as ffmpeg and scipy count: 16-bit sound goes through floats and back unchanged


def read_audio(
    path: str | Path, start_s: float = 0.0, end_s: float | None = None, rate_hz: int = RATE_HZ
) -> np.ndarray:
    """Samples of the first sound track between two times, mono.

    Parameters
    ----------
    start_s, end_s : seconds of the file's timeline; ``end_s`` None: to the end of the sound
    rate_hz : sampling rate of the result

    Returns
    -------
    float32 (n,) in [-1, 1]; n = round(end·rate) − round(start·rate), or fewer where the sound ends earlier.
    A stream that starts after ``start_s`` is led in by zeros; gaps inside are zeros as well.

    Raises
    ------
    VideoError with reason ``missing`` when there is no such file, ``no_audio`` no sound track, ``unreadable`` when it
    cannot be decoded. PassingFault: the machine failed, not the file.
    """
    if not Path(path).is_file():
        raise VideoError(f"{path}: no such file", "missing")
    first = round(start_s * rate_hz)
    last = None if end_s is None else round(end_s * rate_hz)
    if first < 0 or (last is not None and last < first):
        raise ValueError(f"start_s {start_s}, end_s {end_s}: expected 0 ≤ start ≤ end")
    # aresample=async fills gaps and the late start by the timestamps, so that sample i is at time i / rate;
    # rematrix_maxval keeps the mean of two channels within their range: in floating point ffmpeg sums them 3 dB louder,
    # and loud speech is clipped
    chain = f"aresample={rate_hz}:async=1:min_hard_comp=0.01:first_pts=0:out_chlayout=mono:rematrix_maxval=1"
    chain += f",atrim=start_sample={first}"
    chain += "" if last is None else f":end_sample={last}"
    command = [
        ffmpeg_path(),
        "-v",
        "error",
        "-nostdin",
        *source(path),
        "-vn",
        "-map",
        "0:a:0",
        "-af",
        chain,
        "-ac",
        "1",
        "-ar",
        str(rate_hz),
        "-c:a",
        "pcm_f32le",
        "-f",
        "f32le",
        "-flags",
        "+bitexact",
        "pipe:1",
    ]
    done = run_child(command, path)
    log = done.stderr.decode(errors="replace")
    if done.returncode:
        if "matches no streams" in log:
            raise VideoError(f"{path}: no sound track", "no_audio")
        raise VideoError(f"{path}: sound cannot be read: {plain_log(log)}")
    return np.clip(np.frombuffer(done.stdout, np.float32), -1.0, 1.0)


def wav_bytes(samples: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """A mono 16-bit WAV of samples (n,) in [-1, 1]. Equal samples give equal bytes."""
    if samples.ndim != 1:
        raise ValueError(f"samples of shape {samples.shape}: expected (n,)")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        out.writeframes(
            np.clip(np.rint(samples.astype(np.float64) * FULL_SCALE), -32768, 32767).astype("<i2").tobytes()
        )
    return buffer.getvalue()


def wav_samples(data: bytes) -> np.ndarray:
    """Samples float32 (n,) in [-1, 1] of a WAV made by :func:`wav_bytes`. Raises VideoError for other bytes."""
    try:
        with wave.open(io.BytesIO(data)) as given:
            if (given.getnchannels(), given.getsampwidth()) != (1, 2):
                raise VideoError(
                    f"WAV of {given.getnchannels()} channels, {8 * given.getsampwidth()} bit: expected mono, 16 bit"
                )
            return np.frombuffer(given.readframes(given.getnframes()), "<i2").astype(np.float32) / FULL_SCALE
    except (wave.Error, EOFError) as error:
        raise VideoError(f"not a WAV file: {error}") from error
