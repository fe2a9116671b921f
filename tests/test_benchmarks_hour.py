"""The benchmark of an hour's speech: what it looks at, and whom it asks."""

from __future__ import annotations

import mmap
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import hour
from s3dnerf.speech.audio import wav_bytes, wav_samples


def test_frames_of_both_ends_are_kept_and_memory_is_that_of_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour, "MINUTE", 100)
    monkeypatch.setattr(hour, "LOOKED_AT", 20)
    watch = hour.Watch(350)
    hoard = []

    def frames():
        for number in range(350):
            if number == 200:
                hoard.append(mmap.mmap(-1, 50_000_000))  # pages of its own, not what the process freed before
                np.frombuffer(hoard[0], np.uint8).fill(1)
            yield np.full((2, 2, 3), number % 256, np.uint8)

    passed = [int(frame[0, 0, 0]) for frame in watch.over(frames())]
    assert passed == [number % 256 for number in range(350)]
    assert [int(frame[0, 0, 0]) for frame in watch.first] == [0, 20, 40, 60, 80]
    assert [int(frame[0, 0, 0]) for frame in watch.last] == [260 % 256, 280 % 256, 300 % 256, 320 % 256, 340 % 256]
    assert len(watch.own_mb) == len(watch.children_mb) == 4
    assert watch.own_mb[2] - watch.own_mb[1] == pytest.approx(50, abs=25)


def test_between_the_ends_the_network_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hour, "MINUTE", 10)
    asked: list[float] = []

    def render(identity, windows, camera):
        asked.append(float(windows[0]))
        return windows + 0.5

    ends = hour.EndsAlone(render, 43)
    made = [float(ends(None, torch.arange(first, min(first + 5, 43)), None)[0]) for first in range(0, 43, 5)]
    assert asked == [0, 5, 30, 35, 40] and made == [0.5, 5.5, 5.5, 5.5, 5.5, 5.5, 30.5, 35.5, 40.5]


def test_speech_is_as_long_as_asked_and_goes_round(tmp_path: Path) -> None:
    once = np.linspace(-0.5, 0.5, 16000).astype(np.float32)
    (tmp_path / "a.wav").write_bytes(wav_bytes(once))
    assert hour.long_speech(tmp_path / "a.wav", 0.05, tmp_path / "long.wav") == 1
    made = wav_samples((tmp_path / "long.wav").read_bytes())
    assert len(made) == 48000 and np.array_equal(made[:16000], made[32000:])
    with pytest.raises(SystemExit, match="no recordings"):
        hour.long_speech(tmp_path, 1, tmp_path / "long.wav")
