"""The mel spectrogram against a slow literal version, and its filters against transformers' (librosa's)."""

import cmath
import math

import numpy as np
import pytest

from s3dnerf.speech.mel import HOP, clip_mel, mel_filters, mel_window_start, sync_mel


def literal_column(samples: np.ndarray, column: int, filters: np.ndarray) -> list[float]:
    """One column by the recipe's words: loops, a discrete Fourier transform written out, no shared code."""
    emphasised = [float(samples[0])] + [
        float(samples[i]) - 0.97 * float(samples[i - 1]) for i in range(1, len(samples))
    ]

    def mirrored(i: int) -> float:
        last = len(emphasised) - 1
        i = -i if i < 0 else i
        return emphasised[2 * last - i if i > last else i]

    frame = [mirrored(column * 200 - 400 + k) * (0.5 - 0.5 * math.cos(2 * math.pi * k / 800)) for k in range(800)]
    magnitudes = [abs(sum(frame[k] * cmath.exp(-2j * math.pi * k * b / 800) for k in range(800))) for b in range(401)]
    out = []
    for row in filters:
        energy = sum(w * m for w, m in zip(row, magnitudes))
        decibels = 20 * math.log10(max(1e-5, energy)) - 20
        out.append(min(4.0, max(-4.0, 8 * (decibels + 100) / 100 - 4)))
    return out


def voice(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    t = np.arange(n) / 16000
    return (
        0.3 * np.sin(2 * np.pi * 180 * t) * (0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)) + 0.02 * rng.standard_normal(n)
    ).astype(np.float32)


@pytest.mark.parametrize("n, columns", [(1600, (0, 1, 4, 8)), (1000, (0, 5)), (1810, (9,))])
def test_equals_the_literal_recipe(n, columns):
    from transformers.audio_utils import mel_filter_bank

    filters = mel_filter_bank(401, 80, 55, 7600, 16000, norm="slaney", mel_scale="slaney").T
    samples = voice(n)
    mel = sync_mel(samples)
    assert mel.shape == (1 + n // HOP, 80) and mel.dtype == np.float32
    for column in columns:
        assert np.abs(mel[column] - literal_column(samples, column, filters)).max() < 1e-5


@pytest.mark.parametrize("n_fft, bins, low, high", [(800, 80, 55, 7600), (512, 40, 60, 7600), (400, 80, 0, 8000)])
def test_filters_equal_transformers(n_fft, bins, low, high):
    from transformers.audio_utils import mel_filter_bank

    theirs = mel_filter_bank(n_fft // 2 + 1, bins, low, high, 16000, norm="slaney", mel_scale="slaney").T
    assert np.allclose(mel_filters(16000, n_fft, bins, float(low), float(high)), theirs, atol=1e-9)


def test_silence_is_the_floor_and_full_scale_stays_in_range():
    assert np.all(sync_mel(np.zeros(3200)) == -4)
    loud = sync_mel(np.sign(np.sin(np.arange(6400) * 0.4)))
    assert loud.max() <= 4 and loud.min() >= -4 and loud.max() > 1


def test_ten_times_louder_is_one_point_six_higher():
    quiet, loud = sync_mel(voice(4000) * 0.05), sync_mel(voice(4000) * 0.5)
    inside = (quiet > -3.9) & (loud < 3.9)
    assert inside.mean() > 0.9
    assert np.allclose((loud - quiet)[inside], 8 * 20 / 100, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 5, 25, 73])
def test_every_frame_of_a_clip_begins_a_full_window(frames):
    samples = voice(640 * frames)
    mel = clip_mel(samples)
    assert mel.shape == (int(80 * frames / 25) + 16, 80)
    assert mel_window_start(frames - 1) + 16 <= len(mel)
    inner = (640 * frames - 400) // 200
    assert np.array_equal(mel[:inner], sync_mel(samples)[:inner])  # the silence behind changes nothing before it
    assert np.all(mel[640 * frames // 200 + 3 :] == -4)


def test_window_starts():
    assert [mel_window_start(f) for f in (0, 1, 2, 5, 25)] == [0, 3, 6, 16, 80]


@pytest.mark.parametrize("bad", [np.zeros(641), np.zeros(0)])
def test_a_clip_of_broken_frames_is_refused(bad):
    with pytest.raises(ValueError, match="multiple of 640"):
        clip_mel(bad)
    with pytest.raises(ValueError, match=r"\(n,\)"):
        sync_mel(np.zeros((2, 3)))
