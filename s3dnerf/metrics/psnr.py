"""PSNR: peak signal-to-noise ratio of each frame pair, over all pixels and channels.

    PSNR = 10 log10(255² / mean((x − y)²))

Source: ITU; equal to scikit-image's ``peak_signal_noise_ratio(x, y, data_range=255)``. Unit: dB. Range: [0, ∞); equal
frames have no finite value and are left out and counted. More is better. Not in the paper's tables; a plain check of
the picture.
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.shapes import UInt8
from s3dnerf.metrics.result import UP, Measured, Recipe, over_frames

RECIPE = Recipe("psnr", "PSNR", "dB", UP, "psnr-1", 0.0, math.inf, "10 log10(255² / MSE), all channels, 256²")


def psnr(generated: UInt8[np.ndarray, "n h w 3"], truth: UInt8[np.ndarray, "n h w 3"]) -> np.ndarray:
    """PSNR of each pair of frames.

    Parameters
    ----------
    generated, truth : uint8 (n, h, w, 3)

    Returns
    -------
    float64 (n,), dB; infinite for equal frames

    Examples
    --------
    >>> import numpy as np
    >>> x = np.zeros((1, 8, 8, 3), np.uint8)
    >>> round(float(psnr(x + np.uint8(1), x)[0]), 4)
    48.1308
    """
    if generated.shape != truth.shape:
        raise ValueError(f"psnr: frames of one shape expected, got {generated.shape} and {truth.shape}")
    values = np.empty(len(truth))
    for i, (x, y) in enumerate(zip(generated, truth)):
        difference = x.astype(np.int32) - y.astype(np.int32)
        squared = int(np.square(difference).sum(dtype=np.int64))  # whole numbers: exact
        values[i] = 10 * math.log10(255**2 * difference.size / squared) if squared else math.inf
    return values


def measure(generated: np.ndarray, truth: np.ndarray) -> Measured:
    """Mean PSNR over the frames that differ."""
    return over_frames(RECIPE, psnr(generated, truth), "every frame equals the truth: the ratio is infinite")
