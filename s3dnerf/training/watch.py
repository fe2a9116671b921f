"""A watch over the losses: not-a-number and lasting spikes stop training with what to do about them."""

from __future__ import annotations

import math
from collections import deque

from s3dnerf.core.errors import S3DNeRFError


class TrainingDiverged(S3DNeRFError, RuntimeError):
    """A loss is not finite or has run away; the message says what to change."""


class LossWatch:
    """Looks at one number a step.

    Parameters
    ----------
    window : steps whose median is the usual level
    factor : a step this many times above the usual level is a spike
    patience : spikes in a row that stop training
    """

    def __init__(self, window: int = 200, factor: float = 20.0, patience: int = 20) -> None:
        self.recent: deque[float] = deque(maxlen=window)
        self.factor, self.patience, self.spikes = factor, patience, 0

    def see(self, step: int, losses: dict[str, float]) -> None:
        """Check a step's losses; ``losses["pix"]`` is the one whose level is followed: the total jumps by design where
        the adversary and the sync loss come in. Raises TrainingDiverged."""
        for name, value in losses.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"step {step}: {name} is {value}. The last checkpoint is whole. Try, in this order: "
                    "train.precision: fp32; a smaller "
                    "train.lr_generator and train.lr_discriminator; no adv in the first of train.phases (an "
                    "adversary from step 0 is the usual cause)"
                )
        level = losses["pix"]
        usual = sorted(self.recent)[len(self.recent) // 2] if len(self.recent) >= 20 else math.inf
        self.spikes = self.spikes + 1 if level > self.factor * usual else 0
        if self.spikes >= self.patience:
            raise TrainingDiverged(
                f"step {step}: the pixel loss has stood above {self.factor:g} times its usual level ({usual:.4g}) for "
                f"{self.patience} steps. The last checkpoint is whole. Try a smaller train.lr_generator, a smaller "
                "train.gradient_clip, or no adv in the first of train.phases"
            )
        if not self.spikes:
            self.recent.append(level)

    def state(self) -> dict[str, list[float] | int]:
        """For the checkpoint."""
        return {"recent": list(self.recent), "spikes": self.spikes}

    def restore(self, state: dict) -> None:
        """Inverse of :meth:`state`."""
        self.recent.clear()
        self.recent.extend(state["recent"])
        self.spikes = int(state["spikes"])
