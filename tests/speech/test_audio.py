"""Sound by time: where it starts, what it lacks, and int16 WAV and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.speech.audio import read_audio, wav_bytes, wav_samples
from s3dnerf.video.encoding import VideoError
from tests.video.numbered import ffmpeg, tone, write


def onset(samples: np.ndarray) -> int:
    """First sample louder than a tenth."""
    return int(np.argmax(np.abs(samples) > 0.1))


@pytest.fixture(scope="module")
def click(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of silence with a loud tone from sample 16000 on, as wav."""
    path = tmp_path_factory.mktemp("audio") / "click.wav"
    path.write_bytes(wav_bytes(np.concatenate([np.zeros(16000, np.float32), tone(1.0)])))
    return path


def test_whole_and_part(click: Path) -> None:
    whole = read_audio(click)
    assert whole.dtype == np.float32 and len(whole) == 32000 and abs(onset(whole) - 16000) < 20
    assert np.array_equal(read_audio(click, 0.5, 1.5), whole[8000:24000])
    assert np.array_equal(read_audio(click, 1.5, 9.0), whole[24000:])  # it ends where the sound ends
    assert len(read_audio(click, 5.0, 6.0)) == 0


@pytest.mark.parametrize(
    ("codec", "suffix"), [("aac", ".m4a"), ("libmp3lame", ".mp3"), ("pcm_s24le", ".wav"), ("flac", ".flac")]
)
def test_codecs_keep_time(click: Path, tmp_path: Path, codec: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    ffmpeg("-i", click, "-ar", "44100", "-ac", "2", "-c:a", codec, path)
    assert abs(onset(read_audio(path)) - 16000) <= 32  # 2 ms


@pytest.mark.parametrize("codec", ["pcm_s16le", "pcm_f32le"])
@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_two_channels_are_averaged_not_summed(tmp_path: Path, codec: str, rate_hz: int) -> None:
    """As loud as ``ffmpeg -ac 1`` writes it to 16 bit, and a loud recording is not clipped."""
    one = tmp_path / "one.wav"
    one.write_bytes(wav_bytes(0.95 * tone(1.0) / np.abs(tone(1.0)).max()))
    two, plain = tmp_path / "two.wav", tmp_path / "plain.wav"
    ffmpeg("-i", one, "-af", "pan=stereo|c0=c0|c1=c0", "-ar", rate_hz, "-c:a", codec, two)
    ffmpeg("-i", two, "-ac", "1", "-ar", "16000", "-c:a", "pcm_s16le", plain)
    mixed, expected = read_audio(two), read_audio(plain)
    assert 0.93 < np.abs(mixed[4000:12000]).max() < 0.97
    assert np.abs(mixed[1000:15000] - expected[1000:15000]).max() < 2e-3


def test_late_sound_is_led_in_by_zeros(click: Path, tmp_path: Path) -> None:
    silent = write(tmp_path / "v.mp4", 75, "25")
    path = tmp_path / "late.mp4"
    ffmpeg(
        "-i",
        silent,
        "-itsoffset",
        "0.5",
        "-i",
        click,
        "-map",
        "0:v",
        "-map",
        "1:a",
        "-c:v",
        "copy",
        "-c:a",
        "aac",
        path,
    )
    assert abs(onset(read_audio(path)) - 24000) <= 32


def test_no_sound_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(VideoError) as caught:
        read_audio(write(tmp_path / "mute.mp4", 10, "25"))
    assert caught.value.reason == "no_audio"
    (tmp_path / "bad.m4a").write_bytes(b"no sound" * 100)
    with pytest.raises(VideoError, match="not a readable video or sound file") as caught:
        read_audio(tmp_path / "bad.m4a")
    assert caught.value.reason == "unreadable"
    with pytest.raises(ValueError, match="start"):
        read_audio(tmp_path / "bad.m4a", 2.0, 1.0)


def test_wav_round_trip() -> None:
    samples = np.array([0, 0.5, -0.5, 1.0, -1.0, 2.0], np.float32)
    back = wav_samples(wav_bytes(samples))
    assert np.abs(back - np.clip(samples, -1, 32767 / 32768)).max() <= 0.5 / 32768 + 1e-7
    assert wav_bytes(back) == wav_bytes(np.clip(samples, -1, 1))
    with pytest.raises(VideoError, match="not a WAV"):
        wav_samples(b"RIFF")
    with pytest.raises(ValueError, match="expected"):
        wav_bytes(np.zeros((2, 2), np.float32))


def test_a_long_wav_is_written_in_parts_to_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.random.default_rng(0).uniform(-1.1, 1.1, 5000).astype(np.float32)
    whole = wav_bytes(samples)
    monkeypatch.setattr("s3dnerf.speech.audio.WRITTEN_AT_ONCE", 999)
    assert wav_bytes(samples) == whole and len(wav_samples(whole)) == 5000
