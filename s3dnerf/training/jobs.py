"""A training's job as a file, the command line that reads it (``python -m s3dnerf.training.<name> --job job.json``),
and how a training is asked to stop.

Reads the job's JSON; what the training reads and writes, its own module says.
"""

from __future__ import annotations

import abc
import argparse
import contextlib
import dataclasses
import json
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self, TypeVar

from s3dnerf.core.logs import log_to_stdout
from s3dnerf.core.machine import hardware
from s3dnerf.core.memory import ran_out_of_memory
from s3dnerf.core.processes import one_message
from s3dnerf.settings.loading import as_dict, settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.training.distributed import World, joined


@dataclasses.dataclass(frozen=True)
class TrainingJob(abc.ABC):
    """One training run: settings, and what the training adds (strings)."""

    settings: Settings

    @property
    @abc.abstractmethod
    def processes(self) -> int:
        """How many processes the settings ask for: they decide what each draws, so a run has just so many."""

    def to_json(self) -> str:
        """The job as JSON, settings in full."""
        plain = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return json.dumps({**plain, "settings": as_dict(self.settings)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Inverse of :meth:`to_json`. Raises SettingsError for settings that are not valid."""
        given = json.loads(text)
        return cls(**{**given, "settings": settings_from(given["settings"])})


MACHINES = "machines.jsonl"
J = TypeVar("J", bound=TrainingJob)
Train = Callable[[J, World], object]


def run_job(name: str, kind: type[J], train: Train[J], arguments: list[str] | None = None) -> None:
    """The command line of a training: read the job, join the run's processes, train.

    The main process's log lines go to stdout; the others show errors alone. An error ends the process with one message.
    """
    parser = argparse.ArgumentParser(prog=name, description="Run one training job.")
    parser.add_argument("--job", required=True, type=Path, help="the job's JSON file")
    path = parser.parse_args(arguments).job
    job = kind.from_json(path.read_text(encoding="utf-8"))
    with one_message(name, stoppable=False), joined() as world:
        log_to_stdout("s3dnerf", "__main__", level=logging.INFO if world.is_main() else logging.ERROR)
        if world.size != job.processes:
            raise RuntimeError(
                f"{world.size} processes were started, the settings ask for {job.processes} — start so many, "
                "or change the setting: the number of processes decides what is drawn"
            )
        if world.is_main():
            note_machine(path.parent, world.size)
        try:
            train(job, world)
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            raise RuntimeError(
                f"process {world.rank} ran out of memory on {world.device}: lower train.batch (sync.batch for "
                "train_sync), raise train.accumulate or lower S3DNERF_LOADER_WORKERS; the checkpoint is kept "
                f"({type(error).__name__}: {str(error)[:300]})"
            ) from error


def note_machine(work: Path, processes: int) -> None:
    """Add a line to ``<work>/machines.jsonl``: this machine, how many processes, today. A training that went on
    elsewhere has a line for each.
    """
    line = {**hardware(), "processes": processes, "date": datetime.now(UTC).date().isoformat()}
    with open(work / MACHINES, "a", encoding="utf-8") as handle:
        handle.write(json.dumps(line) + "\n")


def noted_machines(work: Path) -> list[dict[str, Any]]:
    """What :func:`note_machine` wrote, each once and in order; empty where it wrote nothing. A line that a full disk
    cut short is passed over.
    """
    found: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        for line in (work / MACHINES).read_text(encoding="utf-8").splitlines():
            with contextlib.suppress(ValueError):
                if (machine := json.loads(line)) not in found:
                    found.append(machine)
    return found


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """``asked()`` turns true at SIGINT or SIGTERM, so that the step in hand ends and its checkpoint is written."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals are the main thread's
        return
    before = {s: signal.signal(s, lambda number, frame: asked.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(asked)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
