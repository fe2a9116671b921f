"""Landmarks teach the lips' motion: the loss, the lessons before step 0, and what they leave alone."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Portrait
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.expert import load_expert
from s3dnerf.training import losses
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData, MotionBatch, make_batch, make_motion_batch
from s3dnerf.training.landmarks_first import landmarks_first, learn_shapes
from s3dnerf.training.lip_motion import LIPS, NOSE, Motion, lip_motion_loss, lip_shapes, points_at
from s3dnerf.training.speech_variation import PLAIN, SpeechVariation
from s3dnerf.training.train_s3dnerf import Trainer, train
from tests.log_lines import on_log_line
from tests.margins import Between, Margin
from tests.small_corpus import BOX, INTRINSICS, landmarks, make_training_data, turn
from tests.training.generator_job import generator_job

CPU = torch.device("cpu")


def _settings() -> Settings:
    plain = preset_settings("tiny")
    train = dataclasses.replace(
        plain.train, shape_steps=40, motion_steps=240, motion_frames=16, lambda_lips=0.01, lr_lessons=5e-3
    )
    return dataclasses.replace(
        plain,
        train=train,
        model=dataclasses.replace(plain.model, position_octaves=4, speech_gate=True, source_lips=True),
    )


@pytest.fixture(scope="module")
def settings() -> Settings:
    return _settings()


@pytest.fixture(scope="module")
def data_dir(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    make_training_data(settings, folder)
    return folder


@pytest.fixture
def data(settings: Settings, data_dir: Path) -> GeneratorData:
    return GeneratorData(data_dir, settings.model, 5, seed=0, motion_frames=settings.train.motion_frames)


def _generator(settings: Settings, data: GeneratorData, variant: str = "full", seed: int = 0) -> S3DNeRF:
    torch.manual_seed(seed)
    generator = S3DNeRF(settings.model, data.speech_dim, variant)
    generator.speech.set_statistics(*data.speech_statistics())
    return generator


def _motion(source_opening: float, openings: list[float], yaws: list[float]) -> MotionBatch:
    """Frames of one head with the given mouths and yaws, seen from a source that looks straight ahead; landmarks carry
    the pose.
    """
    n = len(openings)

    def seen(opening: float, yaw: float) -> torch.Tensor:
        """The landmarks of a head that turned: its points at the lips' depth, projected."""
        from s3dnerf.model import cameras

        flat, box = torch.from_numpy(landmarks(opening))[None], torch.from_numpy(BOX)[None]
        ahead, k = torch.from_numpy(turn(0.0))[None], torch.from_numpy(INTRINSICS)[None]
        x = points_at(Camera(ahead, k), box, flat, torch.full(flat.shape[:2], 0.38))
        return cameras.project(cameras.to_camera(x, torch.from_numpy(turn(yaw))[None]), k)[0].T

    motion = Motion(
        camera=Camera(
            torch.from_numpy(np.stack([turn(yaw) for yaw in yaws])),
            torch.from_numpy(np.repeat(INTRINSICS[None], n, 0)),
        ),
        speech=torch.zeros(n, 16, 20),
        landmarks=torch.stack([seen(o, y) for o, y in zip(openings, yaws)]),
        jitter=torch.zeros(n, 29, 3),
    )
    face = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    source = seen(source_opening, 0.0)[None]
    camera = Camera(torch.from_numpy(turn(0.0))[None], torch.from_numpy(INTRINSICS)[None])
    return MotionBatch(Portrait(face, face, camera, torch.from_numpy(BOX)[None], source), motion)


def _loss(generator: S3DNeRF, batch: MotionBatch) -> torch.Tensor:
    identity = generator.encode_face(batch.source)
    return lip_motion_loss(generator, identity, batch.motion).detach()


def test_a_head_that_turns_without_speaking_asks_for_no_motion(settings: Settings, data: GeneratorData) -> None:
    generator = _generator(settings, data)  # Δx = 0 before training
    assert float(_loss(generator, _motion(0.4, [0.4, 0.4, 0.4], [0.0, 0.2, -0.15]))) < 1e-4
    spoken = float(_loss(generator, _motion(0.4, [0.9], [0.2])))
    moved = np.linalg.norm(landmarks(0.4) - landmarks(0.9), axis=1)
    whole = float((moved[LIPS] ** 2).sum() / 29)  # with no deformation all of the motion is left …
    assert 0.5 * whole < spoken < whole  # … but what neighbours take from each other at the corners


def test_the_loss_is_how_far_the_lips_end_from_where_they_stand_in_the_source(
    settings: Settings, data: GeneratorData
) -> None:
    """A deformation that moves every point by a known amount: the loss follows from the projection by hand."""
    generator = _generator(settings, data)
    shift = torch.tensor([0.02, -0.03, 0.0]) / settings.model.deform_bound
    assert generator.deformation is not None
    with torch.no_grad():
        assert generator.deformation.out.bias is not None
        generator.deformation.out.bias.copy_(torch.atanh(shift))
    loss = float(_loss(generator, _motion(0.4, [0.4], [0.0])))
    depth = 10.0 - 0.38 * float(BOX[3])
    by_hand = (640.0 / depth * float(BOX[3])) ** 2 * (0.02**2 + 0.03**2)
    assert loss == pytest.approx(by_hand, rel=1e-3)


def test_gradient_reaches_speech_attention_and_deformation_alone(settings: Settings, data: GeneratorData) -> None:
    generator = _generator(settings, data)
    torch.nn.init.normal_(generator.deformation.out.weight, std=0.1)
    batch = make_motion_batch([data.motion_sample(0, 0), data.motion_sample(0, 1)], CPU)
    with torch.no_grad():
        identity = generator.encode_face(batch.source)
    lip_motion_loss(generator, identity, batch.motion).backward()
    reached = {
        name.split(".")[0] for name, p in generator.named_parameters() if p.grad is not None and p.grad.abs().max() > 0
    }
    assert reached == {"speech", "source_lips", "crossmodal", "deformation"}


def test_no_deformation_nothing_to_teach(
    settings: Settings, data: GeneratorData, data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ValueError, match="no_deform"):
        _loss(_generator(settings, data, "no_deform"), _motion(0.4, [0.4], [0.0]))
    one = dataclasses.replace(settings, train=dataclasses.replace(settings.train, steps=1))
    train(generator_job(one, data_dir, tmp_path, "no_deform"), World())  # trains, without the lessons
    assert caplog.messages and not any("landmarks first" in line for line in caplog.messages)


def test_lip_shapes_know_nothing_of_place_size_and_person() -> None:
    clip = np.stack([landmarks(o) for o in (0.1, 0.5, 0.9)])
    shapes = lip_shapes(clip)
    assert shapes.shape == (3, 40) and np.allclose(shapes.mean(0), 0)
    assert np.allclose(lip_shapes(clip * 1.7 + np.array([12.0, -5.0])), shapes, atol=1e-6)
    person = clip.copy()
    person[:, LIPS, 1] += np.linspace(-2, 2, 20)  # this one's lips are crooked
    assert np.allclose(lip_shapes(person), shapes, atol=1e-6)
    assert np.abs(shapes[2] - shapes[0]).max() > 0.1


def test_samples_of_motion_are_a_function_of_seed_step_and_number(
    settings: Settings, data_dir: Path, data: GeneratorData
) -> None:
    again = GeneratorData(data_dir, settings.model, 5, seed=0, motion_frames=16)
    again.motion_sample(7, 0)
    one, other = data.motion_sample(4, 1), again.motion_sample(4, 1)
    assert all(np.array_equal(one["motion"][name], other["motion"][name]) for name in one["motion"])
    assert not np.array_equal(data.motion_sample(4, 2)["motion"]["jitter"], one["motion"]["jitter"])
    without = GeneratorData(data_dir, settings.model, 5, seed=0).sample(3, 0)
    beside = data.sample(3, 0)
    # other draws stay as they were
    assert "motion" not in without and all(np.array_equal(without[name], beside[name]) for name in without)
    batch = make_batch([beside, data.sample(3, 1)], settings.model, CPU)
    assert (
        batch.motion is not None
        and batch.motion.landmarks.shape == (32, 68, 2)
        and batch.source.landmarks.shape == (2, 68, 2)
    )
    source = next(c for c in map(data.clip, data.records) if any(np.array_equal(beside["source"], f) for f in c.frames))
    assert all(
        any(np.array_equal(mine, theirs) for theirs in source.landmarks) for mine in beside["motion"]["landmarks"]
    )
    assert np.ptp(beside["motion"]["landmarks"][:, NOSE], axis=0).max() == 0  # the small corpus's noses keep still


def _after_lessons(settings: Settings, data: GeneratorData, seed: int) -> tuple[dict[str, float], set[str]]:
    """What the lessons left of the loss and of the shapes' variance, and the blocks that they changed."""
    generator, world = _generator(settings, data, seed=seed), World()
    before = {name: value.clone() for name, value in generator.state_dict().items()}
    batch = make_motion_batch([data.motion_sample(1000 + i, 0) for i in range(12)], CPU)
    at_first = float(_loss(generator, batch))
    landmarks_first(generator, data, settings.train, seed, range(1), world)
    at_last = float(_loss(generator, batch))
    changed = {
        name.split(".")[0] for name, value in generator.state_dict().items() if not torch.equal(value, before[name])
    }
    shapes = learn_shapes(_generator(settings, data, seed=seed), data, settings.train, seed, world)
    return {
        "lip motion left, of the first": at_last / at_first,
        "shapes left, of their variance": float(shapes),
    }, changed


def _lessons(seed: int, folder: Path) -> dict[str, float]:
    settings = _settings()
    make_training_data(settings, folder)
    data = GeneratorData(folder, settings.model, 5, seed=seed, motion_frames=settings.train.motion_frames)
    return _after_lessons(settings, data, seed)[0]


LESSONS = Margin(
    "test_the_speech_net_learns_shapes_and_the_deformation_their_motion",
    _lessons,
    {"lip motion left, of the first": Between(high=0.45), "shapes left, of their variance": Between(high=0.2)},
)


@pytest.mark.slow
def test_the_speech_net_learns_shapes_and_the_deformation_their_motion(settings: Settings, data: GeneratorData) -> None:
    left, changed = _after_lessons(settings, data, LESSONS.seed)
    LESSONS.check(left)
    assert changed == {"speech", "source_lips", "aggregation", "crossmodal", "deformation"}


def test_the_loss_takes_part_in_a_step(settings: Settings, data_dir: Path, data: GeneratorData, tmp_path: Path) -> None:
    trainer = Trainer(
        generator_job(settings, data_dir, tmp_path), data, load_expert(data_dir / "train_sync" / "expert")[0], World()
    )
    values = trainer.step(0, make_batch([data.sample(0, 0)], settings.model, CPU))
    factors = losses.loss_factors(trainer.train, 0)
    assert factors.lips == 0.01 and values["lips"] > 0
    assert values["total"] == pytest.approx(
        sum(values[name] * getattr(factors, name) for name in ("pix", "per", "adv", "sync", "deform", "lips"))
    )


@pytest.mark.slow
def test_a_run_with_lessons_killed_and_resumed_equals_one_never_killed(
    settings: Settings, data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    short = dataclasses.replace(settings, train=dataclasses.replace(settings.train, shape_steps=3, motion_steps=3))
    whole, killed = (generator_job(short, data_dir, tmp_path / name) for name in ("whole", "killed"))
    train(whole, World())

    class Killed(Exception):
        pass

    def die(line: str) -> None:
        if "step 3/" in line:
            raise Killed

    with pytest.raises(Killed), on_log_line(die):
        train(killed, World())
    caplog.clear()
    train(killed, World())
    assert "steps 2…4" in caplog.messages[0] and not any("landmarks first" in line for line in caplog.messages)
    for name in ("generator.safetensors", "curves.jsonl", "card.json"):
        assert (Path(whole.out) / name).read_bytes() == (Path(killed.out) / name).read_bytes()


def test_training_hears_varied_speech_and_a_probe_hears_it_as_it_is(settings: Settings, data_dir: Path) -> None:
    plain, varied = (
        GeneratorData(data_dir, settings.model, 5, seed=0, motion_frames=16, variation=variation)
        for variation in (PLAIN, SpeechVariation(noise=0.5, gain=1.0))
    )
    a, b = plain.sample(3, 0), varied.sample(3, 0)
    assert np.array_equal(a["target"], b["target"]) and np.array_equal(
        a["motion"]["landmarks"], b["motion"]["landmarks"]
    )
    for heard, as_it_is in ((b["speech"], a["speech"]), (b["motion"]["speech"], a["motion"]["speech"])):
        off = (heard - as_it_is) / plain.speech_std
        # a constant a channel and window, 16 tokens of noise
        assert off.mean(1).std() == pytest.approx(math.hypot(1.0, 0.5 / 4), rel=0.15)
        assert (off - off.mean(1, keepdim=True)).std() == pytest.approx(0.5, rel=0.15)
    assert torch.equal(varied.sample(3, 0)["speech"], b["speech"])
    assert torch.equal(plain.probe(0, 3)["speech"], varied.probe(0, 3)["speech"])
