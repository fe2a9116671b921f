"""Landmarks of a made-up head that speaks, and its sound, for tests of the sync filter."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

FACE = np.zeros((68, 2))
FACE[[36, 45, 27, 33, 8]] = [[90, 100], [166, 100], [128, 95], [128, 140], [128, 210]]
FACE[[50, 51, 52, 56, 57, 58]] = [[120, 160], [128, 159], [136, 160], [136, 172], [128, 173], [120, 172]]
JAW = [8, 56, 57, 58]


def speaking(frames: int, seed: int, late_frames: int = 0, noise_px: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Landmarks (N, 68, 2) of a head that sways and speaks in syllables, and samples (640 N,) whose sound comes so many
    frames later.
    """
    rng = np.random.default_rng([seed, 4099])
    reach = 20  # frames beyond both ends, so that a moved sound is real sound to its end
    opening = gaussian_filter1d(rng.random(frames + 2 * reach) * (rng.random(frames + 2 * reach) < 0.35), 1.2)
    opening /= opening.max()
    loud = np.repeat(opening[reach - late_frames : reach - late_frames + frames], 640)
    t = np.arange(640 * frames) / 16000
    voice = sum(np.sin(2 * np.pi * 140 * h * t + h) / h for h in range(1, 25))
    samples = 0.15 * loud * voice + 0.002 * rng.standard_normal(len(t))
    points = np.repeat(FACE[None], frames, 0)
    points[:, JAW, 1] += 14 * opening[reach : reach + frames, None]
    sway = gaussian_filter1d(np.cumsum(rng.standard_normal((frames, 2)), axis=0), 5, axis=0)
    return points + sway[:, None] + noise_px * rng.standard_normal(points.shape), samples.clip(-1, 1).astype(np.float32)
