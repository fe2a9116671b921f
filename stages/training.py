"""What the two training stages share: hand a job to its training, mirror its curves while it runs, keep its result.

Writes ``<work>/job.json``, which ``python -m <module> --job`` reads; everything else the training writes itself. A
finished training is kept in the store: the next run that would end with the same bytes takes it from there. Its key
holds more than that of its checkpoints: also what its card states and what decided nothing of the weights, such as the
gate that the expert is held to.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from s3dnerf.training.distributed import joined
from s3dnerf.training.jobs import J, Train, noted_machines
from s3dnerf.video.packs import write_atomic
from stages.content_store import ContentStore, Entry
from stages.context import Context
from stages.keys import key_of
from stages.made import made_now
from stages.out_keys import KeptEntry, forget_keys, write_keys
from stages.preprocessing import StageError

logger = logging.getLogger(__name__)


def _taken(context: Context, key: str, out: Path) -> Entry | None:
    """A finished training from the store into ``out``; None where there is no whole one."""

    def copied(entry: Entry) -> Entry:
        entry.copy_all(out)
        return entry

    return None if context.ignore_store else ContentStore().use(context.stage, key, copied)


def result_key(work: str, stated: Mapping[str, Any]) -> str:
    """The store's name of a finished training: the key of its checkpoints, and the settings that its card states."""
    return key_of(Path(work).name, stated)


def run_training(
    context: Context, job: J, work: str, out: str, stated: Mapping[str, Any], train: Train[J], processes: int
) -> None:
    """Run ``train(job, world)`` to its end, or take its result from the store.

    Parameters
    ----------
    context : Context
        With a launcher in it the training runs as ``python -m <train's module>`` on so many processes, otherwise in
        this one. Where the store is to be ignored it starts at step 0, whatever its checkpoints are.
    job : the training's job
    work : folder of what it needs to go on (the job itself, checkpoints, curves); its name is the key
    out : folder of the result, emptied first: a result holds nothing of an earlier one
    stated : settings that the result's card states
    train : the training
    processes : how many

    Raises what the training or the launcher raises.
    """
    key, checkpoints = Path(work).name, Path(work).parent.parent
    checkpoints.mkdir(parents=True, exist_ok=True)
    # an experiment in a folder of its own may want the same training now: the later one takes the other's result
    with FileLock(checkpoints / f".{context.stage}-{key}.lock"):
        _train_or_take(context, job, work, Path(out), result_key(work, stated), train, processes)


def _train_or_take(
    context: Context, job: J, work: str, folder: Path, key: str, train: Train[J], processes: int
) -> None:
    """:func:`run_training`, while nobody else is at the same training. ``key``: of its result."""
    part = folder.relative_to(context.settings.data_dir).as_posix()
    forget_keys(context.settings.data_dir, part)
    shutil.rmtree(folder, ignore_errors=True)
    entry = _taken(context, key, folder)
    if context.ignore_store:
        shutil.rmtree(work, ignore_errors=True)
    path = Path(work) / "job.json"
    write_atomic(path, job.to_json().encode())
    if entry is not None:
        logger.info(f"{part}: finished before, taken from the store")
        context.tracker.follow(folder / "curves.jsonl")
    else:
        context.tracker.follow(Path(work) / "curves.jsonl")
        if context.launch is None:
            with joined() as world:
                train(job, world)
        else:
            context.launch(train.__module__, ["--job", str(path)], processes)
        made = {p.relative_to(folder).as_posix(): p for p in sorted(folder.rglob("*")) if p.is_file()}
        if not made:
            raise StageError(
                f"{part}: its training ended well and left nothing in {folder}: expected weights and a card"
            )
        record = made_now(context.provenance)
        # of every machine that this training ran on, which may not be this one
        record["machines"] = noted_machines(Path(work)) or record["machines"]
        ContentStore().put(context.stage, key, made, record)
        entry = ContentStore().find(context.stage, key)
    files, record = (dict(entry.files), dict(entry.made)) if entry is not None else ({}, {})
    write_keys(context.settings.data_dir, part, context.stage, [KeptEntry(key, files, made=record)])
