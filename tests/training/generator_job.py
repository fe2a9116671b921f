"""A job of the generator's training, and what it wrote."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s3dnerf.settings.schema import Settings
from s3dnerf.training.train_s3dnerf import Job


def generator_job(settings: Settings, data_dir: Path, folder: Path, variant: str = "full", **given: Any) -> Job:
    """A job in ``folder`` on the clips and the expert of ``data_dir``; ``given`` changes settings of ``train``."""
    settings = dataclasses.replace(settings, train=dataclasses.replace(settings.train, **given))
    return Job(
        settings,
        variant,
        str(data_dir),
        str(data_dir / "train_sync" / "expert"),
        str(folder / "work"),
        str(folder / "out"),
    )


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: relative path → bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
