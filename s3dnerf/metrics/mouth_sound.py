"""Sync by a second judge, without a network: does the mouth open when the sound is loud?

    r(k) = mean of Pearson's correlations of three openings of the mouth (outer lips; lower lip and chin below the nose;
           chin below the brows) in frame t with three levels of the sound (all of it, two bands of the voice) in frame
           t + k, all nine without what is slower than six frames

as :mod:`s3dnerf.sync.mouth_offset` has it, which finds offsets in preprocessing. Sound correlation is r(0), best sound
correlation the largest of r(−5) … r(5), and sound lag minus the k where it lies: negative where the mouth is early. No
generator is trained on it, and it has no weights: a judge beside SyncNet that cannot be learned by heart. It is weak on
one clip (in 3 to 4 s of real video the lag is 0 ± 1 frame in half of the clips): compare means over many.

Source: ours; the idea that opening and loudness go together is also THEval's lip sync (Quignon et al., CVPR 2026), a
mean absolute difference instead of a correlation. Unit: none; frames for the lag. Range: [−1, 1]; the lag −5 … 5. More
correlation is better; a lag is neither, 0 is right.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.core.shapes import Float
from s3dnerf.metrics.head_pose import not_neighbours
from s3dnerf.metrics.result import NEITHER, UP, Measured, Recipe, not_measured
from s3dnerf.metrics.silent_lips import NO_SOUND
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.mouth_offset import LEAST_FRAMES, correlation_curve, mouth_signals, sound_signals

REACH_FRAMES = 5
MOST_LOST = 0.1  # share of the frames whose landmarks may fail: their neighbours' are taken, in equal steps between
LEAST_MOTION = 1e-4  # deviation of an opening, of the distance between the eyes: less does not move
_SIGNALS = "mean correlation of three openings of the mouth with three levels of the sound, 0.5 to 6 frames' band"
ZERO_RECIPE = Recipe(
    "sound_correlation", "Sound correlation", "", UP, "sound-correlation-1", -1.0, 1.0, f"{_SIGNALS}, at lag 0"
)
BEST_RECIPE = Recipe(
    "sound_correlation_best", "Sound correlation, best lag", "", UP, "sound-correlation-best-1", -1.0, 1.0,
    f"{_SIGNALS}, the best within ±5 frames",
)  # fmt: skip
LAG_RECIPE = Recipe(
    "sound_lag", "Sound lag", "frames", NEITHER, "sound-lag-1", -5.0, 5.0, f"{_SIGNALS}: where it is best within ±5"
)
RECIPES = (ZERO_RECIPE, BEST_RECIPE, LAG_RECIPE)


def filled(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, "n 68 2"]:
    """Landmarks with the failed frames filled in equal steps between their neighbours, the ends held."""
    good = np.isfinite(landmarks).all(axis=(1, 2))
    flat, places = landmarks.reshape(len(landmarks), -1).astype(np.float64), np.arange(len(landmarks))
    columns = [np.interp(places, places[good], column[good]) for column in flat.T]
    return np.stack(columns, axis=1).reshape(landmarks.shape)


def measure(
    landmarks: Float[np.ndarray, "n 68 2"], samples: Float[np.ndarray, " s"] | None, every: int = 1
) -> tuple[Measured, Measured, Measured]:
    """Sound correlation, the best within ±5 frames, and its lag, of one video.

    Parameters
    ----------
    landmarks : of each frame; a row of nan is a frame whose landmarks failed
    samples : its sound at 16 kHz, −1 … 1, as far as it goes (silence after that); None where there is none
    every : not measured where landmarks were looked for in every n-th frame only

    Examples
    --------
    >>> [m.reason for m in measure(np.zeros((10, 68, 2)), np.zeros(6400))][0]
    '10 frames: expected 40'
    """

    def without(reason: str, failed: int = 0) -> tuple[Measured, Measured, Measured]:
        first, second, third = (not_measured(recipe, reason, failed) for recipe in RECIPES)
        return first, second, third

    if samples is None:
        return without(NO_SOUND)
    if every > 1:
        return without(not_neighbours(every))
    n = len(landmarks)
    if n < LEAST_FRAMES:
        return without(f"{n} frames: expected {LEAST_FRAMES}")
    lost = int((~np.isfinite(landmarks).all(axis=(1, 2))).sum())
    if lost > MOST_LOST * n:
        return without(f"no landmarks in {lost} of {n} frames: expected at most {MOST_LOST:.0%}", lost)
    sound = samples[: n * SAMPLES_PER_FRAME].astype(np.float32)
    sound = np.pad(sound, (0, n * SAMPLES_PER_FRAME - len(sound)))
    mouth = mouth_signals(filled(landmarks))
    if mouth.std(axis=0).max() < LEAST_MOTION:
        return without("the mouth does not move: nothing to correlate", lost)
    curve = correlation_curve(mouth, sound_signals(clip_mel(sound), n), REACH_FRAMES)
    best = int(curve.argmax())
    values = np.clip([curve[REACH_FRAMES], curve[best]], -1.0, 1.0)
    return (
        Measured(ZERO_RECIPE, float(values[0]), n - lost, lost),
        Measured(BEST_RECIPE, float(values[1]), n - lost, lost),
        Measured(LAG_RECIPE, float(REACH_FRAMES - best), n - lost, lost),
    )
