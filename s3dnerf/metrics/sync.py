"""Sync: does a judge of lips and sound find them together? LSE-C, LSE-D and the offset.

SyncNet's protocol (joonson/syncnet_python): windows of five frames, the distance of each to the sound windows at ±15;
the mean over time gives 31 values d; LSE-D = min d, LSE-C = median d − min d, offset = 15 − argmin d. The generated
lips are judged against the *truth's* sound.

The judge is another part (:mod:`s3dnerf.sync.judge`): SyncNet v2, which sees the whole aligned frame, resized; or
``train_sync``'s judge, which never trained a generator and sees the lips, cut by the truth's box (the same box for real
and generated frames). Their numbers do not compare, nor those of two trained judges: the version carries the judge's
key.

Source: Chung & Zisserman 2016; Prajwal et al. 2020 named LSE-C and LSE-D. Unit: none; frames for the offset. Range: [0,
∞), the offset −15 … 15. LSE-C: more is better; LSE-D: less; an offset is neither, 0 is right.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from s3dnerf.metrics.result import DOWN, NEITHER, UP, Measured, Recipe, not_measured

_PROTOCOL = "SyncNet's protocol: windows of 5 frames, ±15 frames of offset"
_SEEN = {
    "syncnet": "the aligned frame resized to 224², ends zero-padded",
    "trained": "lips cut by the truth's box, pairs beyond the ends left out",
}
CONFIDENCE = Recipe("lse_c", "Sync (LSE-C)", "", UP, "sync-1", 0.0, math.inf, _PROTOCOL)
DISTANCE = Recipe("lse_d", "LSE-D", "", DOWN, "sync-1", 0.0, math.inf, _PROTOCOL)
OFFSET = Recipe("sync_offset", "Offset", "frames", NEITHER, "sync-1", -15.0, 15.0, _PROTOCOL)
RECIPES = (CONFIDENCE, DISTANCE, OFFSET)


def recipes_of(judge: str) -> tuple[Recipe, Recipe, Recipe]:
    """The three recipes for a judge: versions of different judges differ.

    Parameters
    ----------
    judge : its short key

    Examples
    --------
    >>> [recipe.version for recipe in recipes_of("syncnet")]
    ['sync-1-syncnet', 'sync-1-syncnet', 'sync-1-syncnet']
    >>> recipes_of("trained-1a2b3c4d")[0].source.split("; ")[1]
    "lips cut by the truth's box, pairs beyond the ends left out"
    """
    seen = _SEEN.get(judge.split("-")[0])
    source = f"{_PROTOCOL}; {seen}" if seen else _PROTOCOL
    first, second, third = (replace(r, version=f"{r.version}-{judge}", source=source) for r in RECIPES)
    return first, second, third


def unjudged(judge: str, reason: str) -> list[Measured]:
    """LSE-C, LSE-D and offset without a value."""
    return [not_measured(recipe, reason) for recipe in recipes_of(judge)]


def measure(
    judge: Any,
    key: str,
    frames: np.ndarray,
    lip_box: np.ndarray | None,
    samples: np.ndarray | None,
    audio: np.ndarray | None,
) -> list[Measured]:
    """LSE-C, LSE-D and offset of one clip.

    Parameters
    ----------
    judge : :class:`s3dnerf.sync.judge.SyncJudge`
    key : what the recipes' versions call it
    frames : uint8 (n, 256, 256, 3); lip_box : (4,) or (n, 4) pixels; samples : (≤ 640 n,) at 16 kHz; audio :
        the same in the form that the judge reads, or None

    A clip that the protocol cannot measure (too short, no box, no sound) has no value, with the judge's own words as
    the reason.
    """
    try:
        found = judge.measure(frames, lip_box, samples=samples, audio=audio)
    except ValueError as why:
        return unjudged(key, str(why))
    values = (found.lse_c, found.lse_d, float(found.offset_frames))
    return [Measured(r, float(v), int(found.windows)) for r, v in zip(recipes_of(key), values)]
