"""Super-resolution (3.3): raw features and the whole source picture, joined by the rendered alpha, to the final frame.

The source encoder reads the whole source picture at three or more resolutions. Alpha says where the rendered face
stands; elsewhere the source fills in. ``carry_source`` (ours, a setting) looks the source up where it has moved to
instead of where it was: inside the face at the place that the ray's deformed points project to in the source,
composited like a colour; outside between staying where it was and moving with the head, by a learned share, which
begins near one beside the face (hair, ears, throat) and near nothing far from it. The paper's appendix, which would say
how its module does this, was not available; without ``carry_source`` the source is read in place.

The final frame has 256² pixels whatever the network's resolution (``model.image_px``): it starts as the source picture
at full size, looked up like that, and is painted over by a learned gate, inside the face from the coarse colours. The
texture comes from the source, what the source does not show (a mouth that opens) from the rendered features. The
network gives the paint and the gate; both are enlarged to the frame.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.appearance import SLOPE, init_convolutions
from s3dnerf.model.cameras import FRAME_PX

# the gate's first opening as a logit: a source that moves along needs little paint, one read in place much
GATE_MOVING, GATE_IN_PLACE = -4.0, -1.0
# the first share of the head's motion, as a logit: NEAR times the opacity around, less FAR (0.05 where there is none)
NEAR, FAR = 16.0, 3.0


def _resize(x: Tensor, side: int) -> Tensor:
    return x if x.shape[-1] == side else functional.interpolate(x, (side, side), mode="bilinear", align_corners=False)


def identity_grid(batch: int, side: int, like: Tensor) -> Float[Tensor, "b s s 2"]:
    """A ``grid_sample`` grid that reads each pixel in place."""
    line = (torch.arange(side, device=like.device, dtype=like.dtype) + 0.5) * (2.0 / side) - 1.0
    return torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).expand(batch, side, side, 2)


def around(alpha: Float[Tensor, "b 1 r r"]) -> Float[Tensor, "b 1 r r"]:
    """How much face there is about each pixel: alpha averaged twice over a quarter of the frame's side."""
    reach = 2 * (alpha.shape[-1] // 8) + 1
    for _ in range(2):
        alpha = functional.avg_pool2d(alpha, reach, 1, reach // 2)
    return alpha


def look_up(
    level: Float[Tensor, "b c s s"], shift: Float[Tensor, "b 2 r r"] | None, mode: str = "bilinear"
) -> Float[Tensor, "b c s s"]:
    """What a picture of the source's shows at each pixel's place moved by ``shift``."""
    if shift is None:
        return level
    side = level.shape[-1]
    # the shift is enlarged, not the place: at the frame's edges places would stop half a raw pixel inside
    grid = _resize(shift, side).permute(0, 2, 3, 1) + identity_grid(len(shift), side, shift)
    return functional.grid_sample(level.float(), grid.float(), mode, "border", False)


class SourceEncoder(nn.Module):
    """The source picture at image_px → features at image_px, …, raw_px (finest first), a convolution a level."""

    def __init__(self, widths: list[int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, widths[0], 3, padding=1)
        self.down = nn.ModuleList(nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in zip(widths[:-1], widths[1:]))
        init_convolutions(self)

    def forward(self, picture: Float[Tensor, "b 3 s s"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Picture in 0 … 1 (b, 3, s, s) → one feature map a level, finest first."""
        levels = [functional.leaky_relu(self.first(picture * 2.0 - 1.0), SLOPE, inplace=True)]
        for layer in self.down:
            levels.append(functional.leaky_relu(layer(levels[-1]), SLOPE, inplace=True))
        return levels


class SuperResolution(nn.Module):
    """Supres(I_coarse, I_source) → I_fine.

    Parameters
    ----------
    features : channels of the raw image
    width : channels at raw_px; halved a block, at least 16 (fewer are no faster)
    raw_px, image_px : sides of the raw image and of the painted one; log2(image_px / raw_px) up-sampling blocks
    carry_source : look the source up where it has moved to
    """

    def __init__(self, features: int, width: int, raw_px: int, image_px: int, carry_source: bool) -> None:
        super().__init__()
        self.image_px, self.carry_source = image_px, carry_source
        blocks = round(math.log2(image_px / raw_px))
        widths = [max(width // 2**k, min(width, 16)) for k in range(blocks + 1)]  # coarse → fine
        self.source = SourceEncoder(widths[::-1])
        self.join = nn.Conv2d(features + widths[0] + 1, widths[0], 3, padding=1)
        self.refine = nn.Conv2d(widths[0], widths[0], 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Conv2d(widths[k] + widths[k + 1], widths[k + 1], 3, padding=1) for k in range(blocks)
        )
        init_convolutions(self)
        self.share = nn.Conv2d(widths[0] + 3, 1, 3, padding=1)
        self.out = nn.Conv2d(widths[-1], 4, 3, padding=1)
        for layer in (self.share, self.out):
            assert layer.bias is not None
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        assert self.out.bias is not None
        nn.init.constant_(self.out.bias[3:], GATE_MOVING if carry_source else GATE_IN_PLACE)

    def encode(self, picture: Float[Tensor, "b 3 256 256"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Once an identity: features of the whole source picture at image_px … raw_px, then the picture itself."""
        return [*self.source(functional.interpolate(picture, (self.image_px,) * 2, mode="area")), picture]

    def moved(
        self,
        source: Float[Tensor, "b c _h _w"],
        alpha: Float[Tensor, "b 1 r r"],
        seen: Float[Tensor, "b r r 2"],
        rigid: Float[Tensor, "b r r 2"],
    ) -> Float[Tensor, "b 2 r r"]:
        """How far from each raw pixel its content stands in the source, x and y; the frame's side is 2.

        Parameters
        ----------
        source : the source's features at raw_px
        alpha : as rendered
        seen : alpha-weighted sum of the deformed points' projections
        rigid : where the head's plane stands
        """
        still = identity_grid(len(alpha), alpha.shape[-1], alpha)
        distance = (rigid - still).permute(0, 3, 1, 2)
        near = NEAR * around(alpha) - FAR
        share = torch.sigmoid(self.share(torch.cat([source, alpha, distance], 1)) + near).permute(0, 2, 3, 1)
        grid = seen + (1.0 - alpha[:, 0, ..., None]) * (still + share * (rigid - still))
        return (grid - still).permute(0, 3, 1, 2)

    def forward(
        self,
        raw: Float[Tensor, "b f r r"],
        alpha: Float[Tensor, "b 1 r r"],
        shift: Float[Tensor, "b 2 r r"] | None,
        encoded: list[Float[Tensor, "b _c _h _w"]],
    ) -> tuple[Float[Tensor, "b 3 256 256"], Float[Tensor, "b 3 256 256"]]:
        """The final frame in about [0, 1], and what it is painted over: the source picture, looked up.

        Parameters
        ----------
        shift : :meth:`moved`'s; None reads the source in place
        encoded : :meth:`encode`'s, one a frame
        """
        *levels, picture = encoded
        beside = look_up(levels[-1], shift)  # raw is composited already: it carries alpha
        h = torch.cat([raw, beside * (1.0 - alpha) if shift is None else beside, alpha], 1)
        h = functional.leaky_relu(self.join(h), SLOPE, inplace=True)
        h = (h + functional.leaky_relu(self.refine(h), SLOPE, inplace=True)) * 0.7071
        for block, level in zip(self.blocks, levels[-2::-1]):
            h = functional.interpolate(h, scale_factor=2, mode="nearest")
            h = functional.leaky_relu(block(torch.cat([h, look_up(level, shift)], 1)), SLOPE, inplace=True)
        picture = look_up(picture, shift, "bicubic")  # what is shown: bilinear reading between pixels would blur it
        out, colours, inside = (_resize(x, FRAME_PX) for x in (self.out(h).float(), raw[:, :3], alpha))
        paint = colours + (1.0 - inside) * picture + out[:, :3]
        return picture + torch.sigmoid(out[:, 3:]) * (paint - picture), picture
