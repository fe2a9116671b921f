"""Hierarchical Facial Appearance Encoder (3.1): a picture of the inner face to multi-scale tri-planes, eq. 1.

    F^i = Conv^i([Up^i(F^{i+1}), D^i])   i = 0, 1, 2
    F^3 = Conv^3(D^3)                    (a 1×1 convolution: the channels must divide by three; METHOD, errata)

The pyramid is convolutional and knows no place, but a plane is read at places: the picture comes with its two
coordinates, and the two smallest levels carry a learned bias a cell, the mean head.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor

LEVELS = 4
SLOPE = 0.2  # of every leaky ReLU of the model


def init_convolutions(module: nn.Module) -> None:
    """Kaiming weights for leaky ReLUs, zero biases."""
    for part in module.modules():
        if isinstance(part, (nn.Conv1d, nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(part.weight, a=SLOPE)
            if part.bias is not None:
                nn.init.zeros_(part.bias)


class DownBlock(nn.Module):
    """``Down^i``: halves the resolution; one residual convolution after the strided one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1)
        self.refine = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """(b, i, h, w) → (b, o, h / 2, w / 2)."""
        x = functional.leaky_relu(self.down(x), SLOPE, inplace=True)
        return (x + functional.leaky_relu(self.refine(x), SLOPE, inplace=True)) * 0.7071  # the sum keeps its variance


class UpBlock(nn.Module):
    """``Up^i``: doubles the resolution, then a 3×3 convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, 3, padding=1)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """(b, i, h, w) → (b, o, 2 h, 2 w)."""
        x = functional.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        return functional.leaky_relu(self.convolution(x), SLOPE, inplace=True)


class AppearanceEncoder(nn.Module):
    """Four down-sampling blocks and a top-down pyramid.

    Parameters
    ----------
    width : channels of D⁰; doubled a level
    plane_channels : C, channels of one plane
    image_px : side of the picture; D⁰…D³ have a half, a quarter, an eighth and a sixteenth of it
    """

    def __init__(self, width: int, plane_channels: int, image_px: int = 256) -> None:
        super().__init__()
        widths = [width * 2**i for i in range(LEVELS)]
        outputs = 3 * plane_channels
        self.down = nn.ModuleList(DownBlock(i, o) for i, o in zip([5, *widths[:-1]], widths))
        self.up = nn.ModuleList(UpBlock(outputs, outputs) for _ in range(LEVELS - 1))
        self.merge = nn.ModuleList(nn.Conv2d(outputs + widths[i], outputs, 1) for i in range(LEVELS - 1))
        self.top = nn.Conv2d(widths[-1], outputs, 1)
        init_convolutions(self)
        sides = [image_px // 2 ** (i + 1) for i in range(LEVELS)]
        self.mean_head = nn.ParameterList(nn.Parameter(0.1 * torch.randn(1, outputs, s, s)) for s in sides[2:])

    def forward(self, face: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b 3 c _h _w"]]:
        """Tri-planes F⁰…F³ of a masked face in [0, 1]; ``F[i][:, 0]`` is plane XY, 1 is YZ, 2 is XZ."""
        line = (torch.arange(face.shape[-1], device=face.device, dtype=face.dtype) + 0.5) * (2.0 / face.shape[-1]) - 1.0
        shape = (len(face), 1, face.shape[-1], face.shape[-1])
        x = torch.cat([face * 2.0 - 1.0, line.expand(shape), line[:, None].expand(shape)], 1)
        scales = []
        for block in self.down:
            x = block(x)
            scales.append(x)
        levels = [self.top(scales[-1]) + self.mean_head[1]]
        for i in reversed(range(LEVELS - 1)):
            joined = self.merge[i](torch.cat([self.up[i](levels[0]), scales[i]], 1))
            levels.insert(0, joined + self.mean_head[0] if i == 2 else joined)
        return [level.unflatten(1, (3, -1)) for level in levels]
