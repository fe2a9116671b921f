"""What settings of several fields must say together; what one field accepts is :mod:`s3dnerf.settings.checking`'s."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.protocols import check_protocol


def check_together(settings: Any, variants: Sequence[str], corpora: Sequence[str], least_follow_frames: float) -> None:
    """Raise SettingsError where two fields contradict each other, naming both and what is accepted.

    Parameters
    ----------
    settings : :class:`s3dnerf.settings.schema.Settings`
    variants, corpora, least_follow_frames : what ``train.variants``, ``evaluate.corpora`` and ``lips.follow_frames``
        accept
    """
    unknown = [v for v in settings.train.variants if v not in variants]
    if unknown or not settings.train.variants:
        raise SettingsError(
            f"train.variants: {list(settings.train.variants)} — accepted: one or more of {', '.join(variants)}"
        )
    parts = settings.train.processes * settings.train.accumulate
    if settings.train.batch % parts:
        accepted = f"a multiple of train.processes times train.accumulate ({parts})"
        raise SettingsError(f"train.batch: {settings.train.batch} — accepted: {accepted}")
    check_phases(settings.train.phases)
    bad = [c for c in settings.evaluate.corpora if c not in corpora]
    if bad:
        raise SettingsError(f"evaluate.corpora: {bad} — accepted: {', '.join(corpora)}")
    if (
        settings.model.image_px % settings.model.raw_px
        or not math.log2(settings.model.image_px / settings.model.raw_px).is_integer()
    ):
        accepted = f"model.raw_px ({settings.model.raw_px}) times a power of two"
        raise SettingsError(f"model.image_px: {settings.model.image_px} — accepted: {accepted}")
    if settings.model.slot_dim % settings.model.heads:
        raise SettingsError(
            f"model.slot_dim: {settings.model.slot_dim} — accepted: a multiple of model.heads ({settings.model.heads})"
        )
    if settings.align.crop_factor_min > settings.align.crop_factor:
        raise SettingsError(
            f"align.crop_factor_min: {settings.align.crop_factor_min} — accepted: at most align.crop_factor "
            f"({settings.align.crop_factor})"
        )
    if 0 < settings.lips.follow_frames < least_follow_frames:
        accepted = (
            f"0, or at least {least_follow_frames:g}: boxes that follow syllables tell the sound by their own motion"
        )
        raise SettingsError(f"lips.follow_frames: {settings.lips.follow_frames:g} — accepted: {accepted}")
    if settings.sync.gate < 0.5 and settings.preset != "tiny":
        raise SettingsError(
            f"sync.gate: {settings.sync.gate} — accepted: at least 0.5, what guessing gives (less: preset tiny alone)"
        )
    if settings.ingest.min_clip_s > settings.ingest.clip_s:
        raise SettingsError(
            f"ingest.min_clip_s: {settings.ingest.min_clip_s} — accepted: at most ingest.clip_s "
            f"({settings.ingest.clip_s})"
        )
    check_protocol(dataclasses.asdict(settings))


def check_phases(phases: Sequence[Any]) -> None:
    """Raise SettingsError where the shares of ``train.phases`` do not add up to 1, or a phase has a lip-sync loss over
    frames that do not follow each other.
    """
    total = sum(phase.share for phase in phases)
    if abs(total - 1.0) > 1e-6:
        raise SettingsError(f"train.phases: shares of {total:g} together — accepted: one or more, 1 together")
    for i, phase in enumerate(phases):
        if phase.sync and phase.frames != "consecutive":
            raise SettingsError(
                f"train.phases.{i}: sync: {phase.sync:g} and frames: {phase.frames} — accepted: frames: consecutive "
                "(the lip-sync expert hears them as one stretch), or sync: 0"
            )
