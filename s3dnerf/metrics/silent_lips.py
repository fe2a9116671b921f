"""Silent-lip stability: how much the mouth opens and closes while nobody speaks.

    silent lips = median over silent frames of |o − median over silent frames of o|,

o the mouth's opening as in :mod:`s3dnerf.metrics.mouth_motion`, in per cent of the distance between the eyes' outer
corners. A frame is silent where the sound's level (root mean square of the frame's 640 samples) is more than 25 dB
below the clip's speech level (the 95th percentile of its frames' levels) for at least 0.4 s on end. A clip without such
a silence is not measured. People breathe and shape their lips before they speak: the truth is not at 0, and its own
number stands beside.

Source: THEval (Quignon et al., CVPR 2026), which takes MediaPipe's points, a network for the silence, and 0.3 s: its
numbers do not compare with these. Unit: per cent of the eyes' distance. Range: [0, ∞). Less is better as far as the
truth's and no further (a still picture has 0).
"""

from __future__ import annotations

import math

import numpy as np

from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME
from s3dnerf.core.shapes import Bool, Float
from s3dnerf.metrics.mouth_motion import opening
from s3dnerf.metrics.result import NEITHER, Measured, Recipe, not_measured

BELOW_SPEECH_DB = 25.0
SPEECH_PERCENTILE = 95
LEAST_SILENCE_S = 0.4
LEAST_FRAMES = 5  # silent ones with landmarks
NO_SOUND = "no sound"
RECIPE = Recipe(
    "silent_lips", "Silent-lip stability", "%", NEITHER, "silent-lips-1", 0.0, math.inf,
    "THEval: median absolute deviation of the mouth's opening in silences of 0.4 s and more, 25 dB below speech",
)  # fmt: skip


def levels_db(samples: Float[np.ndarray, " s"]) -> Float[np.ndarray, " n"]:
    """Level of the 640 samples of each whole frame, dB of full scale, at least −160."""
    whole = len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
    power = (samples[:whole].astype(np.float64).reshape(-1, SAMPLES_PER_FRAME) ** 2).mean(axis=1)
    return 10 * np.log10(np.maximum(power, 1e-16))


def silent_frames(samples: Float[np.ndarray, " s"]) -> Bool[np.ndarray, " n"]:
    """Which whole frames of the sound are silent for at least 0.4 s on end.

    Examples
    --------
    A second of noise, a second of nothing, a second of noise:

    >>> sound = np.random.default_rng(0).normal(0, 0.1, 48000)
    >>> sound[16000:32000] = 0
    >>> np.flatnonzero(silent_frames(sound)).tolist() == list(range(25, 50))
    True
    """
    level = levels_db(samples)
    if not len(level):
        return np.zeros(0, bool)
    quiet = level < np.percentile(level, SPEECH_PERCENTILE) - BELOW_SPEECH_DB
    edges = np.diff(np.concatenate([[0], quiet.astype(int), [0]]))
    for start, end in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)):
        if end - start < LEAST_SILENCE_S * FPS_HZ:
            quiet[start:end] = False
    return quiet


def measure(
    landmarks: Float[np.ndarray, "n 68 2"], samples: Float[np.ndarray, " s"] | None, every: int = 1
) -> Measured:
    """Silent-lip stability of one video.

    Parameters
    ----------
    landmarks : of every ``every``-th frame; a row of nan is a frame whose landmarks failed
    samples : the sound of all frames at 16 kHz, −1 … 1, as far as it goes; None where there is none

    Examples
    --------
    >>> measure(np.zeros((25, 68, 2)), np.ones(16000)).reason
    'no silence of 0.4 s in 1.0 s of sound'
    """
    if samples is None:
        return not_measured(RECIPE, NO_SOUND)
    silent = silent_frames(samples)
    if not silent.any():
        return not_measured(RECIPE, f"no silence of {LEAST_SILENCE_S} s in {len(samples) / 16_000:.1f} s of sound")
    opened = opening(landmarks)[: -(-len(silent) // every)]
    chosen = silent[::every][: len(opened)]
    good = chosen & np.isfinite(opened)
    counted, failed = int(good.sum()), int((chosen & ~good).sum())
    if counted < LEAST_FRAMES:
        return not_measured(RECIPE, f"{counted} silent frames with landmarks: expected {LEAST_FRAMES}", failed)
    apart = np.abs(opened[good] - np.median(opened[good]))
    return Measured(RECIPE, float(100 * np.median(apart)), counted, failed)
