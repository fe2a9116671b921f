"""The generator's training loop: data, resumption to the bit, refusals, what it writes, several processes."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings
from s3dnerf.sync.expert import SyncGateError, load_expert
from s3dnerf.training import generator_data, losses
from s3dnerf.training.curves import Curves, read_curves
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData, NoTrainingData, make_batch
from s3dnerf.training.train_s3dnerf import Job, Trainer, generator_losses, interruptible, train
from s3dnerf.training.watch import TrainingDiverged
from tests.log_lines import on_log_line
from tests.small_corpus import LIP_BOX, make_corpus, make_world


@pytest.fixture(scope="module")
def settings() -> Settings:
    return preset_settings("tiny")


@pytest.fixture(scope="module")
def data_dir(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_world(settings, folder)
    return folder


def _job(settings: Settings, data_dir: Path, folder: Path, variant: str = "full", **given) -> Job:
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, **given))
    return Job(
        settings,
        variant,
        str(data_dir),
        str(data_dir / "train_sync" / "expert"),
        str(folder / "work"),
        str(folder / "out"),
    )


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_a_sample_is_one_persons_and_what_belongs_together(settings: Settings, data_dir: Path) -> None:
    data = GeneratorData(data_dir, settings.model, frames=5, seed=3)
    assert {r["speaker"] for r in data.records} == {"A", "B"} and data.speech_dim == 20
    sample = data.sample(11, 0)
    clip = next(c for c in map(data.clip, data.records) if any(np.array_equal(sample["source"], f) for f in c.frames))
    first = next(i for i in range(len(clip.frames)) if np.array_equal(sample["target"][0], clip.frames[i]))
    assert np.array_equal(sample["target"], clip.frames[first : first + 5])
    assert np.array_equal(sample["camera"], clip.world_to_camera[first : first + 5])
    assert np.array_equal(sample["mel"], clip.mel[int(80 * first / 25) :][:16])
    assert np.array_equal(sample["lip_box"], np.repeat(LIP_BOX[None], 5, 0))
    assert torch.equal(sample["speech"][2][7:9], torch.from_numpy(clip.tokens[2 * (first + 2) : 2 * (first + 2) + 2]))


def test_samples_are_a_function_of_seed_step_and_number(settings: Settings, data_dir: Path) -> None:
    a, b = (GeneratorData(data_dir, settings.model, 5, seed=3) for _ in range(2))
    b.sample(0, 0)  # what was drawn before does not matter
    one, other = a.sample(4, 1), b.sample(4, 1)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert not np.array_equal(a.sample(4, 2)["noise"], one["noise"])
    drawn = {a.sample(step, 0)["source"].tobytes() for step in range(40)}
    assert len(drawn) > 10  # the source frame is random in training


def test_batches_mask_the_source_and_the_coarse_target(settings: Settings, data_dir: Path) -> None:
    data = GeneratorData(data_dir, settings.model, 5, seed=0)
    batch = make_batch([data.sample(0, 0), data.sample(0, 1)], settings.model, torch.device("cpu"))
    assert (
        batch.target.shape == (10, 3, 64, 64)
        and batch.coarse_target.shape == (10, 3, 16, 16)
        and batch.speech.shape == (10, 16, 20)
    )
    corner = batch.source_face[:, :, :8, :8]
    assert corner.abs().max() == 0 and batch.source_full[:, :, :8, :8].min() > 0.1
    assert batch.coarse_target[:, :, 0].abs().max() == 0 and batch.mask[:, :, 8, 8].min() == 1
    whole = torch.nn.functional.interpolate(batch.target, (16, 16), mode="area")
    assert torch.allclose(batch.coarse_target + batch.outside, whole, atol=1e-5)


def test_a_large_corpus_is_walked_through_in_bounded_memory(
    settings: Settings, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator_data, "RESIDENT_CLIPS", 1)
    data = GeneratorData(data_dir, settings.model, 5, seed=0)
    pools = [data.pool(step) for step in range(8)]
    assert {len(pool) for pool in pools} == {1} and {i for pool in pools for i in pool} == {0, 1}
    for step in range(4):
        data.sample(step, 0)
        assert len(data._clips) == 1


def test_no_clip_says_where_to_look(settings: Settings, tmp_path: Path) -> None:
    make_corpus(tmp_path, {"hdtf_C_000": ("C", "test")})
    with pytest.raises(NoTrainingData, match="quarantine"):
        GeneratorData(tmp_path, settings.model, 5, seed=0)


def test_killed_and_resumed_equals_never_killed(
    settings: Settings, data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = _job(settings, data_dir, tmp_path / "whole")
    train(whole, World())
    killed = _job(settings, data_dir, tmp_path / "killed")

    class Killed(Exception):
        pass

    def die(line: str) -> None:
        if "step 3/" in line:  # after the checkpoint of step 2, with step 3's curve already written
            raise Killed

    with pytest.raises(Killed), on_log_line(die):
        train(killed, World())
    assert [row["step"] for row in read_curves(Path(killed.work) / "curves.jsonl")] == [0, 1, 2]
    caplog.clear()
    train(killed, World())
    assert "steps 2…4" in caplog.messages[0]
    assert _files(Path(whole.out)) == _files(Path(killed.out))
    assert {
        "generator.safetensors",
        "discriminator.safetensors",
        "card.json",
        "curves.jsonl",
        "strips/step_0000004.png",
    } <= set(_files(Path(whole.out)))


def test_killed_at_ten_random_steps_equals_never_killed(
    settings: Settings, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"steps": 24, "checkpoint_every": 2, "strip_every": 12}
    whole, killed = (_job(settings, data_dir, tmp_path / name, **given) for name in ("whole", "killed"))
    train(whole, World())

    class Killed(BaseException):
        pass

    random, real, deaths = (
        np.random.default_rng(0),
        Trainer.step,
        sorted(np.random.default_rng(1).choice(24, 10, replace=False).tolist()),
    )

    def mortal(self: Trainer, step: int, batch: generator_data.Batch) -> dict[str, float]:
        if deaths and step == deaths[0]:
            if random.random() < 0.5:  # in the middle of the step: weights already moved, nothing saved
                real(self, step, batch)
            raise Killed
        return real(self, step, batch)

    monkeypatch.setattr(Trainer, "step", mortal)
    kills = 0
    while deaths:
        with pytest.raises(Killed):
            train(killed, World())
        deaths.pop(0)
        kills += 1
        torch.manual_seed(kills)  # another process has other random numbers
    train(killed, World())
    assert kills == 10 and _files(Path(whole.out)) == _files(Path(killed.out))


def test_kill_9_and_another_process_resume_to_the_bit(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    given = {"steps": 8, "checkpoint_every": 2, "strip_every": 4}
    whole, killed = (_job(settings, data_dir, tmp_path / name, **given) for name in ("whole", "killed"))
    train(whole, World())
    (tmp_path / "job.json").write_text(killed.to_json())
    command = [sys.executable, "-m", "s3dnerf.training.train_s3dnerf", "--job", str(tmp_path / "job.json")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": os.getcwd()})
    checkpoint = Path(killed.work) / "checkpoint.pt"
    for _ in range(600):
        if checkpoint.exists() or process.poll() is not None:
            break
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert checkpoint.exists()
    train(killed, World())
    assert _files(Path(whole.out)) == _files(Path(killed.out))


def test_an_interrupt_saves_first(
    settings: Settings, data_dir: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = _job(settings, data_dir, tmp_path, checkpoint_every=1000)

    def interrupt(line: str) -> None:
        if "step 1/" in line:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(KeyboardInterrupt, match="stopped at step 2 of 4; start again"), on_log_line(interrupt):
        train(job, World())
    caplog.clear()
    train(job, World())
    assert "steps 2…4" in caplog.messages[0]


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with interruptible() as asked:
        assert not asked() and signal.getsignal(signal.SIGTERM) != before
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_gate_refuses_an_expert_that_did_not_pass(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    make_world(settings, tmp_path, passes=False)
    with pytest.raises(SyncGateError, match="train.lambda_sync"):
        train(_job(settings, tmp_path, tmp_path / "run"), World())
    job = _job(settings, tmp_path, tmp_path / "run", lambda_sync=0.0, steps=1)
    train(job, World())  # accepted, and said so
    card = json.loads((Path(job.out) / "card.json").read_text())
    assert card["lambda_sync"]["value"] == 0.0 and card["expert"]["passes"] is False


def test_no_sync_trains_without_the_expert_and_says_so(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    job = _job(settings, data_dir, tmp_path, variant="no_sync", steps=1)
    train(job, World())
    card = json.loads((Path(job.out) / "card.json").read_text())
    assert (
        card["lambda_sync"] == {"value": 0.0, "why": "the variant no_sync"}
        and "sync" not in read_curves(Path(job.out) / "curves.jsonl")[0]
    )


def test_all_terms_take_part_and_the_total_is_their_weighted_sum(
    settings: Settings, data_dir: Path, tmp_path: Path
) -> None:
    job = _job(settings, data_dir, tmp_path)
    data = GeneratorData(data_dir, settings.model, 5, seed=0)
    trainer = Trainer(job, data, load_expert(job.expert)[0], World())
    batch = make_batch([data.sample(0, 0)], settings.model, torch.device("cpu"))
    weights = losses.loss_weights(trainer.train, 0)
    terms = generator_losses(
        trainer.render(batch), batch, weights, 1.0, trainer.perceptual, trainer.expert, trainer.discriminator
    )
    assert set(terms) == {"pix", "per", "adv", "sync", "deform", "total"}
    by_hand = terms["pix"] + 0.01 * terms["per"] + terms["adv"] + 0.5 * terms["sync"] + 0.001 * terms["deform"]
    assert torch.allclose(terms["total"], by_hand)


def test_in_step_scores_better_than_out_of_step(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    """Eq. 8's corrected sign through the generator's loss: the expert here is taught that these lips and this sound
    belong together.
    """
    job = _job(settings, data_dir, tmp_path)
    data = GeneratorData(data_dir, settings.model, 5, seed=0)
    trainer = Trainer(job, data, load_expert(job.expert)[0], World())
    batch = make_batch([data.sample(0, 0)], settings.model, torch.device("cpu"))
    weights = losses.LossWeights(pix=0.0, per=0.0, adv=0.0, sync=1.0, deform=0.0)
    rendered = trainer.render(batch)
    with torch.no_grad():
        lips = [trainer.expert.visual(x).mean(0) for x in _both_lips(trainer, rendered, batch)]
        trainer.expert.audio_tower.head.weight.zero_()
        results = []
        for sign in (1.0, -1.0):
            trainer.expert.audio_tower.head.bias.copy_(sign * (lips[0] + lips[1]))
            results.append(
                float(generator_losses(rendered, batch, weights, 1.0, trainer.perceptual, trainer.expert, None)["sync"])
            )
    assert results[0] < 1.5 < 2.5 < results[1]


def _both_lips(trainer: Trainer, rendered, batch) -> list[torch.Tensor]:
    from s3dnerf.training.train_s3dnerf import lip_windows

    standing = rendered.coarse + (1 - rendered.alpha) * batch.outside
    return [lip_windows(image, batch.lip_box, trainer.expert) for image in (rendered.fine, standing)]


def test_a_loss_that_is_not_finite_stops_training(
    settings: Settings, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "pixel_loss", lambda generated, target, weights: generated.mean() * float("nan"))
    with pytest.raises(TrainingDiverged, match="pix is nan"):
        train(_job(settings, data_dir, tmp_path), World())


def test_steps_learn(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    job = _job(settings, data_dir, tmp_path, lambda_adv=0.0, lambda_sync=0.0, lr_generator=3e-3)
    data = GeneratorData(data_dir, settings.model, 5, seed=0)
    trainer = Trainer(job, data, load_expert(job.expert)[0], World())
    batch = make_batch([data.sample(0, 0)], settings.model, torch.device("cpu"))
    pix = [trainer.step(step, batch)["pix"] for step in range(25)]
    assert pix[-1] < 0.5 * pix[0]


def test_two_processes_take_the_gradient_of_one(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    given = {"batch": 2, "steps": 1, "checkpoint_every": 1}
    alone, pair = (_job(settings, data_dir, tmp_path / name, **given) for name in ("alone", "pair"))
    train(alone, World())
    (tmp_path / "job.json").write_text(pair.to_json())
    environment = {
        **os.environ,
        "PYTHONPATH": os.getcwd(),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29617",
        "WORLD_SIZE": "2",
    }
    command = [sys.executable, "-m", "s3dnerf.training.train_s3dnerf", "--job", str(tmp_path / "job.json")]
    ranks = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, env={**environment, "RANK": str(r), "LOCAL_RANK": str(r)})
        for r in (0, 1)
    ]
    assert [rank.wait(120) for rank in ranks] == [0, 0]
    one, two = (read_curves(Path(job.out) / "curves.jsonl")[0] for job in (alone, pair))
    for name in ("pix", "per", "sync", "gradient_norm"):
        assert two[name] == pytest.approx(one[name], rel=1e-4), name


def test_job_survives_json(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    job = _job(settings, data_dir, tmp_path)
    assert Job.from_json(job.to_json()) == job


def test_curves_are_cut_back_to_the_checkpoint(tmp_path: Path) -> None:
    curves = Curves(tmp_path / "curves.jsonl")
    for step in range(5):
        curves.add(step, {"total": 1.0 / (step + 1)})
    with open(curves.path, "a") as handle:
        handle.write('{"step": 5, "tot')  # cut short by a kill
    assert [row["step"] for row in read_curves(curves.path)] == [0, 1, 2, 3, 4]
    Curves(curves.path, start=3).add(3, {"total": 7.0})
    assert [(row["step"], row["total"]) for row in read_curves(curves.path)] == [
        (0, 1.0),
        (1, 0.5),
        (2, 0.333333),
        (3, 7.0),
    ]


def test_training_renders_the_face_and_a_share_of_the_rest() -> None:
    mask = torch.zeros(2, 1, 16, 16)
    mask[0, 0, 6:9, 6:9], mask[1, 0, 4:12, 4:12] = 1.0, 0.5
    draw = torch.rand(2, 256, generator=torch.Generator().manual_seed(0))
    rays = generator_data.training_rays(mask, draw, 0.1)
    for frame, rows in ((0, slice(4, 11)), (1, slice(2, 14))):
        chosen = torch.zeros(257, dtype=torch.bool).index_fill(0, rays[frame], True)[:-1].unflatten(0, (16, 16))
        near = torch.zeros(16, 16, dtype=torch.bool)
        near[rows, rows] = True  # two pixels around the face
        assert chosen[near].all()
        assert torch.equal(chosen[~near], (draw[frame].unflatten(0, (16, 16)) < 0.1)[~near])
    alone = generator_data.training_rays(mask[:1], draw[:1], 0.1)[0]
    assert torch.equal(rays[0, : len(alone)], alone) and (rays[0, len(alone) :] == 256).all()  # the rest only fills up
    assert generator_data.training_rays(mask, draw, 1.0).shape == (2, 256)


def test_some_rays_give_the_pixels_that_all_rays_give(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    data = GeneratorData(data_dir, settings.model, 5, seed=0)
    trainer = Trainer(
        _job(settings, data_dir, tmp_path), data, load_expert(data_dir / "train_sync" / "expert")[0], World()
    )
    torch.nn.init.normal_(trainer.generator.deformation.out.weight, std=0.3)
    batch = make_batch([data.sample(0, 0)], settings.model, torch.device("cpu"))
    rays = generator_data.training_rays(batch.mask, batch.draw, 0.0)
    with torch.no_grad():
        everything = trainer.render(batch).alpha
        identity = trainer.encode(batch)
        some = trainer.generator.render(identity, batch.speech, batch.camera, batch.intrinsics, batch.noise, rays).alpha
    near = torch.nn.functional.max_pool2d((batch.mask > 0).float(), 5, stride=1, padding=2) > 0
    assert torch.allclose(some[near], everything[near], atol=1e-5) and everything[near].max() > 0.05
    assert some[~near].abs().max() == 0


def test_frames_are_spread_until_something_needs_them_consecutive(settings: Settings, data_dir: Path) -> None:
    train_settings = dataclasses.replace(
        settings.train, loss_preset="stable", spread_warmup=True, warmup_fraction=0.5, steps=20
    )
    until = losses.spread_until(train_settings)
    assert (
        until == 10 and losses.loss_weights(train_settings, 9).sync == 0 < losses.loss_weights(train_settings, 10).sync
    )
    # the sync loss runs from step 0 there
    assert losses.spread_until(dataclasses.replace(train_settings, loss_preset="paper")) == 0
    data = GeneratorData(data_dir, settings.model, 5, seed=0, spread_until=until)

    def steps_between(step: int) -> set[int]:
        sample = data.sample(step, 0)
        clip = next(
            c for c in map(data.clip, data.records) if any(np.array_equal(sample["source"], f) for f in c.frames)
        )
        at = [next(i for i, f in enumerate(clip.frames) if np.array_equal(f, t)) for t in sample["target"]]
        for i, window in zip(at, sample["speech"]):  # each frame has its own speech, wherever it stands
            assert torch.equal(window[7:9], torch.from_numpy(clip.tokens[2 * i : 2 * i + 2]))
        return set(np.diff(at).tolist())

    assert all(steps_between(step) == {1} for step in range(10, 14))
    assert any(steps_between(step) != {1} for step in range(4))
