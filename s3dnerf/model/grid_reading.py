"""Reading grids at points while a GPU trains: by Triton kernels (:mod:`s3dnerf.model.grid_kernels`), with the features
of a point side by side in memory.

Half of a training step of the preset ``paper`` was the gradient of PyTorch's ``grid_sample`` at eight million points
(docs/how-to/devices.md has the measurement). What is computed is the same function, to rounding. Everywhere else (on a
CPU, without gradients, where Triton cannot build its kernels) ``grid_sample`` reads.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor

logger = logging.getLogger(__name__)

COPIES_BYTES = 32 * 2**20  # for the copies of a grid's gradient; they should stay in a GPU's cache
MOST_COPIES = 8


@functools.cache
def kernels() -> Any:
    """The module of the kernels, after a try on the GPU; None, and a line in the log, where Triton does not work."""
    try:
        from s3dnerf.model import grid_kernels

        out = torch.zeros(1, 1, 8, device="cuda")
        grid_kernels.read(torch.ones(1, 1, 2, 2, 8, device="cuda"), torch.zeros(1, 2, 1, device="cuda"), out, 0)
        if not bool((out == 1.0).all()):
            raise RuntimeError(f"a grid of ones is read as {out[0, 0, 0]:.3f}")
    except Exception as error:  # what Triton raises has no common kind: its compiler's, ptxas's and the C compiler's
        logger.warning(
            f"Triton does not work here ({type(error).__name__}: {error}): PyTorch's grid_sample reads the grids, "
            "which makes a training step of the preset paper more than twice as long. Triton comes with PyTorch for "
            "CUDA and needs a C compiler"
        )
        return None
    return grid_kernels


def by_kernels(x: Tensor) -> bool:
    """Whether grids are read by the kernels at points on this tensor's device."""
    return x.is_cuda and torch.is_grad_enabled() and kernels() is not None


def _result_type(x: Tensor) -> torch.dtype:
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


def _gradient(grid: Tensor, points: Tensor, of_read: Tensor, column: int, of_points: Tensor | None) -> Tensor:
    copies = max(1, min(MOST_COPIES, COPIES_BYTES // (4 * grid.numel())))
    return kernels().gradients(grid, points, of_read, column, of_points, copies)


class _ReadPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, points: Tensor, *levels: Tensor) -> Tensor:
        channels = [level.shape[2] for level in levels]
        out = torch.empty(len(points), points.shape[2], sum(channels), device=points.device, dtype=_result_type(points))
        grids, column = [], 0
        for level, width in zip(levels, channels):
            grids.append(level.float().permute(0, 1, 3, 4, 2).contiguous())
            kernels().read(grids[-1], points, out, column)
            column += width
        ctx.save_for_backward(points, *grids)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_read: Tensor) -> tuple[Tensor | None, ...]:
        points, *grids = ctx.saved_tensors
        of_points = torch.zeros(points.shape, device=points.device) if ctx.needs_input_grad[0] else None
        of_read, column, made = of_read.contiguous(), 0, []
        for grid in grids:
            made.append(_gradient(grid, points, of_read, column, of_points).permute(0, 1, 4, 2, 3))
            column += grid.shape[4]
        return of_points, *made


class _AddRead(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, base: Tensor, points: Tensor, grid: Tensor, slope: float) -> Tensor:
        out = kernels().add_read(base, grid, points, slope)
        ctx.save_for_backward(points, grid, out)
        ctx.slope = slope
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        points, grid, out = ctx.saved_tensors
        of_sum = _leaky_relu_backward(of_out, out, ctx.slope)
        of_points = torch.zeros(points.shape, device=points.device) if ctx.needs_input_grad[1] else None
        return of_sum, of_points, _gradient(grid, points, of_sum, 0, of_points), None


class _LinearAndLeakyRelu(torch.autograd.Function):
    """In place without the views that would make autograd copy: a linear layer's result is needed by nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, slope: float) -> Tensor:
        out = functional.leaky_relu(functional.linear(x, weight, bias), slope, inplace=True)
        ctx.save_for_backward(x, weight, out)
        ctx.slope = slope
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_out: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, out = ctx.saved_tensors
        of_linear = _leaky_relu_backward(of_out, out, ctx.slope).flatten(0, 1)
        of_x = (of_linear @ weight).view(x.shape) if ctx.needs_input_grad[0] else None
        of_bias = of_linear.sum(0) if ctx.needs_input_grad[2] else None
        return of_x, of_linear.T @ x.flatten(0, 1), of_bias, None


def _leaky_relu_backward(of_out: Tensor, out: Tensor, slope: float) -> Tensor:
    """Of what went into a leaky ReLU, whose result has its sign."""
    return torch.ops.aten.leaky_relu_backward(of_out.contiguous(), out, slope, True)


def read_planes(levels: list[Float[Tensor, "b 3 c _h _w"]], points: Float[Tensor, "b 3 p"]) -> Float[Tensor, "b f p"]:
    """:func:`s3dnerf.model.triplane.sample_planes` by the kernels; in memory a point's features lie side by side.

    The result has autocast's type where autocast is on.
    """
    return _ReadPlanes.apply(points.float(), *levels).transpose(1, 2)


def add_read(
    base: Float[Tensor, "b c p"],
    cells: Float[Tensor, "b n c"],
    side: int,
    points: Float[Tensor, "b 2 p"],
    slope: float,
) -> Float[Tensor, "b c p"]:
    """The leaky ReLU of ``base`` plus what a grid of side² cells (row by row) shows at points, by the kernels.

    Parameters
    ----------
    base : with a point's channels side by side in memory, as :func:`pointwise` gives them
    """
    grid = cells.float().unflatten(1, (side, side))[:, None].contiguous()
    return _AddRead.apply(base.transpose(1, 2).contiguous(), points.float(), grid, slope).transpose(1, 2)


def pointwise(layer: nn.Conv1d, x: Float[Tensor, "b i p"], slope: float = 1.0) -> Float[Tensor, "b o p"]:
    """``layer``, a 1×1 convolution, and the leaky ReLU of ``slope`` (1: none).

    Where grids are read by kernels it is a matrix product, whose result has a point's channels side by side in memory.
    A GPU's matrix units take channels in eights: others are filled up with zeros.
    """
    if not by_kernels(x):
        out = layer(x)
        return out if slope == 1.0 else functional.leaky_relu(out, slope, inplace=True)
    kind, bias = _result_type(x), layer.bias
    weight, points_first = layer.weight[..., 0].to(kind), x.transpose(1, 2).to(kind)
    more_outputs, more_inputs = (-size % 8 for size in weight.shape)
    if more_inputs:
        points_first = functional.pad(points_first, (0, more_inputs))
    weight = functional.pad(weight, (0, more_inputs, 0, more_outputs))
    bias = None if bias is None else functional.pad(bias.to(kind), (0, more_outputs))
    points_first = points_first.contiguous()
    if slope == 1.0:
        out = functional.linear(points_first, weight, bias)
    else:
        out = _LinearAndLeakyRelu.apply(points_first, weight, bias, slope)
    return out[..., : layer.out_channels].transpose(1, 2)
