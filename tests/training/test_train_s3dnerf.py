"""The generator's training: refusals, losses, learning, several processes."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from s3dnerf.model.s3dnerf import Rendered
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import PhaseSettings, Settings
from s3dnerf.sync.expert import SyncGateError, load_expert
from s3dnerf.training import losses
from s3dnerf.training.batches import Batch, make_batch, training_rays
from s3dnerf.training.curves import read_curves
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.passes import generator_losses, lip_windows, render_targets
from s3dnerf.training.phases import phase_at
from s3dnerf.training.train_s3dnerf import Job, Trainer, train
from s3dnerf.training.watch import TrainingDiverged
from tests.margins import Between, Margin
from tests.small_corpus import make_training_data
from tests.training.generator_job import generator_job


def test_the_gate_refuses_an_expert_that_did_not_pass(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    make_training_data(settings, tmp_path, passes=False)
    with pytest.raises(SyncGateError, match="train.phases: sync: 0.5"):
        train(generator_job(settings, tmp_path, tmp_path / "run"), World())
    job = generator_job(settings, tmp_path, tmp_path / "run", sync=0.0, steps=1)
    train(job, World())  # accepted, and said so
    card = json.loads((Path(job.out) / "card.json").read_text())
    assert card["sync_weight"]["value"] == 0.0 and card["expert"]["passes"] is False


def test_no_sync_trains_without_the_expert_and_says_so(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    job = generator_job(settings, data_dir, tmp_path, variant="no_sync", steps=1)
    train(job, World())
    card = json.loads((Path(job.out) / "card.json").read_text())
    assert (
        card["sync_weight"] == {"value": 0.0, "why": "the variant no_sync"}
        and "sync" not in read_curves(Path(job.out) / "curves.jsonl")[0]
    )


def test_all_terms_take_part_and_the_total_is_their_weighted_sum(
    settings: Settings, data_dir: Path, tmp_path: Path
) -> None:
    job = generator_job(settings, data_dir, tmp_path)
    data = GeneratorData(data_dir, settings.model, settings.train, seed=0)
    trainer = Trainer(job, data, load_expert(job.expert)[0], World())
    batch = make_batch([data.sample(0, 0)], settings.model, torch.device("cpu"))
    phase = phase_at(trainer.train, 0)
    terms = generator_losses(
        render(trainer, batch),
        batch,
        phase,
        1.0,
        trainer.perceptual,
        trainer.expert,
        trainer.discriminator,
    )
    assert set(terms) == {"pix", "per", "adv", "sync", "deform", "total"}
    by_hand = terms["pix"] + 0.01 * terms["per"] + terms["adv"] + 0.5 * terms["sync"] + 0.001 * terms["deform"]
    assert torch.allclose(terms["total"], by_hand)


def render(trainer: Trainer, batch: Batch) -> Rendered:
    return render_targets(trainer.generator, batch, trainer.train.outside_rays)


def _data_and_trainer(seed: int, folder: Path, **given) -> tuple[GeneratorData, Trainer]:
    """The small corpus in a folder of its own, and a trainer on it that begins and draws by ``seed``."""
    settings = dataclasses.replace(preset_settings("tiny"), seed=seed)
    make_training_data(settings, folder)
    job = generator_job(settings, folder, folder / "run", **given)
    data = GeneratorData(folder, settings.model, settings.train, seed=seed)
    return data, Trainer(job, data, load_expert(job.expert)[0], World())


def sync_losses_in_and_out_of_step(seed: int, folder: Path) -> dict[str, float]:
    data, trainer = _data_and_trainer(seed, folder)
    batch = make_batch([data.sample(0, 0)], preset_settings("tiny").model, torch.device("cpu"))
    phase = PhaseSettings(pix=0.0, per=0.0, adv=0.0, sync=1.0, deform=0.0)
    rendered = render(trainer, batch)
    with torch.no_grad():
        lips = [trainer.expert.visual(x).mean(0) for x in _both_lips(trainer, rendered, batch)]
        trainer.expert.audio_tower.head.weight.zero_()
        results = []
        for sign in (1.0, -1.0):
            trainer.expert.audio_tower.head.bias.copy_(sign * (lips[0] + lips[1]))
            results.append(
                float(generator_losses(rendered, batch, phase, 1.0, trainer.perceptual, trainer.expert, None)["sync"])
            )
    return dict(zip(("sync loss, in step", "sync loss, out of step"), results))


IN_STEP = Margin(
    "test_in_step_scores_better_than_out_of_step",
    sync_losses_in_and_out_of_step,
    {"sync loss, in step": Between(high=1.5), "sync loss, out of step": Between(low=2.5)},
)


def test_in_step_scores_better_than_out_of_step(tmp_path: Path) -> None:
    """Eq. 8's corrected sign through the generator's loss: the expert here is taught that these lips and this sound
    belong together.
    """
    IN_STEP.check(IN_STEP.measure(IN_STEP.seed, tmp_path))


def _both_lips(trainer: Trainer, rendered, batch) -> list[torch.Tensor]:
    standing = rendered.coarse + (1 - rendered.alpha) * batch.outside
    return [lip_windows(image, batch.lip_box, trainer.expert) for image in (rendered.fine, standing)]


def test_losses_that_are_never_finite_stop_training(
    settings: Settings, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(losses, "pixel_loss", lambda generated, target, emphasis: generated.mean() * float("nan"))
    job = generator_job(settings, data_dir, tmp_path)
    with pytest.raises(TrainingDiverged, match="step 2: pix is nan, and 3 steps in a row"):
        train(job, World())


def test_one_bad_step_is_left_out_and_counted(
    settings: Settings, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither network moves nor does the average, and the run goes on."""
    job, real, calls = generator_job(settings, data_dir, tmp_path), losses.pixel_loss, []

    def once_bad(generated: torch.Tensor, target: torch.Tensor, emphasis: torch.Tensor) -> torch.Tensor:
        calls.append(1)
        bad = len(calls) in (3, 4)  # of the second step, both images
        return real(generated, target, emphasis) * (float("inf") if bad else 1.0)

    steps, held = Trainer.step, []

    def watched(self: Trainer, step: int, parts: list[Batch]) -> dict[str, float]:
        before = copy.deepcopy([self.generator.state_dict(), self.averaged.module.state_dict()])
        values = steps(self, step, parts)
        after = [self.generator.state_dict(), self.averaged.module.state_dict()]
        held.append(all(torch.equal(a[name], b[name]) for a, b in zip(before, after) for name in a))
        return values

    monkeypatch.setattr(losses, "pixel_loss", once_bad)
    monkeypatch.setattr(Trainer, "step", watched)
    train(job, World())
    assert held == [False, True, False, False]
    rows = read_curves(Path(job.out) / "curves.jsonl")
    assert [row.get("skipped") for row in rows] == [None, 1.0, None, None] and "pix" not in rows[1]
    assert json.loads((Path(job.out) / "card.json").read_text())["skipped_steps"] == 1


def test_a_batch_in_parts_takes_the_step_of_the_whole(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    given = {"batch": 4, "steps": 1, "checkpoint_every": 1}
    whole, parts = (
        generator_job(settings, data_dir, tmp_path / name, accumulate=n, **given)
        for name, n in (("whole", 1), ("parts", 4))
    )
    for job in (whole, parts):
        train(job, World())
    one, four = (read_curves(Path(job.out) / "curves.jsonl")[0] for job in (whole, parts))
    assert set(one) == set(four) >= {"pix", "per", "sync", "adv", "discriminator", "r1", "gradient_norm"}
    for name, value in one.items():
        assert four[name] == pytest.approx(value, rel=1e-4), name


def pixel_loss_left(seed: int, folder: Path) -> dict[str, float]:
    data, trainer = _data_and_trainer(seed, folder, adv=0.0, sync=0.0, lr_generator=3e-3)
    batch = make_batch([data.sample(0, 0)], preset_settings("tiny").model, torch.device("cpu"))
    pix = [trainer.step(step, [batch])["pix"] for step in range(35)]
    return {"pixel loss left after 35 steps": pix[-1] / pix[0]}


STEPS_LEARN = Margin("test_steps_learn", pixel_loss_left, {"pixel loss left after 35 steps": Between(high=0.5)})


@pytest.mark.slow
def test_steps_learn(tmp_path: Path) -> None:
    STEPS_LEARN.check(STEPS_LEARN.measure(STEPS_LEARN.seed, tmp_path))


@pytest.mark.slow
def test_two_processes_take_the_gradient_of_one(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    given = {"batch": 2, "steps": 1, "checkpoint_every": 1}
    alone, pair = (
        generator_job(settings, data_dir, tmp_path / name, processes=n, **given)
        for name, n in (("alone", 1), ("pair", 2))
    )
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
    for name in ("pix", "per", "sync", "adv", "discriminator", "r1", "gradient_norm"):
        assert two[name] == pytest.approx(one[name], rel=1e-4), name


def test_job_survives_json(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    job = generator_job(settings, data_dir, tmp_path)
    assert Job.from_json(job.to_json()) == job


def some_rays_and_all(seed: int, folder: Path) -> dict[str, float]:
    data, trainer = _data_and_trainer(seed, folder)
    torch.nn.init.normal_(trainer.generator.deformation.out.weight, std=0.3)
    batch = make_batch([data.sample(0, 0)], preset_settings("tiny").model, torch.device("cpu"))
    rays = training_rays(batch.mask, batch.draw, 0.0)
    with torch.no_grad():
        everything = render(trainer, batch).alpha
        identity = trainer.generator.encode(batch.source)
        some = trainer.generator.render(identity, batch.speech, batch.camera, batch.noise, rays).alpha
    near = torch.nn.functional.max_pool2d((batch.mask > 0).float(), 5, stride=1, padding=2) > 0
    return {
        "farthest apart": float((some[near] - everything[near]).abs().max()),
        "most opaque": float(everything[near].max()),
        "opacity where no ray went": float(some[~near].abs().max()),
    }


SOME_RAYS = Margin(
    "test_some_rays_give_the_pixels_that_all_rays_give",
    some_rays_and_all,
    {
        "farthest apart": Between(high=1e-5),
        "most opaque": Between(low=0.05),
        "opacity where no ray went": Between(0, 0),
    },
)


def test_some_rays_give_the_pixels_that_all_rays_give(tmp_path: Path) -> None:
    SOME_RAYS.check(SOME_RAYS.measure(SOME_RAYS.seed, tmp_path))
