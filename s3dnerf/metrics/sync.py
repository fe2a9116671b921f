"""Sync: does a judge of lips and sound find them together? LSE-C, LSE-D and the offset.

SyncNet's protocol (joonson/syncnet_python): windows of five frames, the distance of each to the sound windows at ±15; the mean over
time gives 31 values d; LSE-D = min d, LSE-C = median d − min d, offset = 15 − argmin d. The generated lips are judged against the
*truth's* sound, cut by the truth's lip boxes (the same boxes for real and generated frames).

The judge is another part (:mod:`s3dnerf.sync.judge`): SyncNet v2, or ``train_sync``'s judge, which never trained a generator. Their
numbers do not compare, nor those of two trained judges: the version carries the judge's key. Unit: none; frames for the offset.
LSE-C: more is better; LSE-D: less.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from s3dnerf.metrics.result import DOWN, NEITHER, UP, Measured, Recipe, not_measured

_SOURCE = "SyncNet's protocol: windows of 5 frames, ±15 frames of offset, truth's lip boxes"
CONFIDENCE = Recipe("lse_c", "Sync (LSE-C)", "", UP, "sync-1", 0.0, math.inf, _SOURCE)
DISTANCE = Recipe("lse_d", "LSE-D", "", DOWN, "sync-1", 0.0, math.inf, _SOURCE)
OFFSET = Recipe("sync_offset", "Offset", "frames", NEITHER, "sync-1", -15.0, 15.0, _SOURCE)
RECIPES = (CONFIDENCE, DISTANCE, OFFSET)


def recipes_of(judge: str) -> tuple[Recipe, Recipe, Recipe]:
    """The three recipes as judged by ``judge`` (a short key): versions of different judges differ."""
    return tuple(replace(r, version=f"{r.version}-{judge}") for r in RECIPES)  # type: ignore[return-value]


def unjudged(judge: str, reason: str) -> list[Measured]:
    """LSE-C, LSE-D and offset without a value."""
    return [not_measured(recipe, reason) for recipe in recipes_of(judge)]


def measure(
    judge: Any, key: str, frames: np.ndarray, lip_box: np.ndarray | None, samples: np.ndarray | None, mel: np.ndarray | None
) -> list[Measured]:
    """LSE-C, LSE-D and offset of one clip.

    Parameters
    ----------
    judge : :class:`s3dnerf.sync.judge.SyncJudge`
    key : what the recipes' versions call it
    frames : uint8 (n, 256, 256, 3); lip_box : (4,) pixels; samples : (640 n,) at 16 kHz; mel : (m, 80)

    A clip that the protocol cannot measure (too short, no box, no sound) has no value, with the judge's own words as the reason.
    """
    try:
        found = judge.measure(frames, lip_box, samples=samples, mel=mel)
    except ValueError as why:
        return unjudged(key, str(why))
    values = (found.lse_c, found.lse_d, float(found.offset_frames))
    return [Measured(r, float(v), int(found.windows)) for r, v in zip(recipes_of(key), values)]
