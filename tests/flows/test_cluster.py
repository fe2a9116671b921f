"""A stage on real clusters on this machine, by address: a Dask scheduler with two workers, a Ray head with two nodes,
processes of their own.

One of the two is killed with -9 while it works: the stage ends with the hashes of a run that nobody disturbed. What
needs no engine, a piece of work in its process and what is said when something is missing, is tested without one.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import psutil
import pytest

from flows import cluster as cluster_module
from flows import executor, remote_worker, stage_run
from s3dnerf.settings.loading import preset_settings
from stages.context import Context
from tests.preprocessed import half_written, hashes, make_project, run_stage, start_stage, undone

STAGE = "masks"
START_S = 240.0  # of a machine with other things to do
PIECE = Path(remote_worker.__file__).name


def needs(engine: str) -> pytest.MarkDecorator:
    module = cluster_module.MODULES[engine]
    return pytest.mark.skipif(
        importlib.util.find_spec(module) is None, reason=f"{module} is not installed: {cluster_module.EXTRA}"
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def tree(process: psutil.Process) -> list[psutil.Process]:
    """A process and what it started, and what that started."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.Error:
        return []


def pieces(process: psutil.Process) -> list[psutil.Process]:
    """The pieces of work that a worker's process tree is at."""
    found = []
    for one in tree(process):
        try:
            if any(Path(word).name == PIECE for word in one.cmdline()[:2]):
                found.append(one)
        except psutil.Error:
            continue
    return found


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(what: str, happened, limit_s: float = START_S) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        time.sleep(0.02)


class Loopback:
    """Processes of a cluster: the first is its head, the others are its workers."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.started = folder, []
        self.environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("PYTHONPATH", "S3DNERF", "PREFECT"))
        }

    def __enter__(self) -> Loopback:
        self.folder.mkdir()
        return self

    def start(self, *words: str) -> psutil.Process:
        with open(self.folder / f"{len(self.started)}.log", "wb") as log:
            process = psutil.Popen(
                [sys.executable, *words], cwd=self.folder, env=self.environment, stdout=log, stderr=log
            )
        self.started.append(process)
        return process

    def log(self, number: int) -> str:
        return (self.folder / f"{number}.log").read_text(errors="replace")

    def __exit__(self, *error: object) -> None:
        for process in self.started:
            for one in reversed(tree(process)):
                try:
                    one.kill()
                except psutil.NoSuchProcess:
                    continue


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(tmp_path_factory.mktemp("clusters") / "project")


@pytest.fixture
def dask(tmp_path: Path) -> Iterator[tuple[str, Loopback]]:
    (port,) = free_ports(1)
    address = f"127.0.0.1:{port}"
    with Loopback(tmp_path / "cluster") as cluster:
        cluster.start(
            "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
        )
        for name in ("one", "two"):
            words = ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1"]
            cluster.start("-m", "distributed.cli.dask_worker", f"tcp://{address}", *words)
        until("two Dask workers", lambda: cluster.log(0).count("Register worker") == 2)
        yield f"dask://{address}", cluster


@pytest.fixture
def ray(tmp_path: Path) -> Iterator[tuple[str, Loopback]]:
    head, client = free_ports(2)
    start = [
        "-m",
        "ray.scripts.scripts",
        "start",
        "--block",
        "--disable-usage-stats",
        "--object-store-memory",
        "100000000",
    ]
    # a folder of its own: the default one is where Ray finds the cluster that somebody else may run here. Short: it
    # holds sockets
    with tempfile.TemporaryDirectory(prefix="ray") as folder, Loopback(tmp_path / "cluster") as cluster:
        ports = ["--port", str(head), "--ray-client-server-port", str(client), "--include-dashboard", "false"]
        cluster.start(*start, "--head", "--temp-dir", folder, "--num-cpus", "0", *ports)
        for number in range(3):
            if number:  # one after the other: two at once look for the same free ports
                cluster.start(*start, "--address", f"127.0.0.1:{head}", "--num-cpus", "1")
            until(f"Ray's node {number}", lambda n=number: "Ray runtime started" in cluster.log(n))
        yield f"ray://127.0.0.1:{client}", cluster


def started_and_at_work(project: Path, address: str, cluster: Loopback) -> subprocess.Popen[str]:
    """The stage's run, when a worker is at a piece of it."""
    stage = start_stage(project, STAGE, S3DNERF_RUNNER="prefect", S3DNERF_POOL=address)
    until(
        "a piece of work on a worker",
        lambda: stage.poll() is not None or any(pieces(worker) for worker in cluster.started[1:]),
    )
    assert stage.poll() is None, stage.communicate()
    return stage


def check_one_of_two_killed(project: Path, done: Path, address: str, cluster: Loopback) -> None:
    """Run the stage, kill the first worker that is at a piece, see the stage end as it would have; the piece dies with
    its worker.
    """
    stage = started_and_at_work(project, address, cluster)
    victim = next(worker for worker in cluster.started[1:] if pieces(worker))
    caught = pieces(victim)
    for one in tree(victim):
        if one not in caught:  # those must end by themselves
            one.send_signal(signal.SIGKILL)
    until("the end of the killed worker's piece", lambda: not any(alive(one) for one in caught), 20.0)
    said, failed = stage.communicate(timeout=300)
    assert stage.returncode == 0, said + failed
    assert failed == "" and f"{STAGE}: 3 packs, 0 from the store, 3 to make" in said
    assert hashes(project, STAGE) == hashes(done, STAGE) and not half_written(project)


@needs("dask")
def test_a_stage_on_dask_survives_one_of_two_workers(dask: tuple[str, Loopback], done: Path, tmp_path: Path) -> None:
    check_one_of_two_killed(undone(done, tmp_path / "project", STAGE), done, *dask)


@needs("ray")
def test_a_stage_on_ray_survives_one_of_two_nodes(ray: tuple[str, Loopback], done: Path, tmp_path: Path) -> None:
    check_one_of_two_killed(undone(done, tmp_path / "project", STAGE), done, *ray)


@needs("dask")
def test_kill_9_of_a_stage_ends_its_pieces_on_the_workers(
    dask: tuple[str, Loopback], done: Path, tmp_path: Path
) -> None:
    project, (address, cluster) = undone(done, tmp_path / "project", STAGE), dask
    stage = started_and_at_work(project, address, cluster)
    stage.kill()
    stage.communicate()
    until("the end of what it had sent", lambda: not any(pieces(worker) for worker in cluster.started[1:]), 30.0)
    assert not (project / "data/tiny/masks/hdtf/index.parquet").exists()
    again = run_stage(project, STAGE, S3DNERF_RUNNER="prefect", S3DNERF_POOL=address)
    assert again.returncode == 0, again.stderr
    assert hashes(project, STAGE) == hashes(done, STAGE)


@needs("dask")
def test_a_scheduler_without_workers_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cluster_module, "FIRST_WORKER_S", 1.0)
    (port,) = free_ports(1)
    with Loopback(tmp_path / "cluster") as cluster:
        cluster.start(
            "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"
        )
        until("the scheduler", lambda: "Scheduler at" in cluster.log(0))
        told = f"S3DNERF_POOL: dask://127.0.0.1:{port}: no worker joined it within 1 s: start one with dask worker tcp://127.0.0.1:{port}"
        with (
            pytest.raises(cluster_module.ClusterError, match=told),
            cluster_module.connected(f"dask://127.0.0.1:{port}"),
        ):
            pass


class Here:
    """Stands in for an engine: the worker's process is started by this one."""

    slots = 1

    def __init__(self, **changes: object) -> None:
        self.changes = changes

    def call(self, name: str, command: list[str], said: bytes, folder: str) -> subprocess.CompletedProcess[bytes]:
        clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "OMP_NUM_THREADS")}
        return subprocess.run(
            command, **{"input": said, "cwd": folder, "env": clean, "capture_output": True} | self.changes
        )

    def close(self) -> None: ...


@pytest.fixture
def works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A module that only this test's import path has, as a project's own stages are only on the sender's."""
    (tmp_path / "works_elsewhere.py").write_text(WORKS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("works_elsewhere")
    sys.modules.pop("works_elsewhere")


WORKS = """
import os, signal, sys


def plain(job):
    print("a word that must not disturb the answer")
    return job * 2, os.environ["OMP_NUM_THREADS"], os.getcwd()


def full(job):
    raise OSError(28, "No space left on device", job)


class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")


def odd(job):
    raise Odd(1, 2)


def unsendable(job):
    return lambda: job


def killed(job):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_piece_of_work_runs_in_the_project_on_one_thread_and_answers(works: ModuleType, tmp_path: Path) -> None:
    assert cluster_module.work_there(Here(), "a", works.plain, 21, None) == (42, "1", str(tmp_path))


def test_what_the_work_raises_is_raised_here_with_its_kind(works: ModuleType) -> None:
    with pytest.raises(OSError, match="No space left on device") as full:
        cluster_module.work_there(Here(), "a", works.full, "pack.tar", None)
    assert (full.value.errno, full.value.filename) == (
        errno.ENOSPC,
        "pack.tar",
    ) and "works_elsewhere.py" in full.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):  # its pickle cannot be read again
        cluster_module.work_there(Here(), "a", works.odd, 0, None)
    with pytest.raises(RuntimeError, match="a function, which cannot be sent"):
        cluster_module.work_there(Here(), "a", works.unsendable, 0, None)


def test_a_piece_without_an_answer_is_told(works: ModuleType) -> None:
    with pytest.raises(
        cluster_module.ClusterError, match="pack-1: its process on the worker ended with status -9: it said nothing"
    ):
        cluster_module.work_there(Here(), "pack-1", works.killed, 0, None)
    with pytest.raises(
        cluster_module.ClusterError, match="a worker has no /no/such/project: its machine needs the project's folder"
    ):
        cluster_module.work_there(Here(cwd="/no/such/project"), "pack-1", works.plain, 0, None)


def test_nobody_at_an_address_is_told() -> None:
    (port,) = free_ports(1)
    for engine in ("dask", "ray"):
        with pytest.raises(cluster_module.ClusterError, match=f"S3DNERF_POOL: {engine}://127.0.0.1:{port}: .*refused"):
            with cluster_module.connected(f"{engine}://127.0.0.1:{port}"):
                pass


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("dask://node-1.lab:8786", ("dask", "node-1.lab", 8786)),
        ("ray://[::1]:10001", ("ray", "::1", 10001)),
        ("dask://node", None),
        ("ray://node:port", None),
        ("tcp://node:8786", None),
        ("processes", None),
    ],
)
def test_addresses(text: str, parts: tuple | None) -> None:
    assert cluster_module.parsed(text) == parts


@pytest.mark.parametrize(("engine", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_engine_names_the_extra_and_a_wrong_address_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, engine: str, module: str
) -> None:
    monkeypatch.setattr(cluster_module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setenv("S3DNERF_POOL", f"{engine}://node:1")
    with pytest.raises(
        executor.RunnerError,
        match=rf"{module} is not installed: it is in the extra `scale` — pip install '\.\[scale\]'",
    ):
        executor.switch("S3DNERF_POOL")
    monkeypatch.setenv("S3DNERF_POOL", f"{engine}://node")
    with pytest.raises(
        executor.RunnerError,
        match=f"got '{engine}://node' — accepted: auto, processes, dask://HOST:PORT, ray://",
    ):
        executor.switch("S3DNERF_POOL")


def test_inline_with_a_cluster_s_address_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_module.importlib.util, "find_spec", lambda name: True)
    monkeypatch.setenv("S3DNERF_POOL", "dask://node:8786")
    monkeypatch.setenv("S3DNERF_RUNNER", "inline")
    with pytest.raises(executor.RunnerError, match="dask://node:8786 needs S3DNERF_RUNNER=prefect"):
        stage_run.run_stage(lambda context: None, Context(settings=preset_settings("tiny"), stage="masks"))
