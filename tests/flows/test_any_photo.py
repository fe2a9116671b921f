"""Any photo: right, or refused in one sentence before anything is rendered (the list: ``tests/flows/photos.py``)."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s3dnerf import TalkingHead
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.faces.warping import apply, invert
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.synthesis import portrait
from s3dnerf.synthesis.portrait import PortraitFace
from s3dnerf.synthesis.synthesizer import Synthesizer
from s3dnerf.video.encoding import ffmpeg_path
from s3dnerf.video.pictures import read_picture
from s3dnerf.video.probing import probe
from tests.flows.photos import LEFT, PHOTOS, face, two

ROOT = Path(__file__).resolve().parents[2]
VOICE = (0.3 * np.sin(np.arange(1300) * 0.2)).astype(np.float32)
TOLERANCE = 0.07  # of the eyes' distance, mean over the 68 landmarks


@pytest.fixture(scope="module")
def head(kit: Path) -> TalkingHead:
    return TalkingHead.load(kit / "model", device="cpu")


@pytest.fixture(scope="module")
def upright(head: TalkingHead) -> PortraitFace:
    return portrait.prepare_portrait(face(), head.settings)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, list]:
    """What was prepared, and how often the generator was asked for anything."""
    made: dict[str, list] = {"prepared": [], "encoded": [], "rendered": []}
    prepare, encode, render = portrait.prepare_portrait, Synthesizer.portrait, Synthesizer.render
    monkeypatch.setattr(
        portrait, "prepare_portrait", lambda *a, **b: made["prepared"].append((a[0], prepare(*a, **b))) or made["prepared"][-1][1]
    )  # fmt: skip
    monkeypatch.setattr(Synthesizer, "portrait", lambda *a: made["encoded"].append(1) or encode(*a))
    monkeypatch.setattr(Synthesizer, "render", lambda *a: made["rendered"].append(1) or render(*a))
    return made


def points_of(found: PortraitFace) -> np.ndarray:
    return apply(invert(found.matrix), found.landmarks.astype(np.float64))


@pytest.mark.parametrize("name", PHOTOS)
def test_a_photo_is_right_or_refused_before_any_rendering(
    name: str, head: TalkingHead, upright: PortraitFace, seen: dict[str, list], tmp_path: Path
) -> None:
    photo = PHOTOS[name]
    path = photo.make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    if photo.refused:
        with pytest.raises(S3DNeRFError, match=photo.refused) as caught:
            head.animate(path, VOICE, **photo.options)
        assert len(str(caught.value).splitlines()) == 1 and not seen["encoded"] and not seen["rendered"]
        assert sorted(tmp_path.rglob("*")) == before
        return
    said = head.animate(path, VOICE, **photo.options)
    ((picture, found),) = seen["prepared"]
    assert said.whole and len(seen["encoded"]) == 1 and not seen["rendered"]
    expected = apply(photo.matrix, points_of(upright))
    eyes = np.linalg.norm(expected[36:42].mean(0) - expected[42:48].mean(0))
    off = np.linalg.norm(points_of(found) - expected, axis=1).mean() / eyes
    assert off < TOLERANCE, off
    if photo.levels is not None:
        apart = np.abs(found.frame.astype(float) - upright.frame)[upright.mask].mean()
        assert apart <= photo.levels + 12.0 * off, apart
    if "background" in photo.options:
        assert (picture[0, 0] == (0, 100, 0)).all() and (next(iter(said))[0, 0] == (0, 100, 0)).all()


def test_left_and_right_are_those_of_the_picture_as_it_is_shown(
    head: TalkingHead, upright: PortraitFace, tmp_path: Path
) -> None:
    """Of a photo that its camera stored upside down, with the people in it changed over."""
    exif = Image.Exif()
    exif[274] = 3
    Image.fromarray(np.ascontiguousarray(np.rot90(two(), 2))).save(tmp_path / "me.jpg", exif=exif, quality=95)
    found = portrait.prepare_portrait(read_picture(tmp_path / "me.jpg"), head.settings, which="left")
    assert np.abs(points_of(found) - apply(LEFT, points_of(upright))).mean() < 3


def test_bad_input_is_one_sentence_with_status_2_and_nothing_written(
    kit: Path, tmp_path: Path, typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through the command line: every refused photo is the same kind of error there, so a few stand for all."""
    monkeypatch.chdir(tmp_path)
    for name in ("upside down", "truncated", "two, 3", "missing"):
        (tmp_path / name).mkdir()
        photo = PHOTOS[name]
        face_of = [f"--face={photo.options['face']}"] if photo.options else []
        words = [
            f"--portrait={photo.make(tmp_path / name)}",
            f"--speech={kit / 'voice.wav'}",
            f"--model={kit / 'model'}",
        ]
        status, said, wrong = typed("synthesize", *words, *face_of, "--out=new/made.mp4")
        assert status == 2 and not said and len(wrong.splitlines()) == 1 and wrong.startswith("s3dnerf: ")
        assert re.search(photo.refused, wrong) and not (tmp_path / "new").exists()


def test_a_large_photo_keeps_its_size_its_surroundings_and_its_sound_to_the_last_bit(
    head: TalkingHead, upright: PortraitFace, tmp_path: Path
) -> None:
    """3000×2000: frames before encoding equal the photo outside the aligned square; AAC goes into the video as it is."""
    photo, voice, out = PHOTOS["3000×2000"], tmp_path / "voice.m4a", tmp_path / "a.mp4"
    path = photo.make(tmp_path)
    tone = (0.3 * np.sin(np.arange(8 * 1764) * 0.1)).astype(np.float32)
    (tmp_path / "voice.wav").write_bytes(wav_bytes(tone, 44_100))
    ffmpeg("-i", tmp_path / "voice.wav", "-c:a", "aac", voice)
    picture = read_picture(path)
    frames = list(head.animate(path, voice))
    matrix = portrait.prepare_portrait(picture, head.settings).matrix
    y, x = np.mgrid[:2000, :3000]
    at = apply(matrix, np.stack([x, y], -1) + 0.5)
    outside = (at < 2).any(-1) | (at > 254).any(-1)
    assert len(frames) >= 8 and 0.5 < outside.mean() < 0.95
    for frame in frames:
        assert frame.shape == (2000, 3000, 3) and np.array_equal(frame[outside], picture[outside])
    assert any((frame != picture).any() for frame in frames)
    said = head.animate(path, voice)
    said.frames, said.count = iter(frames[:3]), 3
    assert said.write(out) == 3
    info = probe(out)
    assert (info.width_px, info.height_px, len(info.pts)) == (3000, 2000, 3)
    heard = [ffmpeg("-i", file, "-map", "0:a", "-f", "s16le", "-") for file in (voice, out)]
    assert len(heard[0]) > 10_000 and heard[0] == heard[1]


def ffmpeg(*words: str | Path) -> bytes:
    return subprocess.run([ffmpeg_path(), "-v", "error", *map(str, words)], check=True, capture_output=True).stdout


def test_the_table_in_the_documentation_is_this_list() -> None:
    rows = re.findall(r"^\| (.+?) \| (right|refused) \|", (ROOT / "docs/how-to/photos.md").read_text(), re.MULTILINE)
    assert rows == [(p.what, "refused" if p.refused else "right") for p in PHOTOS.values()] and len(rows) >= 30
