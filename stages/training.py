"""What the two training stages share: hand a job to its training, and mirror its curves while it runs.

Writes ``<work>/job.json``, which ``python -m <module> --job`` reads; everything else the training writes itself.
"""

from __future__ import annotations

from pathlib import Path

from s3dnerf.training.distributed import joined
from s3dnerf.training.jobs import J, Train
from s3dnerf.video.packs import write_atomic
from stages.context import Context


def run_training(context: Context, job: J, work: str, train: Train[J], processes: int) -> None:
    """Run ``train(job, world)`` to its end.

    ``work``: the job's folder of what it needs to go on (the job itself, checkpoints, curves). With a launcher in the
    context it runs as ``python -m <train's module>`` on so many processes, otherwise in this one. The tracker follows
    ``<work>/curves.jsonl``. Raises what the training or the launcher raises.
    """
    path = Path(work) / "job.json"
    write_atomic(path, job.to_json().encode())
    context.tracker.follow(Path(work) / "curves.jsonl")
    if context.launch is None:
        with joined() as world:
            train(job, world)
    else:
        context.launch(train.__module__, ["--job", str(path)], processes)
