"""What a stage is handed: settings, a tracker, a runner, and the provenance of the run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from s3dnerf.settings.schema import Settings


class Tracker(Protocol):
    """Where a stage sends what it wants recorded. The MLflow one is ``flows/tracking.py``."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        """Record numbers at a step."""

    def artifact(self, path: Path) -> None:
        """Record a file."""

    def follow(self, curves: Path) -> None:
        """Mirror a ``curves.jsonl`` that a training process appends to, while it grows and once more at the end."""


class NoTracker:
    """Records nothing: the system of record is git, ``dvc.lock`` and ``reports/``."""

    def metrics(self, values: dict[str, float], step: int = 0) -> None:
        pass

    def artifact(self, path: Path) -> None:
        pass

    def follow(self, curves: Path) -> None:
        pass


def run_inline(work: Callable[[Any], Any], jobs: Iterable[Any], names: list[str]) -> list[Any]:
    """The plainest runner: one after the other, in this process."""
    return [work(job) for job in jobs]


@dataclass
class Context:
    """One run of one stage.

    Attributes
    ----------
    settings : Settings
    part : str
        One part of a stage that DVC knows as several: the role of ``train_sync`` (expert, judge), the variant of
        ``train_s3dnerf``; empty: all parts.
    run : callable
        ``run(work, jobs, names) -> results`` in the order of ``jobs``; ``work`` is picklable.
    launch : callable
        ``launch(module, arguments, processes)`` starts ``python -m module arguments…`` on so many processes
        and raises when it fails.
    provenance : dict
        git revision, ``dvc.lock``, hardware, packages: handed in, never looked up by the library.
    ignore_store : bool
        Make everything anew, whatever the store and the checkpoints have, and replace it there.
    """

    settings: Settings
    stage: str
    part: str = ""
    tracker: Tracker = field(default_factory=NoTracker)
    run: Callable[[Callable[[Any], Any], list[Any], list[str]], list[Any]] = run_inline
    launch: Callable[[str, list[str], int], None] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)
    ignore_store: bool = False

    def out(self, *parts: str) -> Path:
        """``data/<preset>/<stage>/…``"""
        return self.settings.data_dir.joinpath(self.stage, *parts)
