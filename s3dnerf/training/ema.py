"""Exponential moving average of a module's weights: the generator that is kept and evaluated."""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

M = TypeVar("M", bound=nn.Module)


class Averaged(Generic[M]):
    """A frozen copy of ``module`` that follows it.

    The decay ramps up from 0 (``min(decay, (1 + n) / (10 + n))`` after n updates), so that a short run does not keep
    its random start.
    """

    def __init__(self, module: M, decay: float) -> None:
        self.module = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        """Take one step towards ``module``; buffers are copied."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        averaged: list[torch.Tensor] = list(self.module.parameters())
        current = [p.detach() for p in module.parameters()]
        torch._foreach_lerp_(averaged, current, 1.0 - decay)
        for kept, buffer in zip(self.module.buffers(), module.buffers()):
            kept.copy_(buffer)
