"""Sound as 16 kHz mono: cut from any file by time; int16 WAV bytes and back.

Time 0 is the start of the file's timeline as FFmpeg counts it (the earliest stream), so that sound and picture cut
at the same seconds belong together even when one stream starts late. Files are opened by the decoder's process
(:mod:`s3dnerf.video.sound_tracks` says which track and which channels are heard).
"""

from __future__ import annotations

import io
import logging
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dnerf.core.rates import RATE_HZ
from s3dnerf.video.decoder import ask
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.track import Track

logger = logging.getLogger(__name__)

FULL_SCALE = 32768  # as ffmpeg and scipy count: 16-bit sound goes through floats and back unchanged

WRITTEN_AT_ONCE = 1 << 20  # samples: an hour of them as float64 would be 460 MB


@dataclass(frozen=True)
class Sound:
    """Sound of a file.

    Attributes
    ----------
    samples : float32 (n,) in [-1, 1]
    note : which of several tracks or channels was heard and why, '' where there was nothing to choose
    track : the one that was heard
    """

    samples: np.ndarray
    note: str
    track: Track


def read_sound(path: str | Path, start_s: float = 0.0, end_s: float | None = None, rate_hz: int = RATE_HZ) -> Sound:
    """A file's sound between two times, mono.

    Parameters
    ----------
    start_s, end_s : seconds of the file's timeline; ``end_s`` None: to the end of the sound
    rate_hz : sampling rate of the result

    Returns
    -------
    Sound of n = round(end·rate) − round(start·rate) samples, or fewer where the sound ends earlier. A stream that
    starts after ``start_s`` is led in by zeros; gaps inside are zeros as well.

    Raises
    ------
    VideoError with reason ``missing`` when there is no such file, ``no_audio`` no sound track, ``zero_bytes`` or
    ``unreadable`` when it cannot be decoded. PassingFault: the machine failed, not the file.
    """
    if not Path(path).is_file():
        raise VideoError(f"{path}: no such file", "missing")
    first = round(start_s * rate_hz)
    last = None if end_s is None else round(end_s * rate_hz)
    if first < 0 or (last is not None and last < first):
        raise ValueError(f"start_s {start_s}, end_s {end_s}: expected 0 ≤ start ≤ end")
    request = {"do": "sound", "path": str(path), "first": first, "last": last, "rate_hz": rate_hz}
    ((header, data),) = list(ask(request))
    samples = np.frombuffer(data, np.float32)
    np.clip(samples, -1.0, 1.0, out=samples)
    return Sound(samples, header["note"], Track(*header["track"]))


def read_audio(
    path: str | Path, start_s: float = 0.0, end_s: float | None = None, rate_hz: int = RATE_HZ
) -> np.ndarray:
    """The samples of :func:`read_sound`; what was chosen among tracks or channels goes to the log."""
    sound = read_sound(path, start_s, end_s, rate_hz)
    if sound.note:
        logger.info(f"{path}: {sound.note}")
    return sound.samples


def wav_bytes(samples: np.ndarray, rate_hz: int = RATE_HZ) -> bytes:
    """A mono 16-bit WAV of samples (n,) in [-1, 1]. Equal samples give equal bytes."""
    if samples.ndim != 1:
        raise ValueError(f"samples of shape {samples.shape}: expected (n,)")
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate_hz)
        for first in range(0, len(samples), WRITTEN_AT_ONCE):
            part = samples[first : first + WRITTEN_AT_ONCE].astype(np.float64)
            out.writeframes(np.clip(np.rint(part * FULL_SCALE), -32768, 32767).astype("<i2").tobytes())
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
