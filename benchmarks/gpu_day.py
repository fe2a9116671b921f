"""A day's questions to a GPU, answered in minutes: how fast a portrait speaks, how fast training steps are, how long
training waits for its data, how far the GPU's frames are from the CPU's, and gradients by its kernels from
``grid_sample``'s.

    python -m benchmarks.gpu_day --carve folder --data data/mini [--mb 30]  # here: some training clips, small enough
    python -m benchmarks.speed --prepare folder                             # here: a portrait and speech
    python -m benchmarks.gpu_day --inputs folder --data folder              # there (or here, on the CPU, few steps)

Needs torch and the packages of ``pip install .``, OpenCV, pandas and pyarrow, transformers and imageio-ffmpeg
(``speed``), ruamel.yaml (``model``, ``clips``) and decord (``clips``); nothing else of the pipeline. ``speed`` and each
variant of ``model`` are processes of their own with a limit, so that one that fails costs no other. Writes
benchmarks/results/gpu_day_<device>.json after each part.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.model import SPEECH_DIM, by_grid_sample, drawn_sample, machine, peak_mb, synchronise
from benchmarks.record import RESULTS, origin, write
from s3dnerf.core.devices import chosen_device, device_name
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings
from s3dnerf.sync.expert import load_expert
from s3dnerf.training.batches import make_batch
from s3dnerf.training.clips import STAGES
from s3dnerf.training.distributed import World, loader_workers
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.loading import batches
from s3dnerf.training.passes import render_targets
from s3dnerf.training.phases import phase_at
from s3dnerf.training.train_s3dnerf import Trainer

PARTS = ("agreement", "speed", "model", "clips")
CORPUS, EXPERT = "hdtf", Path("train_sync") / "expert"


@dataclasses.dataclass(frozen=True)
class Variant:
    """A training to measure: the preset's but for what is named here."""

    preset: str
    precision: str
    batch: int | None = None
    compile: bool = False
    outside_rays: float | None = None

    def arguments(self) -> list[str]:
        """For ``benchmarks.model``."""
        given = ["--preset", self.preset, "--only", "training", "--precision", self.precision]
        given += ["--batch", str(self.batch)] if self.batch else []
        given += ["--outside-rays", str(self.outside_rays)] if self.outside_rays is not None else []
        return given + (["--compile"] if self.compile else [])

    def name(self) -> str:
        """Of the result."""
        rays = [f"train.outside_rays {self.outside_rays}"] if self.outside_rays is not None else []
        batch = f"batch {self.batch or 'of the preset'}"
        return ", ".join([self.preset, self.precision, batch, *rays, *(["compiled"] if self.compile else [])])


MODELS = (
    Variant("paper", "bf16"),
    Variant("paper", "fp32"),
    Variant("paper", "bf16", batch=16),
    Variant("mini", "fp32"),
    Variant("mini", "bf16"),
    Variant("mini", "bf16", batch=16),
    Variant("paper", "bf16", compile=True),
    Variant("paper", "bf16", outside_rays=0.1),
    Variant("paper", "fp32", outside_rays=0.1),
)


def carve(data: Path, folder: Path, most_mb: float) -> None:
    """Copy the smallest training packs of ``data``, all stages together at most so large, and the expert."""
    import pandas as pd

    clips = pd.read_parquet(data / "ingest" / CORPUS / "clips.parquet")
    sizes = {
        pack: sum((data / stage / CORPUS / f"{pack}.tar").stat().st_size for stage in STAGES)
        for pack in sorted(set(clips[clips.split == "train"].pack))
        if all((data / stage / CORPUS / f"{pack}.tar").is_file() for stage in STAGES)
    }
    chosen, total = [], 0.0
    for pack in sorted(sizes, key=lambda name: sizes[name]):
        if total + sizes[pack] <= most_mb * 1e6:
            chosen.append(pack)
            total += sizes[pack]
    for stage in STAGES:
        target = folder / stage / CORPUS
        target.mkdir(parents=True, exist_ok=True)
        index = pd.read_parquet(data / stage / CORPUS / "index.parquet")
        index[index.pack.isin(chosen)].to_parquet(target / "index.parquet", index=False)
        for pack in chosen:
            shutil.copyfile(data / stage / CORPUS / f"{pack}.tar", target / f"{pack}.tar")
    (folder / "ingest" / CORPUS).mkdir(parents=True, exist_ok=True)
    clips[clips.pack.isin(chosen)].to_parquet(folder / "ingest" / CORPUS / "clips.parquet", index=False)
    shutil.copytree(data / EXPERT, folder / EXPERT, dirs_exist_ok=True)
    print(f"{folder}: {len(chosen)} packs, {total / 1e6:.1f} MB")


def on_clips(data: Path, preset: str, precision: str, batch: int, steps: int, device: torch.device) -> dict[str, Any]:
    """Training steps on real clips: steps a second, and the share of the time that the device waits for data."""
    settings = preset_settings(preset)
    train = dataclasses.replace(settings.train, precision=precision, batch=batch, perceptual="stand_in")
    settings = dataclasses.replace(settings, train=train)
    expert, _ = load_expert(data / EXPERT)
    loaded = time.perf_counter()
    source = GeneratorData(data, settings.model, train, settings.seed, expert.windows)
    for number in range(20):
        source.sample(0, number)
    loading_s = time.perf_counter() - loaded
    job: Any = argparse.Namespace(settings=settings, variant="full")
    world = World(device=device)
    trainer, workers = Trainer(job, source, expert, world), loader_workers(world)
    warm, waited, losses = 5, 0.0, []
    made_ahead = batches(source, 0, warm + steps, world, batch, workers=workers)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    begun = time.perf_counter()
    for step in range(warm + steps):
        if step == warm:
            synchronise(device)
            begun, waited = time.perf_counter(), 0.0
        asked = time.perf_counter()
        made = next(made_ahead)
        synchronise(device)
        waited += time.perf_counter() - asked
        losses.append(trainer.step(step, made)["total"])  # reads the losses: waits for the step
    took = time.perf_counter() - begun
    random = [source.sample(0, number) for number in range(batch)]
    made = [make_batch(random, settings.model, device)]
    synchronise(device)
    alone = time.perf_counter()
    for _ in range(10):
        trainer.step(0, made)
    alone = (time.perf_counter() - alone) / 10
    return {
        "preset": preset,
        "precision": precision,
        "batch": batch,
        "frames_a_sample": train.frames,
        "phase_frames": phase_at(train, 0).frames,
        "clips": len(source.records),
        "loading_s_a_sample": round(loading_s / 20, 4),
        "loader_workers": workers,
        "steps": steps,
        "steps_a_second": round(steps / took, 2),
        "frames_a_second": round(steps * batch * train.frames / took, 1),
        "share_waiting_for_data": round(waited / took, 3),
        "steps_a_second_of_one_batch_kept_on_the_device": round(1 / alone, 2),
        "first_and_last_loss": [round(losses[0], 4), round(losses[-1], 4)],
        "peak_mb": round(peak_mb(device)),
    }


def agreement(preset: str, device: torch.device) -> dict[str, Any]:
    """How far the generator's frames and gradients lie from float32's by ``grid_sample``, one drawn sample: the
    largest difference of a pixel (0 … 1), and the norm of the gradients' difference as a share of their norm.
    """
    settings = preset_settings(preset)
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, batch=1, processes=1))
    torch.manual_seed(settings.seed)
    generator = S3DNeRF(settings.model, SPEECH_DIM).to(device)
    if generator.deformation is not None:  # it starts at zero, where little has a gradient
        torch.nn.init.normal_(generator.deformation.out.weight, std=0.05)
    batch = make_batch([drawn_sample(settings, np.random.default_rng(0))], settings.model, device)
    kept: list[tuple[torch.Tensor, torch.Tensor]] = []
    found = {}
    for way, precision in (("grid_sample", "fp32"), ("kernels", "fp32"), ("grid_sample", "bf16"), ("kernels", "bf16")):
        generator.zero_grad(set_to_none=True)
        reads = by_grid_sample() if way == "grid_sample" else contextlib.nullcontext()
        with reads, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            with World(device=device).autocast(precision):
                made = render_targets(generator, batch, 1.0)
            (made.fine.float().square().mean() + made.coarse.float().mean() + made.deform_energy.float()).backward()
        gradient = torch.cat([p.grad.flatten() for p in generator.parameters() if p.grad is not None])
        kept.append((made.fine.detach().float(), gradient))
        found[f"{way}, {precision}"] = {
            "frames_most": float(f"{(kept[-1][0] - kept[0][0]).abs().max():.2g}"),
            "gradient": float(f"{(gradient - kept[0][1]).norm() / kept[0][1].norm():.2g}"),
        }
    return found


def part(name: str, arguments: list[str], limit_s: float, file: Path) -> dict[str, Any]:
    """A module's result, run as a process of its own; its error where it fails."""
    file.unlink(missing_ok=True)
    begun = time.perf_counter()
    command = [sys.executable, "-m", name, *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done within {limit_s:.0f} s"}
    if done.returncode or not file.is_file():
        return {"failed": done.stderr.strip().splitlines()[-12:]}
    found = json.loads(file.read_text(encoding="utf-8"))
    return {**found, "whole_part_s": round(time.perf_counter() - begun, 1)}


def main() -> None:
    """Measure part by part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu_day", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--carve", type=Path, help="only copy training clips of --data into this folder")
    parser.add_argument("--mb", type=float, default=30.0)
    parser.add_argument("--data", type=Path, help="preprocessed clips (the preset mini's data)")
    parser.add_argument("--inputs", type=Path, help="a folder of benchmarks.speed --prepare")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--limit", type=float, default=180.0, help="seconds for each process")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--only", type=int, nargs="*", help="of the model's and clips' variants, these numbers")
    given = parser.parse_args()
    if given.carve:
        carve(given.data, given.carve, given.mb)
        return
    device = chosen_device(given.device, dashes="--")
    name = f"gpu_day_{device.type}"
    kept = json.loads((RESULTS / f"{name}.json").read_text("utf-8")) if (RESULTS / f"{name}.json").is_file() else {}
    result: dict[str, Any] = {
        **kept,
        **origin(command := "python -m benchmarks.gpu_day " + " ".join(sys.argv[1:])),
        "commands": [*kept.get("commands", []), command],
        "machine": machine(device) | {"device": device_name(device)},
    }
    chosen = [v for i, v in enumerate(MODELS) if not given.only or i in given.only]
    if "agreement" in given.parts:
        result["agreement_with_fp32_by_grid_sample"] = {p: agreement(p, device) for p in ("paper", "mini")}
        write(name, result)
        if device.type == "cuda":
            torch.cuda.empty_cache()  # the next parts are other processes, and need the memory
    if "speed" in given.parts:
        arguments = ["--device", given.device, *(["--inputs", str(given.inputs)] if given.inputs else [])]
        result["speed"] = part("benchmarks.speed", arguments, given.limit, RESULTS / f"speed_{device.type}.json")
        write(name, result)
    if "model" in given.parts:
        result.setdefault("training_on_drawn_data", {})
        for variant in chosen:
            arguments = [*variant.arguments(), "--device", device.type]
            file = RESULTS / f"model_{variant.preset}_{device.type}_training.json"
            found = part("benchmarks.model", arguments, given.limit, file)
            file.unlink(missing_ok=True)
            result["training_on_drawn_data"][variant.name()] = found.get("training", found)
            write(name, result)
    if "clips" in given.parts:
        result["training_on_real_clips"] = []
        for variant in chosen:
            if variant.preset != "mini":  # the paper's speech features and expert are not those of these clips
                continue
            size = variant.batch or preset_settings(variant.preset).train.batch
            found = on_clips(given.data, variant.preset, variant.precision, size, given.steps, device)
            result["training_on_real_clips"].append(found)
            write(name, result)
    print(write(name, result))


if __name__ == "__main__":
    main()
