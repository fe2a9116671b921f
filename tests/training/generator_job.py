"""A job of the generator's training, and what it wrote."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s3dnerf.settings.schema import PhaseSettings, Settings, TrainSettings
from s3dnerf.training.train_s3dnerf import Job

PHASE = {field.name for field in dataclasses.fields(PhaseSettings)}


def generator_job(settings: Settings, data_dir: Path, folder: Path, variant: str = "full", **given: Any) -> Job:
    """A job in ``folder`` on the clips and the expert of ``data_dir``; ``given`` changes settings of ``train``, or of
    each of its phases.
    """
    settings = dataclasses.replace(settings, train=with_changes(settings.train, **given))
    return Job(
        settings,
        variant,
        str(data_dir),
        str(data_dir / "train_sync" / "expert"),
        str(folder / "work"),
        str(folder / "out"),
    )


def with_changes(train: TrainSettings, **given: Any) -> TrainSettings:
    """Training settings with some changed: a loss's weight or how frames are drawn in every phase, others in ``train``."""
    phase = {name: given.pop(name) for name in list(given) if name in PHASE}
    return dataclasses.replace(train, phases=tuple(dataclasses.replace(p, **phase) for p in train.phases), **given)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: relative path → bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
