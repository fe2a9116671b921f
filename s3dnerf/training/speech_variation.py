"""Variation of the speech tokens in training (``train.speech_noise``, ``train.speech_gain``; ours, 0 in the paper's
preset).

A few voices are soon known by heart: what the speech network learns of them then holds for nobody else. Each window of
tokens is heard through a room and a throat of its own (one constant a channel) and with noise, both in standard
deviations of the training tokens. Evaluation and synthesis hear speech as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from s3dnerf.core.shapes import Float, Tensor


@dataclass(frozen=True)
class SpeechVariation:
    """How far windows are varied.

    Attributes
    ----------
    noise : of each number, in standard deviations of its channel
    gain : of each channel over the whole window, in standard deviations of the channel
    """

    noise: float
    gain: float

    def of(
        self, windows: Float[Tensor, "n k s"], std: Float[Tensor, " s"], generator: torch.Generator
    ) -> Float[Tensor, "n k s"]:
        """Varied windows.

        Parameters
        ----------
        std : of the training tokens, a value a channel
        """
        if not self.noise and not self.gain:
            return windows
        throat = torch.randn(len(windows), 1, windows.shape[2], generator=generator).to(windows.device)
        noise = torch.randn(windows.shape, generator=generator).to(windows.device)
        return windows + std.to(windows.device) * (self.gain * throat + self.noise * noise)


PLAIN = SpeechVariation(0.0, 0.0)
