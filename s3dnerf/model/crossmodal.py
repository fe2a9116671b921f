"""Speech, and how it bears on each part of the face (3.2): a 1-D convolutional network and cross attention, eq. 3.

    F_cm = MHCA(F_agg, a_dri) = Softmax[F_agg W^Q (a_dri W^K)ᵀ / √d] a_dri W^V

The 16 speech tokens around a frame stay 16 tokens: they are keys and values. F_cm is kept: its mean over channels is
figure 3's heat map.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Int, Tensor
from s3dnerf.model.appearance import SLOPE, init_convolutions


def speech_windows(
    tokens: Float[Tensor, "m d"], count: int, first_frame: int = 0, frames: int | None = None
) -> Float[Tensor, "n count d"]:
    """The ``count`` tokens around each frame, from a clip's 50 Hz tokens (two a frame).

    Frame i stands between tokens 2i and 2i + 1; its window is tokens 2i + 1 − count/2 … 2i + count/2. The clip's first
    and last token are repeated beyond its ends.
    """
    frames = len(tokens) // 2 - first_frame if frames is None else frames
    return windows_at(tokens, count, torch.arange(first_frame, first_frame + frames, device=tokens.device))


def windows_at(tokens: Float[Tensor, "m d"], count: int, at: Int[Tensor, " n"]) -> Float[Tensor, "n count d"]:
    """:func:`speech_windows` of the frames ``at``, in any order."""
    index = 2 * at[:, None] + torch.arange(count, device=tokens.device) + 1 - count // 2
    return tokens[index.clamp(0, len(tokens) - 1)]


class SpeechNet(nn.Module):
    """Tokens → a_dri (kept tokens) and a pooled code of the frame.

    Tokens are standardised with the training speech's statistics (``set_statistics``). The pooled code weighs the
    tokens channel by channel: what counts is which side of the frame a token lies, which a plain mean would lose.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, speech_dim: int, dim: int, tokens: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(speech_dim))
        self.register_buffer("scale", torch.ones(speech_dim))
        self.layers = nn.ModuleList(nn.Conv1d(i, dim, 3, padding=1) for i in (speech_dim, dim, dim))
        init_convolutions(self)
        self.place = nn.Parameter(0.1 * torch.randn(1, dim, tokens))
        distance = torch.arange(tokens) + 0.5 - tokens / 2
        self.pool = nn.Parameter(torch.exp(-0.5 * (distance / 1.5) ** 2).div(2.0).expand(dim, tokens).clone())

    def set_statistics(self, mean: Float[Tensor, " d"], std: Float[Tensor, " d"]) -> None:
        """Take the training speech's mean and standard deviation, a value a channel."""
        self.mean.copy_(mean)
        self.scale.copy_(1.0 / std.clamp_min(1e-4))

    def forward(self, speech: Float[Tensor, "b k s"]) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b d"]]:
        """Speech tokens (b, k, S) → a_dri (b, k, D) and the pooled code (b, D)."""
        x = ((speech - self.mean) * self.scale).clamp(-6.0, 6.0).transpose(1, 2)
        x = functional.leaky_relu(self.layers[0](x), SLOPE, inplace=True) + self.place
        for layer in self.layers[1:]:
            x = (x + functional.leaky_relu(layer(x), SLOPE, inplace=True)) * 0.7071
        return x.transpose(1, 2), (x * self.pool).sum(-1)


class CrossAttention(nn.Module):
    """Eq. 3: query F_agg, key and value a_dri, several heads."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def attention(self, aggregated: Float[Tensor, "b n d"], speech: Float[Tensor, "b k d"]) -> Float[Tensor, "b h n k"]:
        """Attention of each face cell to each speech token, a head; rows sum to one."""
        q = self.query(aggregated).unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [b, h, n, d/h]
        k = self.key(speech).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).float().softmax(-1)

    def forward(self, aggregated: Float[Tensor, "b n d"], speech: Float[Tensor, "b k d"]) -> Float[Tensor, "b n d"]:
        """F_agg (b, n, D) and a_dri (b, k, D) → F_cm (b, n, D)."""
        attention = self.attention(aggregated, speech)
        values = self.value(speech).unflatten(-1, (self.heads, -1)).transpose(1, 2)
        return self.out((attention.to(values.dtype) @ values).transpose(1, 2).flatten(2))
