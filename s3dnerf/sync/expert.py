"""The lip-sync expert (3.4): two towers, and its file form.

A folder holds ``weights.safetensors`` and ``card.json`` (settings, seed, corpora, speakers trained on, held-out
accuracy with its interval, verdict of the gate), as ``train_sync`` writes them. The judge is the same network, trained
otherwise.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from torch import nn

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.settings.schema import SyncSettings
from s3dnerf.sync.audio_windows import audio_windows
from s3dnerf.sync.losses import cosine
from s3dnerf.sync.towers import AudioTower, TokenTower, VisualTower

__all__ = ["SyncExpert", "SyncGateError", "check_gate", "cosine", "load_expert", "save_expert"]


class SyncGateError(S3DNeRFError, RuntimeError):
    """The expert did not pass its gate, so that it may not train a generator."""


class SyncExpert(nn.Module):
    """Two towers that meet in one space.

    Parameters
    ----------
    settings : SyncSettings
        ``frames``, ``crop_px``, ``width``, ``embed``, ``grey`` and ``audio`` are used.
    token_dim : int
        Numbers a speech token, for ``audio: tokens``.

    Attributes
    ----------
    windows : AudioWindows
        How its windows are cut out of a clip's sound.
    """

    def __init__(self, settings: SyncSettings, token_dim: int = 0) -> None:
        super().__init__()
        self.settings, self.windows = settings, audio_windows(settings.audio)
        self.visual_tower = VisualTower(
            settings.frames, settings.crop_px, settings.width, settings.embed, settings.grey
        )
        self.audio_tower: AudioTower | TokenTower = (
            AudioTower(settings.width, settings.embed)
            if settings.audio == "mel"
            else TokenTower(token_dim, settings.width, settings.embed)
        )

    def visual(self, lips: Float[Tensor, "b t 3 s s"]) -> Float[Tensor, "b e"]:
        """Embedding of T lip crops, RGB in 0 … 1."""
        return self.visual_tower(lips)

    def audio(self, sound: Float[Tensor, "b m k"]) -> Float[Tensor, "b e"]:
        """Embedding of a window's sound: 16 mel columns (:func:`s3dnerf.speech.mel.sync_mel`), or 10 speech tokens."""
        return self.audio_tower(sound)


def save_expert(folder: str | Path, weights: dict[str, Tensor], card: dict[str, Any]) -> None:
    """Write ``weights.safetensors`` and ``card.json`` (atomically, equal content is equal bytes)."""
    from safetensors.torch import save

    from s3dnerf.video.packs import write_atomic

    folder = Path(folder)
    tensors = {name: value.detach().cpu().contiguous() for name, value in sorted(weights.items())}
    write_atomic(folder / "weights.safetensors", save(tensors))
    write_atomic(folder / "card.json", (json.dumps(card, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def load_expert(folder: str | Path) -> tuple[SyncExpert, dict[str, Any]]:
    """The network of a folder, frozen and in evaluation mode on the CPU, and its card.

    Raises FileNotFoundError naming the stage to run, ValueError for weights that are not this network's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = Path(folder)
    for name in ("card.json", "weights.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name}: no such file — run: dvc repro train_sync")
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    known = {f.name for f in dataclasses.fields(SyncSettings)}
    settings = SyncSettings(**{k: v for k, v in card["settings"].items() if k in known})
    expert = SyncExpert(settings, card.get("token_dim", 0))
    try:
        expert.load_state_dict(load_file(folder / "weights.safetensors"))
    except SafetensorError as error:
        raise ValueError(f"{folder / 'weights.safetensors'}: not a safetensors file: {error}") from error
    except RuntimeError as error:
        raise ValueError(f"{folder}: weights and card do not belong together: {str(error)[:300]}") from error
    return expert.eval().requires_grad_(False), card


def check_gate(card: dict[str, Any], weight: float) -> None:
    """Refuse to train a generator on an expert that did not pass.

    Raises SyncGateError when the lip-sync loss has a ``weight`` and the card's verdict is no.
    """
    if weight > 0 and not card["passes"]:
        held = card["held_out"]
        why = "; ".join(finding["message"] for finding in card["monitor"])
        raise SyncGateError(
            f"train.phases: sync: {weight:g} — the {card['role']} is right in {held['accuracy']:.3f} of held-out "
            "trials, "
            f"below sync.gate = {card['gate']:g}; accepted: 0 until it passes{' (' + why + ')' if why else ''}"
        )
