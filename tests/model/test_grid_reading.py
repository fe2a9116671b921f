"""Reading grids by the kernels of a GPU's training: the same numbers and gradients as by ``grid_sample``."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from s3dnerf.model import deformation, grid_reading, triplane
from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Portrait
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings

REPOSITORY = Path(__file__).parents[2]
NEEDS_TRITON = "needs triton (it comes with PyTorch for CUDA)"


def plain_read(grid: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """(b, planes, h, w, c) at (b, 2 or 3, p) → (b, p, c), by ``grid_sample``."""
    planes = grid.shape[1]
    read = [
        functional.grid_sample(
            grid[:, k].permute(0, 3, 1, 2), points[:, list(axes)].transpose(1, 2)[:, None], "bilinear", "border", False
        )
        for k, axes in enumerate(triplane.PLANES[:planes])
    ]
    return torch.stack(read).mean(0)[:, :, 0].transpose(1, 2)


class PlainKernels:
    """What ``s3dnerf.model.grid_kernels`` offers, by ``grid_sample``: for the ways around the kernels."""

    @staticmethod
    def read(grid: torch.Tensor, points: torch.Tensor, out: torch.Tensor, column: int) -> None:
        out[..., column : column + grid.shape[4]] = plain_read(grid, points)

    @staticmethod
    def add_read(base: torch.Tensor, grid: torch.Tensor, points: torch.Tensor, slope: float) -> torch.Tensor:
        return functional.leaky_relu(base + plain_read(grid, points), slope).to(base.dtype)

    @staticmethod
    def gradients(
        grid: torch.Tensor,
        points: torch.Tensor,
        of_read: torch.Tensor,
        column: int,
        of_points: torch.Tensor | None,
        copies: int,
    ) -> torch.Tensor:
        with torch.enable_grad():
            grid, points = grid.detach().requires_grad_(True), points.detach().requires_grad_(True)
            read = plain_read(grid, points)
        given = of_read[..., column : column + grid.shape[4]].float()
        of_grid, more = torch.autograd.grad(read, (grid, points), given)
        if of_points is not None:
            of_points += more
        return of_grid


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grid_reading, "kernels", lambda: PlainKernels)
    for module in (grid_reading, deformation, triplane):
        monkeypatch.setattr(module, "by_kernels", lambda x: torch.is_grad_enabled())


def frames_and_gradients(variant: str, precision: torch.dtype | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Of a small generator whose head moves."""
    torch.manual_seed(0)
    model = preset_settings("mini").model
    model = type(model)(
        **{**vars(model), "raw_px": 16, "image_px": 32, "coarse_samples": 2, "fine_samples": 2, "slot_dim": 16}
    )
    generator = S3DNeRF(model, 6, variant)
    if generator.deformation is not None:
        torch.nn.init.normal_(generator.deformation.out.weight, std=0.05)
    pose = torch.tensor([[[1.0, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 10]]])  # ten units before the camera
    camera = Camera(pose, torch.tensor([[[900.0, 0, 128], [0, 900, 128], [0, 0, 1]]]))
    picture = functional.interpolate(torch.rand(1, 3, 8, 8), 256, mode="bicubic").clamp(0, 1)
    portrait = Portrait(picture, picture, camera, torch.tensor([[0.0, 0, 0, 1.35]]), 256 * torch.rand(1, 68, 2))
    speech, noise = torch.randn(2, model.speech_tokens, 6), torch.rand(2, model.raw_px**2, 4)
    with torch.autocast("cpu", precision, enabled=precision is not None):
        made = generator.render(generator.encode(portrait), speech, camera.repeat(2), noise)
    (made.fine.float().square().mean() + made.coarse.float().mean() + made.deform_energy.float()).backward()
    gradients = [p.grad.flatten() for p in generator.parameters() if p.grad is not None]
    return made.fine.detach().float(), torch.cat(gradients)


@pytest.mark.parametrize("variant", ["full", "naive", "feature_concat", "no_deform"])
def test_frames_and_gradients_are_those_of_grid_sample(variant: str, request: pytest.FixtureRequest) -> None:
    frames, gradients = frames_and_gradients(variant, None)
    rounded = frames_and_gradients(variant, torch.bfloat16)
    request.getfixturevalue("as_on_a_gpu")
    other_frames, other_gradients = frames_and_gradients(variant, None)
    assert not torch.equal(gradients, other_gradients)  # it did take the other way
    assert (frames - other_frames).abs().max() < 1e-4
    assert (gradients - other_gradients).norm() < 1e-4 * gradients.norm()
    also_rounded = frames_and_gradients(variant, torch.bfloat16)
    assert (also_rounded[1] - gradients).norm() < 2 * (rounded[1] - gradients).norm() + 1e-3 * gradients.norm()


def test_without_gradients_nothing_changes(request: pytest.FixtureRequest) -> None:
    levels, points = [torch.randn(1, 3, 4, 8, 8)], torch.rand(1, 3, 9)
    wanted = triplane.sample_planes(levels, points)
    request.getfixturevalue("as_on_a_gpu")
    with torch.no_grad():
        got = triplane.sample_planes(levels, points)
    assert torch.equal(got, wanted) and got.is_contiguous()
    assert not triplane.sample_planes(levels, points).is_contiguous()  # the kernels' way: a point's features together


def test_channels_that_are_no_eights_are_filled_up(as_on_a_gpu: None) -> None:
    torch.manual_seed(0)
    layer = torch.nn.Conv1d(39, 3, 1)
    x = torch.randn(2, 39, 10, requires_grad=True)
    for slope in (1.0, 0.2):
        wanted = torch.nn.functional.leaky_relu(layer(x), slope)
        got = grid_reading.pointwise(layer, x, slope)
        assert got.shape == (2, 3, 10) and torch.allclose(got, wanted, atol=1e-5)
        given = torch.randn_like(wanted)
        for a, b in zip(
            torch.autograd.grad(wanted, (x, layer.weight, layer.bias), given),
            torch.autograd.grad(got, (x, layer.weight, layer.bias), given),
        ):
            assert torch.allclose(a, b, atol=1e-5)


def test_where_triton_does_not_work_grid_sample_reads_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "s3dnerf.model.grid_kernels", None)
    assert grid_reading.kernels.__wrapped__() is None
    assert "Triton does not work here" in caplog.text and "C compiler" in caplog.text
    caplog.clear()

    class CompilerError(Exception):
        """Triton's own errors are no RuntimeErrors."""

    def read(*_: object) -> None:
        raise CompilerError("no such GPU")

    module = SimpleNamespace(read=read)
    monkeypatch.setitem(sys.modules, "s3dnerf.model.grid_kernels", module)
    monkeypatch.setattr("s3dnerf.model.grid_kernels", module, raising=False)
    for name in ("zeros", "ones"):
        monkeypatch.setattr(torch, name, lambda *_, **__: None)  # there is no GPU to make them on
    assert grid_reading.kernels.__wrapped__() is None and "CompilerError: no such GPU" in caplog.text


INTERPRETED = """
import json, sys, torch
from s3dnerf.model import grid_kernels as kernels
from tests.model.test_grid_reading import PlainKernels, plain_read
torch.manual_seed(0)
worst = {}
for name, planes, c, row, column in (("cells", 1, 16, 16, 0), ("planes", 3, 12, 40, 8), ("thin planes", 3, 8, 8, 0)):
    grid = torch.randn(2, planes, 7, 9, c)
    points = (torch.rand(2, 150, 2 if planes == 1 else 3) * 2.6 - 1.3).transpose(1, 2)
    out, of_points, wanted_of_points = torch.zeros(2, 150, row), *(torch.zeros(2, points.shape[1], 150) for _ in "ab")
    kernels.read(grid, points, out, column)
    given = torch.randn(2, 150, row)
    of_grid = kernels.gradients(grid, points, given, column, of_points, 3)
    wanted = PlainKernels.gradients(grid, points, given, column, wanted_of_points, 1)
    worst[name] = [
        (out[..., column : column + c] - plain_read(grid, points)).abs().max().item(),
        out[..., :column].abs().sum().item() + out[..., column + c :].abs().sum().item(),
        (of_grid - wanted).abs().max().item(),
        (of_points - wanted_of_points).abs().max().item(),
    ]
base = torch.randn(2, 150, 16)
grid, points = torch.randn(2, 1, 7, 9, 16), torch.rand(2, 2, 150)
more = kernels.add_read(base, grid, points, 0.2) - PlainKernels.add_read(base, grid, points, 0.2)
worst["added"] = [more.abs().max().item()]
print(json.dumps(worst))
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason=NEEDS_TRITON)
def test_the_kernels_by_tritons_interpreter() -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERPRETED], cwd=REPOSITORY, capture_output=True, text=True, timeout=300,
        env={**os.environ, "TRITON_INTERPRET": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for name, differences in json.loads(done.stdout.splitlines()[-1]).items():
        assert max(differences) < 1e-4, (name, differences)
