"""Where the packs of a stage are worked on: this process, spawned processes, or a cluster's workers.

Chosen by the environment, never by ``params.yaml``, so that moving machines makes nothing stale:

- ``S3DNERF_RUNNER``: ``prefect`` (default): the stage is a flow run that Prefect shows (:mod:`flows.flow_run`), or
  ``inline``: no Prefect, one pack after the other in this process;
- ``S3DNERF_POOL``: ``auto`` (default), ``processes``, or a cluster's address, ``dask://host:port`` or
  ``ray://host:port`` (``flows/cluster.py``). ``auto`` does the first pack here, and starts a process pool only where
  that saves more than POOL_START_S (`python -m benchmarks.pool` measures a pool's start: 2.9 to 3.2 s; the rest is
  margin);
- ``S3DNERF_WORKERS``: how many at once; default: the cores that this process may use, or what the cluster has when it
  is reached.

The results do not depend on the choice: jobs share nothing, each process computes on one thread, results keep the
jobs' order.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from flows.cluster import Cluster, connected, lacking, parsed, work_there
from flows.process_lifetime import stage_lock
from flows.progress import Progress
from flows.remote_worker import outcome_of, result_of
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.processes import die_with_parent, usable_cores
from stages.context import Context

POOL_START_S = 4.0
TRIES, RETRY_DELAY_S = 3, 1.0
ENVIRONMENT = {
    "S3DNERF_RUNNER": ("prefect", "inline"),
    "S3DNERF_POOL": ("auto", "processes"),
}
CLUSTERS = ("dask://HOST:PORT", "ray://HOST:PORT")
# faults of the machine that do not pass by themselves, or are no fault of it
LASTING = (None, errno.ENOSPC, errno.EDQUOT, errno.ENOENT)

Work = Callable[[Any], Any]
Step = Callable[[int, int], None]  # pieces done, pieces in all


class RunnerError(S3DNeRFError, ValueError):
    """An infrastructure switch has a value nobody knows."""


class WorkersLost(S3DNeRFError, RuntimeError):
    """Worker processes were ended from outside, twice; the message names the packs that were in their hands."""


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
    """Packs worked on at once; ``default``, where the environment says nothing: the cores that this process may use.

    Raises RunnerError for anything but a whole number from 1.
    """
    text = os.environ.get("S3DNERF_WORKERS", str(default or usable_cores()))
    if not text.isdigit() or int(text) < 1:
        raise RunnerError(f"S3DNERF_WORKERS: got {text!r} — accepted: a whole number from 1")
    return int(text)


def passes(fault: BaseException) -> bool:
    """Whether a fault is the machine's and may pass (a busy file system): not a full disk, not an error in the work."""
    return isinstance(fault, OSError) and fault.errno not in LASTING


def attempt(work: Work, job: Any) -> Any:
    """``work(job)``, tried again after a fault that may pass. Raises what the last try raised."""
    for left in reversed(range(TRIES)):
        try:
            return work(job)
        except OSError as fault:
            if not left or not passes(fault):
                raise
            time.sleep(RETRY_DELAY_S)
    raise AssertionError("not reached: the last try returns or raises")


class PackExecutor:
    """Works on the packs of one stage, here or in a pool of processes or on a cluster; results in the jobs' order.

    Parameters
    ----------
    context : Context
        The stage: its name is shown with the progress, and a cluster's workers watch its lock.
    pool : str
        ``inline``, or a value of ``S3DNERF_POOL``.
    step : callable, optional
        Called with (pieces done, pieces in all) after each piece.
    """

    def __init__(self, context: Context, pool: str, step: Step | None = None) -> None:
        self.context, self.pool, self.step = context, pool, step
        self._connections, self._cluster = contextlib.ExitStack(), list[Cluster]()

    def __enter__(self) -> PackExecutor:
        return self

    def __exit__(self, *error: object) -> None:
        self._connections.close()

    def run(self, work: Work, jobs: list[Any], names: list[str]) -> list[Any]:
        """``work`` on every job. Raises what a job raised, after the jobs in hand have ended; WorkersLost."""
        results: dict[int, Any] = {}
        with Progress(self.context.stage, len(jobs)) as progress:

            def finished(at: int, result: Any) -> None:
                results[at] = result
                progress.step(names[at])
                if self.step is not None:
                    self.step(len(results), len(jobs))

            if parsed(self.pool):
                self._on_cluster(work, jobs, names, finished)
            else:
                rest = self._here(work, jobs, finished)
                if rest:
                    self._in_processes(work, jobs, names, rest, finished)
        return [results[at] for at in range(len(jobs))]

    def _here(self, work: Work, jobs: list[Any], finished: Callable[[int, Any], None]) -> list[int]:
        """Work on jobs in this process for as long as a pool would not repay its start. Returns the jobs left."""
        count, slowest_s = workers(), 0.0
        for at, job in enumerate(jobs):
            left = len(jobs) - at
            saved_s = left * slowest_s * (1 - 1 / min(count, left))
            worth_it = at > 0 and count > 1 and left > 1 and saved_s > POOL_START_S
            if self.pool == "processes" or (self.pool == "auto" and worth_it):
                return list(range(at, len(jobs)))
            begun = time.monotonic()
            finished(at, attempt(work, job))
            slowest_s = max(slowest_s, time.monotonic() - begun)
        return []

    def _in_processes(
        self, work: Work, jobs: list[Any], names: list[str], todo: list[int], finished: Callable[[int, Any], None]
    ) -> None:
        """Work on jobs in spawned processes, each on one thread; what a lost worker had in hand is tried once more."""
        task = functools.partial(attempt, work)
        for last in (False, True):
            lost = []
            spawn = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(min(workers(), len(todo)), spawn, die_with_parent) as pool:
                futures = {pool.submit(outcome_of, task, jobs[at]): at for at in todo}
                with cancelled_on_error(pool):
                    for future in as_completed(futures):
                        try:
                            outcome = future.result()
                        except BrokenProcessPool:
                            lost.append(futures[future])
                        else:
                            finished(futures[future], result_of(outcome))
            if not lost:
                return
            todo = sorted(lost)
            if last:
                shown = ", ".join(names[at] for at in todo[:5]) + (" …" if len(todo) > 5 else "")
                raise WorkersLost(
                    f"{self.context.stage}: worker processes were killed twice, often for want of memory; left: "
                    f"{shown}. Run again with fewer at once (S3DNERF_WORKERS=1); what is done is kept"
                )

    def _on_cluster(self, work: Work, jobs: list[Any], names: list[str], finished: Callable[[int, Any], None]) -> None:
        """Work on jobs on a cluster's workers, a thread here waiting for each piece."""
        if not jobs:
            return
        if not self._cluster:  # only when it is needed: training and the report do without
            self._cluster.append(self._connections.enter_context(connected(self.pool)))
        (cluster,) = self._cluster
        stage = self.context.stage
        lock = stage_lock(self.context.settings.preset, stage, self.context.part)

        def there(at: int) -> Any:
            return attempt(lambda job: work_there(cluster, f"{stage}-{names[at]}", work, job, lock), jobs[at])

        with ThreadPoolExecutor(workers(cluster.slots)) as pool:
            futures = {pool.submit(there, at): at for at in range(len(jobs))}
            with cancelled_on_error(pool):
                for future in as_completed(futures):
                    finished(futures[future], future.result())


@contextlib.contextmanager
def cancelled_on_error(pool: Executor) -> Iterator[None]:
    """Where the block raises, begin no further piece; those in hand end, and what they make is kept."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def run_stage(main: Callable[[Context], Any], context: Context) -> Any:
    """Run a stage's ``main`` with the runner the environment names. Raises RunnerError where that makes no sense."""
    pool = switch("S3DNERF_POOL")
    if switch("S3DNERF_RUNNER") == "inline":
        if parsed(pool):
            raise RunnerError(f"S3DNERF_POOL: {pool} needs S3DNERF_RUNNER=prefect; inline works in this process alone")
        with PackExecutor(context, "inline") as executor:
            context.run = executor.run
            return main(context)
    from flows.flow_run import recorded

    with recorded(context) as record, PackExecutor(context, pool, record.progress) as executor:
        context.run = executor.run
        return record.run(main)
