"""The mel-frequency cepstra that SyncNet v2 was trained on, as ``python_speech_features.mfcc(samples, 16000)`` makes
them.

13 coefficients at 100 Hz of int16 sound: pre-emphasis 0.97, rectangular frames of 25 ms every 10 ms, 512-point power
spectrum, 26 triangles on the HTK mel scale from 0 to 8 kHz laid on whole bins, logarithm, orthonormal DCT-II, lifter
22, and the logarithm of the frame's energy in place of the first.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.fft import dct

from s3dnerf.core.rates import RATE_HZ

MFCC_HZ = 100
FRAME, HOP, N_FFT = 400, 160, 512
FILTERS, COEFFICIENTS, LIFTER = 26, 13, 22
PREEMPHASIS = 0.97


@functools.cache
def _filters() -> np.ndarray:
    """Triangles between whole bins of the spectrum, equally spaced in HTK mel: (26, 257)."""
    mel = np.linspace(0, 2595 * np.log10(1 + RATE_HZ / 2 / 700), FILTERS + 2)
    edges = np.floor((N_FFT + 1) * 700 * (10 ** (mel / 2595) - 1) / RATE_HZ)
    bins = np.arange(N_FFT // 2 + 1)
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (bins - left) / np.maximum(centre - left, 1)
    falling = (right - bins) / np.maximum(right - centre, 1)
    return np.where((bins >= left) & (bins < centre), rising, 0) + np.where(
        (bins >= centre) & (bins < right), falling, 0
    )


def mfcc(samples: np.ndarray) -> np.ndarray:
    """Cepstra of 16 kHz sound.

    Parameters
    ----------
    samples : int16 (n,), or float in −1 … 1, which is taken to int16 first

    Returns
    -------
    float64 (frames, 13), frames = 1 + ⌈(n − 400) / 160⌉, the last padded with zeros
    """
    samples = np.asarray(samples)
    if samples.ndim != 1 or not len(samples):
        raise ValueError(f"samples: expected (n,) with n ≥ 1, got {samples.shape}")
    if samples.dtype.kind == "f":
        samples = np.clip(np.round(samples * 32768.0), -32768, 32767)
    signal = samples.astype(np.float64)
    signal = np.append(signal[0], signal[1:] - PREEMPHASIS * signal[:-1])
    count = 1 if len(signal) <= FRAME else 1 + -(-(len(signal) - FRAME) // HOP)
    signal = np.pad(signal, (0, max(0, (count - 1) * HOP + FRAME - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP][:count]
    power = np.abs(np.fft.rfft(frames, N_FFT, axis=1)) ** 2 / N_FFT  # [count, 257]
    least = np.finfo(float).eps
    energy = power.sum(axis=1)
    bands = power @ _filters().T
    cepstra = dct(np.log(np.where(bands == 0, least, bands)), type=2, axis=1, norm="ortho")[:, :COEFFICIENTS]
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, least, energy))
    return cepstra
