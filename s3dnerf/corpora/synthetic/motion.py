"""How a speaker moves: band-limited turns of the head, nods with the voice, blinks, brows, gaze."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

YAW_DEG, PITCH_DEG, ROLL_DEG = 5.0, 2.4, 1.8
"""Typical (standard) deviation of a lively speaker's head, tuned so that the control ``still`` is as far off as in real
footage.
"""


@dataclass(frozen=True)
class Motion:
    """Curves over a video's frames.

    Attributes
    ----------
    angles_deg : (T, 3)
        Yaw (positive: the face turns to the right of the picture), pitch (positive: chin up), roll (positive: the
        head leans to the right of the picture).
    translation : (T, 3)
        Of the head against its place at rest, head units.
    blink : (T,) 0 open – 1 closed · brows : (T,) raise · gaze : (T, 2) share of the eye tile
    """

    angles_deg: np.ndarray
    translation: np.ndarray
    blink: np.ndarray
    brows: np.ndarray
    gaze: np.ndarray


def band_noise(
    times_s: np.ndarray, low_hz: float, high_hz: float, rng: np.random.Generator, terms: int = 9
) -> np.ndarray:
    """Smooth noise of unit deviation (over long times): sinusoids between two frequencies, weaker the faster."""
    frequency = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), terms))
    phase = rng.uniform(0, 2 * np.pi, terms)
    size = frequency**-0.6
    size = size / np.sqrt(0.5 * (size**2).sum())
    return (size * np.sin(2 * np.pi * frequency * times_s[:, None] + phase)).sum(1)


def make_motion(times_s: np.ndarray, loudness: np.ndarray, liveliness: float, rng: np.random.Generator) -> Motion:
    """Motion at ``times_s`` (T,) with the voice's ``loudness`` (T,) in 0–1."""
    count = len(times_s)
    yaw = YAW_DEG * band_noise(times_s, 0.12, 0.55, rng) + 0.5 * band_noise(times_s, 0.8, 1.8, rng)
    pitch = PITCH_DEG * band_noise(times_s, 0.14, 0.6, rng) + 0.35 * band_noise(times_s, 0.8, 2.0, rng)
    roll = ROLL_DEG * band_noise(times_s, 0.12, 0.5, rng) + 0.25 * band_noise(times_s, 0.8, 1.6, rng)
    pitch = pitch + _nods(times_s, loudness, rng)
    lean = np.stack(
        [
            0.05 * band_noise(times_s, 0.05, 0.4, rng),
            0.025 * band_noise(times_s, 0.05, 0.5, rng),
            0.09 * band_noise(times_s, 0.05, 0.35, rng),
        ],
        -1,
    )
    angles = liveliness * np.stack([yaw, pitch, roll], -1)
    brows = 0.30 * band_noise(times_s, 0.15, 0.8, rng) + 0.5 * (loudness - loudness.mean() if count else 0.0)
    return Motion(angles, lean * liveliness, _blinks(times_s, rng), np.clip(brows, -0.6, 1.2), _gaze(times_s, rng))


def _nods(times_s: np.ndarray, loudness: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Short nods (degrees) on some of the loud syllables."""
    nod = np.zeros(len(times_s))
    last = -9.0
    for i in range(1, len(times_s) - 1):
        peak = loudness[i] > 0.6 and loudness[i] >= loudness[i - 1] and loudness[i] > loudness[i + 1]
        if peak and times_s[i] - last > 0.8 and rng.random() < 0.6:
            last = times_s[i]
            away = (times_s - last - 0.04) / 0.14
            nod -= rng.uniform(1.0, 2.4) * np.exp(-0.5 * away**2)
    return nod


def _blinks(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blinks every 2 to 5 s: 70 ms to close, 40 ms shut, 130 ms to open."""
    blink = np.zeros(len(times_s))
    at = times_s[0] + rng.uniform(0.3, 2.5) if len(times_s) else 0.0
    while len(times_s) and at < times_s[-1]:
        closing, opening = (times_s - at) / 0.07, (at + 0.24 - times_s) / 0.13
        blink = np.maximum(blink, np.clip(np.minimum(closing, opening), 0, 1))
        at += rng.uniform(2.0, 5.0)
    return blink * blink * (3 - 2 * blink)


def _gaze(times_s: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the eyes look: held, then a quick jump, about the camera."""
    gaze = np.zeros((len(times_s), 2))
    at, place = -1.0, np.zeros(2)
    while len(times_s) and at < times_s[-1]:
        gaze[times_s >= at] = place
        at += rng.uniform(0.6, 2.2)
        place = np.array([rng.normal(0, 0.022), rng.normal(0, 0.010)])
    return gaze


def rotation(angles_deg: np.ndarray) -> np.ndarray:
    """Head rotation (3, 3) of yaw, pitch and roll (degrees) in the head's frame: roll · yaw · pitch.

    >>> rotation(np.array([90.0, 0.0, 0.0])).round(6)[:, 2].tolist()  # the face's z axis points to the right
    [1.0, 0.0, 0.0]
    """
    yaw, pitch, roll = np.deg2rad(angles_deg)
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
