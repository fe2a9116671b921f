"""The model's speed and memory as ratios: fast path to plain, cached portrait to none; and how cost grows with rays,
samples, size.

    python -m benchmarks.model [--preset sample] [--device cpu] [--frames 20] [--compile]
    python -m benchmarks.model --only training [--precision bf16] [--batch 16]

Networks have random weights and inputs are drawn: speed does not depend on what was learned. Every ratio's baseline is
measured in the same run, after a warm-up, the device synchronised; times are the median of repeats. Needs torch and the
library alone, so that it runs on a bare GPU machine. Writes benchmarks/results/model_<preset>_<device>.json
(…_training.json with --only) and prints it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch

from benchmarks.peak_memory import peak_memory_mb
from benchmarks.record import origin, write
from s3dnerf.core.cores import usable_cores
from s3dnerf.faces.camera import intrinsics, world_to_camera
from s3dnerf.model import grid_reading
from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Identity, Portrait
from s3dnerf.model.lip_shapes import SHAPE
from s3dnerf.model.reference import render_reference
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import ModelSettings, Settings
from s3dnerf.sync.audio_windows import audio_windows
from s3dnerf.sync.expert import SyncExpert
from s3dnerf.training.batches import make_batch
from s3dnerf.training.distributed import World
from s3dnerf.training.train_s3dnerf import Trainer

EVERY_RAY, PLAIN_READS = "every ray", "every ray, grids read by grid_sample"
SPEECH_DIM = 80  # of a token; a mel column is as long
BOX = np.array([0.0, 0.0, 0.0, 1.35], np.float32)
INTRINSICS = intrinsics(np.array([0.9, 128.0, 128.0]), 256).astype(np.float32)


def synchronise(device: torch.device) -> None:
    """Wait for the device's queue."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], Any], device: torch.device, repeats: int = 3) -> float:
    """The median time of ``repeats`` runs after one that is not counted: by the clock on a GPU, of the one thread on a
    CPU.
    """
    clock, times = time.process_time if device.type == "cpu" else time.perf_counter, []
    for i in range(repeats + 1):
        synchronise(device)
        begun = clock()
        work()
        synchronise(device)
        if i:
            times.append(clock() - begun)
    return statistics.median(times)


def peak_mb(device: torch.device) -> float:
    """Most memory held so far: of the GPU since the last reset, or of this process since its start."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return peak_memory_mb()


def cameras(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Poses (frames, 3, 4) of a head that turns by ±10°, and intrinsics (frames, 3, 3)."""
    angles = np.stack([np.zeros(frames), np.radians(10 * np.sin(np.arange(frames) / 5)), np.zeros(frames)], 1)
    poses = world_to_camera(angles, np.zeros((frames, 3))).astype(np.float32)
    return torch.from_numpy(poses), torch.from_numpy(INTRINSICS).expand(frames, 3, 3)


class Speaker:
    """A generator with random weights, one portrait and the speech of some frames, on a device."""

    def __init__(self, settings: ModelSettings, device: torch.device, frames: int) -> None:
        torch.manual_seed(0)
        self.model = S3DNeRF(settings, SPEECH_DIM).to(device).eval().requires_grad_(False)
        self.poses, self.intrinsics = (x.to(device) for x in cameras(frames))
        self.picture = torch.rand(1, 3, 256, 256, device=device)
        self.speech = torch.randn(frames, settings.speech_tokens, SPEECH_DIM, device=device)
        self.landmarks = 256.0 * torch.rand(1, 68, 2, device=device)
        self.box = torch.from_numpy(BOX)[None].to(device)

    @torch.inference_mode()
    def encode(self) -> Identity:
        camera = Camera(self.poses[:1], self.intrinsics[:1])
        return self.model.encode(Portrait(self.picture, self.picture, camera, self.box, self.landmarks))

    @torch.inference_mode()
    def render(self, identity: Identity, first: int, count: int, path: Callable[..., Any] | None = None) -> Any:
        part = slice(first, first + count)
        given = (identity, self.speech[part], Camera(self.poses[part], self.intrinsics[part]))
        return self.model.render(*given) if path is None else path(self.model, *given)

    def all_frames(self, identity: Identity, batch: int) -> None:
        for first in range(0, len(self.speech), batch):
            self.render(identity, first, batch)

    def each_with_its_portrait(self) -> None:
        for first in range(len(self.speech)):
            self.render(self.encode(), first, 1)


def synthesis(settings: ModelSettings, device: torch.device, frames: int, compiled: bool) -> dict[str, Any]:
    """Frames a second, and each ratio to its baseline."""
    made = Speaker(settings, device, frames)
    identity = made.encode()
    by_batch = {
        batch: frames / seconds(functools.partial(made.all_frames, identity, batch), device) for batch in (1, 5)
    }
    fps = max(by_batch.values())
    uncached = frames / seconds(made.each_with_its_portrait, device)
    result: dict[str, Any] = {
        "frames": frames,
        "fps_portrait_cached": round(fps, 2),
        "fps_by_batch": {str(k): round(v, 2) for k, v in by_batch.items()},
        "fps_portrait_encoded_each_frame": round(uncached, 2),
        "ratio_cached_to_encoded_each_frame": round(by_batch[1] / uncached, 2),
        "peak_mb": round(peak_mb(device)),
    }
    if device.type == "cpu":  # the plain path is written for the CPU
        begun = time.process_time()
        made.render(identity, 0, 1, render_reference)
        plain_s = time.process_time() - begun
        result |= {
            "plain_path_seconds_a_frame": round(plain_s, 2),
            "ratio_fast_to_plain_path": round(by_batch[1] * plain_s, 1),
        }
    if compiled:
        made.model.compile()
        result["ratio_compiled_to_eager"] = round(
            frames / seconds(lambda: made.all_frames(identity, 5), device) / by_batch[5], 2
        )
    return result


def growth(settings: ModelSettings, device: torch.device, frames: int) -> dict[str, dict[str, float]]:
    """Time a frame when one thing changes, as a ratio to the preset as it is."""
    raw, image, coarse, fine = settings.raw_px, settings.image_px, settings.coarse_samples, settings.fine_samples
    changes: dict[str, dict[int, dict[str, Any]]] = {
        "rays a side": {side: {"raw_px": side} for side in (raw // 2, raw * 2) if side <= image},
        "samples a ray": {
            (coarse + fine) * k // 2: {"coarse_samples": coarse * k // 2, "fine_samples": fine * k // 2} for k in (1, 4)
        },
        "image side": {side: {"image_px": side} for side in (image // 2, image * 2) if raw <= side <= 512},
    }

    def a_frame(given: ModelSettings) -> float:
        made = Speaker(given, device, frames)
        identity = made.encode()
        return seconds(lambda: made.all_frames(identity, 5), device) / frames

    base = a_frame(settings)
    ratios = {
        what: {
            str(value): round(a_frame(dataclasses.replace(settings, **change)) / base, 2)
            for value, change in sorted(options.items())
        }
        for what, options in changes.items()
    }
    return {"preset_seconds_a_frame": {"": round(base, 4)}, **ratios}


def drawn_sample(settings: Settings, random: np.random.Generator) -> dict[str, Any]:
    """A training sample of :meth:`s3dnerf.training.generator_data.GeneratorData.sample`'s shape, with an oval face."""
    t, m = settings.train.frames, settings.model
    y, x = np.mgrid[:256, :256] - 128
    face = (x / 62) ** 2 + (y / 80) ** 2 < 1
    poses, k = cameras(t)
    return {
        "source": random.integers(0, 256, (256, 256, 3), np.uint8),
        "source_mask": face,
        "source_camera": poses[0].numpy(),
        "source_intrinsics": INTRINSICS,
        "source_landmarks": random.uniform(0, 256, (68, 2)).astype(np.float32),
        "box": BOX,
        "target": random.integers(0, 256, (t, 256, 256, 3), np.uint8),
        "mask": np.repeat(face[None], t, 0),
        "camera": poses.numpy(),
        "intrinsics": k.numpy(),
        "speech": random.standard_normal((t, m.speech_tokens, SPEECH_DIM)).astype(np.float32),
        "audio": random.uniform(-4, 4, (audio_windows(settings.sync.audio).length, SPEECH_DIM)).astype(np.float32),
        "landmarks": random.uniform(64, 192, (t, 68, 2)).astype(np.float32),
        "lip_box": np.repeat(np.array([[98, 150, 158, 210]], np.float32), t, 0),
        "seed": int(random.integers(2**62)),
    }


def by_grid_sample() -> AbstractContextManager[Any]:
    """Within it PyTorch's grid_sample reads the grids on a GPU as well, and 1×1 convolutions are convolutions."""
    return mock.patch.object(grid_reading, "kernels", lambda: None)


def training(settings: Settings, device: torch.device) -> dict[str, Any]:
    """Steps a second and memory, with rays inside the face alone against every ray (the plain way, the baseline), and
    on a GPU every ray with the kernels for grids against PyTorch's own ``grid_sample`` (likewise).
    """
    random = np.random.default_rng(0)
    statistics_of_nothing = (torch.zeros(SPEECH_DIM), torch.ones(SPEECH_DIM))
    data: Any = SimpleNamespace(
        speech_dim=SPEECH_DIM,
        speech_statistics=lambda: statistics_of_nothing,
        lips=lambda: torch.rand(8, SHAPE),
        fit_lip_shapes=lambda shapes: None,
    )
    found: dict[str, dict[str, Any]] = {}
    late = settings.train.steps - 1  # past every warm-up: all losses are on
    ways = [("rays inside the face", settings.train.outside_rays)] if settings.train.outside_rays < 1.0 else []
    ways.append((EVERY_RAY, 1.0))
    if device.type == "cuda" and not settings.train.compile:
        ways.append((PLAIN_READS, 1.0))
    for name, rays in ways:
        train = dataclasses.replace(settings.train, outside_rays=rays, perceptual="stand_in")
        job: Any = SimpleNamespace(settings=dataclasses.replace(settings, train=train), variant="full")
        trainer = Trainer(
            job, data, SyncExpert(settings.sync, SPEECH_DIM).eval().requires_grad_(False), World(device=device)
        )
        batch = make_batch([drawn_sample(settings, random) for _ in range(train.batch)], settings.model, device)
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        try:
            with by_grid_sample() if name == PLAIN_READS else nullcontext():
                step_s = seconds(functools.partial(trainer.step, late, [batch]), device)
            found[name] = {"steps_a_second": round(1 / step_s, 3), "peak_mb": round(peak_mb(device))}
        except torch.OutOfMemoryError:
            found[name] = {"failed": "more memory than the GPU has"}
        del trainer, batch
    pace = {name: way["steps_a_second"] for name, way in found.items() if "steps_a_second" in way}
    ratios = {
        f"ratio_{what}": round(pace[one] / pace[other], 2)
        for what, one, other in (
            ("face_rays_to_every_ray", "rays inside the face", EVERY_RAY),
            ("kernels_to_grid_sample", EVERY_RAY, PLAIN_READS),
        )
        if one in pace and other in pace
    }
    first = pace.get(ways[0][0])
    days = {"days_for_the_presets_steps_on_one_device": round(settings.train.steps / first / 86400, 2)} if first else {}
    return {
        **found,
        "batch": settings.train.batch,
        "frames_a_sample": settings.train.frames,
        "precision": settings.train.precision,
        **ratios,
        **days,
    }


def machine(device: torch.device) -> dict[str, Any]:
    """What it ran on."""
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else None
    return {
        "machine": platform.machine(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.model", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument(
        "--compile",
        action="store_true",
        help="torch.compile (needs a C++ compiler): synthesis against eager, or with --only training train.compile",
    )
    parser.add_argument("--only", choices=("training",), help="only a training step's speed and memory")
    parser.add_argument("--precision", choices=("fp32", "bf16"), help="of training, instead of the preset's")
    parser.add_argument("--batch", type=int, help="of training, instead of the preset's")
    parser.add_argument("--outside-rays", type=float, help="train.outside_rays, instead of the preset's")
    given = parser.parse_args()
    device, settings = torch.device(given.device), preset_settings(given.preset)
    changed = {
        name: getattr(given, name)
        for name in ("precision", "batch", "outside_rays")
        if getattr(given, name) is not None
    }
    changed["compile"] = given.compile and given.only == "training"
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, **changed))
    if device.type == "cpu":
        torch.set_num_threads(1)
    where = {**origin("python -m benchmarks.model " + " ".join(sys.argv[1:])), "machine": machine(device)}
    if given.only:
        print(write(f"model_{given.preset}_{device.type}_training", {**where, "training": training(settings, device)}))
        return
    result = {
        **where,
        "synthesis": synthesis(settings.model, device, given.frames, given.compile),
        "growth_time_a_frame_to_the_presets": growth(settings.model, device, given.frames),
        "training": training(settings, device),
    }
    print(write(f"model_{given.preset}_{device.type}", result))


if __name__ == "__main__":
    main()
