"""Where the packs of a stage are worked on: in this process, in spawned worker processes, or by a cluster's workers.

Chosen by the environment, never by ``params.yaml``, so that moving machines makes nothing stale:

- ``S3DNERF_RUNNER``: ``prefect`` (default) or ``inline``: one after the other in this process, and no Prefect at all;
- ``S3DNERF_POOL``: ``auto`` (default), ``processes``, or a cluster's address, ``dask://host:port`` or
  ``ray://host:port`` (``flows/cluster.py``). ``auto`` does the first pack here, and starts a process pool only where
  that saves more than POOL_START_S (`python -m benchmarks.pool` measures a pool's start: 2.0 to 2.1 s; the rest is
  margin);
- ``S3DNERF_WORKERS``: how many at once; default: the cores that this process may use, or what the cluster has when it
  is reached.

The results do not depend on the choice: jobs share nothing, each process computes on one thread, results keep the jobs'
order. Prefect is not asked to run them: a task run a pack cost 0.1 s and 38 kB of its database.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol

from flows.cluster import Cluster, connected, lacking, parsed, work_there
from flows.progress import Progress, Watcher
from flows.retries import attempt
from flows.worker_pool import WorkerPool
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.devices import VARIABLE, usable_gpus
from s3dnerf.core.errors import S3DNeRFError

logger = logging.getLogger(__name__)

POOL_START_S = 4.0
ENVIRONMENT = {
    "S3DNERF_RUNNER": ("prefect", "inline"),
    "S3DNERF_POOL": ("auto", "processes"),
}
CLUSTERS = ("dask://HOST:PORT", "ray://HOST:PORT")

Work = Callable[[Any], Any]


class RunnerError(S3DNeRFError, ValueError):
    """An infrastructure switch has a value nobody knows."""


def switch(name: str) -> str:
    """The value of an infrastructure switch. Raises RunnerError naming what it accepts."""
    accepted = ENVIRONMENT[name]
    value = os.environ.get(name, accepted[0])
    cluster = parsed(value) if name == "S3DNERF_POOL" else None
    if cluster is not None:
        if missing := lacking(cluster[0]):
            raise RunnerError(f"{name}: {value}: {missing}")
    elif value not in accepted:
        also = CLUSTERS if name == "S3DNERF_POOL" else ()
        raise RunnerError(f"{name}: got {value!r} — accepted: {', '.join(accepted + also)}")
    return value


def workers(default: int | None = None) -> int:
    """Packs worked on at once; ``default``, where the environment says nothing: the cores this process may use.

    Raises RunnerError for anything but a whole number from 1.
    """
    text = os.environ.get("S3DNERF_WORKERS", str(default or usable_cores()))
    if not text.isdigit() or int(text) < 1:
        raise RunnerError(f"S3DNERF_WORKERS: got {text!r} — accepted: a whole number from 1")
    return int(text)


class Executor(Protocol):
    """Does the jobs of one stage. A context manager: leaving it ends what it started.

    Attributes
    ----------
    counts : dict
        Pieces of work done, and tries that failed and were followed by another.
    """

    counts: dict[str, int]

    def __call__(self, work: Work, jobs: Sequence[Any], names: Sequence[str]) -> list[Any]:
        """``work(job)`` for every job, in the jobs' order. ``names``: of the jobs, for progress and messages."""

    def __enter__(self) -> Executor: ...

    def __exit__(self, *error: Any) -> None: ...


class _Counting:
    """What both executors share: the progress of a call, its results, and its counts."""

    def __init__(self, stage: str, watcher: Watcher | None) -> None:
        self.stage, self.watcher = stage, watcher
        self.counts = {"pieces_done": 0, "tries_that_failed": 0}

    @contextlib.contextmanager
    def _collecting(self, results: dict[int, Any], names: Sequence[str]) -> Any:
        """Yields ``done(index, result, failed tries)``."""
        with Progress(self.stage, len(names), self.watcher) as progress:

            def done(index: int, result: Any, failed: list[str]) -> None:
                results[index] = result
                for number, fault in enumerate(failed, 1):
                    logger.warning(f"{self.stage}: {names[index]}: try {number} failed, tried again: {fault}")
                self.counts["pieces_done"] += 1
                self.counts["tries_that_failed"] += len(failed)
                progress.step(names[index])

            yield done


class LocalExecutor(_Counting):
    """In this process, in up to ``count`` spawned processes (``processes``), or first here and then there where that
    repays their start (``auto``). With a count of 0 always in this process.

    ``gpu``: each spawned process sees one of the GPUs that this one may use, by turns.
    """

    def __init__(
        self, stage: str, pool: str = "auto", count: int = 0, watcher: Watcher | None = None, gpu: bool = False
    ) -> None:
        super().__init__(stage, watcher)
        self.pool, self.count, self.gpu = pool, count, gpu
        self._started: WorkerPool | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def __call__(self, work: Work, jobs: Sequence[Any], names: Sequence[str]) -> list[Any]:
        results: dict[int, Any] = {}
        with self._collecting(results, names) as done:
            at, slowest_s = 0, 0.0
            while at < len(jobs) and not self._pool_pays(at, len(jobs) - at, slowest_s):
                begun = time.monotonic()
                done(at, *attempt(work, jobs[at]))
                slowest_s = max(slowest_s, time.monotonic() - begun)
                at += 1
            if at < len(jobs):
                if self._started is None:
                    self._started = self._open.enter_context(WorkerPool(self.count, usable_gpus() if self.gpu else ()))
                self._started.run(work, jobs[at:], names[at:], lambda i, *outcome: done(at + i, *outcome))
        return [results[i] for i in range(len(jobs))]

    def _pool_pays(self, at: int, left: int, slowest_s: float) -> bool:
        if not self.count:
            return False
        if self._started is not None or self.pool == "processes":
            return True
        saved_s = left * slowest_s * (1 - 1 / min(self.count, left))
        return at > 0 and self.count > 1 and left > 1 and saved_s > POOL_START_S


class ClusterExecutor(_Counting):
    """By the workers of a cluster, with a thread waiting here for each piece. ``lock``: held by the stage while it
    works; ``gpu``: whether a piece asks for a GPU.
    """

    def __init__(self, stage: str, address: str, lock: Path, watcher: Watcher | None = None, gpu: bool = False) -> None:
        super().__init__(stage, watcher)
        self.address, self.lock, self.gpu = address, lock, gpu
        self._cluster: Cluster | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> ClusterExecutor:
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.__exit__(*error)

    def __call__(self, work: Work, jobs: Sequence[Any], names: Sequence[str]) -> list[Any]:
        if not jobs:
            return []
        if self._cluster is None:  # only when it is needed: training and the report do without
            self._cluster = self._open.enter_context(connected(self.address, self.gpu))
        cluster, results = self._cluster, dict[int, Any]()

        def there(name: str, job: Any) -> Any:
            return work_there(cluster, f"{self.stage}-{name}", work, job, self.lock)

        waiting = ThreadPoolExecutor(workers(cluster.slots), "waiting-for-a-piece")
        try:
            with self._collecting(results, names) as done:
                futures: dict[Future[Any], int] = {
                    waiting.submit(attempt, functools.partial(there, names[i]), job): i for i, job in enumerate(jobs)
                }
                for future in as_completed(futures):
                    done(futures[future], *future.result())
        except Exception:
            waiting.shutdown(cancel_futures=True)
            raise
        finally:  # after Ctrl-C the connection is closed before the threads are waited for
            waiting.shutdown(wait=False, cancel_futures=True)
        return [results[i] for i in range(len(jobs))]


def executor_of(stage: str, lock: Path, watcher: Watcher | None = None, gpu: bool = False) -> Executor:
    """The executor that the environment names. ``lock``: the stage's; ``gpu``: whether its pieces run networks, for
    which a cluster's GPUs are asked. Raises RunnerError.
    """
    pool = switch("S3DNERF_POOL")
    if switch("S3DNERF_RUNNER") == "inline":
        if parsed(pool):
            raise RunnerError(f"S3DNERF_POOL: {pool} needs S3DNERF_RUNNER=prefect; inline works in this process alone")
        return LocalExecutor(stage, watcher=watcher)
    if parsed(pool):
        return ClusterExecutor(stage, pool, lock, watcher, gpu and os.environ.get(VARIABLE) != "cpu")
    return LocalExecutor(stage, pool, workers(), watcher, gpu)
