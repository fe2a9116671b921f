"""What is measured on a lip-sync network while it trains: embeddings of held-out clips, the offset curve."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from s3dnerf.core.rates import REACH_FRAMES
from s3dnerf.sync.audio_windows import MEL, AudioWindows
from s3dnerf.sync.expert import SyncExpert
from s3dnerf.sync.held_out import EmbeddedClip
from s3dnerf.sync.offsets import shifted_distances
from s3dnerf.training.clips import ClipFolder
from s3dnerf.training.distributed import World
from s3dnerf.training.sync_augment import plain_lips
from s3dnerf.training.sync_data import LipClip, load_lip_clip

WINDOWS_A_PASS = 64


def some_clips(
    part: Sequence[tuple[ClipFolder, dict[str, Any]]], count: int, size: int, audio: AudioWindows = MEL
) -> list[LipClip]:
    """At most ``count`` clips with speech in them, taken from the speakers in turn, in a fixed order."""
    by_speaker: dict[str, list[tuple[ClipFolder, dict[str, Any]]]] = {}
    for folder, record in part:
        by_speaker.setdefault(f"{record['corpus']}/{record['speaker']}", []).append((folder, record))
    queues = [sorted(queue, key=lambda item: item[1]["clip"]) for _, queue in sorted(by_speaker.items())]
    turns = [queue[i] for i in range(max(map(len, queues), default=0)) for queue in queues if i < len(queue)]
    clips: list[LipClip] = []
    for folder, record in turns:
        if len(clips) == count:
            break
        clip = load_lip_clip(folder, record, size, audio)
        if clip.speech.any():
            clips.append(clip)
    return clips


def embed_clips(network: SyncExpert, clips: Sequence[LipClip], world: World) -> list[EmbeddedClip]:
    """Unit embeddings of every window of each clip. Leaves the network in evaluation mode."""
    network.eval()
    out = []
    for clip in clips:
        lips, audio = [], []
        for first in range(0, len(clip.speech), WINDOWS_A_PASS):
            frames = range(first, min(first + WINDOWS_A_PASS, len(clip.speech)))
            pictures = torch.from_numpy(np.stack([clip.lip_window(f) for f in frames])).to(world.device)
            sound = torch.from_numpy(np.stack([clip.audio_window(f) for f in frames])).to(world.device)
            with torch.no_grad(), world.autocast(network.settings.precision):
                lips.append(network.visual(plain_lips(pictures, clip.margin)).float().cpu())
                audio.append(network.audio(sound).float().cpu())
        unit = [torch.nn.functional.normalize(torch.cat(part), dim=1).numpy() for part in (lips, audio)]
        out.append(EmbeddedClip(clip.clip, clip.speaker, unit[0], unit[1], clip.speech))
    return out


def offset_curves(clips: Sequence[EmbeddedClip]) -> dict[str, Any]:
    """Mean distance of lips and sound at each offset, over all windows of all clips, and by corpus.

    Returns
    -------
    dict
        ``offset_frames`` 15 … −15 (:mod:`s3dnerf.sync.offsets`' sign), ``distance`` (mean L2 of unit embeddings, 0 …
        2), ``by_corpus``, ``extreme_offset_frames`` (where the distance is least), ``windows``.
    """
    sums: dict[str, np.ndarray] = {}
    counts: dict[str, np.ndarray] = {}
    for clip in clips:
        distances = shifted_distances(
            torch.from_numpy(clip.lips), torch.from_numpy(clip.audio), zero_padded=False
        ).numpy()
        for name in ("all", clip.speaker.partition("/")[0]):
            sums[name] = sums.get(name, 0) + np.nansum(distances, axis=1)
            counts[name] = counts.get(name, 0) + np.isfinite(distances).sum(axis=1)
    # an offset that no clip is long enough for counts as the largest distance there is
    curves = {name: [round(float(s / c), 6) if c else 2.0 for s, c in zip(sums[name], counts[name])] for name in sums}
    offsets = list(range(REACH_FRAMES, -REACH_FRAMES - 1, -1))
    distance = curves.pop("all")
    return {
        "offset_frames": offsets,
        "distance": distance,
        "by_corpus": dict(sorted(curves.items())),
        "extreme_offset_frames": offsets[int(np.argmin(distance))],
        "windows": sum(len(c.speech) for c in clips),
    }
