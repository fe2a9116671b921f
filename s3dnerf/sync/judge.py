"""Who judges lip sync: SyncNet v2 where its weights are, else the judge of ``train_sync``; LSE-C, LSE-D and the offset.

The two are never compared with each other: a report names the judge and its protocol beside every number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch

from s3dnerf.settings.schema import EvaluateSettings
from s3dnerf.speech.mel import WINDOW_COLUMNS, clip_mel, mel_window_start
from s3dnerf.sync.crops import cut_lips
from s3dnerf.sync.expert import SyncExpert, load_expert
from s3dnerf.sync.offsets import REACH_FRAMES, SyncResult, shifted_distances, sync_result
from s3dnerf.sync.syncnet import SyncNet, load_syncnet, syncnet_embeddings

FRAME_PX = 256


@runtime_checkable
class SyncJudge(Protocol):
    """Measures how well a clip's lips fit its sound.

    Attributes
    ----------
    real : whether it is the field's own network
    protocol : how crops and curve are made
    """

    name: str
    real: bool
    protocol: str

    def measure(
        self,
        frames: np.ndarray,
        lip_box: np.ndarray | None,
        samples: np.ndarray | None = None,
        mel: np.ndarray | None = None,
    ) -> SyncResult:
        """``frames`` uint8 (n, 256, 256, 3) RGB; ``lip_box`` (4,) or (n, 4) px; ``samples`` (640 n,) at 16 kHz and/or
        ``mel`` (m, 80).
        """


def _check(frames: np.ndarray) -> None:
    if frames.ndim != 4 or frames.shape[1:] != (FRAME_PX, FRAME_PX, 3) or frames.dtype != np.uint8:
        raise ValueError(f"frames: expected uint8 (n, {FRAME_PX}, {FRAME_PX}, 3), got {frames.dtype} {frames.shape}")


class SyncNetJudge:
    """SyncNet v2 by its authors' protocol, on the aligned frame resized to 224² (no tracked crop)."""

    name = "SyncNet v2"
    real = True
    protocol = "direct resize of the aligned 256 px frame to 224 px, offsets ±15 zero-padded"

    def __init__(self, network: SyncNet) -> None:
        self.network = network

    def measure(
        self,
        frames: np.ndarray,
        lip_box: np.ndarray | None,
        samples: np.ndarray | None = None,
        mel: np.ndarray | None = None,
    ) -> SyncResult:
        """LSE-C, LSE-D and offset of one clip. Needs ``samples``: its cepstra cannot be had from the mel."""
        _check(frames)
        if samples is None:
            raise ValueError("samples: SyncNet reads the sound itself, got the mel alone")
        lips, audio = syncnet_embeddings(self.network, frames, samples)
        return sync_result(shifted_distances(lips, audio))


class TrainedJudge:
    """``train_sync``'s judge: the same curve over unit embeddings of lip crops.

    Distances run from 0 to 2 and are those of this network alone. Pairs beyond the clip's ends are left out: between
    unit vectors a padded zero would be nearer (1) than an unrelated sound (√2) and would draw the extreme to ±15.
    """

    real = False
    protocol = "lip crops of the truth's box, unit embeddings, offsets ±15 over the pairs there are"

    def __init__(self, network: SyncExpert, card: dict[str, Any]) -> None:
        self.network, self.card = network, card
        verdict = f"gate {card['gate']:g} {'passed' if card['passes'] else 'not passed'}"
        self.name = f"train_sync's {card['role']} (held-out accuracy {card['held_out']['accuracy']:.3f}, {verdict})"

    def embeddings(
        self, frames: np.ndarray, lip_box: np.ndarray, mel: np.ndarray, batch: int = 64
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit embeddings of every window of five frames: lips and sound, float32 (n − 4, embed) each."""
        length = self.network.settings.frames
        windows = len(frames) - length + 1
        if windows < 1:
            raise ValueError(f"{len(frames)} frames: expected at least {length}")
        needed = mel_window_start(windows - 1) + WINDOW_COLUMNS
        if len(mel) < needed:
            raise ValueError(f"mel: expected at least {needed} columns for {len(frames)} frames, got {len(mel)}")
        device = next(self.network.parameters()).device
        # [n, 3, s, s]
        crops = torch.from_numpy(cut_lips(frames, lip_box, self.network.settings.crop_px, 0)).float() / 255
        sound = torch.from_numpy(
            np.stack([mel[mel_window_start(f) : mel_window_start(f) + WINDOW_COLUMNS] for f in range(windows)])
        )
        lips, audio = [], []
        for first in range(0, windows, batch):
            index = torch.arange(first, min(first + batch, windows))[:, None] + torch.arange(length)  # [b, t]
            with torch.no_grad():
                lips.append(self.network.visual(crops[index].to(device)).cpu())
                audio.append(self.network.audio(sound[index[:, 0]].float().to(device)).cpu())
        normalise: Callable[[torch.Tensor], torch.Tensor] = torch.nn.functional.normalize
        return normalise(torch.cat(lips)), normalise(torch.cat(audio))

    def measure(
        self,
        frames: np.ndarray,
        lip_box: np.ndarray | None,
        samples: np.ndarray | None = None,
        mel: np.ndarray | None = None,
    ) -> SyncResult:
        """LSE-C, LSE-D and offset of one clip. Raises ValueError for a clip of fewer than 20 frames (no pair at
        ±15).
        """
        _check(frames)
        if lip_box is None:
            raise ValueError("lip_box: the trained judge sees the lips alone: give the truth's box")
        if mel is None:
            if samples is None:
                raise ValueError("samples or mel: expected one of them")
            mel = clip_mel(samples)
        lips, audio = self.embeddings(frames, lip_box, mel)
        return sync_result(shifted_distances(lips, audio, REACH_FRAMES, zero_padded=False))


def sync_judge(settings: EvaluateSettings, trained: str | Path) -> SyncJudge:
    """The judge that ``settings.judge`` names; ``trained`` is ``data/<preset>/train_sync/judge``.

    Raises SyncNetWeightsError or FileNotFoundError saying what to fetch or run; one judge never stands in for the other
    unasked.
    """
    if settings.judge == "syncnet":
        return SyncNetJudge(load_syncnet(settings.syncnet_weights))
    return TrainedJudge(*load_expert(trained))
