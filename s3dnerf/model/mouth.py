"""The mouth, painted at 256² where its lips stand (``model.mouth_width``; ours, off in the paper's preset).

A source that moves along its rendered flow shows what the source shows: a closed mouth that should open is stretched,
flesh where teeth belong. A small U-shaped network repaints a square of :data:`MOUTH_PX` pixels about the lips, given
what stands there already and the lips' outlines as signed distances. What it adds to the frame is nothing before
training and vanishes towards the square's edge: there is no seam, and elsewhere the frame stays as it was. (Colours of
its own, laid over the frame by a mask, were tried: early on they are worse than the frame, the mask closes, and with it
closed nothing learns any more.)
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Int, Tensor
from s3dnerf.model.appearance import SLOPE, init_convolutions
from s3dnerf.model.cameras import FRAME_PX

MOUTH_PX, EDGE_PX = 64, 8
REACH_PX = 4.0  # within it signed distances tell places apart
OUTER, INNER = slice(0, 12), slice(12, 20)  # of the lips' landmarks


def signed_distance(outline: Float[Tensor, "b k 2"], places: Float[Tensor, "b p 2"]) -> Float[Tensor, "b p"]:
    """How far inside a closed polygon places lie; negative outside."""
    start, end = outline[:, None], outline.roll(-1, 1)[:, None]  # [b, 1, k, 2]
    at = places[:, :, None]
    edge, to = end - start, at - start
    along = ((to * edge).sum(-1) / edge.square().sum(-1).clamp_min(1e-6)).clamp(0.0, 1.0)
    away = (to - along[..., None] * edge).square().sum(-1).amin(-1).clamp_min(1e-12).sqrt()
    y, height = at[..., 1], edge[..., 1]
    crosses = (start[..., 1] > y) != (end[..., 1] > y)
    met = start[..., 0] + (y - start[..., 1]) * edge[..., 0] / torch.where(height == 0, 1.0, height)
    inside = (crosses & (at[..., 0] < met)).sum(-1) % 2 == 1
    return torch.where(inside, away, -away)


class MouthPainter(nn.Module):
    """A frame and where its lips stand → the frame with its mouth painted.

    Parameters
    ----------
    width : channels at full resolution; doubled at each of two coarser ones
    """

    edge: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        w = width
        self.first = nn.Conv2d(5, w, 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(i, 2 * i, 4, stride=2, padding=1) for i in (w, 2 * w))
        self.middle = nn.Conv2d(4 * w, 4 * w, 3, padding=1)
        self.up = nn.ModuleList(nn.Conv2d(3 * i, i, 3, padding=1) for i in (2 * w, w))
        init_convolutions(self)
        self.out = nn.Conv2d(w, 3, 3, padding=1)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        place = torch.arange(MOUTH_PX) + 0.5
        line = (torch.minimum(place, MOUTH_PX - place) / EDGE_PX).clamp_max(1.0)
        self.register_buffer("edge", torch.minimum(line[:, None], line[None]), persistent=False)

    @staticmethod
    def square(lips: Float[Tensor, "b 20 2"]) -> Int[Tensor, "b 2"]:
        """The square's first column and row: about the lips, inside the frame."""
        return (lips.mean(1) - MOUTH_PX / 2).round().clamp(0, FRAME_PX - MOUTH_PX).long()

    def forward(
        self, frame: Float[Tensor, "b 3 256 256"], lips: Float[Tensor, "b 20 2"]
    ) -> Float[Tensor, "b 3 256 256"]:
        """The painted frame in about [0, 1].

        Parameters
        ----------
        lips : landmarks in pixels of the frame
        """
        first = self.square(lips)
        line = torch.arange(MOUTH_PX, device=frame.device)
        column, row = (first[:, i, None] + line for i in range(2))  # [b, p]
        index = (row[:, :, None] * FRAME_PX + column[:, None]).flatten(1)[:, None].expand(-1, 3, -1)
        there = frame.flatten(2).gather(2, index).unflatten(2, (MOUTH_PX, MOUTH_PX))
        places = torch.stack([column[:, None].expand(-1, MOUTH_PX, -1), row[:, :, None].expand(-1, -1, MOUTH_PX)], -1)
        places = places.flatten(1, 2) + 0.5
        outlines = [signed_distance(lips[:, part].float(), places) / REACH_PX for part in (OUTER, INNER)]
        drawn = torch.tanh(torch.stack(outlines, 1)).unflatten(2, (MOUTH_PX, MOUTH_PX))
        # what stands there tells the painter about skin and light; it is not trained through it
        change = torch.tanh(self.paint(torch.cat([there.detach() * 2.0 - 1.0, drawn], 1)).float()) * self.edge
        return frame.flatten(2).scatter_add(2, index, change.flatten(2)).unflatten(2, (FRAME_PX, FRAME_PX))

    def paint(self, x: Float[Tensor, "b 5 s s"]) -> Float[Tensor, "b 3 s s"]:
        """What to add, before it is bounded."""
        levels = [functional.leaky_relu(self.first(x), SLOPE, inplace=True)]
        for layer in self.down:
            levels.append(functional.leaky_relu(layer(levels[-1]), SLOPE, inplace=True))
        h = levels.pop()
        h = (h + functional.leaky_relu(self.middle(h), SLOPE, inplace=True)) * 0.7071
        for layer in self.up:
            h = functional.interpolate(h, scale_factor=2, mode="nearest")
            h = functional.leaky_relu(layer(torch.cat([h, levels.pop()], 1)), SLOPE, inplace=True)
        return self.out(h)
