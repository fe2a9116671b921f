"""Cameras as tensors: points to pixels and back to rays, the head's box, and the two windows that follow from it.

Conventions (the project's, see METHOD): the canonical head frame has x right, y up, z out of the face; ``[R|t]`` takes
it to an OpenCV camera (x right, y down, z forward); pixels are those of the 256-pixel aligned frame, pixel i covering
[i, i + 1). ``box`` is (centre x, y, z, half side h) of the head's cube in the canonical frame.

*Source window*: normalised coordinates (a, b) in [−1, 1]² of the source image in which the square that the box covers
at its centre's depth is the whole square. The encoder sees the source through it, so that the planes, which divide
camera coordinates by the box, lie on the picture they were made from. *Ray window*: the pixels of the raw image that
the box can cover; outside it no ray meets the box.

All of it is computed in float32 whatever the autocast: in bfloat16 a ray misses its pixel by up to three.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import torch

from s3dnerf.core.shapes import Bool, Float, Int, Tensor

FRAME_PX = 256
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Camera:
    """b cameras: poses (canonical head frame → OpenCV camera) and intrinsics of the 256-pixel frame."""

    pose: Float[Tensor, "b 3 4"]
    intrinsics: Float[Tensor, "b 3 3"]

    def __len__(self) -> int:
        return len(self.pose)

    def __getitem__(self, part: slice | Int[Tensor, " n"]) -> Camera:
        """Some of them."""
        return Camera(self.pose[part], self.intrinsics[part])

    def repeat(self, each: int) -> Camera:
        """Each camera ``each`` times, side by side."""
        return Camera(self.pose.repeat_interleave(each, 0), self.intrinsics.repeat_interleave(each, 0))


def in_float32(function: Callable[P, R]) -> Callable[P, R]:
    """``function`` of tensors without autocast, its floating-point tensors in float32."""

    @functools.wraps(function)
    def exact(*given: P.args, **named: P.kwargs) -> R:
        tensors = [x for x in given if isinstance(x, torch.Tensor)]
        floats = [x.float() if isinstance(x, torch.Tensor) and x.is_floating_point() else x for x in given]
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(*floats, **named)  # type: ignore[arg-type]

    return exact


@in_float32
def to_camera(points: Float[Tensor, "b 3 p"], world_to_camera: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b 3 p"]:
    """Canonical points in a camera's frame: R x + t."""
    return torch.baddbmm(world_to_camera[:, :, 3:], world_to_camera[:, :, :3], points)


@in_float32
def turned(directions: Float[Tensor, "b 3 p"], world_to_camera: Float[Tensor, "b 3 4"]) -> Float[Tensor, "b 3 p"]:
    """Canonical directions in a camera's frame: R v."""
    return world_to_camera[:, :, :3] @ directions


def project(camera_points: Float[Tensor, "b 3 p"], intrinsics: Float[Tensor, "b 3 3"]) -> Float[Tensor, "b 2 p"]:
    """Pixels of camera points. Points at or behind the camera (z < 1e-3) are held at z = 1e-3."""
    z = camera_points[:, 2:].clamp_min(1e-3)
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], 1)[..., None]
    return focal * camera_points[:, :2] / z + intrinsics[:, :2, 2:]


def box_centre(world_to_camera: Float[Tensor, "b 3 4"], box: Float[Tensor, "b 4"]) -> Float[Tensor, "b 3 1"]:
    """The box's centre in the camera's frame."""
    return to_camera(box[:, :3, None], world_to_camera)


def local_coordinates(
    camera_points: Float[Tensor, "b 3 p"], centre: Float[Tensor, "b 3 1"], box: Float[Tensor, "b 4"]
) -> Float[Tensor, "b 3 p"]:
    """Eq. 2's last steps: recentre on the box and divide by it. Inside the inscribed ball the result is within [−1,
    1]³.
    """
    return (camera_points - centre) / box[:, 3, None, None]


def window_coordinates(
    camera_points: Float[Tensor, "b 3 p"], centre: Float[Tensor, "b 3 1"], box: Float[Tensor, "b 4"]
) -> Float[Tensor, "b 2 p"]:
    """Where camera points project to in the source window."""
    seen = camera_points[:, :2] / camera_points[:, 2:].clamp_min(1e-3) - centre[:, :2] / centre[:, 2:]
    return seen * (centre[:, 2:] / box[:, 3, None, None])


def source_window(
    image: Float[Tensor, "b c h w"],
    world_to_camera: Float[Tensor, "b 3 4"],
    intrinsics: Float[Tensor, "b 3 3"],
    box: Float[Tensor, "b 4"],
    size_px: int,
) -> Float[Tensor, "b c s s"]:
    """The picture seen through the source window, bilinear, zero outside the frame."""
    centre = box_centre(world_to_camera, box)
    ab = (torch.arange(size_px, device=image.device, dtype=image.dtype) + 0.5) * (2.0 / size_px) - 1.0
    focal = torch.stack([intrinsics[:, 0, 0], intrinsics[:, 1, 1]], 1)
    middle = focal * centre[:, :2, 0] / centre[:, 2] + intrinsics[:, :2, 2]  # [b, 2] pixels
    reach = focal * box[:, 3:] / centre[:, 2]  # [b, 2] pixels
    grid = (middle[:, None] + reach[:, None] * ab[:, None]) * (2.0 / FRAME_PX) - 1.0  # [b, s, 2], one axis each
    b = len(image)
    grid = torch.stack(
        [grid[:, None, :, 0].expand(b, size_px, size_px), grid[:, :, None, 1].expand(b, size_px, size_px)], -1
    )
    return torch.nn.functional.grid_sample(image, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@in_float32
def camera_rays(
    world_to_camera: Float[Tensor, "b 3 4"],
    intrinsics: Float[Tensor, "b 3 3"],
    pixels: Int[Tensor, "b r 2"] | Float[Tensor, "b r 2"],
    raw_px: int,
) -> tuple[Float[Tensor, "b 3"], Float[Tensor, "b r 3"]]:
    """Origins and unit directions, canonical frame, of the rays through raw pixels (column, row) of the ``raw_px``
    image.

    The raw image shows what the 256-pixel frame shows: its pixel centres are (i + ½)·256/raw_px in the frame.
    """
    centre = (pixels.to(intrinsics.dtype) + 0.5) * (FRAME_PX / raw_px)
    x = (centre[..., 0] - intrinsics[:, 0, 2, None]) / intrinsics[:, 0, 0, None]
    y = (centre[..., 1] - intrinsics[:, 1, 2, None]) / intrinsics[:, 1, 1, None]
    directions = torch.stack([x, y, torch.ones_like(x)], -1)  # [b, r, 3] camera
    directions = torch.nn.functional.normalize(directions, dim=-1)
    rotation = world_to_camera[:, :, :3]
    origins = -(rotation.transpose(1, 2) @ world_to_camera[:, :, 3:])[..., 0]  # −Rᵀ t
    return origins, directions @ rotation  # rows: (Rᵀ d)ᵀ = dᵀ R


def box_bounds(
    origins: Float[Tensor, "b 3"], directions: Float[Tensor, "b r 3"], box: Float[Tensor, "b 4"]
) -> tuple[Float[Tensor, "b r"], Float[Tensor, "b r"], Bool[Tensor, "b r"]]:
    """Distances at which rays enter and leave the box, and whether they meet it (0, 0 where not)."""
    safe = torch.where(directions.abs() < 1e-9, torch.full_like(directions, 1e-9), directions)
    middle = (box[:, None, :3] - origins[:, None]) / safe
    reach = (box[:, 3, None, None] / safe).abs()
    near, far = (middle - reach).amax(-1).clamp_min(0.0), (middle + reach).amin(-1)
    hit = far > near
    return torch.where(hit, near, 0.0), torch.where(hit, far, 0.0), hit


def box_rectangle(
    world_to_camera: Float[Tensor, "b 3 4"], intrinsics: Float[Tensor, "b 3 3"], box: Float[Tensor, "b 4"], raw_px: int
) -> tuple[Int[Tensor, "b 2"], Int[Tensor, "b 2"]]:
    """First raw pixel (column, row) of the rectangle of the box's projected corners, and its width and height."""
    number = torch.arange(8, device=box.device)
    signs = 2.0 * torch.stack([number >> 2 & 1, number >> 1 & 1, number & 1]).to(box.dtype) - 1.0  # [3, 8]
    corners = project(to_camera(box[:, :3, None] + box[:, 3, None, None] * signs, world_to_camera), intrinsics) * (
        raw_px / FRAME_PX
    )
    low = corners.amin(-1).floor().clamp(0, raw_px - 1).long()
    high = corners.amax(-1).ceil().clamp(1, raw_px).long()
    return low, (high - low).clamp_min(1)


def ray_window(
    world_to_camera: Float[Tensor, "b 3 4"],
    intrinsics: Float[Tensor, "b 3 3"],
    box: Float[Tensor, "b 4"],
    raw_px: int,
    extent: tuple[int, int] | None = None,
) -> Int[Tensor, "b r 2"]:
    """Raw pixels (column, row) of a rectangle a frame that holds every ray that meets the box; one size for the batch.

    The rectangle is that of the box's projected corners, moved inside the image; frames share the largest extent so
    that the batch stays dense. Rows vary slowest.

    Parameters
    ----------
    extent : width and height to use, at least those of every frame's rectangle; None takes the batch's largest, which
        on a CUDA device waits for it
    """
    low, sides = box_rectangle(world_to_camera, intrinsics, box, raw_px)
    width, height = (int(side) for side in sides.amax(0)) if extent is None else extent
    most = torch.stack([torch.full_like(low[:, 0], raw_px - width), torch.full_like(low[:, 1], raw_px - height)], 1)
    low = torch.minimum(low, most)
    offset = torch.stack(
        torch.meshgrid(torch.arange(width, device=box.device), torch.arange(height, device=box.device), indexing="xy"),
        -1,
    )
    return low[:, None] + offset.reshape(1, -1, 2)


def all_pixels(batch: int, raw_px: int, device: torch.device) -> Int[Tensor, "b r 2"]:
    """Every raw pixel (column, row), rows slowest."""
    line = torch.arange(raw_px, device=device)
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).reshape(1, -1, 2).expand(batch, -1, -1)


@in_float32
def head_motion(
    target: Float[Tensor, "b 3 4"],
    target_k: Float[Tensor, "b 3 3"],
    source: Float[Tensor, "b 3 4"],
    source_k: Float[Tensor, "b 3 3"],
    box: Float[Tensor, "b 4"],
    size_px: int,
) -> Float[Tensor, "b s s 2"]:
    """Where the plane through the box's centre, facing the target camera, lies in the source: a grid for
    ``grid_sample``.

    What stands at each target pixel, were the whole picture that plane moving with the head: hair, ears and neck near
    the head move about so. Exact for that plane, whatever the two poses.
    """
    b, depth = len(target), box_centre(target, box)[:, 2:]  # [b, 1, 1]
    pixels = all_pixels(b, size_px, box.device).to(box.dtype)
    centre = (pixels + 0.5) * (FRAME_PX / size_px)
    x = (centre[..., 0] - target_k[:, 0, 2, None]) / target_k[:, 0, 0, None]
    y = (centre[..., 1] - target_k[:, 1, 2, None]) / target_k[:, 1, 1, None]
    camera = torch.stack([x, y, torch.ones_like(x)], 1) * depth  # [b, 3, s·s]
    canonical = target[:, :, :3].transpose(1, 2) @ (camera - target[:, :, 3:])
    seen = project(to_camera(canonical, source), source_k) * (2.0 / FRAME_PX) - 1.0
    return seen.transpose(1, 2).reshape(b, size_px, size_px, 2)
