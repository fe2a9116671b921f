"""Triton kernels that read grids at points, forward and backward, channels last. Imported where a GPU trains.

A program handles a block of points: each point's channels lie side by side, so that reads and additions go over whole
cache lines. PyTorch's ``grid_sample`` walks channel by channel; the gradients of neighbouring points, which read the
same few cells, then wait for one another.

Layouts: grids (b, planes, h, w, c); points (b, 2, p) for one plane, (b, 3, p) for three, any strides; what is read
(b, p, row), of which one grid fills the columns from ``column``. Three planes are read at :data:`triplane.PLANES` of
the coordinates and averaged.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

BLOCK_NUMBERS = 2048  # points of a program times channels


@triton.jit
def _line(at, side):
    """Along one axis: two cells, the second one's weight, and cells a unit of the coordinate (0 beyond the edge)."""
    place = ((at + 1.0) * side - 1.0) * 0.5
    slope = tl.where((place > 0.0) & (place < side - 1.0), 0.5 * side, 0.0)
    place = tl.minimum(tl.maximum(place, 0.0), side - 1.0)
    first = tl.floor(place)
    second_weight = place - first
    first = first.to(tl.int32)
    return first, tl.minimum(first + 1, side - 1), second_weight, slope


@triton.jit
def _axis(points, index, stride, offsets, live):
    return tl.load(points + index * stride + offsets, mask=live, other=0.0)


@triton.jit
def read_kernel(
    grid, points, base, out, count, height, width, point_batch, point_axis, point_step, row, column, slope,
    PLANES: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, ADD: tl.constexpr,
):  # fmt: skip
    """``out`` = the mean of the planes read at the points; with ADD the leaky ReLU of ``base`` plus that."""
    batch = tl.program_id(1).to(tl.int64)
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = number < count
    channel = tl.arange(0, WIDE)[None]
    mask = live[:, None] & (channel < CHANNELS)
    points += batch * point_batch
    offsets = number.to(tl.int64) * point_step
    total = tl.zeros((BLOCK, WIDE), tl.float32)
    for plane in tl.static_range(PLANES):
        first = 1 if plane == 1 else 0
        second = 1 if plane == 0 else 2
        x = _axis(points, first, point_axis, offsets, live)
        y = _axis(points, second, point_axis, offsets, live)
        x0, x1, fx, _ = _line(x, width)
        y0, y1, fy, _ = _line(y, height)
        cells = grid + (batch * PLANES + plane) * height * width * CHANNELS + channel
        total += tl.load(cells + (y0 * width + x0)[:, None] * CHANNELS, mask=mask) * ((1 - fx) * (1 - fy))[:, None]
        total += tl.load(cells + (y0 * width + x1)[:, None] * CHANNELS, mask=mask) * (fx * (1 - fy))[:, None]
        total += tl.load(cells + (y1 * width + x0)[:, None] * CHANNELS, mask=mask) * ((1 - fx) * fy)[:, None]
        total += tl.load(cells + (y1 * width + x1)[:, None] * CHANNELS, mask=mask) * (fx * fy)[:, None]
    total *= 1.0 / PLANES
    place = (batch * count + number.to(tl.int64))[:, None] * row + column + channel
    if ADD:
        total += tl.load(base + place, mask=mask).to(tl.float32)
        total = tl.where(total > 0.0, total, total * slope)
    tl.store(out + place, total.to(out.dtype.element_ty), mask=mask)


@triton.jit
def gradient_kernel(
    grid, points, read, grid_gradient, point_gradient, count, height, width,
    point_batch, point_axis, point_step, row, column, copies, copy_stride,
    PLANES: tl.constexpr, CHANNELS: tl.constexpr, WIDE: tl.constexpr, BLOCK: tl.constexpr, OF_POINTS: tl.constexpr,
):  # fmt: skip
    """Add to the gradient of the grid (spread over copies) and of the points, from that of what was read (``read``)."""
    batch = tl.program_id(1).to(tl.int64)
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    live = number < count
    channel = tl.arange(0, WIDE)[None]
    mask = live[:, None] & (channel < CHANNELS)
    points += batch * point_batch
    offsets = number.to(tl.int64) * point_step
    source = read + (batch * count + number.to(tl.int64))[:, None] * row + column + channel
    given = tl.load(source, mask=mask, other=0.0).to(tl.float32) * (1.0 / PLANES)
    grid_gradient += (tl.program_id(0) % copies).to(tl.int64) * copy_stride
    for plane in tl.static_range(PLANES):
        first = 1 if plane == 1 else 0
        second = 1 if plane == 0 else 2
        x0, x1, fx, x_slope = _line(_axis(points, first, point_axis, offsets, live), width)
        y0, y1, fy, y_slope = _line(_axis(points, second, point_axis, offsets, live), height)
        base = (batch * PLANES + plane) * height * width * CHANNELS
        at00 = base + (y0 * width + x0)[:, None] * CHANNELS + channel
        at01 = base + (y0 * width + x1)[:, None] * CHANNELS + channel
        at10 = base + (y1 * width + x0)[:, None] * CHANNELS + channel
        at11 = base + (y1 * width + x1)[:, None] * CHANNELS + channel
        tl.atomic_add(grid_gradient + at00, given * ((1 - fx) * (1 - fy))[:, None], mask=mask, sem="relaxed")
        tl.atomic_add(grid_gradient + at01, given * (fx * (1 - fy))[:, None], mask=mask, sem="relaxed")
        tl.atomic_add(grid_gradient + at10, given * ((1 - fx) * fy)[:, None], mask=mask, sem="relaxed")
        tl.atomic_add(grid_gradient + at11, given * (fx * fy)[:, None], mask=mask, sem="relaxed")
        if OF_POINTS:
            s00 = tl.sum(given * tl.load(grid + at00, mask=mask, other=0.0), 1)
            s01 = tl.sum(given * tl.load(grid + at01, mask=mask, other=0.0), 1)
            s10 = tl.sum(given * tl.load(grid + at10, mask=mask, other=0.0), 1)
            s11 = tl.sum(given * tl.load(grid + at11, mask=mask, other=0.0), 1)
            of_x = ((s01 - s00) * (1 - fy) + (s11 - s10) * fy) * x_slope
            of_y = ((s10 - s00) * (1 - fx) + (s11 - s01) * fx) * y_slope
            target = point_gradient + batch * (2 if PLANES == 1 else 3) * count + number
            tl.store(target + first * count, tl.load(target + first * count, mask=live) + of_x, mask=live)
            tl.store(target + second * count, tl.load(target + second * count, mask=live) + of_y, mask=live)


def _shape(grid: torch.Tensor, points: torch.Tensor) -> tuple[tuple[int, int], dict[str, int]]:
    """Programs, and the constants of a kernel."""
    batch, planes, _, _, channels = grid.shape
    wide = triton.next_power_of_2(channels)
    block = max(16, BLOCK_NUMBERS // wide)
    constants = {"PLANES": planes, "CHANNELS": channels, "WIDE": wide, "BLOCK": block}
    return (triton.cdiv(points.shape[2], block), batch), constants


def read(grid: torch.Tensor, points: torch.Tensor, out: torch.Tensor, column: int) -> None:
    """Fill the columns of ``out`` from ``column`` by what ``grid`` shows at ``points``.

    Parameters
    ----------
    grid : (b, 1 or 3, h, w, c) float32, contiguous
    points : (b, 2 or 3, p) float32; −1 … 1, beyond it the edge
    out : (b, p, row), contiguous
    """
    programs, constants = _shape(grid, points)
    height, width = grid.shape[2:4]
    read_kernel[programs](
        grid, points, out, out, points.shape[2], height, width, *points.stride(), out.shape[2], column, 0.0,
        **constants, ADD=False,
    )  # fmt: skip


def add_read(base: torch.Tensor, grid: torch.Tensor, points: torch.Tensor, slope: float) -> torch.Tensor:
    """The leaky ReLU of ``base`` (b, p, c), contiguous, plus what ``grid`` shows at ``points`` (see :func:`read`)."""
    programs, constants = _shape(grid, points)
    out, (height, width) = torch.empty_like(base), grid.shape[2:4]
    read_kernel[programs](
        grid, points, base, out, points.shape[2], height, width, *points.stride(), base.shape[2], 0, slope,
        **constants, ADD=True,
    )  # fmt: skip
    return out


def gradients(
    grid: torch.Tensor,
    points: torch.Tensor,
    of_read: torch.Tensor,
    column: int,
    of_points: torch.Tensor | None,
    copies: int,
) -> torch.Tensor:
    """The grid's gradient; the points' is added to ``of_points``.

    Parameters
    ----------
    of_read : (b, p, row), contiguous: the gradient of what was read
    of_points : (b, 2 or 3, p) float32, contiguous
    copies : of the grid's gradient, each added to by some of the programs, so that fewer of them wait for one another
    """
    programs, constants = _shape(grid, points)
    height, width = grid.shape[2:4]
    made = torch.zeros((copies, *grid.shape), device=grid.device)
    gradient_kernel[programs](
        grid, points, of_read, made, made if of_points is None else of_points, points.shape[2], height, width,
        *points.stride(), of_read.shape[2], column, copies, grid.numel(), **constants, OF_POINTS=of_points is not None,
    )  # fmt: skip
    return made[0] if copies == 1 else made.sum(0)
