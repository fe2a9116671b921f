"""A whole video: the same bytes every time, a face the embedded detector finds, lips that follow the truth, nothing
half-written.
"""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.corpora.synthetic import film
from s3dnerf.corpora.synthetic.film import VideoPlan, make_video
from s3dnerf.corpora.synthetic.truth import Truth, load_truth, truth_path
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.types import main_face
from s3dnerf.settings.schema import AlignSettings
from s3dnerf.speech.audio import read_audio
from s3dnerf.video.reading import probe, read_frames


def plan_for(folder: Path, **changes: object) -> VideoPlan:
    plan = VideoPlan(
        "hdtf",
        "hdtf/Ames",
        0,
        0,
        str(folder / "raw"),
        str(folder),
        "videos/Ames.mp4",
        "",
        (30000, 1001),
        (200, 220),
        ((110.0, 90.0, 50.0),),
        ((0.0, 0.4, "card"), (0.4, 1.4, "speaker")),
    )
    return dataclasses.replace(plan, **changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Truth]:
    folder = tmp_path_factory.mktemp("film")
    make_video(plan_for(folder))
    return folder, load_truth(truth_path(folder, "hdtf", "videos/Ames.mp4"))


def digests(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_the_same_plan_gives_the_same_bytes_whatever_was_made_before(made: tuple[Path, Truth], tmp_path: Path) -> None:
    other = plan_for(tmp_path / "other", person="hdtf/Boone", video="videos/Boone.mp4")
    make_video(other)
    make_video(plan_for(tmp_path / "again"))
    assert digests(tmp_path / "again") == digests(made[0])
    assert set(digests(made[0])) == {"raw/videos/Ames.mp4", "truth/hdtf/videos/Ames.npz"}


def test_the_file_is_an_ordinary_video_on_the_plans_clock(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    path = folder / "raw" / "videos" / "Ames.mp4"
    info = probe(path)
    assert (
        info.fps_hz == pytest.approx(30000 / 1001, abs=0.01)
        and (info.width_px, info.height_px) == (220, 200)
        and info.has_audio
    )
    assert len(info.frame_times_s) == len(truth.time_s) == 42
    assert np.allclose(info.frame_times_s, truth.time_s, atol=1e-3)
    assert not truth.valid[truth.time_s < 0.39].any() and truth.valid[truth.time_s > 0.41].all()
    assert np.isnan(truth.landmarks[0]).all() and np.isfinite(truth.landmarks[-1]).all()
    sound = read_audio(path)
    card, spoken = sound[:5600], sound[8000:]
    assert spoken.std() > 10 * card.std() > 0


def test_truth_projects_and_masks_lie_on_the_face(made: tuple[Path, Truth]) -> None:
    truth = made[1]
    k = truth.mask_frames[-1]
    assert len(truth.masks) == len(truth.mask_frames) > 4 and truth.masks.shape[1:] == (200, 220)
    nose = truth.landmarks[k, 30].astype(int)
    assert truth.masks[-1][nose[1], nose[0]] and 0.03 < truth.masks[-1].mean() < 0.3
    camera = truth.world_to_camera[k]
    assert np.allclose(camera[:, :3] @ camera[:, :3].T, np.eye(3), atol=1e-9)
    centre = truth.intrinsics[k] @ camera[:, 3]
    assert np.abs(centre[:2] / centre[2] - truth.landmarks[k].mean(0)).max() < 40


@pytest.mark.slow
def test_the_embedded_detector_finds_the_face_and_its_lips_follow(made: tuple[Path, Truth]) -> None:
    folder, truth = made
    backend = face_backend(AlignSettings(backend="dlib", model_dir=None))
    frames = np.flatnonzero(truth.valid)
    found, true, errors = [], [], []
    for k, image in zip(frames, read_frames(folder / "raw" / "videos" / "Ames.mp4", frames), strict=True):
        face, _ = main_face(backend.detect(image))
        assert face is not None, f"no face in frame {k}"
        points = backend.landmarks(image, face.box_px)
        errors.append(np.linalg.norm(points - truth.landmarks[k], axis=1).mean())
        found.append(np.linalg.norm(points[62] - points[66]))
        true.append(truth.mouth_opening[k])
    assert np.mean(errors) < 4  # pixels of a face some 75 px high
    assert np.corrcoef(found, true)[0, 1] > 0.6


def test_lips_are_shut_on_every_bilabial(made: tuple[Path, Truth]) -> None:
    truth = made[1]
    bilabials = [(a, b) for viseme, _, a, b in truth.visemes if viseme == "p" and a > 0.45 and b < 1.35]
    assert bilabials
    for start, end in bilabials:
        near = truth.valid & (truth.time_s > start - 0.02) & (truth.time_s < end + 0.02)
        assert truth.mouth_opening[near].min() < 0.02
    assert truth.mouth_opening[truth.valid].max() > 0.05


def test_sound_apart_is_shorter_and_words_are_whole(tmp_path: Path) -> None:
    plan = plan_for(
        tmp_path,
        corpus="mead",
        video="M003/video/front/happy/level_1/001.mp4",
        audio="M003/audio/happy/level_1/001.m4a",
        fps=(65521, 2184),
        parts=((0.0, 1.2, "speaker"),),
        whole_words=True,
        audio_shorter_s=0.1,
        audio_rate_hz=48000,
        mood="happy",
        transcript="M003/001.txt",
    )
    make_video(plan)
    video, sound = tmp_path / "raw" / plan.video, read_audio(tmp_path / "raw" / plan.audio)
    info = probe(video)
    assert not info.has_audio and info.fps_hz == pytest.approx(65521 / 2184, abs=0.01)
    assert 0.03 < info.duration_s - len(sound) / 16000 < 0.2
    truth = load_truth(truth_path(tmp_path, "mead", plan.video))
    text = (tmp_path / "raw" / "M003" / "001.txt").read_text()
    words = re_words(text)
    assert words == [w.upper() for w, _, _ in truth.words] and truth.words[-1][2] <= truth.time_s[-1] + 0.05
    assert text.splitlines()[1].startswith("Conf:  ")


def re_words(text: str) -> list[str]:
    first = text.splitlines()[0]
    assert first.startswith("Text:  ")
    return first.removeprefix("Text:  ").split()


def test_a_fault_in_the_middle_leaves_no_file_that_looks_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = film._frames

    def broken(*arguments: object):  # noqa: ANN202
        for n, frame in enumerate(real(*arguments)):
            if n == 20:
                raise MemoryError("as if killed")
            yield frame

    monkeypatch.setattr(film, "_frames", broken)
    with pytest.raises(MemoryError):
        make_video(plan_for(tmp_path))
    assert digests(tmp_path) == {}


def test_no_truth_is_told_as_such(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_truth(truth_path(tmp_path, "hdtf", "videos/Nobody.mp4"))
