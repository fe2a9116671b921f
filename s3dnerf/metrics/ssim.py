"""SSIM: structural similarity of each frame pair, three channels, 7×7 uniform window, pixels 0–255.

    SSIM(x, y) = (2 μx μy + C1)(2 σxy + C2) / ((μx² + μy² + C1)(σx² + σy² + C2)),  C1 = (0.01·255)², C2 = (0.03·255)²

with sample covariances (N − 1), averaged over the positions where the window fits and over channels. Source: Wang et
al. 2004 as scikit-image's ``structural_similarity(x, y, channel_axis=-1)`` computes it (uniform window, not the paper's
Gaussian one). The window sums of bytes are whole numbers, so they are taken as whole numbers: several times faster than
the reference, and equal to it to 1e-10. Unit: none. Range: [−1, 1], 1 for equal frames. More is better.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.shapes import UInt8
from s3dnerf.metrics.result import UP, Measured, Recipe, over_frames

WINDOW = 7
C1, C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
RECIPE = Recipe(
    "ssim", "SSIM", "", UP, "ssim-1", -1.0, 1.0, "scikit-image: channels, 7×7 uniform window, 256²", perfect=1.0
)


def _window_sums(image: np.ndarray) -> np.ndarray:
    """Sums over every 7×7 window that fits: uint8 or uint16 (h, w, c) → int32 (h − 6, w − 6, c), exact."""
    import cv2

    sums = cv2.boxFilter(image, cv2.CV_32S, (WINDOW, WINDOW), normalize=False)
    pad = WINDOW // 2
    return sums[pad:-pad, pad:-pad]


def ssim(generated: UInt8[np.ndarray, "n h w 3"], truth: UInt8[np.ndarray, "n h w 3"]) -> np.ndarray:
    """SSIM of each pair of frames.

    Parameters
    ----------
    generated, truth : uint8 (n, h, w, 3), RGB, h and w at least 7

    Returns
    -------
    float64 (n,), in [−1, 1]

    Examples
    --------
    >>> import numpy as np
    >>> x = np.arange(2 * 16 * 16 * 3, dtype=np.uint8).reshape(2, 16, 16, 3)
    >>> ssim(x, x).tolist()
    [1.0, 1.0]
    """
    if generated.shape != truth.shape:
        raise ValueError(f"ssim: frames of one shape expected, got {generated.shape} and {truth.shape}")
    area = WINDOW * WINDOW
    sample = area / (area - 1)
    values = np.empty(len(truth))
    for i, (x, y) in enumerate(zip(generated, truth)):
        wide_x, wide_y = x.astype(np.uint16), y.astype(np.uint16)
        mean_x, mean_y = _window_sums(x) / area, _window_sums(y) / area
        var_x = sample * (_window_sums(wide_x * wide_x) / area - mean_x * mean_x)
        var_y = sample * (_window_sums(wide_y * wide_y) / area - mean_y * mean_y)
        cov = sample * (_window_sums(wide_x * wide_y) / area - mean_x * mean_y)
        top = (2 * mean_x * mean_y + C1) * (2 * cov + C2)
        bottom = (mean_x * mean_x + mean_y * mean_y + C1) * (var_x + var_y + C2)
        values[i] = np.mean(top / bottom)
    return values


def measure(generated: np.ndarray, truth: np.ndarray) -> Measured:
    """Mean SSIM over the frames of a clip."""
    return over_frames(RECIPE, ssim(generated, truth), "no frames to pair")
