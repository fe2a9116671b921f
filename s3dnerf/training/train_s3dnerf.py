"""Train one variant of the generator against the discriminator and the frozen lip-sync expert (3.4, 3.5).

    python -m s3dnerf.training.train_s3dnerf --job job.json
    torchrun --standalone --nproc-per-node 4 -m s3dnerf.training.train_s3dnerf --job job.json

Reads the job (settings, variant, folders), HDTF's preprocessed training clips and the expert; writes into ``out``:
generator.safetensors (the average, which is evaluated), discriminator.safetensors, card.json, curves.jsonl,
strips/*.png. What a run needs to go on (checkpoint, curves, pictures) lies in ``work`` until the end. Killed at any
point and started again, it ends with the same bytes on a CPU.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from s3dnerf.model.cameras import FRAME_PX
from s3dnerf.model.discriminator import Discriminator, dual
from s3dnerf.model.s3dnerf import Rendered, S3DNeRF
from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import PhaseSettings, Settings, TrainSettings
from s3dnerf.sync.crops import crop_lips
from s3dnerf.sync.expert import SyncExpert, check_gate, load_expert
from s3dnerf.sync.losses import generator_sync_loss
from s3dnerf.training import losses
from s3dnerf.training.checkpoints import load_checkpoint, random_states, save_checkpoint, set_random_states
from s3dnerf.training.curves import Curves
from s3dnerf.training.distributed import World
from s3dnerf.training.ema import Averaged
from s3dnerf.training.generator_data import Batch, GeneratorData, make_batch, training_rays
from s3dnerf.training.jobs import TrainingJob, interruptible, run_job
from s3dnerf.training.perceptual import PerceptualLoss
from s3dnerf.training.phases import phase_at, sync_weight, without_sync
from s3dnerf.training.strips import write_strip
from s3dnerf.training.watch import LossWatch
from s3dnerf.video.packs import file_sha256, write_atomic

logger = logging.getLogger(__name__)

PROBES, PROBE_FRAMES = 2, 3


@dataclass(frozen=True)
class Job(TrainingJob):
    """One training run: settings, variant and folders (``work`` holds the checkpoint, ``out`` the result)."""

    variant: str
    data_dir: str
    expert: str
    work: str
    out: str


def train_settings(job: Job) -> TrainSettings:
    """``settings.train`` of the job's variant: no phase of ``no_sync`` has a lip-sync loss."""
    train = job.settings.train
    return without_sync(train) if job.variant == "no_sync" else train


def lip_windows(frames: torch.Tensor, boxes: torch.Tensor, expert: SyncExpert) -> torch.Tensor:
    """Lip crops (B, T, 3, s, s) of frames (B·T, 3, h, w) for the expert."""
    crops = crop_lips(frames.float(), boxes, expert.settings.crop_px)
    return crops.unflatten(0, (-1, expert.settings.frames))


def generator_losses(
    rendered: Rendered,
    batch: Batch,
    phase: PhaseSettings,
    lips_pix_weight: float,
    perceptual: PerceptualLoss,
    expert: SyncExpert,
    discriminator: Discriminator | None,
) -> dict[str, torch.Tensor]:
    """Each term of eq. 9, unweighted, on the coarse and the fine image, and ``total``. Terms whose weight is 0 are not
    computed.
    """
    fine, coarse = rendered.fine, rendered.coarse
    at = {
        size: losses.lip_emphasis(batch.lip_box, size, lips_pix_weight) for size in (fine.shape[-1], coarse.shape[-1])
    }
    seen = losses.over(coarse, rendered.alpha, batch.backdrop)
    wanted = losses.over(batch.coarse_target, batch.mask, batch.backdrop)
    terms = {
        "pix": losses.pixel_loss(fine, batch.target, at[fine.shape[-1]])
        + losses.pixel_loss(seen, wanted, at[coarse.shape[-1]])
    }
    terms["deform"] = rendered.deform_energy.float()
    if phase.mouth:
        terms["mouth"] = losses.mouth_loss(fine, batch.target, batch.lip_box)
    if phase.flow:
        each = len(batch.landmarks) // len(batch.source.box)
        source = batch.source.landmarks.repeat_interleave(each, 0)
        terms["flow"] = losses.landmark_flow_loss(rendered.source_xy, rendered.alpha, batch.landmarks, source)
    if phase.sync or (phase.per and not perceptual.real):
        # the expert knows whole frames: the coarse face stands before the true surroundings
        standing = coarse + (1.0 - rendered.alpha) * batch.outside
        lips = [lip_windows(image, batch.lip_box, expert) for image in (fine, standing)]
    if phase.per:
        terms["per"] = perceptual(fine, batch.target) + perceptual(coarse, batch.coarse_target)
        if not perceptual.real:
            true_lips = lip_windows(batch.target, batch.lip_box, expert)
            terms["per"] = terms["per"] + perceptual.lips(lips[0], true_lips) + perceptual.lips(lips[1], true_lips)
    if phase.sync:
        audio = expert.audio(batch.audio)
        terms["sync"] = generator_sync_loss(expert.visual(lips[0]), audio) + generator_sync_loss(
            expert.visual(lips[1]), audio
        )
    if phase.adv and discriminator is not None:
        terms["adv"] = losses.generator_adversarial_loss(discriminator(dual(fine, coarse)))
    terms["total"] = sum(value * getattr(phase, name) for name, value in terms.items())
    return terms


class Trainer:
    """Networks, optimisers and average of one run: what a checkpoint holds."""

    def __init__(self, job: Job, data: GeneratorData, expert: SyncExpert, world: World) -> None:
        settings = job.settings
        self.train, self.world, self.device = train_settings(job), world, world.device
        torch.manual_seed(settings.seed)
        self.generator = S3DNeRF(settings.model, data.speech_dim, job.variant)
        self.generator.speech.set_statistics(*data.speech_statistics())
        if self.generator.lip_shapes is not None and self.generator.lip_code is not None:
            self.generator.lip_code.set_statistics(data.lips())
            data.fit_lip_shapes(self.generator.lip_shapes)
        self.discriminator = Discriminator(settings.model.discriminator_width, FRAME_PX, self.train.frames)
        self.expert, self.perceptual = expert.to(self.device), PerceptualLoss(self.train, expert).to(self.device)
        for module in (self.generator, self.discriminator):
            world.broadcast(module.to(self.device))
        self.averaged = Averaged(self.generator, self.train.ema)
        self.generator_optimiser = torch.optim.Adam(
            self.generator.parameters(), self.train.lr_generator, betas=(self.train.adam_beta1, 0.99)
        )
        self.discriminator_optimiser = torch.optim.Adam(
            self.discriminator.parameters(), self.train.lr_discriminator, betas=(0.0, 0.99)
        )
        self.watch = LossWatch()

    def render(self, batch: Batch) -> Rendered:
        """The batch's target frames."""
        identity = self.generator.encode(batch.source)
        rays = (
            None if self.train.outside_rays == 1.0 else training_rays(batch.mask, batch.draw, self.train.outside_rays)
        )
        return self.generator.render(identity, batch.speech, batch.camera, batch.noise, rays, batch.landmarks)

    def update(
        self, network: torch.nn.Module, optimiser: torch.optim.Optimizer, loss: torch.Tensor, lr: float
    ) -> torch.Tensor:
        """One step of one network; returns the gradient's norm before clipping."""
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.world.average_gradients(network)
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), self.train.gradient_clip)
        for group in optimiser.param_groups:
            group["lr"] = lr
        optimiser.step()
        return norm

    def step(self, step: int, batch: Batch) -> dict[str, float]:
        """One training step: the generator's, then (with an adversary) the discriminator's. Returns the curves'
        values.
        """
        train, phase, scale = self.train, phase_at(self.train, step), losses.step_size(self.train, step)
        self.discriminator.requires_grad_(False)
        with self.world.autocast(train.precision):
            rendered = self.render(batch)
            terms = generator_losses(
                rendered, batch, phase, train.lips_pix_weight, self.perceptual, self.expert, self.discriminator
            )
        norm = self.update(self.generator, self.generator_optimiser, terms["total"], train.lr_generator * scale)
        self.averaged.update(self.generator)
        values = {name: value.detach() for name, value in terms.items()}
        values["gradient_norm"] = norm
        if phase.adv:
            self.discriminator.requires_grad_(True)
            real, made = (
                dual(batch.target, batch.coarse_target),
                dual(rendered.fine.detach().float(), rendered.coarse.detach()),
            )
            with self.world.autocast(train.precision):
                loss = losses.discriminator_loss(self.discriminator(made), self.discriminator(real))
            values["discriminator"] = loss.detach()
            if step % train.r1_every == 0 and train.r1:
                real = real.requires_grad_(True)
                penalty = losses.r1_penalty(self.discriminator(real), real)
                loss, values["r1"] = loss + train.r1 * train.r1_every * penalty, penalty.detach()
            self.update(self.discriminator, self.discriminator_optimiser, loss, train.lr_discriminator * scale)
        shared = self.world.mean(torch.stack([v.float().reshape(()) for v in values.values()]))
        return dict(zip(values, shared.tolist()))

    def state(self, step: int) -> dict[str, Any]:
        """Everything a run needs to go on after ``step`` steps, as tensors and plain Python."""
        return {
            "step": step,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "averaged": self.averaged.module.state_dict(),
            "averaged_updates": self.averaged.updates,
            "generator_optimiser": self.generator_optimiser.state_dict(),
            "discriminator_optimiser": self.discriminator_optimiser.state_dict(),
            "watch": self.watch.state(),
            "random": random_states(),
        }

    def restore(self, state: dict[str, Any]) -> int:
        """Take a checkpoint's state; returns the step to go on with."""
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.averaged.module.load_state_dict(state["averaged"])
        self.averaged.updates = state["averaged_updates"]
        self.generator_optimiser.load_state_dict(state["generator_optimiser"])
        self.discriminator_optimiser.load_state_dict(state["discriminator_optimiser"])
        self.watch.restore(state["watch"])
        set_random_states(state["random"])
        return int(state["step"])


def train(job: Job, world: World) -> None:
    """Run (or go on with) one job to its end.

    Raises
    ------
    SyncGateError
        The expert did not pass its gate and λ_sync is not 0.
    NoTrainingData, PerceptualWeightsError, TrainingDiverged
        With what to do.
    KeyboardInterrupt
        Stopped by a signal, after the checkpoint was written.
    """
    settings, variant, work = job.settings, job.variant, Path(job.work)
    expert, expert_card = load_expert(job.expert)
    check_gate(expert_card, sync_weight(train_settings(job)))
    data = GeneratorData(job.data_dir, settings.model, settings.train, settings.seed, expert.windows)
    trainer = Trainer(job, data, expert, world)
    state = load_checkpoint(work / "checkpoint.pt")
    start = 0 if state is None else trainer.restore(state)
    steps, every = settings.train.steps, max(1, settings.train.steps // 10)
    curves = Curves(work / "curves.jsonl", start) if world.is_main() else None
    probe = (
        make_batch([data.probe(i, PROBE_FRAMES) for i in range(PROBES)], settings.model, world.device)
        if world.is_main()
        else None
    )
    share = world.share(settings.train.batch)
    numbers = range(world.rank * share, (world.rank + 1) * share)
    if world.is_main():
        logger.info(
            f"train_s3dnerf {variant}: {len(data.records)} clips of {len({r['speaker'] for r in data.records})} "
            "people, "
            f"{sum(p.numel() for p in trainer.generator.parameters()):,} parameters, steps {start}…{steps} on "
            f"{world.size} × {world.device}"
        )
    began = time.monotonic()
    with interruptible() as asked:
        for step, batch in enumerate(data.batches(start, steps, numbers, world.device), start):
            values = trainer.step(step, batch)
            trainer.watch.see(step, values)
            done, stop = step + 1, bool(world.mean(torch.tensor(float(asked()), device=world.device)))
            if world.is_main():
                assert curves is not None and probe is not None
                curves.add(step, values)
                if done % settings.train.strip_every == 0 or done == steps:
                    write_strip(work / "strips" / f"step_{done:07d}.png", trainer.averaged.module, probe)
                if done % settings.train.checkpoint_every == 0 or done == steps or stop:
                    save_checkpoint(work / "checkpoint.pt", trainer.state(done))
                if done % every == 0:
                    logger.info(
                        f"  step {done}/{steps}: loss {values['total']:.4f}, pixels {values['pix']:.4f}, "
                        f"{(time.monotonic() - began) / (done - start):.2f} s a step"
                    )
            if stop:
                raise KeyboardInterrupt(
                    f"train_s3dnerf {variant}: stopped at step {done} of {steps}; start again to go on"
                )
    if world.is_main():
        write_result(job, trainer, data, expert_card)
    world.barrier()


def write_result(job: Job, trainer: Trainer, data: GeneratorData, expert_card: dict[str, Any]) -> None:
    """The job's out folder: weights, card, curves, pictures."""
    from safetensors.torch import save

    out, work = Path(job.out), Path(job.work)
    for name, module in (("generator", trainer.averaged.module), ("discriminator", trainer.discriminator)):
        weights = {key: value.detach().cpu().contiguous() for key, value in sorted(module.state_dict().items())}
        write_atomic(out / f"{name}.safetensors", save(weights))
    write_atomic(out / "curves.jsonl", (work / "curves.jsonl").read_bytes())
    for picture in sorted((work / "strips").glob("*.png")):
        (out / "strips").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(picture, out / "strips" / picture.name)
    write_atomic(
        out / "card.json",
        (
            json.dumps(card(job, trainer, data, expert_card), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        ).encode(),
    )


def card_settings(settings: Settings) -> dict[str, Any]:
    """The settings that made a generator and its data, as its card states them: what a portrait is prepared by as well.

    Not where this machine keeps raw files, not what is measured or reported later, not how often a run saves its state.
    """
    values = as_dict(settings)
    sections = {name: values[name] for name in ("seed", "align", "masks", "lips", "speech", "model", "train")}
    sections["train"] = {
        name: value for name, value in values["train"].items() if name not in ("variants", "checkpoint_every")
    }
    return sections


def card(job: Job, trainer: Trainer, data: GeneratorData, expert_card: dict[str, Any]) -> dict[str, Any]:
    """What the generator is: enough to load it, and to believe it. No times, no machine: equal runs give equal
    cards.
    """
    train = trainer.train
    why = "the variant no_sync" if job.variant == "no_sync" else "settings: train.phases"
    return {
        "format": 1,
        "variant": job.variant,
        "speech_dim": data.speech_dim,
        "seed": job.settings.seed,
        "steps": train.steps,
        "settings": card_settings(job.settings),
        "sync_weight": {"value": sync_weight(train), "why": why},
        "perceptual": {"name": trainer.perceptual.name, "real": trainer.perceptual.real},
        "expert": {
            "sha256": file_sha256(Path(job.expert) / "weights.safetensors"),
            "passes": expert_card["passes"],
            "gate": expert_card["gate"],
            "accuracy": expert_card["held_out"]["accuracy"],
        },
        "speakers": sorted({r["speaker"] for r in data.records}),
        "clips": len(data.records),
        "corpora": ["hdtf"],
        "parameters": {
            "generator": sum(p.numel() for p in trainer.generator.parameters()),
            "discriminator": sum(p.numel() for p in trainer.discriminator.parameters()),
        },
        "note": "Videos made with these weights are synthetic and must be labelled so.",
    }


def main(arguments: list[str] | None = None) -> None:
    """Command line: one job."""
    run_job("train_s3dnerf", Job, train, arguments)


if __name__ == "__main__":
    main()
