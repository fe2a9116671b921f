"""How fast a training goes: seconds a step, samples a second, the share of the time that it waits for data, memory."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import torch


class Pace:
    """Counts from when it is made.

    Parameters
    ----------
    batch : samples a step over all processes
    device : of this process; a CUDA device's peak memory is stated
    """

    def __init__(self, batch: int, device: torch.device) -> None:
        self.batch, self.device = batch, device
        self.began_s, self.waited_s = time.monotonic(), 0.0

    @contextlib.contextmanager
    def waiting(self) -> Iterator[None]:
        """Around what waits for data."""
        began_s = time.monotonic()
        yield
        self.waited_s += time.monotonic() - began_s

    def told(self, steps: int) -> str:
        """For a person, after so many steps."""
        took_s = max(time.monotonic() - self.began_s, 1e-9)
        said = (
            f"{took_s / steps:.2f} s a step, {steps * self.batch / took_s:.2f} samples a second, "
            f"{self.waited_s / took_s:.0%} of the time waiting for data"
        )
        if self.device.type == "cuda":
            said += f", {torch.cuda.max_memory_allocated(self.device) / 1e9:.1f} GB at most"
        return said
