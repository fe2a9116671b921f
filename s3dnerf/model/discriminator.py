"""One dual StyleGAN2-type discriminator (3.4): six channels, the fine frame and the up-sampled coarse one.

Real pairs are the target and the masked target, so that both images face an adversary. Residual blocks, the standard
deviation over a fixed group of frames as a further channel (a group is the T frames of one sample: the score does not
depend on how samples are spread over processes), equalised learning rates (:func:`equalised`).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.appearance import SLOPE, init_convolutions


def halved(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Means of 2×2 pixels; on a GPU as :func:`mean_of_squares`, for ``avg_pool2d`` is slow there on channels-last
    pictures, its gradient above all.
    """
    return mean_of_squares(x) if x.is_cuda else functional.avg_pool2d(x, 2)


def mean_of_squares(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h2 w2"]:
    """Means of 2×2 pixels, channels last in memory, and so are the gradients."""
    return x.permute(0, 2, 3, 1).unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).mean((2, 4)).permute(0, 3, 1, 2)


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions and a 1×1 skip, halving the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.second = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1, bias=False)

    def forward(self, x: Float[Tensor, "b i h w"]) -> Float[Tensor, "b o h2 w2"]:
        """(b, i, h, w) → (b, o, h / 2, w / 2)."""
        h = functional.leaky_relu(self.first(x), SLOPE, inplace=True)
        h = halved(functional.leaky_relu(self.second(h), SLOPE, inplace=True))
        return (h + self.skip(halved(x))) * 0.7071


def group_deviation(x: Float[Tensor, "b c h w"], group: int) -> Float[Tensor, "b 1 h w"]:
    """Mean over channels and places of the standard deviation over each run of ``group`` frames, as a channel.

    Raises ValueError when the batch is not a whole number of groups.
    """
    if len(x) % group:
        raise ValueError(f"a batch of {len(x)} frames: expected a multiple of the group, {group}")
    # [b / group]
    deviation = (x.float().unflatten(0, (-1, group)).var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    return deviation.repeat_interleave(group)[:, None, None, None].expand(-1, 1, *x.shape[2:]).to(x.dtype)


class Discriminator(nn.Module):
    """Scores pairs of (fine, coarse) frames.

    Parameters
    ----------
    width : channels at full resolution, doubled a block up to eight times
    image_px : side of the pair
    group : frames whose deviation is taken together (T)
    """

    def __init__(self, width: int, image_px: int, group: int) -> None:
        super().__init__()
        self.group = group
        blocks = max(1, round(math.log2(image_px / 4)))
        widths = [width * min(2**k, 8) for k in range(blocks + 1)]
        self.first = nn.Conv2d(6, widths[0], 1)
        self.blocks = nn.Sequential(*(ResidualBlock(i, o) for i, o in zip(widths[:-1], widths[1:])))
        self.last = nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1)
        side = image_px // 2**blocks
        self.score = nn.Sequential(
            nn.Linear(widths[-1] * side * side, widths[-1]), nn.LeakyReLU(SLOPE), nn.Linear(widths[-1], 1)
        )
        init_convolutions(self)
        # torch's overloads lack it; twice as fast on a CPU
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pair: Float[Tensor, "b 6 s s"]) -> Float[Tensor, "b 1"]:
        """Pairs of frames in 0 … 1 (b, 6, s, s) → scores (b, 1), higher for what looks real."""
        x = functional.leaky_relu(self.first(pair * 2.0 - 1.0), SLOPE, inplace=True)
        x = self.blocks(x)
        x = torch.cat([x, group_deviation(x, self.group)], 1)
        return self.score(functional.leaky_relu(self.last(x), SLOPE, inplace=True).flatten(1))


def equalised(discriminator: Discriminator) -> list[dict[str, Any]]:
    """Parameter groups for Adam, each with the ``scale`` of its step size: equalised learning rates (Karras et al.,
    2018, 4.1).

    A weight's scale is the standard deviation that it began with, a bias's is 1. Adam moves every weight equally far,
    whatever its size: with 8,192 inputs a neuron, as at the paper's width, one unscaled step of 2e-4 moved the scores
    by 45. The scaling of weights in the forward pass, as the source has it, comes to the same steps.
    """
    groups: dict[float, list[nn.Parameter]] = {}
    for weights in discriminator.parameters():
        # as init_convolutions draws them
        scale = math.sqrt(2.0 / (1.0 + SLOPE**2) / weights[0].numel()) if weights.ndim > 1 else 1.0
        groups.setdefault(scale, []).append(weights)
    return [{"params": held, "scale": scale} for scale, held in groups.items()]


def dual(fine: Float[Tensor, "b 3 s s"], coarse: Float[Tensor, "b 3 r r"]) -> Float[Tensor, "b 6 s s"]:
    """The discriminator's input: fine, and coarse up-sampled to it."""
    return torch.cat([fine, functional.interpolate(coarse, fine.shape[-2:], mode="bilinear", align_corners=False)], 1)
