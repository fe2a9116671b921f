"""The phases of the generator's training (``train.phases``): which one a step belongs to."""

from __future__ import annotations

import dataclasses
import math

from s3dnerf.settings.schema import PhaseSettings, TrainSettings


def first_steps(settings: TrainSettings) -> list[int]:
    """The number of each phase's first step; a phase too short for one shares it with the next."""
    found, share = [], 0.0
    for phase in settings.phases:
        # shares such as 0.1 + 0.2 miss their sum by a rounding
        found.append(math.ceil(round(share * settings.steps, 6)))
        share += phase.share
    return found


def phase_at(settings: TrainSettings, step: int) -> PhaseSettings:
    """The phase of a step (from 0)."""
    begun = [phase for phase, first in zip(settings.phases, first_steps(settings)) if first <= step]
    return begun[-1]


def without_sync(settings: TrainSettings) -> TrainSettings:
    """The same training without the lip-sync loss: table 3's ``no_sync``."""
    return dataclasses.replace(
        settings, phases=tuple(dataclasses.replace(phase, sync=0.0) for phase in settings.phases)
    )


def sync_weight(settings: TrainSettings) -> float:
    """The largest weight of the lip-sync loss in any phase."""
    return max(phase.sync for phase in settings.phases)
