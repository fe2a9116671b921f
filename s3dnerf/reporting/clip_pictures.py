"""A test clip in pictures, made while its frames are at hand: a strip of frames a method, and the maps of where speech
acts.

Arrays and numbers out; ``stages/evaluate.py`` writes them, :mod:`s3dnerf.reporting.figures` shows them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from s3dnerf.model.crossmodal import speech_windows
from s3dnerf.synthesis.synthesizer import Synthesizer
from s3dnerf.training.clips import Clip

STRIP_PX = 128


def _thumb(frame: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.resize(frame, (STRIP_PX, STRIP_PX), interpolation=cv2.INTER_AREA)


def strip(shown: dict[str, np.ndarray], n: int, columns: int) -> dict[str, Any]:
    """Rows of small frames, one row a method: names and an image uint8 (rows · px, columns · px, 3).

    Parameters
    ----------
    n : frames of the clip; a method that made fewer is black where it has none
    """
    at = np.round(np.linspace(0, n - 1, min(columns, n))).astype(int)
    black = np.zeros((STRIP_PX, STRIP_PX, 3), np.uint8)
    lines = [
        np.concatenate([_thumb(frames[i]) if i < len(frames) else black for i in at], axis=1)
        for frames in shown.values()
    ]
    return {"names": list(shown), "frames": at.tolist(), "px": STRIP_PX, "image": np.concatenate(lines)}


def heat_map(made: Synthesizer, identity: Any, clip: Clip, moved: np.ndarray, source: int) -> dict[str, Any]:
    """Where speech acts: F_cm's mean over channels (fig. 3) averaged over the clip, its deviation over time, and mean
    ‖Δx‖.

    ``mean`` and ``moving`` (None in variants without F_cm) lie in ``window``: x0, y0, x1, y1 in pixels of the source
    frame; ``moved`` covers the whole frame, in canonical units. ``source``: number of the source frame.
    """
    import torch

    with torch.inference_mode():
        windows = speech_windows(torch.from_numpy(clip.tokens).to(made.device), made.generator.settings.speech_tokens)
        cells = made.generator.conditions(identity, windows).cells
    camera, intrinsics = clip.world_to_camera[source], clip.intrinsics[source]
    centre = camera[:, :3] @ clip.box[:3] + camera[:, 3]
    focal = np.array([intrinsics[0, 0], intrinsics[1, 1]])
    middle = focal * centre[:2] / centre[2] + intrinsics[:2, 2]
    reach = focal * clip.box[3] / centre[2]
    found: dict[str, Any] = {
        "mean": None,
        "moving": None,
        "moved": np.round(moved.astype(np.float64), 5).tolist(),
        "window": [round(float(v), 2) for v in (*(middle - reach), *(middle + reach))],
        "source": clip.frames[source],
    }
    if cells is not None:
        values = cells.float().cpu().numpy().astype(np.float64)  # [n, cells, d]
        side = int(round(values.shape[1] ** 0.5))
        found["mean"] = np.round(values.mean(axis=(0, 2)).reshape(side, side), 5).tolist()
        found["moving"] = np.round(values.std(axis=0).mean(axis=1).reshape(side, side), 5).tolist()
    return found
