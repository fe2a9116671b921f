"""A batch of the generator's training as tensors on a device, and which rays of it a step renders."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from s3dnerf.core.shapes import Float, Int, Tensor
from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Portrait
from s3dnerf.settings.schema import ModelSettings

Sample = dict[str, Any]  # of GeneratorData.sample


@dataclass
class Batch:
    """B samples of T frames (b = B·T frames, those of a sample side by side), on the device, colours in [0, 1].

    Attributes
    ----------
    source : the source frames
    coarse_target : the masked target at raw_px, black outside, weighted by ``mask``
    mask : the share of each raw pixel inside the face
    audio : the T frames' sound, as the expert reads it
    noise, draw : place samples on rays; choose rays
    backdrop : a random colour a frame
    """

    source: Portrait
    target: Float[Tensor, "b 3 256 256"]
    coarse_target: Float[Tensor, "b 3 r r"]
    mask: Float[Tensor, "b 1 r r"]
    outside: Float[Tensor, "b 3 r r"]
    camera: Camera
    speech: Float[Tensor, "b k s"]
    audio: Float[Tensor, "B m k"]
    lip_box: Float[Tensor, "b 4"]
    landmarks: Float[Tensor, "b 68 2"]
    noise: Float[Tensor, "b r2 s2"]
    draw: Float[Tensor, "b r2"]
    backdrop: Float[Tensor, "b 3"]


def training_rays(mask: Float[Tensor, "b 1 r r"], draw: Float[Tensor, "b r2"], outside: float) -> Int[Tensor, "b n"]:
    """Which raw pixels training renders: the target's inner face with two pixels around it, and a share of the others.

    Parameters
    ----------
    mask : share of each raw pixel inside the face
    draw : a number in [0, 1) a pixel; one outside the face is rendered where it lies below ``outside``

    Returns
    -------
    row · r + column, ascending, filled up with r² to the longest of the batch. A frame's rays depend on that frame
    alone.
    """
    near = functional.max_pool2d((mask > 0).float(), 5, stride=1, padding=2).flatten(1) > 0
    wanted = near | (draw < outside)  # [b, r²]
    index = torch.arange(wanted.shape[1], device=mask.device).expand_as(wanted)
    index = torch.where(wanted, index, wanted.shape[1]).sort(1).values
    return index[:, : int(wanted.sum(1).amax())]


def stacked(samples: list[Sample]) -> dict[str, Tensor]:
    """Samples' parts, each as one tensor with the samples side by side, in memory that worker processes can share."""
    return {name: torch.stack([torch.as_tensor(sample[name]) for sample in samples]) for name in samples[0]}


def random_numbers(
    seeds: Tensor, frames: int, model: ModelSettings, device: torch.device
) -> tuple[Float[Tensor, "b r2 s2"], Float[Tensor, "b 3"]]:
    """Each sample's random numbers, drawn on the device that uses them: S numbers a ray in [0, 1), and a colour a
    frame. A sample's numbers depend on its seed and the kind of device alone.
    """
    numbers = model.coarse_samples + model.fine_samples + 1  # the last decides which rays are rendered
    drawn = []
    for seed in seeds.tolist():
        generator = torch.Generator(device).manual_seed(seed)
        on_rays = torch.rand(frames, model.raw_px**2, numbers, generator=generator, device=device)
        drawn.append((on_rays, torch.rand(frames, 3, generator=generator, device=device)))
    return torch.cat([rays for rays, _ in drawn]), torch.cat([colour for _, colour in drawn])


def make_batch(samples: list[Sample] | dict[str, Tensor], model: ModelSettings, device: torch.device) -> Batch:
    """Samples of :meth:`s3dnerf.training.generator_data.GeneratorData.sample`, or what :func:`stacked` made of them, as
    a batch on a device, at the model's resolutions.
    """
    parts = stacked(samples) if isinstance(samples, list) else samples
    there = {name: part.to(device, non_blocking=True) for name, part in parts.items() if name != "seed"}

    def frames(name: str) -> Tensor:
        return there[name].flatten(0, 1)

    def colours(pictures: Tensor) -> Tensor:
        return pictures.movedim(-1, -3).float() / 255.0

    full = colours(there["source"])
    face = full * there["source_mask"].float()[:, None]
    camera = Camera(there["source_camera"], there["source_intrinsics"])
    target, mask = colours(frames("target")), frames("mask").float()[:, None]
    inside_outside = torch.cat([target * mask, mask, target * (1.0 - mask)], 1)
    small = functional.interpolate(inside_outside, (model.raw_px,) * 2, mode="area")
    noise, backdrop = random_numbers(parts["seed"], there["target"].shape[1], model, device)
    return Batch(
        source=Portrait(face, full, camera, there["box"], there["source_landmarks"]),
        target=target,
        coarse_target=small[:, :3],
        mask=small[:, 3:4],
        outside=small[:, 4:],
        camera=Camera(frames("camera"), frames("intrinsics")),
        speech=frames("speech"),
        audio=there["audio"],
        lip_box=frames("lip_box"),
        landmarks=frames("landmarks"),
        noise=noise[..., :-1],
        draw=noise[..., -1],
        backdrop=backdrop,
    )
