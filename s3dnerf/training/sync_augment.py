"""Variation of lip crops and of sound in training, so that what is learned holds for new faces, rooms and voices.

Each window is varied as a whole: its five crops move, mirror, blur and change colour together, since what matters is
how they differ from each other. Evaluation uses :func:`plain_lips`. All draws come from one ``torch.Generator``.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from s3dnerf.core.shapes import Float, Int, Tensor

TURN_DEGREES = 8.0
SCALE = (0.85, 1.15)
GAIN = (0.75, 1.3)
TINT = 0.15
BLUR_SHARE = 0.3  # a generator's lips are softer than a camera's
LEVEL = 0.8  # ±10 dB
TILT = 0.6
MEL_SHIFT = 3  # bins: voices with longer or shorter throats
MASK_BINS = 10
TOKEN_NOISE, TOKEN_GAIN = 0.3, 0.3  # of each number, and of a channel over a window, in its standard deviations


def plain_lips(lips: Int[Tensor, "b t c p p"], margin: int) -> Float[Tensor, "b t c s s"]:
    """Crops without their margin, 0 … 1."""
    side = lips.shape[-1]
    return lips[..., margin : side - margin, margin : side - margin].float() / 255


def _uniform(count: int, low: float, high: float, generator: torch.Generator, device: torch.device) -> Tensor:
    return torch.rand(count, generator=generator).to(device) * (high - low) + low


def varied_lips(lips: Int[Tensor, "b t c p p"], margin: int, generator: torch.Generator) -> Float[Tensor, "b t c s s"]:
    """Crops without their margin, 0 … 1: turned, scaled, shifted by up to the margin, mirrored; light, tint, blur,
    noise.
    """
    b, t, c, side, _ = lips.shape
    device, size = lips.device, side - 2 * margin
    angle = _uniform(b, -1, 1, generator, device) * math.radians(TURN_DEGREES)
    scale = _uniform(b, *SCALE, generator, device) * size / side
    mirror = torch.where(_uniform(b, 0, 1, generator, device) < 0.5, -1.0, 1.0)
    shift = (torch.rand(b, 2, generator=generator).to(device) * 2 - 1) * 2 * margin / side
    turn = torch.stack(
        [torch.cos(angle) * mirror, -torch.sin(angle), torch.sin(angle) * mirror, torch.cos(angle)], 1
    ).view(b, 2, 2)
    affine = torch.cat([turn * scale[:, None, None], shift[:, :, None]], dim=2)  # [b, 2, 3]
    grid = F.affine_grid(affine, [b, t * c, size, size], align_corners=False)
    out = F.grid_sample(
        lips.float().flatten(1, 2) / 255, grid, mode="bilinear", padding_mode="border", align_corners=False
    )
    soft = _uniform(b, 0, 1, generator, device) < BLUR_SHARE
    if bool(soft.any()):
        small = F.interpolate(out[soft], scale_factor=0.5, mode="bilinear", antialias=True, align_corners=False)
        out = out.index_copy(
            0, soft.nonzero()[:, 0], F.interpolate(small, size=(size, size), mode="bilinear", align_corners=False)
        )
    out = out.view(b, t, c, size, size)
    gain = _uniform(b, *GAIN, generator, device)[:, None] * (
        1 + TINT * (torch.rand(b, c, generator=generator).to(device) * 2 - 1)
    )
    grain = torch.rand(b, t, 1, size, size, generator=generator).to(device) * 2 - 1
    noise = grain * _uniform(b, 0, 0.03, generator, device)[:, None, None, None, None]
    return (out * gain[:, None, :, None, None] + noise).clamp(0, 1)


def varied_mel(mel: Float[Tensor, "b m k"], generator: torch.Generator) -> Float[Tensor, "b m k"]:
    """Mel windows at another level and tilt, moved by a few bins, one band at the window's mean."""
    b, _, bins = mel.shape
    device = mel.device
    shift = torch.randint(-MEL_SHIFT, MEL_SHIFT + 1, (b,), generator=generator).to(device)
    where = (torch.arange(bins, device=device)[None] + shift[:, None]).clamp(0, bins - 1)  # [b, k]
    out = mel.gather(2, where[:, None].expand_as(mel))
    ramp = torch.linspace(-1, 1, bins, device=device)
    # [b, k]
    level = (
        _uniform(b, -LEVEL, LEVEL, generator, device)[:, None]
        + _uniform(b, -TILT, TILT, generator, device)[:, None] * ramp
    )
    out = (out + level[:, None]).clamp(-4, 4)
    first = torch.randint(0, bins, (b,), generator=generator).to(device)
    length = torch.randint(0, MASK_BINS + 1, (b,), generator=generator).to(device)
    place = torch.arange(bins, device=device)[None]
    masked = (place >= first[:, None]) & (place < (first + length)[:, None])  # [b, k]
    return torch.where(masked[:, None], out.mean(dim=(1, 2), keepdim=True), out)


def varied_tokens(
    tokens: Float[Tensor, "b 10 d"], std: Float[Tensor, " d"], generator: torch.Generator
) -> Float[Tensor, "b 10 d"]:
    """Token windows with noise and a constant of their own, a value a channel.

    Parameters
    ----------
    std : of the training tokens, a value a channel
    """
    throat = torch.randn(len(tokens), 1, tokens.shape[2], generator=generator).to(tokens.device)
    noise = torch.randn(tokens.shape, generator=generator).to(tokens.device)
    return tokens + std.to(tokens.device) * (TOKEN_GAIN * throat + TOKEN_NOISE * noise)
