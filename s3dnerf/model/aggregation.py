"""Aggregating the multi-scale features into one embedding of the whole face (3.2): slot attention with spatial slots.

F⁰…F³ are resized to H_s × W_s, concatenated and projected to tokens, with a code of their place. One slot a cell, begun
at the cell's token (the paper's output is (H_s·W_s) × D_slot): slots compete for tokens by a softmax over slots, take
the weighted mean of what they won, and are updated by a gated recurrent cell and a small MLP (Locatello et al., 2020).
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor


class SlotAttention(nn.Module):
    """Spatial slot attention over n tokens of width ``dim``."""

    def __init__(self, dim: int, iterations: int) -> None:
        super().__init__()
        self.iterations = iterations
        self.norm_tokens, self.norm_slots, self.norm_mlp = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.query, self.key, self.value = (nn.Linear(dim, dim, bias=False) for _ in range(3))
        self.update = nn.GRUCell(dim, dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.ReLU(), nn.Linear(2 * dim, dim))

    def attention(self, slots: Float[Tensor, "b n d"], keys: Float[Tensor, "b m d"]) -> Float[Tensor, "b n m"]:
        """How each slot's weight is spread over the tokens: rows sum to one."""
        scores = self.query(self.norm_slots(slots)) @ keys.transpose(1, 2) * keys.shape[-1] ** -0.5
        won = scores.float().softmax(dim=1) + 1e-8  # over slots: they compete for each token
        return won / won.sum(-1, keepdim=True)

    def forward(self, tokens: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Tokens (b, n, d) → slots (b, n, d), which begin as the tokens themselves."""
        slots, tokens = tokens, self.norm_tokens(tokens)
        keys, values = self.key(tokens), self.value(tokens)
        for _ in range(self.iterations):
            taken = self.attention(slots, keys).to(values.dtype) @ values
            slots = self.update(taken.flatten(0, 1), slots.flatten(0, 1)).view_as(slots)
            slots = slots + self.mlp(self.norm_mlp(slots))
        return slots


class Aggregation(nn.Module):
    """F⁰…F³ → F_agg.

    Parameters
    ----------
    channels : channels of all levels and planes together (levels · 3 · C)
    dim : D_slot
    grid : H_s = W_s
    iterations : of slot attention
    """

    def __init__(self, channels: int, dim: int, grid: int, iterations: int) -> None:
        super().__init__()
        self.grid = grid
        self.project = nn.Linear(channels, dim)
        self.place = nn.Parameter(0.02 * torch.randn(1, grid * grid, dim))
        self.slots = SlotAttention(dim, iterations)

    def forward(self, levels: list[Float[Tensor, "b 3 c _h _w"]]) -> Float[Tensor, "b n d"]:
        """Tri-plane levels (b, 3, C, h, w) each → F_agg (b, H_s · W_s, D_slot)."""
        size = (self.grid, self.grid)
        resized = [
            functional.interpolate(level.flatten(1, 2), size, mode="area")
            if level.shape[-1] >= self.grid
            else functional.interpolate(level.flatten(1, 2), size, mode="bilinear", align_corners=False)
            for level in levels
        ]
        tokens = torch.cat(resized, 1).flatten(2).transpose(1, 2)  # [b, n, channels]
        return self.slots(self.project(tokens) + self.place)
