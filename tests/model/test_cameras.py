"""Rays, bounds and windows against what geometry says."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from s3dnerf.faces.camera import project as numpy_project
from s3dnerf.model import cameras
from tests.small_corpus import BOX, INTRINSICS, turn


def _cameras(*yaws: float) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.stack([turn(y) for y in yaws])), torch.from_numpy(INTRINSICS)[None].repeat(
        len(yaws), 1, 1
    )


def test_projection_equals_the_numpy_camera() -> None:
    points = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    camera, k = _cameras(0.3)
    ours = cameras.project(cameras.to_camera(torch.from_numpy(points).T[None], camera), k)[0].T.numpy()
    np.testing.assert_allclose(ours, numpy_project(points, turn(0.3), INTRINSICS), atol=1e-3)


def test_a_ray_goes_through_the_centre_of_its_pixel() -> None:
    camera, k = _cameras(0.4, -0.2)
    pixels = torch.tensor([[[3, 9], [15, 0]], [[7, 7], [0, 15]]])
    origins, directions = cameras.camera_rays(camera, k, pixels, raw_px=16)
    assert torch.allclose(directions.norm(dim=-1), torch.ones(2, 2), atol=1e-6)
    points = (origins[:, None] + 9.3 * directions).transpose(1, 2)
    seen = cameras.project(cameras.to_camera(points, camera), k).transpose(1, 2)
    assert torch.allclose(seen, (pixels + 0.5) * 16.0, atol=1e-2)


def test_box_bounds_are_the_box() -> None:
    box = torch.tensor([[0.0, 0.0, 0.0, 1.0]])
    near, far, hit = cameras.box_bounds(
        torch.tensor([[0.0, 0.5, 4.0]]), torch.tensor([[[0.0, 0.0, -1.0], [0.0, 1.0, 0.0]]]), box
    )
    assert hit.tolist() == [[True, False]] and near[0, 0] == 3.0 and far[0, 0] == 5.0 and near[0, 1] == far[0, 1] == 0.0


@pytest.mark.parametrize("yaw", [0.0, 0.5, -0.9])
def test_no_ray_outside_the_window_meets_the_box(yaw: float) -> None:
    camera, k = _cameras(yaw, 0.1)
    box = torch.from_numpy(BOX)[None].repeat(2, 1) + torch.tensor([[0.2, 0.1, 0, 0], [-0.5, 0, 0, -0.4]])
    window = cameras.ray_window(camera, k, box, raw_px=32)
    everything = cameras.all_pixels(2, 32, torch.device("cpu"))
    _, _, hit = cameras.box_bounds(*cameras.camera_rays(camera, k, everything, 32), box)
    for frame in range(2):
        inside = {tuple(p) for p in window[frame].tolist()}
        assert {tuple(p) for p in everything[frame][hit[frame]].tolist()} <= inside
        assert len(inside) == window.shape[1] < 32 * 32


def test_the_source_window_shows_a_point_where_window_coordinates_say() -> None:
    camera, k = _cameras(0.25)
    box, point = torch.from_numpy(BOX)[None], torch.tensor([[[0.4], [0.3], [0.5]]])
    u, v = cameras.project(cameras.to_camera(point, camera), k)[0, :, 0]
    y, x = torch.meshgrid(torch.arange(256) + 0.5, torch.arange(256) + 0.5, indexing="ij")
    image = torch.exp(-((x - u) ** 2 + (y - v) ** 2) / 50)[None, None]
    seen = cameras.source_window(image, camera, k, box, 256)[0, 0]
    row, column = divmod(int(seen.argmax()), 256)
    said = cameras.window_coordinates(cameras.to_camera(point, camera), cameras.box_centre(camera, box), box)[0, :, 0]
    found = (torch.tensor([column, row]) + 0.5) / 128 - 1
    assert torch.allclose(found, said, atol=0.012)


def test_head_motion_follows_the_plane_through_the_box_centre() -> None:
    target, k = _cameras(0.0)
    source, _ = _cameras(0.3)
    box = torch.from_numpy(BOX)[None]
    grid = cameras.head_motion(target, k, source, k, box, 64)
    on_plane = torch.tensor([[[0.35], [-0.2], [0.0]]])  # the target faces the camera: the plane is z = 0
    at = cameras.project(cameras.to_camera(on_plane, target), k)[0, :, 0] / 4
    wanted = cameras.project(cameras.to_camera(on_plane, source), k)[0, :, 0] / 128 - 1
    found = torch.nn.functional.grid_sample(
        grid.permute(0, 3, 1, 2), (at / 32 - 1)[None, None, None], align_corners=False
    )[0, :, 0, 0]
    assert torch.allclose(found, wanted, atol=1e-3)
    assert torch.allclose(
        cameras.head_motion(target, k, target, k, box, 8)[0, 3, 5], torch.tensor([5.5, 3.5]) / 4 - 1, atol=1e-4
    )
