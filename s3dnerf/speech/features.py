"""Speech tokens at 50 Hz, two a frame: which backend makes them.

Example
-------
>>> import numpy as np
>>> from s3dnerf.settings.schema import SpeechSettings
>>> backend = speech_backend(SpeechSettings(backend="logmel", model=None))
>>> backend.name, backend.real, backend.tokens(np.zeros(640 * 25)).shape
('logmel', False, (50, 80))
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME
from s3dnerf.settings.schema import SpeechSettings
from s3dnerf.speech.logmel import LogMel

OWN_WINDOWS = ("whisper",)  # backends whose ``tokens`` hears speech of any length, in windows of its own


class SpeechBackend(Protocol):
    """What makes tokens. ``real`` is False for a stand-in; ``dim`` is a token's length."""

    name: str
    real: bool
    dim: int

    def tokens(self, samples: np.ndarray) -> np.ndarray:
        """(640 N,) samples at 16 kHz → float32 (2 N, dim)."""

    def tokens_of_many(self, clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The same for clips of equal length, at once."""


def speech_backend(settings: SpeechSettings, device: str | None = None) -> SpeechBackend:
    """The backend that ``settings.backend`` names, on ``device`` (None: what
    :mod:`s3dnerf.core.devices` chooses).

    Raises SpeechModelError when wav2vec2's files are not here, MissingWeights when Whisper's are not, saying how to get
    them; WhisperWeightsError for files that are something else.
    """
    if settings.backend == "logmel":
        return LogMel()
    device = device or str(chosen_device())
    if settings.backend == "whisper":
        from s3dnerf.speech.whisper import Whisper

        return Whisper(settings.whisper_model, settings.whisper_layer, device)
    from s3dnerf.speech.wav2vec2 import Wav2Vec2

    return Wav2Vec2(settings.model, device)


def tokens_of_long(
    backend: SpeechBackend, samples: np.ndarray, part_s: float = 10.0, context_s: float = 1.0
) -> np.ndarray:
    """Tokens float32 (2 N, dim) of speech (640 N,) of any length, in parts as long as the clips that networks are
    trained on.

    Each part is heard with ``context_s`` of what comes before and after it, whose tokens are dropped. wav2vec2's memory
    grows with the square of what it hears at once; and what it was never trained to hear, an hour, it does not hear
    well. Whisper's backend has windows of its own.
    """
    frames = len(samples) // SAMPLES_PER_FRAME
    part, context = round(part_s * FPS_HZ), round(context_s * FPS_HZ)
    if backend.name in OWN_WINDOWS or frames <= part + 2 * context:
        return backend.tokens(samples)
    parts = []
    for first in range(0, frames, part):
        before, after = min(context, first), min(frames, first + part + context)
        tokens = backend.tokens(samples[(first - before) * SAMPLES_PER_FRAME : after * SAMPLES_PER_FRAME])
        parts.append(tokens[2 * before : 2 * (before + min(part, frames - first))])
    return np.concatenate(parts)
