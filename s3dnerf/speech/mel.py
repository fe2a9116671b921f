"""The lip-sync networks' mel spectrogram, in numpy alone.

Reads 16 kHz samples, gives columns at 80 Hz: column c is centred on sample 200 c.
"""

from __future__ import annotations

import functools

import numpy as np

from s3dnerf.core.rates import FPS_HZ, RATE_HZ, SAMPLES_PER_FRAME

MEL_HZ = 80
N_FFT = 800
HOP = 200
BINS = 80
LOW_HZ, HIGH_HZ = 55.0, 7600.0
PREEMPHASIS = 0.97
REFERENCE_DB, FLOOR_DB, SCALE = 20.0, -100.0, 4.0
WINDOW_COLUMNS = 16


def slaney_hz_to_mel(hz: np.ndarray | float) -> np.ndarray:
    """Slaney's mel scale: linear to 1 kHz (15 mel), then 27 mel for each factor of 6.4."""
    hz = np.asarray(hz, dtype=np.float64)
    return np.where(hz < 1000.0, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1000.0) / 1000.0) / np.log(6.4))


def slaney_mel_to_hz(mel: np.ndarray | float) -> np.ndarray:
    """Inverse of :func:`slaney_hz_to_mel`."""
    mel = np.asarray(mel, dtype=np.float64)
    return np.where(mel < 15.0, mel * 200 / 3, 1000.0 * 6.4 ** ((np.maximum(mel, 15.0) - 15) / 27))


@functools.lru_cache(maxsize=8)
def mel_filters(rate_hz: int, n_fft: int, bins: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangular filters evenly spaced in Slaney's mel, each of area 1 Hz (librosa's default): float64 (bins, n_fft //
    2 + 1).
    """
    edges = slaney_mel_to_hz(np.linspace(slaney_hz_to_mel(low_hz), slaney_hz_to_mel(high_hz), bins + 2))
    hz = np.fft.rfftfreq(n_fft, 1 / rate_hz)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0, np.minimum((hz - left) / (centre - left), (right - hz) / (right - centre)))
    return triangles * 2 / (right - left)


def hann(length: int) -> np.ndarray:
    """Periodic Hann window, float64 (length,)."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)


def sync_mel(samples: np.ndarray) -> np.ndarray:
    """Wav2Lip's mel spectrogram, which the lip-sync networks read.

    Pre-emphasis 0.97; frames of 800 samples every 200, centred (the ends mirrored), periodic Hann; magnitudes through
    80 Slaney mel filters from 55 to 7600 Hz; decibels over a reference of 20 dB; −100 … 0 dB scaled to −4 … 4, clipped.

    Parameters
    ----------
    samples : float (n,), 16 kHz, −1 … 1, n ≥ 1

    Returns
    -------
    float32 (1 + n // 200, 80), −4 … 4
    """
    samples = np.asarray(samples, dtype=np.float64)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples: expected (n,) with n ≥ 1, got {samples.shape}")
    columns = 1 + len(samples) // HOP
    emphasised = np.array(samples, np.float64)
    emphasised[1:] -= PREEMPHASIS * np.asarray(samples[:-1], np.float64)
    if len(emphasised) <= N_FFT // 2:  # too short to mirror
        emphasised = np.pad(emphasised, (0, N_FFT // 2 + 1 - len(emphasised)))
    padded = np.pad(emphasised, N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP][:columns]
    magnitude = np.abs(np.fft.rfft(frames * hann(N_FFT), axis=1))
    mel = magnitude @ mel_filters(RATE_HZ, N_FFT, BINS, LOW_HZ, HIGH_HZ).T
    decibels = 20 * np.log10(np.maximum(10 ** (FLOOR_DB / 20), mel)) - REFERENCE_DB
    return np.clip(2 * SCALE * (decibels - FLOOR_DB) / -FLOOR_DB - SCALE, -SCALE, SCALE).astype(np.float32)


def mel_window_start(frame: int) -> int:
    """First mel column of the window of five frames that starts at ``frame``; the window has 16 columns."""
    return int(MEL_HZ * frame / FPS_HZ)


def clip_mel(samples: np.ndarray) -> np.ndarray:
    """Mel of a clip of N frames (640 N samples), the sound continued by silence so that every frame begins a full
    window.

    Returns
    -------
    float32 (int(80 N / 25) + 16, 80)
    """
    frames, rest = divmod(len(samples), SAMPLES_PER_FRAME)
    if rest or not frames:
        raise ValueError(f"samples: expected a multiple of {SAMPLES_PER_FRAME}, got {len(samples)}")
    columns = mel_window_start(frames) + WINDOW_COLUMNS
    silence = np.zeros(max(0, columns * HOP + N_FFT - len(samples)), dtype=np.float32)
    return sync_mel(np.concatenate([samples, silence]))[:columns]
