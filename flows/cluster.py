"""Packs worked on elsewhere: on the workers of a Dask scheduler (``dask://host:port``) or of a Ray cluster
(``ray://host:port``).

The engines are the optional extra ``scale``: ``pip install '.[scale]'``. A worker starts a process in the project's
folder for each piece of work (``flows/remote_worker.py``). So a worker that has been up for weeks runs the code that
lies there now, which is the code that a pack's key names; the work has one thread, whatever the worker has; and a
worker needs nothing of ours but this Python and the project's folder at the same path, as a shared file system gives
them. What a process costs (an interpreter and its imports, seconds) is little beside a pack of clips.

The stage stays here, with a thread waiting for each piece: a worker needs no Prefect, as prefect-dask's and
prefect-ray's do. A worker that dies takes its piece along, and the engine gives it to another one.
"""

from __future__ import annotations

import contextlib
import importlib.util
import pickle
import re
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from flows import remote_worker
from s3dnerf.core.errors import S3DNeRFError

ADDRESS = re.compile(r"(dask|ray)://([\w.-]+|\[[0-9a-fA-F:]+\]):(\d+)")
MODULES = {"dask": "distributed", "ray": "ray"}
EXTRA = "pip install '.[scale]'"
CONNECT_S = 60.0
FIRST_WORKER_S = 60.0
LAST_WORDS = 2000  # characters of what a failed worker process said


class ClusterError(S3DNeRFError, RuntimeError):
    """A cluster cannot be reached, or lost a piece of work for good; the message says what was tried."""


def parsed(pool: str) -> tuple[str, str, int] | None:
    """(engine, host, port) of ``dask://host:port`` or ``ray://host:port``; None for anything else."""
    match = ADDRESS.fullmatch(pool)
    return (match[1], match[2].strip("[]"), int(match[3])) if match else None


def lacking(engine: str) -> str | None:
    """What to install where an engine is missing, else None."""
    if importlib.util.find_spec(MODULES[engine]) is not None:
        return None
    return f"{MODULES[engine]} is not installed: it is in the extra `scale` — {EXTRA}"


class Cluster(Protocol):
    """An engine that is connected. ``slots``: pieces it works on at once."""

    slots: int

    def call(self, name: str, command: list[str], said: bytes, folder: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command on some worker, again on another one where that worker dies."""

    def close(self) -> None: ...


class DaskCluster:
    """The workers of a Dask scheduler, each thread of theirs a slot; with ``gpu`` each GPU that they offer
    (``--resources GPU=1``), and where none does, their threads.
    """

    def __init__(self, host: str, port: int, gpu: bool = False) -> None:
        from distributed import Client

        self.client = Client(
            f"tcp://{f'[{host}]' if ':' in host else host}:{port}", timeout=CONNECT_S, set_as_default=False
        )
        try:
            self.client.wait_for_workers(1, timeout=FIRST_WORKER_S)
        except TimeoutError:
            self.close()
            raise ClusterError(
                f"no worker joined it within {FIRST_WORKER_S:g} s: start one with dask worker tcp://{host}:{port}"
            ) from None
        offered = [worker["resources"] for worker in self.client.scheduler_info(n_workers=-1)["workers"].values()]
        gpus = int(sum(resources.get("GPU", 0) for resources in offered)) if gpu else 0
        self.resources = {"GPU": 1} if gpus else {}
        self.slots = gpus or sum(self.client.nthreads().values())

    def call(self, name: str, command: list[str], said: bytes, folder: str) -> subprocess.CompletedProcess[bytes]:
        key = f"{name}-{uuid.uuid4().hex}"
        run: Any = subprocess.run  # by its overloads submit would promise text
        return self.client.submit(
            run, command, input=said, cwd=folder, capture_output=True, key=key, pure=False, resources=self.resources
        ).result()

    def close(self) -> None:
        self.client.close()


class RayCluster:
    """The machines of a Ray cluster, reached by its client port, each CPU of theirs a slot; with ``gpu`` each GPU, and
    where there is none, the CPUs. Ray sets CUDA_VISIBLE_DEVICES of a piece to its GPU.
    """

    def __init__(self, host: str, port: int, gpu: bool = False) -> None:
        import ray

        self.ray = ray
        ray.init(f"ray://{f'[{host}]' if ':' in host else host}:{port}", logging_level="ERROR", log_to_driver=False)
        self.run = ray.remote(subprocess.run)
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0)) if gpu else 0
        self.gpus_each = 1 if gpus else 0
        self.slots = gpus or int(there.get("CPU", 0))
        if not self.slots:
            self.close()
            raise ClusterError("it has no CPUs: start a worker with ray start --address=...")

    def call(self, name: str, command: list[str], said: bytes, folder: str) -> subprocess.CompletedProcess[bytes]:
        return self.ray.get(
            self.run.options(name=name, num_gpus=self.gpus_each).remote(
                command, input=said, cwd=folder, capture_output=True
            )
        )

    def close(self) -> None:
        self.ray.shutdown()


@contextlib.contextmanager
def connected(pool: str, gpu: bool = False) -> Iterator[Cluster]:
    """The cluster at an address; ``gpu``: each piece takes a GPU, where the cluster has any.

    Raises ClusterError where none answers there, or it has no worker.
    """
    found = parsed(pool)
    if found is None:
        raise ClusterError(f"{pool}: expected dask://host:port or ray://host:port")
    engine, host, port = found
    try:
        socket.create_connection((host, port), timeout=CONNECT_S).close()
        cluster: Cluster = (DaskCluster if engine == "dask" else RayCluster)(host, port, gpu)
    except (OSError, RuntimeError) as error:
        raise ClusterError(f"S3DNERF_POOL: {pool}: {error or type(error).__name__}") from error
    try:
        yield cluster
    finally:
        cluster.close()


def work_there(cluster: Cluster, name: str, work: Callable[[Any], Any], job: Any, lock: Path | None) -> Any:
    """``work(job)`` on some worker of a cluster. Raises what it raised there; ClusterError where it came to no
    answer.
    """
    said = pickle.dumps((sys.path, str(lock) if lock is not None and lock.is_file() else None)) + pickle.dumps(
        (work, job)
    )
    command, folder = [sys.executable, str(Path(remote_worker.__file__).resolve())], str(Path.cwd())
    try:
        done = cluster.call(name, command, said, folder)
    except FileNotFoundError as absent:
        need = (
            "its machine needs the project's folder and this Python at the same path, as a shared file system gives "
            "them"
        )
        raise ClusterError(f"{name}: a worker has no {absent.filename}: {need}") from absent
    except Exception as lost:  # each engine has kinds of its own
        raise ClusterError(f"{name}: lost by the cluster: {type(lost).__name__}: {str(lost)[:LAST_WORDS]}") from lost
    if done.returncode:
        last = done.stderr.decode(errors="replace").strip()[-LAST_WORDS:]
        raise ClusterError(
            f"{name}: its process on the worker ended with status {done.returncode}: {last or 'it said nothing'}"
        )
    sys.stderr.write(done.stderr.decode(errors="replace"))
    return remote_worker.result_of(done.stdout)
