"""The towers of the lip-sync networks (3.4): T lip crops → embedding; 16 mel columns or 10 speech tokens → embedding.

Convolutions that halve the grid, one residual block a level, no ReLU at the end so that the cosine has its whole range.
The paper gives no architecture; this one follows the proportions of Wav2Lip's expert and scales by ``width``.
"""

from __future__ import annotations

import torch
from torch import nn

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.sync.audio_windows import TOKENS


class Residual(nn.Module):
    """x + conv(relu(conv(x))), each convolution with batch norm."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(channels)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """(b, c, h, w) → (b, c, h, w)."""
        inner = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(x + self.second_norm(self.second(inner)))


def _down(channels_in: int, channels: int, kernel: int, stride: tuple[int, int]) -> nn.Sequential:
    """Halve the grid (by ``stride``), change the channels, one residual block."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        Residual(channels),
    )


class VisualTower(nn.Module):
    """T lip crops stacked as channels → embedding.

    Parameters
    ----------
    frames : int, T
    size : int, side of a crop: 48 or 96
    width : int, channels of the first convolution; doubled a level, up to 8×
    embed : int
    grey : bool, whether the three colours of a crop are averaged first (few speakers: their skins and lips teach
        nothing)
    """

    def __init__(self, frames: int, size: int, width: int, embed: int, grey: bool = False) -> None:
        super().__init__()
        levels = {48: 4, 96: 5}.get(size)
        if levels is None:
            raise ValueError(f"size: expected 48 or 96, got {size}")
        self.frames, self.size, self.grey = frames, size, grey
        widths = [min(width * 2**i, width * 8) for i in range(levels)]
        blocks = [_down(3 * frames, widths[0], 5, (2, 2))]
        blocks += [_down(a, b, 3, (2, 2)) for a, b in zip(widths, widths[1:])]
        self.blocks = nn.Sequential(*blocks)  # … 3 × 3
        self.join = nn.Sequential(
            nn.Conv2d(widths[-1], widths[-1], 3, bias=False), nn.BatchNorm2d(widths[-1]), nn.ReLU()
        )
        self.head = nn.Linear(widths[-1], embed)

    def forward(self, lips: Float[Tensor, "b t 3 s s"]) -> Float[Tensor, "b e"]:
        """``lips`` in 0 … 1. Each window's own mean and contrast are taken out first: skin and light say nothing of
        sync.
        """
        if lips.shape[1:] != (self.frames, 3, self.size, self.size):
            raise ValueError(f"lips: expected (b, {self.frames}, 3, {self.size}, {self.size}), got {tuple(lips.shape)}")
        if self.grey:
            lips = lips.mean(dim=2, keepdim=True).expand_as(lips)
        mean = lips.mean(dim=(1, 3, 4), keepdim=True)  # [b, 1, 3, 1, 1]
        contrast = (lips - mean).square().mean(dim=(1, 2, 3, 4), keepdim=True).add(1e-4).sqrt()  # [b, 1, 1, 1, 1]
        x = ((lips - mean) / contrast).flatten(1, 2)  # [b, 3 t, s, s]
        return self.head(self.join(self.blocks(x)).flatten(1))


class AudioTower(nn.Module):
    """16 mel columns (0.2 s) → embedding; ``width`` and ``embed`` as in :class:`VisualTower`."""

    def __init__(self, width: int, embed: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(
            _down(1, width, 3, (2, 1)),  # 40 × 16
            _down(width, width * 2, 3, (2, 2)),  # 20 × 8
            _down(width * 2, width * 4, 3, (2, 2)),  # 10 × 4
            _down(width * 4, width * 8, 3, (2, 2)),  # 5 × 2
        )
        self.join = nn.Sequential(
            nn.Conv2d(width * 8, width * 8, (5, 2), bias=False), nn.BatchNorm2d(width * 8), nn.ReLU()
        )
        self.head = nn.Linear(width * 8, embed)

    def forward(self, mel: Float[Tensor, "b 16 80"]) -> Float[Tensor, "b e"]:
        """``mel`` as :func:`s3dnerf.speech.mel.sync_mel` gives it, −4 … 4."""
        x = (mel / 4).transpose(1, 2)[:, None]  # [b, 1, 80, 16]
        return self.head(self.join(self.blocks(x)).flatten(1))


class TokenTower(nn.Module):
    """The speech backend's tokens of five frames → embedding (ours, ``sync.audio: tokens``).

    Parameters
    ----------
    token_dim : int, numbers a token
    width, embed : int, as in :class:`VisualTower`
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, token_dim: int, width: int, embed: int) -> None:
        super().__init__()
        if token_dim < 1:
            raise ValueError(f"token_dim: expected the length of a speech token, got {token_dim}")
        self.token_dim = token_dim
        self.register_buffer("mean", torch.zeros(token_dim))
        self.register_buffer("scale", torch.ones(token_dim))
        hidden = width * 8
        self.layers = nn.Sequential(
            nn.Conv1d(token_dim, hidden, 1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, 3, padding=1, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Conv1d(hidden, hidden, TOKENS.length, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
        )
        self.head = nn.Linear(hidden, embed)

    def set_statistics(self, mean: Float[Tensor, " d"], std: Float[Tensor, " d"]) -> None:
        """Take the training tokens' mean and standard deviation, a value a channel."""
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / std.clamp_min(1e-4))

    def forward(self, tokens: Float[Tensor, "b 10 d"]) -> Float[Tensor, "b e"]:
        """Tokens as the speech backend makes them."""
        x = ((tokens - self.mean) * self.scale).transpose(1, 2)  # [b, d, 10]
        return self.head(self.layers(x).flatten(1))
