"""Made-up talkers for tests: a mouth (an ellipse on a coloured cheek) that opens and widens with the vowel that sounds."""

from __future__ import annotations

import numpy as np
from scipy.signal import lfilter

from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.speech_activity import windows_with_speech
from s3dnerf.training.sync_data import LipClip, crop_margin

# formants in Hz, opening and width of the mouth, loudness
VOWELS = {
    "a": (750, 1250, 0.9, 0.6, 1.0),
    "e": (500, 1850, 0.5, 0.8, 0.9),
    "i": (290, 2250, 0.3, 1.0, 0.8),
    "o": (450, 850, 0.6, 0.35, 0.9),
    "u": (310, 750, 0.25, 0.2, 0.8),
    "m": (250, 1100, 0.0, 0.55, 0.25),
    "s": (0, 5000, 0.15, 0.8, 0.2),
}


def script(seconds: float, rng: np.random.Generator) -> list[tuple[str, int, int]]:
    """Sounds and where they begin and end, in samples of 16 kHz."""
    out, at, end = [], 0, int(seconds * 16000)
    while at < end:
        stop = min(end, at + int(rng.uniform(0.08, 0.2) * 16000))
        out.append((str(rng.choice(list(VOWELS))), at, stop))
        at = stop
    return out


def sound_of(parts: list[tuple[str, int, int]], pitch_hz: float, throat: float, rng: np.random.Generator) -> np.ndarray:
    """A buzz or a hiss through two resonances for each part: float32 (n,)."""
    n = parts[-1][2]
    buzz = np.zeros(n)
    buzz[np.unique((np.arange(int(n * pitch_hz / 16000)) * 16000 / pitch_hz).astype(int))] = 1.0
    hiss = rng.standard_normal(n) * 0.1
    out = np.zeros(n)
    for name, begin, stop in parts:
        first, second, _, _, loud = VOWELS[name]
        piece = (hiss if name == "s" else buzz)[begin:stop]
        for hz in (first, second):
            if hz:
                angle, radius = 2 * np.pi * min(hz * throat, 7500) / 16000, 0.97
                piece = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], piece) + 0.2 * piece
        out[begin:stop] = loud * piece / (np.abs(piece).max() + 1e-9)
    return (0.5 * out + 0.001 * rng.standard_normal(n)).astype(np.float32)


def talkers_sound(name: str, seconds: float, seed: int) -> np.ndarray:
    """The sound of :func:`talker`'s clip: float32 (640 a frame,)."""
    return _spoken(name, seconds, seed)[0]


def _spoken(
    name: str, seconds: float, seed: int
) -> tuple[np.ndarray, list[tuple[str, int, int]], tuple[np.ndarray, np.ndarray, float], np.random.Generator]:
    """Sound and script of a clip; skin, lips and size of the person; the clip's generator."""
    person = np.random.default_rng([17, *map(ord, name)])
    skin, lip = person.uniform(0.35, 0.9, 3), person.uniform(0.25, 0.7, 3)
    scale, pitch, throat = person.uniform(0.8, 1.1), person.uniform(90, 230), person.uniform(0.9, 1.12)
    rng = np.random.default_rng([seed, *map(ord, name)])
    parts = script(seconds, rng)
    samples = sound_of(parts, pitch, throat, rng)
    return samples[: len(samples) // 640 * 640], parts, (skin, lip, scale), rng


def talker(name: str, seconds: float, seed: int, size: int = 48) -> LipClip:
    """One clip of one made-up person."""
    samples, parts, (skin, lip, scale), rng = _spoken(name, seconds, seed)
    frames = len(samples) // 640
    track = np.zeros((len(samples), 2))
    for sound, begin, stop in parts:
        track[begin : min(stop, len(track))] = VOWELS[sound][2:4]
    kernel = np.hanning(1600) / np.hanning(1600).sum()
    opening, width = (np.convolve(track[:, i], kernel, mode="same")[320::640] for i in range(2))
    margin = crop_margin(size)
    side = size + 2 * margin
    y, x = (np.mgrid[:side, :side] + 0.5 - side / 2) / (size / 2)
    sway = np.cumsum(rng.standard_normal((frames, 2)), axis=0) * 0.01
    sway -= sway.mean(axis=0)
    lips = np.empty((frames, 3, side, side), np.uint8)
    for f in range(frames):
        half_w, half_h = scale * (0.25 + 0.3 * width[f]), scale * (0.02 + 0.4 * opening[f])
        px, py = x - sway[f, 0], y - sway[f, 1]
        inside = np.clip((1 - (px / half_w) ** 2 - (py / half_h) ** 2) * 4, 0, 1)
        rim = np.clip((1 - (px / (half_w + 0.1)) ** 2 - (py / (half_h + 0.12)) ** 2) * 4, 0, 1)
        picture = skin[:, None, None] * (1 - 0.1 * y) * (1 - rim) + lip[:, None, None] * rim
        picture = picture * (1 - inside) + 0.08 * inside
        lips[f] = np.clip((picture + 0.01 * rng.standard_normal(picture.shape)) * 255, 0, 255)
    mel = clip_mel(samples)
    return LipClip(f"{name}_{seed}", name, lips, mel, windows_with_speech(mel, frames - 4), margin)
