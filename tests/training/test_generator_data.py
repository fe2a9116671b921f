"""What the generator is trained on: samples, batches, rays, pools of clips, frames that are spread."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.settings.schema import Settings
from s3dnerf.training import clips
from s3dnerf.training.batches import make_batch, training_rays
from s3dnerf.training.generator_data import GeneratorData, NoTrainingData
from tests.small_corpus import LIP_BOX, make_corpus


def test_a_sample_is_one_persons_and_what_belongs_together(settings: Settings, data_dir: Path) -> None:
    data = GeneratorData(data_dir, settings.model, settings.train, seed=3)
    assert {r["speaker"] for r in data.records} == {"A", "B"} and data.speech_dim == 20
    sample = data.sample(11, 0)
    clip = next(
        c for c in map(data.folder.load, data.records) if any(np.array_equal(sample["source"], f) for f in c.frames)
    )
    first = next(i for i in range(len(clip.frames)) if np.array_equal(sample["target"][0], clip.frames[i]))
    assert np.array_equal(sample["target"], clip.frames[first : first + 5])
    assert np.array_equal(sample["camera"], clip.world_to_camera[first : first + 5])
    assert np.array_equal(sample["audio"], clip.mel[int(80 * first / 25) :][:16])
    assert np.array_equal(sample["lip_box"], np.repeat(LIP_BOX[None], 5, 0))
    assert torch.equal(sample["speech"][2][7:9], torch.from_numpy(clip.tokens[2 * (first + 2) : 2 * (first + 2) + 2]))


def test_samples_are_a_function_of_seed_step_and_number(settings: Settings, data_dir: Path) -> None:
    a, b = (GeneratorData(data_dir, settings.model, settings.train, seed=3) for _ in range(2))
    b.sample(0, 0)  # what was drawn before does not matter
    one, other = a.sample(4, 1), b.sample(4, 1)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert a.sample(4, 2)["seed"] != one["seed"]
    drawn = {a.sample(step, 0)["source"].tobytes() for step in range(40)}
    assert len(drawn) > 10  # the source frame is random in training


def test_batches_mask_the_source_and_the_coarse_target(settings: Settings, data_dir: Path) -> None:
    data = GeneratorData(data_dir, settings.model, settings.train, seed=0)
    batch = make_batch([data.sample(0, 0), data.sample(0, 1)], settings.model, torch.device("cpu"))
    assert (
        batch.target.shape == (10, 3, 256, 256)
        and batch.coarse_target.shape == (10, 3, 16, 16)
        and batch.speech.shape == (10, 16, 20)
    )
    corner = batch.source.face[:, :, :8, :8]
    assert corner.abs().max() == 0 and batch.source.full[:, :, :8, :8].min() > 0.1
    assert batch.coarse_target[:, :, 0].abs().max() == 0 and batch.mask[:, :, 8, 8].min() == 1
    whole = torch.nn.functional.interpolate(batch.target, (16, 16), mode="area")
    assert torch.allclose(batch.coarse_target + batch.outside, whole, atol=1e-5)


def test_a_sample_reads_its_own_frames_alone(
    settings: Settings, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long the clips are and however many: nothing is decoded that the sample does not show."""
    data, asked = GeneratorData(data_dir, settings.model, settings.train, seed=0), []
    decode = clips.decode_frames
    monkeypatch.setattr(clips, "decode_frames", lambda given, at: asked.append(list(at)) or decode(given, at))
    monkeypatch.setattr(clips, "decode_clip", None)
    people = {data.sample(step, 0)["source"].tobytes() for step in range(6)}
    assert [len(at) for at in asked] == [settings.train.frames + 1] * 6 and len(people) > 3


def test_random_numbers_are_the_samples_own(settings: Settings, data_dir: Path) -> None:
    data = GeneratorData(data_dir, settings.model, settings.train, seed=0)
    samples, cpu = [data.sample(0, number) for number in range(3)], torch.device("cpu")
    together = make_batch(samples, settings.model, cpu)
    for number, sample in enumerate(samples):
        alone, frames = make_batch([sample], settings.model, cpu), slice(5 * number, 5 * number + 5)
        assert torch.equal(alone.noise, together.noise[frames]) and torch.equal(alone.draw, together.draw[frames])
        assert torch.equal(alone.backdrop, together.backdrop[frames])
    assert together.noise.shape[-1] == settings.model.coarse_samples + settings.model.fine_samples
    assert not torch.equal(together.noise[:5], together.noise[5:10])


def test_no_clip_says_where_to_look(settings: Settings, tmp_path: Path) -> None:
    make_corpus(tmp_path, {"hdtf_C_000": ("C", "test")})
    with pytest.raises(NoTrainingData, match="quarantine"):
        GeneratorData(tmp_path, settings.model, settings.train, seed=0)


def test_training_renders_the_face_and_a_share_of_the_rest() -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, 0, 6:9, 6:9], mask[1, 0, 4:12, 4:12] = 1.0, 0.5
    draw = torch.rand(2, 256, generator=torch.Generator().manual_seed(0))
    rays = training_rays(mask, draw, 0.1)
    for frame, rows in ((0, slice(4, 11)), (1, slice(2, 14))):
        chosen = torch.zeros(257, dtype=torch.bool).index_fill(0, rays[frame], True)[:-1].unflatten(0, (16, 16))
        near = torch.zeros(16, 16, dtype=torch.bool)
        near[rows, rows] = True  # two pixels around the face
        assert chosen[near].all()
        assert torch.equal(chosen[~near], (draw[frame].unflatten(0, (16, 16)) < 0.1)[~near])
    alone = training_rays(mask[:1], draw[:1], 0.1)[0]
    assert torch.equal(rays[0, : len(alone)], alone) and (rays[0, len(alone) :] == 256).all()  # the rest only fills up
    assert training_rays(mask, draw, 1.0).shape == (2, 256)


def test_each_phase_draws_its_frames_its_own_way(settings: Settings, data_dir: Path) -> None:
    anywhere = dataclasses.replace(settings.train.phases[0], share=0.5, frames="anywhere", sync=0.0)
    phases = (anywhere, dataclasses.replace(settings.train.phases[0], share=0.5))
    train = dataclasses.replace(settings.train, steps=20, phases=phases)
    data = GeneratorData(data_dir, settings.model, train, seed=0)

    def steps_between(step: int) -> set[int]:
        sample = data.sample(step, 0)
        clip = next(
            c for c in map(data.folder.load, data.records) if any(np.array_equal(sample["source"], f) for f in c.frames)
        )
        at = [next(i for i, f in enumerate(clip.frames) if np.array_equal(f, t)) for t in sample["target"]]
        for i, window in zip(at, sample["speech"]):  # each frame has its own speech, wherever it stands
            assert torch.equal(window[7:9], torch.from_numpy(clip.tokens[2 * i : 2 * i + 2]))
        return set(np.diff(at).tolist())

    assert all(steps_between(step) == {1} for step in range(10, 14))
    assert any(steps_between(step) != {1} for step in range(4))
