"""A watch over the losses: a step that is not a number is counted, several in a row and lasting spikes stop training
with what to do about them.
"""

from __future__ import annotations

import logging
import math
from collections import deque

from s3dnerf.core.errors import S3DNeRFError

logger = logging.getLogger(__name__)


class TrainingDiverged(S3DNeRFError, RuntimeError):
    """A loss is not finite or has run away; the message says what to change."""


class LossWatch:
    """Looks at one number a step.

    Parameters
    ----------
    window : steps whose median is the usual level
    factor : a step this many times above the usual level is a spike
    patience : spikes in a row that stop training
    bad_in_a_row : steps in a row with a loss or gradient that is not finite (each was left out) that stop training

    Attributes
    ----------
    skipped : steps left out so far
    """

    def __init__(self, window: int = 200, factor: float = 20.0, patience: int = 20, bad_in_a_row: int = 3) -> None:
        self.recent: deque[float] = deque(maxlen=window)
        self.factor, self.patience, self.spikes = factor, patience, 0
        self.bad_in_a_row, self.bad, self.skipped = bad_in_a_row, 0, 0

    def see(self, step: int, losses: dict[str, float]) -> None:
        """Check a step's losses; ``losses["pix"]`` is the one whose level is followed: the total jumps by design where
        the adversary and the sync loss come in. Raises TrainingDiverged."""
        wrong = [name for name, value in losses.items() if not math.isfinite(value)]
        self.bad = self.bad + 1 if wrong else 0
        self.skipped += bool(wrong)
        if wrong:
            logger.warning(f"step {step} left out: {wrong[0]} is {losses[wrong[0]]}")
        if self.bad >= self.bad_in_a_row:
            raise TrainingDiverged(
                f"step {step}: {wrong[0]} is {losses[wrong[0]]}, and {self.bad} steps in a row had to be left "
                "out. The last checkpoint is whole. Try, in this order: train.precision: fp32; a smaller "
                "train.lr_generator and train.lr_discriminator; no adv in the first of train.phases (an "
                "adversary from step 0 is the usual cause)"
            )
        if wrong:
            return
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
        return {"recent": list(self.recent), "spikes": self.spikes, "bad": self.bad, "skipped": self.skipped}

    def restore(self, state: dict) -> None:
        """Inverse of :meth:`state`."""
        self.recent.clear()
        self.recent.extend(state["recent"])
        self.spikes, self.bad, self.skipped = (int(state[name]) for name in ("spikes", "bad", "skipped"))
