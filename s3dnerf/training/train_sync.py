"""Train one lip-sync network, the expert or the judge (3.4): triplet loss of eq. 7, selected by held-out accuracy.

    python -m s3dnerf.training.train_sync --job job.json
    torchrun --standalone --nproc-per-node 4 -m s3dnerf.training.train_sync --job job.json

Reads the job (settings, role, folders) and the preprocessed clips; writes into ``out``: weights.safetensors (of the
step with the best held-out accuracy), card.json (settings, seed, speakers, accuracy with its interval, verdict of the
gate, what the monitor found), offsets.json (mean distance at each offset), curves.jsonl. The checkpoint lies in
``work``: killed at any point and started again, a run ends with the same bytes on a CPU.
"""

from __future__ import annotations

import json
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings, SyncSettings
from s3dnerf.sync.audio_windows import audio_windows
from s3dnerf.sync.expert import SyncExpert, save_expert
from s3dnerf.sync.held_out import HeldOutAccuracy, held_out_accuracy
from s3dnerf.sync.losses import expected_triplet_loss, spread
from s3dnerf.sync.monitor import SyncMonitor, crop_findings, offset_findings, speaker_findings
from s3dnerf.sync.towers import TokenTower
from s3dnerf.training.checkpoints import load_checkpoint, save_checkpoint
from s3dnerf.training.curves import Curves
from s3dnerf.training.distributed import World, loader_workers
from s3dnerf.training.jobs import TrainingJob, run_job
from s3dnerf.training.optimiser import Adam
from s3dnerf.training.sync_augment import varied_lips, varied_mel, varied_tokens
from s3dnerf.training.sync_data import ClipPool, LipClip, SyncDataError, SyncSplit, crop_margin, draw_batch, split_for
from s3dnerf.training.sync_eval import embed_clips, offset_curves, some_clips
from s3dnerf.video.packs import write_atomic

logger = logging.getLogger(__name__)

HELD_OUT_CLIPS, TRAIN_CLIPS_JUDGED = 128, 16
CURVE_POINTS = 4000
# settings that say nothing of a role's network: the other role's, and how often a run saves its state
NOT_IN_CARD = {
    "expert": ("judge_steps", "judge_seed", "checkpoint_every"),
    "judge": ("steps", "expert_seed", "hdtf_val_fraction", "checkpoint_every"),
}


class SyncTrainingError(S3DNeRFError, RuntimeError):
    """Training cannot go on; the message says why and what to do."""


SPEECH = ("backend", "model", "whisper_model", "whisper_layer")  # settings that decide what a token is


def backend_settings(settings: Settings) -> dict[str, Any]:
    """The settings of ``speech`` that decide what a token is."""
    return {name: getattr(settings.speech, name) for name in SPEECH}


@dataclass(frozen=True)
class Job(TrainingJob):
    """One training run: settings, role (``expert`` or ``judge``) and folders (``work`` holds the checkpoint, ``out``
    the result).
    """

    role: str
    data_dir: str
    work: str
    out: str

    @property
    def processes(self) -> int:
        """``sync.processes``"""
        return self.settings.sync.processes

    @property
    def steps(self) -> int:
        """Steps of this role's training."""
        return self.settings.sync.steps if self.role == "expert" else self.settings.sync.judge_steps

    @property
    def seed(self) -> int:
        """Seed of this role's training."""
        return self.settings.sync.expert_seed if self.role == "expert" else self.settings.sync.judge_seed


def learning_rate(sync: SyncSettings, step: int, steps: int) -> float:
    """A short linear rise (a twentieth of the steps, 500 at most), then a cosine down to a twentieth of ``sync.lr``."""
    rise = min(1.0, (step + 1) / max(1, min(500, steps // 20)))
    return sync.lr * rise * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))


def varied_sound(network: SyncExpert, sound: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A batch's windows of mel or tokens, varied."""
    tower = network.audio_tower
    return (
        varied_tokens(sound, 1.0 / tower.scale, generator)
        if isinstance(tower, TokenTower)
        else varied_mel(sound, generator)
    )


def new_network(sync: SyncSettings, clips: list[LipClip]) -> SyncExpert:
    """An untrained network; of its tokens it knows the statistics of ``clips``."""
    if sync.audio == "mel":
        return SyncExpert(sync)
    tokens = np.concatenate([clip.audio for clip in clips])
    network = SyncExpert(sync, tokens.shape[1])
    assert isinstance(network.audio_tower, TokenTower)
    network.audio_tower.set_statistics(torch.from_numpy(tokens.mean(0)), torch.from_numpy(tokens.std(0)))
    return network


class SyncPass(nn.Module):
    """Both embeddings of a batch in one forward pass, which DistributedDataParallel can wrap."""

    def __init__(self, network: SyncExpert) -> None:
        super().__init__()
        self.network = network

    def forward(self, lips: torch.Tensor, sound: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings (b, e) of lips (b, 5, 3, s, s) and of sound (b, m, k)."""
        return self.network.visual(lips), self.network.audio(sound)


def train_step(
    network: SyncExpert,
    both: nn.Module,
    optimiser: torch.optim.Optimizer,
    clips: list[LipClip],
    job: Job,
    step: int,
    world: World,
) -> dict[str, float]:
    """One step. What is drawn depends on seed, step and rank alone, so that nothing need be remembered to go on.

    ``both``: a :class:`SyncPass` of the network, which leaves the mean of all processes' gradients.
    """
    sync, margin = job.settings.sync, crop_margin(job.settings.sync.crop_px)
    draws = np.random.default_rng([job.seed, step, world.rank])
    generator = torch.Generator().manual_seed(int(draws.integers(1 << 62)))
    batch = draw_batch(clips, world.share(sync.batch), draws)
    lips = varied_lips(batch.lips.to(world.device), margin, generator)
    sound = varied_sound(network, batch.audio.to(world.device), generator)
    rate = learning_rate(sync, step, job.steps)
    for group in optimiser.param_groups:
        group["lr"] = rate
    with world.autocast(sync.precision):
        e_lips, e_audio = both(lips, sound)
    loss = expected_triplet_loss(e_lips, e_audio, batch.negatives.to(world.device), sync.margin)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    optimiser.step()
    mean = float(world.mean(loss))
    if not math.isfinite(mean):
        raise SyncTrainingError(
            f"train_sync {job.role}: the loss is {mean} at step {step} — lower sync.lr ({sync.lr:g}), or "
            "sync.precision: fp32"
        )
    return {"loss": mean, "lr": rate, "spread": spread(e_lips)}


def train(job: Job, world: World) -> dict[str, Any] | None:
    """Run (or go on with) one job to its end. Returns the card (rank 0), None elsewhere.

    Raises
    ------
    SyncDataError
        Nobody to train on, or nobody to judge by.
    SyncTrainingError
        The loss is no finite number.
    """
    sync, work = job.settings.sync, Path(job.work)
    split = split_for(job.role, job.data_dir, job.settings)
    audio = audio_windows(sync.audio)
    pool = ClipPool(split.train, sync.crop_px, sync.batch, job.seed, audio, workers=max(1, loader_workers(world)))
    held_out = some_clips(split.held_out, HELD_OUT_CLIPS, sync.crop_px, audio) if world.is_main() else []
    torch.manual_seed(job.seed)
    network = new_network(sync, pool.at(0)).to(world.device)
    both = world.data_parallel(SyncPass(network))
    optimiser = Adam(network.parameters(), lr=sync.lr, betas=(0.9, 0.99))
    monitor = SyncMonitor(sync.margin, patience=max(20, min(2000, job.steps // 4)))
    best: dict[str, Any] = {"step": 0, "accuracy": -1.0, "weights": None}
    start = 0
    if state := load_checkpoint(work / "checkpoint.pt"):
        network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        start, best, monitor.losses = state["step"], state["best"], state["losses"]
    curves = Curves(work / "curves.jsonl", start) if world.is_main() else None
    if world.is_main():
        logger.info(
            f"train_sync {job.role}: {len(split.train)} clips of {len(SyncSplit.speakers(split.train))} people, held "
            "out "
            f"{len(held_out)} clips of {len({c.speaker for c in held_out})}; "
            f"{sum(p.numel() for p in network.parameters()):,} parameters, "
            f"steps {start}…{job.steps} on {world.size} × {world.device}"
        )
    for step in range(start, job.steps):
        clips = pool.at(step)
        if not clips:
            raise SyncDataError(
                f"{job.role}: no training clip has a window with speech in it — is the corpora's sound silent?"
            )
        values = train_step(network.train(), both, optimiser, clips, job, step, world)
        monitor.step(values["loss"])
        done = step + 1
        if world.is_main():
            if done % sync.eval_every == 0 or done == job.steps:
                found = judged(network, held_out, job, world)
                values["held_out_accuracy"] = found.accuracy
                if found.accuracy > best["accuracy"]:
                    best = {
                        "step": done,
                        "accuracy": found.accuracy,
                        "weights": {k: v.detach().cpu().clone() for k, v in network.state_dict().items()},
                    }
                logger.info(
                    f"  step {done}/{job.steps}: loss {np.mean(monitor.losses[-50:]):.3f}, held-out accuracy "
                    f"{found.accuracy:.3f}"
                )
                for finding in monitor.learning(values["spread"]):
                    logger.info(f"  {finding.code}: {finding.message}")
            if "held_out_accuracy" in values or step % max(1, job.steps // CURVE_POINTS) == 0:
                assert curves is not None
                curves.add(step, values)
            if done % sync.checkpoint_every == 0 or done == job.steps:
                save_checkpoint(
                    work / "checkpoint.pt",
                    {
                        "step": done,
                        "network": network.state_dict(),
                        "optimiser": optimiser.state_dict(),
                        "best": best,
                        "losses": monitor.losses,
                    },
                )
        world.barrier()
    card = write_result(job, network, best, split, held_out, pool, monitor, world) if world.is_main() else None
    world.barrier()
    return card


def heard(job: Job, network: SyncExpert) -> dict[str, Any]:
    """What a card says of the speech backend whose tokens its network reads; nothing of a network that reads mels."""
    tower = network.audio_tower
    if not isinstance(tower, TokenTower):
        return {}
    return {"token_dim": tower.token_dim, "speech": backend_settings(job.settings)}


def judged(network: SyncExpert, clips: list[LipClip], job: Job, world: World) -> HeldOutAccuracy:
    """Held-out accuracy of the network as it stands; always the same trials."""
    return held_out_accuracy(embed_clips(network, clips, world), job.settings.sync.eval_trials, job.seed)


def write_result(
    job: Job,
    network: SyncExpert,
    best: dict[str, Any],
    split: SyncSplit,
    held_out: list[LipClip],
    pool: ClipPool,
    monitor: SyncMonitor,
    world: World,
) -> dict[str, Any]:
    """The job's out folder, from the best step's weights. Returns the card."""
    sync, out = job.settings.sync, Path(job.out)
    last_spread = float(
        spread(torch.from_numpy(np.concatenate([c.lips for c in embed_clips(network, held_out[:4], world)])))
    )
    network.load_state_dict(best["weights"])
    embedded = embed_clips(network, held_out, world)
    accuracy = held_out_accuracy(embedded, sync.eval_trials, job.seed)
    trained = embed_clips(network, some_clips(split.train, TRAIN_CLIPS_JUDGED, sync.crop_px, network.windows), world)
    train_accuracy = held_out_accuracy(trained, sync.eval_trials, job.seed).accuracy
    offsets = offset_curves(embedded)
    findings = [
        *monitor.learning(last_spread),
        *crop_findings([(c.clip, c.lips) for c in pool.at(job.steps - 1)]),
        *offset_findings(offsets["distance"]),
        *speaker_findings(len(SyncSplit.speakers(split.train)), train_accuracy, accuracy.accuracy),
    ]
    card = {
        "format": 1,
        "role": job.role,
        **heard(job, network),
        "settings": {name: value for name, value in as_dict(sync).items() if name not in NOT_IN_CARD[job.role]},
        "seed": job.seed,
        "steps": job.steps,
        "selected_step": best["step"],
        "corpora": sorted({r["corpus"] for _, r in split.train}),
        "speakers": SyncSplit.speakers(split.train),
        "clips": len(split.train),
        "held_out_speakers": SyncSplit.speakers(split.held_out),
        "held_out": accuracy.as_dict(),
        "train_accuracy": train_accuracy,
        "offset_frames": offsets["extreme_offset_frames"],
        "gate": sync.gate,
        "passes": accuracy.accuracy >= sync.gate,
        "monitor": [f.as_dict() for f in findings],
        "parameters": sum(p.numel() for p in network.parameters()),
        "note": "the step was selected by this accuracy, on these held-out speakers",
    }
    write_atomic(out / "offsets.json", (json.dumps(offsets, indent=1) + "\n").encode())
    write_atomic(out / "curves.jsonl", (Path(job.work) / "curves.jsonl").read_bytes())
    save_expert(out, best["weights"], card)
    interval = (
        "one speaker: no interval"
        if accuracy.low is None
        else f"95 % interval by speaker {accuracy.low:.3f}–{accuracy.high:.3f}"
    )
    logger.info(
        f"train_sync {job.role}: held-out accuracy {accuracy.accuracy:.3f} ({interval}; {accuracy.trials} trials, "
        f"{accuracy.speakers} "
        f"speakers) at step {best['step']}; offset {offsets['extreme_offset_frames']:+d}; gate {sync.gate:g} "
        f"{'passed' if card['passes'] else 'NOT passed'}"
    )
    for finding in findings:
        logger.info(f"  {finding.code}: {finding.message}")
    return card


def main(arguments: list[str] | None = None) -> None:
    """Command line: one job."""
    run_job("train_sync", Job, train, arguments)


if __name__ == "__main__":
    main()
