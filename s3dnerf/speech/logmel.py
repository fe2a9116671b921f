"""Log-mel windows as speech tokens: the embedded default where wav2vec2's weights are absent.

A stand-in, named as such in every report: it knows sound, not language. Token t of a clip describes the 20 ms
[t/50, (t + 1)/50) s by two columns of 40 mel bins (Hann windows of 25 ms, centred 5 and 15 ms into the token), so that
the burst of a /p/ is not averaged away. −100 … 0 dB re full scale is scaled to −1 … 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from s3dnerf.core.rates import RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.speech.mel import hann, mel_filters

BINS = 40
WINDOW = 400
N_FFT = 512
HOP = 160
LOW_HZ, HIGH_HZ = 60.0, 7600.0
FLOOR_DB = -100.0


class LogMel:
    """Speech backend ``logmel``."""

    name = "logmel"
    real = False
    dim = 2 * BINS

    def tokens(self, samples: np.ndarray) -> np.ndarray:
        """Tokens of one clip.

        Parameters
        ----------
        samples : float (640 N,), 16 kHz, −1 … 1

        Returns
        -------
        float32 (2 N, 80), −1 … 1
        """
        frames, rest = divmod(len(samples), SAMPLES_PER_FRAME)
        if rest or not frames:
            raise ValueError(f"samples: expected a multiple of {SAMPLES_PER_FRAME}, got {len(samples)}")
        before = WINDOW // 2 - HOP // 2
        padded = np.pad(np.asarray(samples, dtype=np.float64), (before, WINDOW))
        windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][: 4 * frames]  # (4 N, 400)
        window = hann(WINDOW)
        power = np.abs(np.fft.rfft(windows * window / window.sum() * 2, N_FFT, axis=1)) ** 2
        filters = mel_filters(RATE_HZ, N_FFT, BINS, LOW_HZ, HIGH_HZ)
        mel = power @ (filters / filters.sum(axis=1, keepdims=True)).T
        decibels = 10 * np.log10(np.maximum(mel, 10 ** (FLOOR_DB / 10)))
        scaled = np.clip(1 - 2 * decibels / FLOOR_DB, -1, 1)
        return scaled.reshape(2 * frames, self.dim).astype(np.float32)

    def tokens_of_many(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Tokens of clips of equal length."""
        return [self.tokens(samples) for samples in clips]
