"""What the two training stages share: hand a job to its training, and mirror its curves while it runs.

Writes ``<work>/job.json``, which ``python -m <module> --job`` reads; everything else the training writes itself.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeVar

from s3dnerf.training.distributed import World, joined
from s3dnerf.video.packs import write_atomic
from stages.context import Context


class TrainingJob(Protocol):
    """A training's job: its settings and folders, as text where it starts in processes of its own."""

    @property
    def work(self) -> str:
        """Folder of what a run needs to go on: the job, checkpoints, curves."""

    def to_json(self) -> str: ...


J = TypeVar("J", bound=TrainingJob)


def run_training(context: Context, job: J, train: Callable[[J, World, Callable[[str], None]], object], processes: int) -> None:
    """Run ``train(job, world, say)`` to its end.

    With a launcher in the context it runs as ``python -m <train's module>`` on so many processes, otherwise in this one. The
    tracker follows ``<work>/curves.jsonl``. Raises what the training or the launcher raises.
    """
    path = Path(job.work) / "job.json"
    write_atomic(path, job.to_json().encode())
    context.tracker.follow(Path(job.work) / "curves.jsonl")
    if context.launch is None:
        with joined() as world:
            train(job, world, context.say)
    else:
        context.launch(train.__module__, ["--job", str(path)], processes)
