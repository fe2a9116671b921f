"""The source's lips, told to what moves them (``model.source_lips``; ours, off in the paper's preset).

Δx leads from where the target's lips are to where the same lips stand in the source picture, so that it depends on two
mouths. Eq. 3 makes F_cm of speech alone: nothing in it says how far the source's mouth stands open, and half of the
motion cannot be known. The landmarks, which every portrait has, say it in 40 numbers; they join the pooled speech of
each frame.
"""

from __future__ import annotations

import torch
from torch import nn

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.faces.types import LIPS

SHAPE = 2 * (LIPS.stop - LIPS.start)


def lip_shape(landmarks: Float[Tensor, "n 68 2"]) -> Float[Tensor, "n 40"]:
    """The lips about their centre, in widths of the face (from landmark 0 to 16, at least a pixel)."""
    lips = landmarks[:, LIPS]
    width = (landmarks[:, 0] - landmarks[:, 16]).norm(dim=-1).clamp_min(1.0)
    return ((lips - lips.mean(1, keepdim=True)) / width[:, None, None]).flatten(1)


class SourceLips(nn.Module):
    """Lip shapes, standardised with the training people's (``set_statistics``) → a code of ``dim`` numbers, zero before
    training.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(SHAPE))
        self.register_buffer("scale", torch.ones(()))
        self.layer = nn.Linear(SHAPE, dim, bias=False)
        nn.init.zeros_(self.layer.weight)

    def set_statistics(self, shapes: Float[Tensor, "n 40"]) -> None:
        """Take the mean of the training lips, a value a number, and their spread about it, one for all."""
        self.mean.copy_(shapes.mean(0))
        self.scale.copy_(1.0 / (shapes - shapes.mean(0)).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, shapes: Float[Tensor, "n 40"]) -> Float[Tensor, "n d"]:
        """Lip shapes (n, 40) → codes (n, dim)."""
        return self.layer(((shapes - self.mean) * self.scale).clamp(-6.0, 6.0))
