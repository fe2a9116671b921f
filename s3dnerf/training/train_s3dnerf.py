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
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from s3dnerf.core.shapes import Tensor
from s3dnerf.model.cameras import FRAME_PX
from s3dnerf.model.discriminator import Discriminator, dual, equalised
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings, TrainSettings
from s3dnerf.sync.expert import SyncExpert, check_gate, load_expert
from s3dnerf.training import losses
from s3dnerf.training.batches import Batch, make_batch
from s3dnerf.training.checkpoints import load_checkpoint, random_states, save_checkpoint, set_random_states
from s3dnerf.training.compiling import compile_networks, convolutional_networks
from s3dnerf.training.curves import Curves
from s3dnerf.training.distributed import World, loader_workers
from s3dnerf.training.ema import Averaged
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.jobs import TrainingJob, interruptible, run_job
from s3dnerf.training.loading import batches
from s3dnerf.training.optimiser import Adam
from s3dnerf.training.pace import Pace
from s3dnerf.training.passes import DiscriminatorPass, GeneratorPass
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

    @property
    def processes(self) -> int:
        """``train.processes``"""
        return self.settings.train.processes


def train_settings(job: Job) -> TrainSettings:
    """``settings.train`` of the job's variant: no phase of ``no_sync`` has a lip-sync loss."""
    train = job.settings.train
    return without_sync(train) if job.variant == "no_sync" else train


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
            module.to(self.device)
        made = GeneratorPass(self.generator, self.train, self.perceptual, self.expert, self.discriminator)
        self.generator_pass = world.data_parallel(made)
        self.discriminator_pass = world.data_parallel(DiscriminatorPass(self.discriminator))
        self.averaged = Averaged(self.generator, self.train.ema)
        fused = self.device.type == "cuda"
        self.generator_optimiser = Adam(
            self.generator.parameters(), self.train.lr_generator, betas=(self.train.adam_beta1, 0.99), fused=fused
        )
        self.discriminator_optimiser = Adam(
            equalised(self.discriminator), self.train.lr_discriminator, betas=(0.0, 0.99), fused=fused
        )
        self.watch = LossWatch()
        if self.train.compile:  # last: the average is a copy of the plain generator
            compile_networks(convolutional_networks(self.generator, self.discriminator, self.perceptual))

    def update(self, network: torch.nn.Module, optimiser: torch.optim.Optimizer, lr: float) -> tuple[Tensor, bool]:
        """One step of one network by the gradients that it holds. Returns their norm before clipping, and whether the
        step was taken: it is left out where the norm is not finite, which is then so in every process.
        """
        norm = torch.nn.utils.clip_grad_norm_(network.parameters(), self.train.gradient_clip)
        taken = bool(norm.isfinite())
        if taken:
            for group in optimiser.param_groups:
                group["lr"] = lr * group.get("scale", 1.0)
            optimiser.step()
        return norm, taken

    def step(self, step: int, parts: Sequence[Batch]) -> dict[str, float]:
        """One training step: the generator's, then (with an adversary) the discriminator's. Returns the curves' values:
        means over the parts of the batch and the processes, and ``skipped``, how many of the two were left out, where
        one was.

        Parameters
        ----------
        parts : this process's share of the batch, in parts of one size whose gradients add up
        """
        train, phase, scale = self.train, phase_at(self.train, step), losses.step_size(self.train, step)
        shown: list[tuple[Tensor, Tensor]] = []  # the discriminator's pairs: made, real
        totals: dict[str, Tensor] = {}

        def note(name: str, value: Tensor) -> None:
            value = value.detach().float() / len(parts)
            totals[name] = totals[name] + value if name in totals else value

        self.discriminator.requires_grad_(False)
        self.generator_optimiser.zero_grad(set_to_none=True)
        for batch in parts:
            with self.world.adding(self.generator_pass, batch is parts[-1]):
                with self.world.autocast(train.precision):
                    fine, coarse, terms = self.generator_pass(batch, phase)
                (terms["total"] / len(parts)).backward()
            for name, value in terms.items():
                note(name, value)
            if phase.adv:
                made = dual(fine.detach().float(), coarse.detach())
                shown.append((made, dual(batch.target, batch.coarse_target)))
        totals["gradient_norm"], taken = self.update(
            self.generator, self.generator_optimiser, train.lr_generator * scale
        )
        if taken:
            self.averaged.update(self.generator)
        skipped = int(not taken)
        if phase.adv:
            r1 = bool(step % train.r1_every == 0 and train.r1)
            self.discriminator.requires_grad_(True)
            self.discriminator_optimiser.zero_grad(set_to_none=True)
            for made, real in shown:
                with self.world.adding(self.discriminator_pass, made is shown[-1][0]):
                    with self.world.autocast(train.precision):
                        loss, penalty = self.discriminator_pass(made, real, r1)
                    note("discriminator", loss)
                    if penalty is not None:
                        note("r1", penalty)
                        loss = loss + train.r1 * train.r1_every * penalty
                    (loss / len(parts)).backward()
            _, taken = self.update(self.discriminator, self.discriminator_optimiser, train.lr_discriminator * scale)
            skipped += int(not taken)
        shared = self.world.mean(torch.stack([v.float().reshape(()) for v in totals.values()]))
        return {**dict(zip(totals, shared.tolist())), **({"skipped": float(skipped)} if skipped else {})}

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
    if world.is_main():
        logger.info(
            f"train_s3dnerf {variant}: {len(data.records)} clips of {len({r['speaker'] for r in data.records})} "
            "people, "
            f"{sum(p.numel() for p in trainer.generator.parameters()):,} parameters, steps {start}…{steps} on "
            f"{world.size} × {world.device}"
        )
    workers = loader_workers(world)
    ahead = batches(data, start, steps, world, settings.train.batch, settings.train.accumulate, workers)
    pace = Pace(settings.train.batch, world.device)
    with interruptible() as asked:
        for step in range(start, steps):
            with pace.waiting():
                parts = next(ahead)
            values = trainer.step(step, parts)
            trainer.watch.see(step, values)
            done, stop = step + 1, bool(world.mean(torch.tensor(float(asked()), device=world.device)))
            if world.is_main():
                assert curves is not None and probe is not None
                curves.add(step, {name: value for name, value in values.items() if math.isfinite(value)})
                if done % settings.train.strip_every == 0 or done == steps:
                    write_strip(work / "strips" / f"step_{done:07d}.png", trainer.averaged.module, probe)
                if done % settings.train.checkpoint_every == 0 or done == steps or stop:
                    save_checkpoint(work / "checkpoint.pt", trainer.state(done))
                if done % every == 0:
                    logger.info(
                        f"  step {done}/{steps}: loss {values['total']:.4f}, pixels {values['pix']:.4f}, "
                        f"{pace.told(done - start)}"
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
        "skipped_steps": trainer.watch.skipped,
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
