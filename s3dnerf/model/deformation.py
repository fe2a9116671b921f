"""Deform(x, a_dri, F_cm) → Δx, eq. 4: a U-shaped MLP over points.

The input is the position code of x (in box units), the pooled speech of the frame and, by variant, F_cm read at x's
projection into the source image (``full``), nothing more (``naive``) or the tri-plane feature at x
(``feature_concat``). The pooled speech may carry the lips (:mod:`s3dnerf.model.lip_shapes`).

The last layer starts at zero: Δx is exactly zero before training. ``tanh`` bounds it.

The first layer is linear, so it is split by input: speech is applied once a frame, F_cm once a cell and then read
bilinearly (reading is linear as well): the same numbers as concatenating the inputs at each point, far cheaper. With
octaves of the position code the layer sees 3·(1 + 2·octaves) numbers a point.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.appearance import SLOPE, init_convolutions
from s3dnerf.model.grid_reading import add_read, by_kernels, pointwise


def position_code(x: Float[Tensor, "b 3 p"], octaves: int) -> Float[Tensor, "b c p"]:
    """x, sin(2^k π x / 2), cos(2^k π x / 2) for k < octaves: the lowest octave spans the box."""
    parts = [x]
    for k in range(octaves):
        angle = x * (math.pi * 2.0 ** (k - 1))
        parts += [torch.sin(angle), torch.cos(angle)]
    return torch.cat(parts, 1)


class Deformation(nn.Module):
    """The U-shaped MLP.

    Parameters
    ----------
    widths : widths of its layers, a palindrome (down and up again); layers of equal width are joined by skips
    octaves : of the position code
    speech_dim : width of the pooled speech
    cell_dim : width of F_cm, or 0
    point_dim : width of the tri-plane feature, or 0
    bound : largest |Δx| along an axis, as a fraction of the box's half side
    """

    def __init__(
        self,
        widths: tuple[int, ...],
        octaves: int,
        speech_dim: int,
        cell_dim: int,
        point_dim: int,
        bound: float,
    ) -> None:
        super().__init__()
        if len(widths) % 2 == 0 or tuple(widths) != tuple(reversed(widths)):
            raise ValueError(
                f"model.deform_widths: {list(widths)} — accepted: an odd number of widths that read the same backwards"
            )
        self.octaves, self.bound = octaves, bound
        self.from_position = nn.Conv1d(3 * (1 + 2 * octaves), widths[0], 1)
        self.from_speech = nn.Linear(speech_dim, widths[0], bias=False)
        self.from_cells = nn.Linear(cell_dim, widths[0], bias=False) if cell_dim else None
        self.from_points = nn.Conv1d(point_dim, widths[0], 1, bias=False) if point_dim else None
        self.layers = nn.ModuleList(nn.Conv1d(i, o, 1) for i, o in zip(widths[:-1], widths[1:]))
        init_convolutions(self)
        self.out = nn.Conv1d(widths[-1], 3, 1)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        x: Float[Tensor, "b 3 p"],
        speech: Float[Tensor, "b d"],
        cells: Float[Tensor, "b n c"] | None,
        seen: Float[Tensor, "b 2 p"] | None,
        points: Float[Tensor, "b f p"] | None,
    ) -> Float[Tensor, "b 3 p"]:
        """Δx in box units (half sides).

        Parameters
        ----------
        x : points in box units, canonical axes
        speech : pooled speech of each frame
        cells, seen : F_cm (rows of cells, row by row) and where each point projects to, source window coordinates
        points : tri-plane features at x
        """
        h = self._first_layer(x, speech, cells, seen, points)
        skips = [h]
        half = len(self.layers) // 2
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, nn.Conv1d)
            h = pointwise(layer, h, SLOPE)
            if i < half - 1:
                skips.append(h)
            elif i >= half:
                h = h + skips.pop()
        return torch.tanh(pointwise(self.out, h).float()) * self.bound

    def _first_layer(
        self, x: Tensor, speech: Tensor, cells: Tensor | None, seen: Tensor | None, points: Tensor | None
    ) -> Float[Tensor, "b w p"]:
        h, told = pointwise(self.from_position, position_code(x, self.octaves)), self.from_speech(speech)
        if self.from_cells is not None and by_kernels(x):
            assert cells is not None and seen is not None
            # the weights by which a point reads cells add up to one: speech may as well be added to each cell
            return add_read(h, self.from_cells(cells) + told[:, None], math.isqrt(cells.shape[1]), seen, SLOPE)
        h = h.add_(told[..., None])  # in place: nothing needs the parts again
        if self.from_cells is not None:
            assert cells is not None and seen is not None
            side = math.isqrt(cells.shape[1])
            grid = self.from_cells(cells).transpose(1, 2).unflatten(2, (side, side))  # [b, w, side, side]
            at = seen.transpose(1, 2)[:, None]  # [b, 1, p, 2]
            h = h.add_(
                functional.grid_sample(grid.float(), at.float(), padding_mode="border", align_corners=False)[:, :, 0]
            )
        if self.from_points is not None:
            assert points is not None
            h = h.add_(pointwise(self.from_points, points))
        return functional.leaky_relu(h, SLOPE, inplace=True)
