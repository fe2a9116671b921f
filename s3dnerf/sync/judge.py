"""Who judges lip sync: SyncNet v2 where its weights are, else the judge of ``train_sync``; LSE-C, LSE-D and the offset.

The two are never compared with each other: a report names the judge and its protocol beside every number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.rates import REACH_FRAMES
from s3dnerf.settings.schema import EvaluateSettings, SpeechSettings
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.audio_windows import MEL
from s3dnerf.sync.crops import cut_lips
from s3dnerf.sync.expert import SyncExpert, load_expert
from s3dnerf.sync.offsets import SyncResult, shifted_distances, sync_result
from s3dnerf.sync.syncnet import SyncNet, load_syncnet, syncnet_embeddings

FRAME_PX = 256


@runtime_checkable
class SyncJudge(Protocol):
    """Measures how well a clip's lips fit its sound.

    Attributes
    ----------
    real : whether it is the field's own network
    protocol : how crops and curve are made
    reads : the form of the sound that it reads: ``samples``, ``mel`` or ``tokens``
    """

    name: str
    real: bool
    protocol: str
    reads: str

    def measure(
        self,
        frames: np.ndarray,
        lip_box: np.ndarray | None,
        samples: np.ndarray | None = None,
        audio: np.ndarray | None = None,
    ) -> SyncResult:
        """``frames`` uint8 (n, 256, 256, 3) RGB; ``lip_box`` (4,) or (n, 4) px; ``samples`` (640 n,) at 16 kHz and/or
        ``audio``, what :meth:`audio_of` gives.
        """

    def audio_of(self, samples: np.ndarray) -> np.ndarray | None:
        """Samples (640 n,) at 16 kHz in the form that this judge reads; None for the samples themselves."""


def _check(frames: np.ndarray) -> None:
    if frames.ndim != 4 or frames.shape[1:] != (FRAME_PX, FRAME_PX, 3) or frames.dtype != np.uint8:
        raise ValueError(f"frames: expected uint8 (n, {FRAME_PX}, {FRAME_PX}, 3), got {frames.dtype} {frames.shape}")


class SyncNetJudge:
    """SyncNet v2 by its authors' protocol, on the aligned frame resized to 224² (no tracked crop)."""

    name = "SyncNet v2"
    real = True
    reads = "samples"
    protocol = "direct resize of the aligned 256 px frame to 224 px, offsets ±15 zero-padded"

    def __init__(self, network: SyncNet) -> None:
        self.network = network

    def measure(
        self,
        frames: np.ndarray,
        lip_box: np.ndarray | None,
        samples: np.ndarray | None = None,
        audio: np.ndarray | None = None,
    ) -> SyncResult:
        """LSE-C, LSE-D and offset of one clip. Needs ``samples``, whose cepstra it makes itself."""
        _check(frames)
        if samples is None:
            raise ValueError("samples: SyncNet reads the sound itself, got none")
        lips, sound = syncnet_embeddings(self.network, frames, samples)
        return sync_result(shifted_distances(lips, sound))

    def audio_of(self, samples: np.ndarray) -> np.ndarray | None:
        """None: SyncNet reads the samples."""
        return None


class TrainedJudge:
    """``train_sync``'s judge: the same curve over unit embeddings of lip crops.

    Distances run from 0 to 2 and are those of this network alone. Pairs beyond the clip's ends are left out: between
    unit vectors a padded zero would be nearer (1) than an unrelated sound (√2) and would draw the extreme to ±15.
    """

    real = False
    protocol = "lip crops of the truth's box, unit embeddings, offsets ±15 over the pairs there are"

    def __init__(self, network: SyncExpert, card: dict[str, Any]) -> None:
        self.network, self.card, self.reads = network, card, network.windows.kind
        self._backend: Any = None
        verdict = f"gate {card['gate']:g} {'passed' if card['passes'] else 'not passed'}"
        self.name = f"train_sync's {card['role']} (held-out accuracy {card['held_out']['accuracy']:.3f}, {verdict})"

    def embeddings(
        self, frames: np.ndarray, lip_box: np.ndarray, audio: np.ndarray, batch: int = 64
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings of every window of five frames: lips and sound, float32 (n − 4, embed) each."""
        length = self.network.settings.frames
        windows = len(frames) - length + 1
        if windows < 1:
            raise ValueError(f"{len(frames)} frames: expected at least {length}")
        cut = self.network.windows
        cut.check(audio, windows)
        device = next(self.network.parameters()).device
        # [n, 3, s, s]
        crops = torch.from_numpy(cut_lips(frames, lip_box, self.network.settings.crop_px, 0)).float() / 255
        sound = torch.from_numpy(np.stack([cut.of(audio, f) for f in range(windows)]))
        lips, sounds = [], []
        for first in range(0, windows, batch):
            index = torch.arange(first, min(first + batch, windows))[:, None] + torch.arange(length)  # [b, t]
            with torch.no_grad():
                lips.append(self.network.visual(crops[index].to(device)).cpu())
                sounds.append(self.network.audio(sound[index[:, 0]].float().to(device)).cpu())
        normalise: Callable[[torch.Tensor], torch.Tensor] = torch.nn.functional.normalize
        return normalise(torch.cat(lips)), normalise(torch.cat(sounds))

    def measure(
        self,
        frames: np.ndarray,
        lip_box: np.ndarray | None,
        samples: np.ndarray | None = None,
        audio: np.ndarray | None = None,
    ) -> SyncResult:
        """LSE-C, LSE-D and offset of one clip. Raises ValueError for a clip of fewer than 20 frames (no pair at
        ±15).
        """
        _check(frames)
        if lip_box is None:
            raise ValueError("lip_box: the trained judge sees the lips alone: give the truth's box")
        if audio is None:
            if samples is None:
                raise ValueError("samples or audio: expected one of them")
            audio = self.audio_of(samples)
        lips, sound = self.embeddings(frames, lip_box, audio)
        return sync_result(shifted_distances(lips, sound, REACH_FRAMES, zero_padded=False))

    def audio_of(self, samples: np.ndarray) -> np.ndarray:
        """The mel (m, 80), or the tokens (2 n, D) of the speech backend that its card names.

        Raises MissingWeights or SpeechModelError where that backend's files are not here.
        """
        if self.network.windows == MEL:
            return clip_mel(samples)
        from s3dnerf.speech.features import speech_backend, tokens_of_long

        if self._backend is None:
            self._backend = speech_backend(SpeechSettings(**self.card["speech"]))
        return tokens_of_long(self._backend, samples)


def sync_judge(settings: EvaluateSettings, trained: str | Path) -> SyncJudge:
    """The judge that ``settings.judge`` names; ``trained`` is ``data/<preset>/train_sync/judge``.

    Raises SyncNetWeightsError or FileNotFoundError saying what to fetch or run; one judge never stands in for the other
    unasked.
    """
    if settings.judge == "syncnet":
        return SyncNetJudge(load_syncnet(settings.syncnet_weights).to(chosen_device()))
    network, card = load_expert(trained)
    return TrainedJudge(network.to(chosen_device()), card)
