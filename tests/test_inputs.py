"""The small files beside the project that it once got wrong: each is read right, or refused with one sentence.

Skipped where they are absent. The kinds that they stand for are made and held by the tests of their subjects
(tests/video/kinds.py, tests/speech/kinds.py, tests/video/test_pictures.py, …).
"""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from s3dnerf.core.errors import SettingsError
from s3dnerf.evaluation.folders import score_folders
from s3dnerf.evaluation.protocol import Tools
from s3dnerf.settings.loading import load_settings
from s3dnerf.speech.audio import read_sound
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.file_kinds import passed_over
from s3dnerf.video.pictures import read_picture
from s3dnerf.video.reading import probe, read_frames
from tests.fake_preset import DrawnFaces

# mean absolute difference from base_1.mp4, the same film in plain H.264, levels of 255
SHOWN = {
    "mirrored.mp4": (0.01, "mirrored"),
    "anamorphic.mp4": (3.0, "pixels of 4:3 made square"),
    "hdr_hlg.mov": (5.0, "tone-mapped from HLG"),
    "twoaudio.mkv": (0.01, ""),
}


@pytest.fixture
def inputs(shared: Path) -> Path:
    folder = shared / "inputs"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent")
    return folder


def frames_of(path: Path, count: int = 25) -> np.ndarray:
    return np.stack(list(read_frames(path, np.arange(count))))


@pytest.mark.parametrize("name", SHOWN)
def test_videos_are_shown_as_the_plain_one(inputs: Path, name: str) -> None:
    bound, note = SHOWN[name]
    plain, frames = frames_of(inputs / "base_1.mp4"), frames_of(inputs / name)
    if name == "mirrored.mp4":
        frames = frames[:, :, ::-1]
    assert frames.shape == plain.shape and np.abs(frames.astype(int) - plain).mean() <= bound
    assert probe(inputs / name).notes == ((note,) if note else ())


@pytest.mark.parametrize(("name", "size"), [("interlaced_h264.mp4", 256), ("x.mpeg", 160)])
def test_videos_of_another_size_are_the_same_film(inputs: Path, name: str, size: int) -> None:
    frames = frames_of(inputs / name)
    plain = [
        cv2.resize(f, (size, size), interpolation=cv2.INTER_AREA) for f in frames_of(inputs / "base_1.mp4", len(frames))
    ]
    assert np.abs(frames.astype(int) - np.stack(plain)).mean() < 6


def test_a_file_scored_against_itself_is_perfect_every_time(inputs: Path, tmp_path: Path) -> None:
    for folder in ("truth", "generated"):
        (tmp_path / folder).mkdir()
        for name in ("interlaced_h264.mp4", "x.mpeg", "mirrored.mp4", "._base_1.mp4"):
            shutil.copy(inputs / name, tmp_path / folder)
    for _ in range(2):
        rows, problems = score_folders(tmp_path / "generated", tmp_path / "truth", Tools(faces=DrawnFaces()))
        similar = {r["clip"]: r["value"] for r in rows if r["metric"] == "ssim"}
        assert similar == {"interlaced_h264": 1.0, "x": 1.0, "mirrored": 1.0}
        said = {(p.name, p.what, p.detail) for p in problems if p.what == "interpreted"}
        assert said == {
            ("interlaced_h264", "interpreted", "as players show it: deinterlaced"),
            ("mirrored", "interpreted", "as players show it: mirrored"),
        }


@pytest.mark.parametrize("name", ["sp.aiff", "sp.caf", "sp.au", "antiphase.wav"])
def test_sounds_are_the_plain_one(inputs: Path, name: str) -> None:
    plain, sound = read_sound(inputs / "s04.wav"), read_sound(inputs / name)
    assert np.abs(sound.samples - plain.samples).max() < 1e-3
    assert ("the louder one alone" in sound.note) == (name == "antiphase.wav")


def test_telephone_speech_is_heard(inputs: Path) -> None:
    assert read_sound(inputs / "sp.amr").samples.std() > 0.02


def test_the_default_track_is_the_voice(inputs: Path) -> None:
    sound = read_sound(inputs / "twoaudio.mkv")
    plain = read_sound(inputs / "base_1.mp4").samples
    assert "number 2 (eng) is used: marked as default" in sound.note
    assert np.corrcoef(sound.samples[:38000], plain[:38000])[0, 1] > 0.95


@pytest.mark.parametrize("name", ["trunc.webp"])
def test_half_a_picture_is_refused_by_name(inputs: Path, name: str) -> None:
    with pytest.raises(VideoError, match=rf"{name}.*damaged or cut off"):
        read_picture(inputs / name)


def test_hidden_colours_do_not_become_background(inputs: Path) -> None:
    from PIL import Image

    with Image.open(inputs / "alpha_garbage.png") as picture:
        alpha = np.asarray(picture.convert("RGBA"))[..., 3]
    assert (alpha == 0).any() and (read_picture(inputs / "alpha_garbage.png")[alpha == 0] == 255).all()


def test_a_companion_file_is_passed_over_as_what_it_is(inputs: Path) -> None:
    found = passed_over("clips/._base_1.mp4")
    assert found is not None and found.reason == "companion_file"


def test_settings_in_another_encoding_are_refused_by_name(inputs: Path) -> None:
    with pytest.raises((SettingsError, ValueError), match=r"params_utf16\.yaml.*UTF-16"):
        load_settings(inputs / "params_utf16.yaml")
