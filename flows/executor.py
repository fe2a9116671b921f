"""Where the packs of a stage are worked on: this process, or Prefect tasks on threads, spawned processes or a cluster's
workers.

Chosen by the environment, never by ``params.yaml``, so that moving machines makes nothing stale:

- ``S3DNERF_RUNNER``: ``prefect`` (default) or ``inline``;
- ``S3DNERF_POOL``: ``auto`` (default), ``threads``, ``processes``, or a cluster's address, ``dask://host:port`` or
  ``ray://host:port`` (``flows/cluster.py``). ``auto`` does the first pack here, and starts a process pool only where
  that saves more than POOL_START_S (`python -m benchmarks.pool` measures a pool's start: 2.9 to 3.2 s; the rest is
  margin);
- ``S3DNERF_WORKERS``: how many at once; default: the machine's cores, or what the cluster has when it is reached.

The results do not depend on the choice: jobs share nothing, each process computes on one thread, results keep the jobs'
order.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Any

from flows.cluster import Cluster, connected, lacking, parsed, work_there
from flows.process_lifetime import stage_lock
from flows.progress import Progress
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.processes import die_with_parent
from stages.context import Context

POOL_START_S = 4.0
ENVIRONMENT = {
    "S3DNERF_RUNNER": ("prefect", "inline"),
    "S3DNERF_POOL": ("auto", "threads", "processes"),
}
CLUSTERS = ("dask://HOST:PORT", "ray://HOST:PORT")


_CURRENT: list[tuple[Callable[[Context], Any], Context]] = []


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
    """Packs worked on at once; ``default``, where the environment says nothing: the machine's cores.

    Raises RunnerError for anything but a whole number from 1.
    """
    text = os.environ.get("S3DNERF_WORKERS", str(default or os.cpu_count() or 1))
    if not text.isdigit() or int(text) < 1:
        raise RunnerError(f"S3DNERF_WORKERS: got {text!r} — accepted: a whole number from 1")
    return int(text)


def run_inline(work: Callable[[Any], Any], jobs: list[Any], names: list[str], title: str = "") -> list[Any]:
    """One job after the other in this process."""
    results = []
    with Progress(title, len(jobs)) as progress:
        for job, name in zip(jobs, names, strict=True):
            results.append(work(job))
            progress.step(name)
    return results


def run_stage(main: Callable[[Context], Any], context: Context) -> Any:
    """Run a stage's ``main`` with the runner the environment names. Raises RunnerError where the environment makes no
    sense.
    """
    pool = switch("S3DNERF_POOL")
    if switch("S3DNERF_RUNNER") == "inline":
        if parsed(pool):
            raise RunnerError(f"S3DNERF_POOL: {pool} needs S3DNERF_RUNNER=prefect; inline works in this process alone")
        context.run = lambda work, jobs, names: run_inline(work, jobs, names, context.stage)
        return main(context)
    return _run_prefect(main, context)


def _worth_retrying(task: Any, run: Any, state: Any) -> bool:
    """A passing fault of the machine (a busy file system), not a full disk and not an error in the work."""
    import errno

    try:
        state.result()
    except OSError as fault:
        return fault.errno not in (None, errno.ENOSPC, errno.EDQUOT, errno.ENOENT)
    except Exception:
        return False
    return False


def _as_task(stage: str, kind: str, name: str, work: Callable[[Any], Any]) -> Any:
    """``work`` as a Prefect task called ``name``; ``kind``: what is done in it."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    return task(
        name=f"{stage} {kind}",
        task_run_name=name.replace("{", "(").replace("}", ")"),
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=2,
        retry_delay_seconds=1,
        retry_condition_fn=_worth_retrying,
    )(work)


def _run_prefect(main: Callable[[Context], Any], context: Context) -> Any:
    """The stage as a flow run, its packs as task runs."""
    from flows.server import configure, find_or_start

    configure()
    url = find_or_start()
    if url:
        os.environ["PREFECT_API_URL"] = url
    from prefect import flow
    from prefect.futures import PrefectFuture, as_completed
    from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

    pool, count = switch("S3DNERF_POOL"), workers()
    runner: TaskRunner[Any] = (
        ProcessPoolTaskRunner(max_workers=count, initializer=die_with_parent)
        if pool in ("auto", "processes")
        else ThreadPoolTaskRunner(max_workers=count)
    )

    def gather(futures: dict[PrefectFuture[Any], int], names: list[str], progress: Progress) -> dict[int, Any]:
        results: dict[int, Any] = {}
        for future in as_completed(list(futures)):
            results[futures[future]] = future.result()
            progress.step(names[futures[future]])
        return results

    def run_here(work: Callable[[Any], Any], jobs: list[Any], names: list[str]) -> list[Any]:
        results: dict[int, Any] = {}
        tasks = [_as_task(context.stage, getattr(work, "__name__", "work"), name, work) for name in names]
        with Progress(context.stage, len(jobs)) as progress:
            at, slowest_s = 0, 0.0
            while at < len(jobs):
                left = len(jobs) - at
                pooled = pool != "auto" or (
                    at > 0 and count > 1 and left > 1 and left * slowest_s * (1 - 1 / min(count, left)) > POOL_START_S
                )
                if pooled:
                    break
                begun = time.monotonic()
                results[at] = tasks[at](jobs[at])
                slowest_s = max(slowest_s, time.monotonic() - begun)
                progress.step(names[at])
                at += 1
            results |= gather({tasks[i].submit(jobs[i]): i for i in range(at, len(jobs))}, names, progress)
        return [results[i] for i in range(len(jobs))]

    reached: list[Cluster] = []
    connections = contextlib.ExitStack()
    lock = stage_lock(context.settings.preset, context.stage, context.part)

    def run_there(work: Callable[[Any], Any], jobs: list[Any], names: list[str]) -> list[Any]:
        if not jobs:
            return []
        if not reached:  # only when it is needed: training and the report do without
            reached.append(connections.enter_context(connected(pool)))
        (cluster,) = reached

        def piece(name: str) -> Any:
            def there(job: Any) -> Any:
                return work_there(cluster, f"{context.stage}-{name}", work, job, lock)

            return _as_task(context.stage, getattr(work, "__name__", "work"), name, there)

        waiting: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=workers(cluster.slots))
        with Progress(context.stage, len(jobs)) as progress, waiting:
            results = gather(
                {waiting.submit(piece(names[i]), {"job": job}): i for i, job in enumerate(jobs)}, names, progress
            )
        return [results[i] for i in range(len(jobs))]

    context.run = run_there if parsed(pool) else run_here
    _CURRENT[:] = [(main, context)]

    @flow(
        name=context.stage,
        flow_run_name=f"{context.settings.preset} {context.part}".strip(),
        task_runner=runner,
        persist_result=False,
        validate_parameters=False,
    )
    def stage_flow() -> Any:

        return run_current()

    with connections:
        return stage_flow()


def run_current() -> Any:
    """Run the stage this process is for. The flow reaches it by name: its function travels to the pool's processes by
    value, and must not take the tracker's threads and locks along."""
    main, context = _CURRENT[0]
    return main(context)
