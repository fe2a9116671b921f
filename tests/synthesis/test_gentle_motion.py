"""Gentle motion: it follows the speech's energy, the same every time, within its bounds, without drift."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.speech.audio import read_audio
from s3dnerf.synthesis.gentle_motion import LIMIT_DEG, energy_of, gentle_degrees, levels_db, wandering

FPS_HZ, RATE_HZ = 25, 16_000
SPEED_DEG, ACCELERATION_DEG = 15.0, 80.0  # a second, a second squared: measured 9 and 37 in an hour of real speech


def speech(seconds: float, seed: int = 0) -> np.ndarray:
    """Noise in syllables of random loudness, four a second, with a pause of 1.5 s in every 6."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    syllables = rng.uniform(0.05, 1.0, int(seconds * 4) + 1)[(t * 4).astype(int)] * np.sin(np.pi * t * 4) ** 2
    return (0.2 * rng.standard_normal(len(t)) * syllables * (t % 6 < 4.5)).astype(np.float32)


def moved(samples: np.ndarray) -> np.ndarray:
    return gentle_degrees(energy_of(samples, len(samples) // 640))


def speed(degrees: np.ndarray) -> np.ndarray:
    return np.linalg.norm(np.diff(degrees, axis=0), axis=1) * FPS_HZ


def test_levels_are_those_of_a_tone_and_silence_has_none() -> None:
    tone = 0.5 * np.sin(2 * np.pi * 400 * np.arange(6400) / RATE_HZ)
    levels = levels_db(tone, 10)
    np.testing.assert_allclose(levels[1:-1], 10 * np.log10(0.125), atol=0.01)
    assert levels[0] == pytest.approx(10 * np.log10(0.125 * 0.75), abs=0.01)  # a quarter of its 80 ms lies before it
    assert levels_db(np.r_[tone, np.zeros(6400)], 20)[-1] == pytest.approx(levels.max() - 70)
    assert np.isneginf(levels_db(np.zeros(1000), 2)).all() and not energy_of(np.zeros(1000), 2).any()
    assert levels_db(tone[:1000], 10)[3:].max() < -60  # and there is none after the last sample


def test_it_moves_where_speech_is_loud_and_rests_in_pauses() -> None:
    samples = speech(120)
    degrees, energy = moved(samples), energy_of(samples, 3000)
    pause = np.arange(3000) % 150 >= 130  # the last 0.8 s of each, when the chin has risen again
    loud = np.arange(3000) % 150 < 110
    assert energy[pause].max() < 0.05 < 0.4 < energy[loud].mean()
    fast = speed(degrees)
    assert fast[loud[1:]].mean() > 3 * fast[pause[1:]].mean()
    assert fast[pause[1:]].mean() > 0.02  # alive
    slow = np.convolve(energy, np.ones(13) / 13, "same")[1:]
    assert np.corrcoef(fast, slow)[0, 1] > 0.4
    wrong = np.convolve(energy_of(speech(120, seed=1)[::-1], 3000), np.ones(13) / 13, "same")[1:]
    assert np.corrcoef(fast, wrong)[0, 1] < 0.2


def test_a_stressed_syllable_lowers_the_chin() -> None:
    """One syllable 20 dB louder than the murmur around it; and, alone, what such a peak does to the pitch."""
    sound = 0.02 * np.random.default_rng(0).standard_normal(RATE_HZ * 10).astype(np.float32)
    sound[RATE_HZ * 5 : RATE_HZ * 5 + 4000] *= 10
    energy = energy_of(sound, 250)
    assert energy[126:130].min() > 0.9 and energy[20:100].max() < 0.1  # a steady noise is a pause
    peak, murmur = np.full(250, 0.3), np.full(250, 0.3)
    peak[125:131] = 1.0
    nod = (gentle_degrees(peak) - gentle_degrees(murmur))[:, 1]
    assert nod[120:145].max() > 0.5 and 127 <= 120 + np.argmax(nod[120:145]) <= 135  # while it lasts, or just after
    assert np.abs(nod[:110]).max() < 0.2


def test_the_same_speech_moves_the_same_at_any_level() -> None:
    samples = speech(20)
    degrees = moved(samples)
    np.testing.assert_array_equal(moved(samples), degrees)
    np.testing.assert_allclose(moved(samples * np.float32(0.1)), degrees, atol=1e-3)
    stored = np.rint(samples * 0.1 * 32768).astype(np.float32) / 32768  # 20 dB quieter, in 16 bits
    np.testing.assert_allclose(moved(stored), degrees, atol=0.05)
    assert np.abs(moved(speech(20, seed=1)) - degrees).max() > 0.3  # other speech, other movement


@pytest.mark.parametrize("kind", ["speech", "silence", "clicks", "noise", "short"])
def test_it_is_smooth_and_within_its_bounds(kind: str) -> None:
    samples = {
        "speech": speech(60),
        "silence": np.zeros(RATE_HZ * 60, np.float32),
        "clicks": (np.arange(RATE_HZ * 60) % 11000 == 0).astype(np.float32),
        "noise": np.random.default_rng(0).standard_normal(RATE_HZ * 60).astype(np.float32) * 0.1,
        "short": speech(0.3),
    }[kind]
    degrees = moved(samples)
    assert np.abs(degrees[0]).max() < 1e-9 and np.isfinite(degrees).all()
    assert (np.abs(degrees) <= np.array(LIMIT_DEG)).all()
    assert speed(degrees).max() < SPEED_DEG
    assert np.linalg.norm(np.diff(degrees, 2, axis=0), axis=1).max() * FPS_HZ**2 < ACCELERATION_DEG
    if kind in ("silence", "noise"):
        assert speed(degrees).max() < 1.0 and np.ptp(degrees[:, 0]) > 0.2


def test_an_hour_stays_where_it_began_and_does_not_repeat() -> None:
    energy = np.tile(energy_of(speech(60), 1500), 60)  # the same minute again and again
    degrees = gentle_degrees(energy)
    minutes = degrees.reshape(60, 1500, 3)
    assert np.abs(minutes.mean(axis=1)).max() < 0.5
    spread = minutes.std(axis=1)
    assert (spread[1:].min(axis=0) > 0.5 * spread[1:].mean(axis=0)).all()  # and moves as much in each
    yaw = degrees[:, 0] - degrees[:, 0].mean()
    power = np.abs(np.fft.rfft(yaw, 2 * len(yaw))) ** 2
    alike = np.fft.irfft(power)[: len(yaw) // 2]
    assert (alike[5 * FPS_HZ :] / alike[0]).max() < 0.25  # no time after which it looks the same


def test_wandering_is_bounded_smooth_and_begins_level() -> None:
    at = np.arange(0, 400, 0.01)
    values = wandering(at, 3)
    assert values[0] == 0 and abs(values[1]) < 1e-6 and np.abs(values).max() <= 1
    assert np.abs(np.diff(values)).max() <= 0.02 and np.abs(values.reshape(-1, 800).mean(1)).max() < 0.3
    np.testing.assert_array_equal(wandering(at[:100], 3), values[:100])  # how long it goes on changes nothing before
    assert values.std() > 0.3 and np.corrcoef(values, wandering(at, 4))[0, 1] < 0.2
    assert gentle_degrees(np.zeros(0)).shape == (0, 3)


def test_a_real_voice_moves_the_head(shared) -> None:
    samples = read_audio(shared / "corpora/HDTF/clips/EX_Obama_001.mp4", 0.0, 30.0)
    energy, degrees = energy_of(samples, 750), moved(samples)
    slow = np.convolve(energy, np.ones(13) / 13, "same")[1:]
    assert np.corrcoef(speed(degrees), slow)[0, 1] > 0.3
    assert (degrees.std(axis=0) > [0.6, 0.4, 0.2]).all() and 0.3 < energy.mean() < 0.8
