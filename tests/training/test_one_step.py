"""What one training step does: which images each loss compares, what the discriminator is shown, how an update is
clipped, averaged and scaled. Each test fails when one line of the step is left out or turned round.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from s3dnerf.model.s3dnerf import Rendered
from s3dnerf.settings.schema import PhaseSettings, Settings
from s3dnerf.sync.expert import load_expert
from s3dnerf.training import losses
from s3dnerf.training.batches import Batch, make_batch
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.passes import generator_losses, render_targets
from s3dnerf.training.train_s3dnerf import Trainer
from tests.training.generator_job import generator_job

CPU = torch.device("cpu")


@pytest.fixture
def batch(settings: Settings, data_dir: Path) -> Batch:
    return make_batch(
        [GeneratorData(data_dir, settings.model, settings.train, seed=0).sample(0, 0)], settings.model, CPU
    )


def trainer_of(settings: Settings, data_dir: Path, folder: Path, world: World | None = None, **given) -> Trainer:
    """A trainer at step 0; ``given`` changes settings of ``train``."""
    job = generator_job(settings, data_dir, folder, **given)
    data = GeneratorData(data_dir, settings.model, settings.train, seed=0)
    return Trainer(job, data, load_expert(job.expert)[0], world or World())


def render(trainer: Trainer, batch: Batch) -> Rendered:
    return render_targets(trainer.generator, batch, trainer.train.outside_rays)


def weights(module: torch.nn.Module) -> list[torch.Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(before: Iterable[torch.Tensor], module: torch.nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


def test_pixel_and_perceptual_loss_compare_both_images(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path)

    class Plain:
        real = True

        def __call__(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return (a - b).abs().mean()

    with torch.no_grad():
        rendered = render(trainer, batch)
        phase = PhaseSettings(pix=1.0, per=1.0, adv=0.0, sync=0.0, deform=0.0)
        terms = generator_losses(rendered, batch, phase, 1.0, Plain(), trainer.expert, None)
    back = batch.backdrop[:, :, None, None]
    shown = rendered.coarse + (1 - rendered.alpha) * back - (batch.coarse_target + (1 - batch.mask) * back)
    fine = rendered.fine - batch.target
    assert shown.square().mean() > 1e-4 and fine.square().mean() > 1e-6
    assert torch.allclose(terms["pix"], fine.square().mean() + shown.square().mean())
    coarse = rendered.coarse - batch.coarse_target
    assert torch.allclose(terms["per"], fine.abs().mean() + coarse.abs().mean())


def test_the_discriminator_is_shown_the_masked_target_as_the_real_coarse_image(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, r1=0.0, sync=0.0)
    shown: list[torch.Tensor] = []
    trainer.discriminator.register_forward_pre_hook(lambda module, given: shown.append(given[0].detach().clone()))
    with torch.no_grad():
        rendered = render(trainer, batch)
    trainer.step(0, [batch])

    def large(x: torch.Tensor) -> torch.Tensor:
        return functional.interpolate(x, (256, 256), mode="bilinear", align_corners=False)

    of_generator, made, real = shown
    assert torch.equal(of_generator[:, :3], rendered.fine) and torch.equal(made, of_generator)
    assert torch.equal(made[:, 3:], large(rendered.coarse))
    assert torch.equal(real[:, :3], batch.target) and torch.equal(real[:, 3:], large(batch.coarse_target))
    assert not torch.equal(
        batch.coarse_target, functional.interpolate(batch.target, batch.mask.shape[-2:], mode="area")
    )


def test_the_discriminator_learns_to_tell_real_from_made(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, r1=0.0, sync=0.0, lr_generator=1e-7, lr_discriminator=3e-3)
    found = [trainer.step(step, [batch])["discriminator"] for step in range(12)]
    assert found[-1] < 0.7 * found[0]
    with torch.no_grad():
        rendered = render(trainer, batch)
        real = trainer.discriminator(torch.cat([batch.target, _up(batch.coarse_target)], 1))
        made = trainer.discriminator(torch.cat([rendered.fine, _up(rendered.coarse)], 1))
    assert real.mean() > made.mean() + 0.5


def _up(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, (256, 256), mode="bilinear", align_corners=False)


def test_the_average_takes_its_step(settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, adv=0.0, sync=0.0)
    before = weights(trainer.averaged.module)
    trainer.step(0, [batch])
    now = weights(trainer.generator)
    assert any(not torch.equal(a, b) for a, b in zip(before, now))
    for old, new, kept in zip(before, now, trainer.averaged.module.parameters(), strict=True):
        assert torch.allclose(kept, old + 0.9 * (new - old), atol=1e-7)  # the first decay is 1/10


@pytest.mark.parametrize("step", [0, 1, 2])
def test_r1_is_weighted_and_scaled_by_how_seldom_it_is_taken(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, r1=5.0, r1_every=2, sync=0.0)
    taken = []
    backward = torch.Tensor.backward

    def recorded(loss: torch.Tensor) -> None:
        taken.append(float(loss.detach()))
        backward(loss)

    monkeypatch.setattr(torch.Tensor, "backward", recorded)
    values = trainer.step(step, [batch])
    generator, discriminator = taken
    assert generator == pytest.approx(values["total"], rel=1e-5) and ("r1" in values) == (step % 2 == 0)
    assert discriminator == pytest.approx(values["discriminator"] + 5.0 * 2 * values.get("r1", 0.0), rel=1e-5)


def test_gradients_are_clipped(settings: Settings, data_dir: Path, tmp_path: Path) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, gradient_clip=0.5)
    for network, optimiser in (
        (trainer.generator, trainer.generator_optimiser),
        (trainer.discriminator, trainer.discriminator_optimiser),
    ):
        parameters = list(network.parameters())
        (100.0 * sum(p.square().sum() for p in parameters)).backward()
        norm, taken = trainer.update(network, optimiser, 1e-4)
        clipped = torch.stack([p.grad.norm() for p in parameters]).norm()
        assert taken and norm > 10 and clipped == pytest.approx(0.5, rel=1e-3)


def test_both_step_sizes_follow_the_schedule(settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, steps=8, lr_final=0.1, sync=0.0)
    for step in (0, 6):
        trainer.step(step, [batch])
        scale = losses.step_size(trainer.train, step)
        for optimiser, lr in (
            (trainer.generator_optimiser, trainer.train.lr_generator),
            (trainer.discriminator_optimiser, trainer.train.lr_discriminator),
        ):
            for group in optimiser.param_groups:
                assert group["lr"] == pytest.approx(lr * scale * group.get("scale", 1.0))
    assert min(group["scale"] for group in trainer.discriminator_optimiser.param_groups) < 0.5
    assert scale < 0.6


@dataclasses.dataclass(frozen=True)
class OppositeWorld(World):
    """Another process whose gradients are the opposite of this one's: their mean is nothing."""

    def data_parallel(self, module: torch.nn.Module) -> torch.nn.Module:
        for p in module.parameters():
            p.register_hook(torch.zeros_like)
        return module


def test_both_networks_take_the_mean_gradient_of_all_processes(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, OppositeWorld(), sync=0.0)
    before = weights(trainer.generator), weights(trainer.discriminator)
    trainer.step(0, [batch])
    assert same(before[0], trainer.generator) and same(before[1], trainer.discriminator)
    other = trainer_of(settings, data_dir, tmp_path, sync=0.0)
    before = weights(other.generator), weights(other.discriminator)
    other.step(0, [batch])
    assert not same(before[0], other.generator) and not same(before[1], other.discriminator)


def test_the_generator_s_step_leaves_the_discriminator_and_the_expert_alone(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path, r1=0.0)
    expert, judged = weights(trainer.expert), copy.deepcopy(trainer.discriminator)
    monkeypatch.setattr(trainer.discriminator_optimiser, "step", lambda: None)
    trainer.step(0, [batch])
    assert same(expert, trainer.expert) and same(weights(judged), trainer.discriminator)
    assert all(p.grad is None for p in trainer.expert.parameters())


def test_a_step_in_bfloat16_is_near_one_in_float32(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch
) -> None:
    values = {}
    for precision in ("fp32", "bf16"):
        trainer = trainer_of(settings, data_dir, tmp_path, precision=precision)
        values[precision] = trainer.step(0, [batch])
        assert all(p.dtype == torch.float32 and torch.isfinite(p).all() for p in trainer.generator.parameters())
    for name in ("pix", "per", "adv", "sync", "discriminator"):
        assert values["bf16"][name] == pytest.approx(values["fp32"][name], rel=0.05, abs=0.01), name


def test_the_flow_s_term_leads_from_the_target_s_landmarks_to_the_source_s(
    settings: Settings, data_dir: Path, tmp_path: Path
) -> None:
    data = GeneratorData(data_dir, settings.model, settings.train, seed=0)
    batch = make_batch([data.sample(0, 0), data.sample(0, 1)], settings.model, CPU)
    trainer = trainer_of(settings, data_dir, tmp_path)
    phase = PhaseSettings(pix=0.0, per=0.0, adv=0.0, sync=0.0, deform=0.0, flow=0.5)
    rendered = render(trainer, batch)
    terms = generator_losses(rendered, batch, phase, 1.0, trainer.perceptual, trainer.expert, None)
    first, second = batch.source.landmarks
    source = torch.stack([first] * 5 + [second] * 5)
    assert torch.allclose(
        terms["flow"], losses.landmark_flow_loss(rendered.source_xy, rendered.alpha, batch.landmarks, source)
    )
    assert torch.allclose(terms["total"], 0.5 * terms["flow"])
    terms["total"].backward()
    moved = [name for name, p in trainer.generator.named_parameters() if p.grad is not None and p.grad.abs().max() > 0]
    reached = {name.split(".")[0] for name in moved}
    assert reached >= {"decoder", "appearance", "deformation"} and "superres" not in reached  # depth and lips


def test_the_mouth_is_painted_by_the_true_lips_and_learns_from_its_own_term(
    settings: Settings, data_dir: Path, tmp_path: Path
) -> None:
    told = dataclasses.replace(settings, model=dataclasses.replace(settings.model, mouth_width=4))
    data = GeneratorData(data_dir, told.model, told.train, seed=0)
    batch = make_batch([data.sample(0, 0)], told.model, CPU)
    trainer = trainer_of(told, data_dir, tmp_path)
    assert trainer.generator.lip_shapes.weight.abs().max() > 0  # fitted before the first step
    torch.nn.init.normal_(trainer.generator.mouth.out.weight, std=0.1)
    phase = PhaseSettings(pix=0.0, per=0.0, adv=0.0, sync=0.0, deform=0.0, mouth=0.5)
    rendered = render(trainer, batch)
    terms = generator_losses(rendered, batch, phase, 1.0, trainer.perceptual, trainer.expert, None)
    assert torch.allclose(terms["total"], 0.5 * losses.mouth_loss(rendered.fine, batch.target, batch.lip_box))
    terms["total"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in trainer.generator.mouth.parameters())
    with torch.no_grad():
        again, shut = (
            render(trainer, batch).fine,
            dataclasses.replace(batch, landmarks=batch.landmarks.clone()),
        )
        shut.landmarks[:, 60:68, 1] = shut.landmarks[:, 60:68, 1].mean()
        assert torch.equal(again, rendered.fine) and not torch.equal(render(trainer, shut).fine, again)


def test_the_terms_that_are_off_are_not_computed(
    settings: Settings, data_dir: Path, tmp_path: Path, batch: Batch
) -> None:
    trainer = trainer_of(settings, data_dir, tmp_path)
    with torch.no_grad():
        rendered = render(trainer, batch)
        off = PhaseSettings(pix=1.0, per=0.0, adv=0.0, sync=0.0, deform=0.0)
        terms = generator_losses(rendered, batch, off, 1.0, SimpleNamespace(real=True), trainer.expert, None)
    assert set(terms) == {"pix", "deform", "total"}
