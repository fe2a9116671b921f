"""Portrait and speech to video: loading, streaming, poses, the mp4 and what its metadata says."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from s3dnerf.faces.camera import pose_degrees
from s3dnerf.model.s3dnerf import Rendered, S3DNeRF
from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.speech.audio import read_sound
from s3dnerf.synthesis.head_motion import gentle, poses_for, turned, views_of
from s3dnerf.synthesis.origin import Origin
from s3dnerf.synthesis.synthesizer import (
    SynthesisError,
    Synthesizer,
    beside_each_other,
    frame_pixels,
    load_generator,
    marked,
    whole_frames,
    write_video,
)
from s3dnerf.video.encoding import ffmpeg_path
from tests.small_corpus import BOX, INTRINSICS, landmarks, picture, turn
from tests.synthesis.test_blinks import face

SPEECH_DIM = 20


def _write_generator(folder: Path) -> S3DNeRF:
    from safetensors.torch import save_file

    settings = preset_settings("tiny")
    settings = dataclasses.replace(
        settings, model=dataclasses.replace(settings.model, raw_px=8, image_px=32, carry_source=True)
    )
    torch.manual_seed(0)
    generator = S3DNeRF(settings.model, SPEECH_DIM, "full")
    torch.nn.init.normal_(generator.deformation.out.weight, std=0.5)
    folder.mkdir(exist_ok=True)
    save_file({k: v.contiguous() for k, v in generator.state_dict().items()}, folder / "generator.safetensors")
    card = {"settings": as_dict(settings), "speech_dim": SPEECH_DIM, "variant": "full"}
    (folder / "card.json").write_text(json.dumps(card))
    return generator


@pytest.fixture(scope="module")
def synthesizer(tmp_path_factory: pytest.TempPathFactory) -> Synthesizer:
    folder = tmp_path_factory.mktemp("generator")
    _write_generator(folder)
    return Synthesizer(load_generator(folder), json.loads((folder / "card.json").read_text()))


def _portrait(synthesizer: Synthesizer):
    frame, mask = picture(0.3, 1.0)
    return synthesizer.portrait(frame, mask, turn(0.05), INTRINSICS, BOX, landmarks(0.3))


def _driven(frames: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((2 * frames, SPEECH_DIM)).astype(np.float32)
    return tokens, np.stack([turn(0.02 * i) for i in range(frames)]), np.repeat(INTRINSICS[None], frames, 0)


def test_a_saved_generator_comes_back(tmp_path: Path) -> None:
    saved = _write_generator(tmp_path)
    loaded = load_generator(tmp_path)
    assert not loaded.training and all(
        torch.equal(a, b) for a, b in zip(saved.state_dict().values(), loaded.state_dict().values())
    )


def test_a_folder_without_a_generator_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SynthesisError, match="train_s3dnerf"):
        load_generator(tmp_path)
    _write_generator(tmp_path)
    (tmp_path / "generator.safetensors").unlink()
    with pytest.raises(SynthesisError, match="dvc repro train_s3dnerf"):
        load_generator(tmp_path)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    _write_generator(tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    (tmp_path / "card.json").write_text(json.dumps({**card, "speech_dim": SPEECH_DIM + 1}))
    with pytest.raises(SynthesisError, match="do not belong together"):
        load_generator(tmp_path)


def test_frames_are_those_of_one_call_whatever_the_batch(synthesizer: Synthesizer) -> None:
    identity, driven = _portrait(synthesizer), _driven(7)
    frames = list(synthesizer.frames(identity, *driven, batch=3))
    assert len(frames) == 7 and frames[0].shape == (256, 256, 3) and frames[0].dtype == np.uint8
    again = list(synthesizer.frames(identity, *driven, batch=7))
    assert max(np.abs(a.astype(int) - b).max() for a, b in zip(frames, again)) <= 1
    assert np.abs(frames[0].astype(int) - frames[6]).max() > 3  # they move


def test_frames_come_as_they_are_made(synthesizer: Synthesizer, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    render = synthesizer.generator.render
    monkeypatch.setattr(
        synthesizer.generator, "render", lambda *given, **named: (calls.append(1), render(*given, **named))[1]
    )
    stream = synthesizer.frames(_portrait(synthesizer), *_driven(6), batch=2)
    next(stream)
    assert len(calls) == 1


def test_eyes_close_in_the_frames_that_say_so(synthesizer: Synthesizer) -> None:
    picture, points = face()
    mask = np.ones((256, 256), bool)
    pixels = (picture * 255).astype(np.uint8)
    identity = synthesizer.portrait(pixels, mask, turn(0), INTRINSICS, BOX, points.astype(np.float32))
    tokens, poses, k = _driven(3)
    plain = np.stack(list(synthesizer.frames(identity, tokens, poses, k)))
    shut = np.stack(list(synthesizer.frames(identity, tokens, poses, k, shut=np.array([0.0, 1.0, 0.4]))))
    assert np.array_equal(plain[0], shut[0])
    changed = [np.abs(a.astype(int) - b).max(2) > 30 for a, b in zip(plain, shut)]
    assert changed[1].sum() > changed[2].sum() > 50
    y, x = np.nonzero(changed[1])
    away = np.linalg.norm(np.stack([x, y], 1)[:, None] - points[36:48], axis=2).min(1)
    assert away.max() < 30


def test_lengths_and_widths_that_do_not_fit_are_refused(synthesizer: Synthesizer) -> None:
    tokens, poses, k = _driven(4)
    with pytest.raises(SynthesisError, match=r"expected \(2N, 20\), N and N"):
        next(synthesizer.frames(_portrait(synthesizer), tokens[:-1], poses, k))
    with pytest.raises(SynthesisError, match="expected"):
        next(synthesizer.frames(_portrait(synthesizer), tokens[:, :-1], poses, k))
    with pytest.raises(SynthesisError, match=r"expected \(256, 256, 3\)"):
        synthesizer.portrait(
            np.zeros((64, 64, 3), np.uint8), np.zeros((64, 64), bool), turn(0), INTRINSICS, BOX, landmarks(0.3)
        )


def test_pixels_are_clipped() -> None:
    fine = torch.tensor([-0.5, 0.5, 2.0])[None, :, None, None].expand(1, 3, 256, 256)
    raw, one, two = (torch.zeros(1, channels, 32, 32) for channels in (3, 1, 2))
    pixels = frame_pixels(Rendered(raw, fine, one, raw, None, torch.zeros(()), two))
    assert pixels.shape == (1, 256, 256, 3) and pixels[0, 100, 100].tolist() == [0, 128, 255]


def test_speech_becomes_whole_frames_and_silence_is_refused() -> None:
    assert len(whole_frames(np.ones(641))) == 1280 and len(whole_frames(np.ones(1280))) == 1280
    for nothing in (np.zeros(16000), np.zeros(0)):
        with pytest.raises(SynthesisError, match="expected"):
            whole_frames(nothing)


def test_the_video_is_as_long_as_the_speech_and_says_it_is_synthetic(tmp_path: Path, synthesizer: Synthesizer) -> None:
    samples = 0.3 * np.sin(np.arange(16000) * 0.05).astype(np.float32)  # a second
    count = len(whole_frames(samples)) // 640
    tokens, poses, k = _driven(count)
    comment = Origin.of(synthesizer.card, "ab" * 32).comment
    written = write_video(
        tmp_path / "out.mp4", synthesizer.frames(_portrait(synthesizer), tokens, poses, k), samples, comment
    )
    assert written == count == 25 and not list(tmp_path.glob(".*"))
    said = subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-i", str(tmp_path / "out.mp4"), "-f", "null", "-"],
        capture_output=True,
        text=True,
    ).stderr
    assert "h264" in said and "aac" in said and "Duration: 00:00:01.0" in said and "frame=   25" in said
    assert "Synthetic: this person did not say this" in said and "abab" in said


@pytest.mark.parametrize(
    ("name", "codec", "kept"),
    [
        ("a.m4a", ["-c:a", "aac"], ("aac", 44100, 2)),
        ("a.mka", ["-c:a", "flac"], ("aac", 44100, 2)),
        ("a.mp3", ["-c:a", "libmp3lame"], ("mp3float", 44100, 2)),
        # mp4 holds no MP3 of so low a rate
        ("low.mp3", ["-c:a", "libmp3lame", "-ar", "8000"], ("aac", 8000, 2)),
    ],
)
def test_the_recordings_own_sound_goes_into_the_video(
    tmp_path: Path, name: str, codec: list[str], kept: tuple[str, int, int]
) -> None:
    """At its own rate, in stereo; where mp4 holds it, to the last bit."""
    made = ["-f", "lavfi", "-i", "aevalsrc=0.3*sin(440*t)|0.2*sin(7*t*t):s=44100:d=1.2", *codec, str(tmp_path / name)]
    subprocess.run([ffmpeg_path(), "-v", "error", *made], check=True)
    sound = read_sound(tmp_path / name)
    count = len(whole_frames(sound.samples)) // 640
    frames = np.zeros((count, 64, 48, 3), np.uint8)
    write_video(tmp_path / "out.mp4", iter(frames), sound.samples, "x", recording=(tmp_path / name, sound))

    def decoded(path: Path) -> tuple[tuple[str, int, int], np.ndarray]:
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)
            return (stream.codec_context.name, stream.rate, stream.codec_context.layout.nb_channels), samples

    found, there = decoded(tmp_path / "out.mp4")
    assert found == kept
    if codec[1] == "aac":
        assert np.array_equal(there, decoded(tmp_path / name)[1])
    again = read_sound(tmp_path / "out.mp4").samples
    n = min(len(again), len(sound.samples))
    assert abs(len(again) - len(sound.samples)) <= 1024 / kept[1] * 16000  # AAC comes in blocks of 1,024
    assert np.corrcoef(again[:n], sound.samples[:n])[0, 1] > 0.99


def test_a_video_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def breaks():
        yield np.zeros((256, 256, 3), np.uint8)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_video(tmp_path / "out.mp4", breaks(), np.ones(1000), "x")
    with pytest.raises(SynthesisError, match="no frames"):
        write_video(tmp_path / "out.mp4", iter(()), np.ones(1000), "x")
    assert not list(tmp_path.iterdir())


def test_the_mark_is_visible_and_touches_one_corner() -> None:
    frame = np.full((256, 256, 3), 128, np.uint8)
    changed = (marked(frame) != frame).any(-1)
    assert changed.sum() > 1000 and not changed[:230].any() and not changed[:, 120:].any() and (frame == 128).all()
    large = marked(np.full((1080, 1920, 3), 128, np.uint8))
    assert 15 < (large != 128).any(-1).sum() / changed.sum() < 25  # as large in it: 4.2 times as high
    assert (marked(np.full((32, 40, 3), 128, np.uint8)) != 128).any()  # it is cut where it does not fit


def test_turning_the_head_changes_its_pose_by_so_much_and_not_its_place() -> None:
    centre = np.array([0.1, 0.2, -0.1])
    pose = turn(0.0)
    other = turned(pose, 20.0, -5.0, 0.0, centre)
    yaw, pitch, _ = pose_degrees(other) - pose_degrees(pose)
    assert yaw == pytest.approx(20.0, abs=0.5) and pitch == pytest.approx(-5.0, abs=0.5)
    np.testing.assert_allclose(other[:, :3] @ centre + other[:, 3], pose[:, :3] @ centre + pose[:, 3], atol=1e-6)


def test_gentle_motion_begins_at_rest_and_stays_gentle() -> None:
    samples = np.random.default_rng(0).standard_normal(500 * 640) * (np.arange(500 * 640) % 5000 < 3000)
    poses = gentle(turn(0.1), samples, 500, np.zeros(3))
    np.testing.assert_allclose(poses[0], turn(0.1), atol=1e-6)
    angles = pose_degrees(poses) - pose_degrees(turn(0.1))
    assert np.abs(angles).max() < 6 and angles[:, 0].std() > 0.5
    assert np.abs(np.diff(angles, axis=0)).max() < 0.6  # degrees a frame
    np.testing.assert_array_equal(poses_for("gentle", turn(0.1), 500, np.zeros(3), samples), poses)


def test_a_reference_lends_its_movement_not_its_pose() -> None:
    reference = np.stack([turn(0.5 + 0.1 * i) for i in range(-1, 2)])
    poses = poses_for(reference, turn(0.0), 3, np.zeros(3))
    np.testing.assert_allclose(poses[1], turn(0.0), atol=1e-6)
    np.testing.assert_allclose(pose_degrees(poses)[:, 0], np.degrees([-0.1, 0, 0.1]), atol=1e-3)
    np.testing.assert_array_equal(poses_for("still", turn(0.2), 2, np.zeros(3)), [turn(0.2)] * 2)
    with pytest.raises(ValueError, match="accepted: still, gentle"):
        poses_for("wild", turn(0.0), 6, np.zeros(3))
    with pytest.raises(ValueError, match="'gentle' without samples — expected the speech"):
        poses_for("gentle", turn(0.0), 6, np.zeros(3))
    with pytest.raises(ValueError, match=r"expected \(M, 3, 4\)"):
        poses_for(np.zeros((3, 4)), turn(0.0), 6, np.zeros(3))


def test_views_turn_every_pose_and_a_grid_has_the_straight_view_in_its_middle() -> None:
    poses, centre = np.stack([turn(0.002 * i) for i in range(150)]), np.array([0.0, 0.1, 0.2])
    one = views_of(poses, "one", centre, yaw_deg=10, pitch_deg=-5)
    assert one.shape == (1, 1, 150, 3, 4)
    np.testing.assert_allclose(
        pose_degrees(one[0, 0]) - pose_degrees(poses), np.broadcast_to([10, -5, 0], (150, 3)), atol=1.5
    )
    grid = views_of(poses, "grid", centre)
    assert grid.shape == (3, 3, 150, 3, 4)
    np.testing.assert_allclose(grid[1, 1], poses, atol=1e-9)
    angles = pose_degrees(grid[:, :, 0])
    assert (np.diff(angles[..., 0], axis=1) > 20).all() and (np.diff(angles[..., 1], axis=0) > 10).all()
    orbit = pose_degrees(views_of(np.repeat(turn(0.0)[None], 150, 0), "orbit", centre)[0, 0])
    assert abs(orbit[:, 0].max() - 25) < 0.5 and abs(orbit[:, 0].min() + 25) < 0.5 and np.abs(orbit[0]).max() < 1e-6
    for wrong in ({"views": "all"}, {"views": "one", "yaw_deg": 61.0}, {"views": "one", "pitch_deg": -41.0}):
        with pytest.raises(ValueError, match="accepted"):
            views_of(poses, centre=centre, **wrong)


def test_streams_are_laid_beside_each_other_frame_by_frame() -> None:
    def stream(value: int):
        return (np.full((2, 2, 3), value + 10 * i, np.uint8) for i in range(3))

    frames = list(beside_each_other([[stream(1), stream(2)], [stream(3), stream(4)]]))
    assert len(frames) == 3 and frames[2][..., 0].tolist() == [[21, 21, 22, 22]] * 2 + [[23, 23, 24, 24]] * 2
