"""What all tests share: one torch thread, shapes enforced, the real data beside the project where it is there."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault(
    "DVC_NO_ANALYTICS", "true"
)  # the project's .dvc/config says so; folders that tests make have none
# Python keeps what it compiles, also where the environment asks it not to: the programs that tests start import mlflow,
# torch and dvc hundreds of times, and compiling them again takes longer than all else in their start
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook(
    ["s3dnerf.model", "s3dnerf.sync", "s3dnerf.metrics", "s3dnerf.training.losses"], "beartype.beartype"
)

from sqlalchemy import event  # noqa: E402
from sqlalchemy.engine import Engine  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from flows.proxies import is_loopback  # noqa: E402
from tests.margins import SHARED  # noqa: E402

# as stages run, and before a test's module computes anything: a plugin has loaded numpy before the variable was set
threadpool_limits(1)

ROOT = Path(__file__).resolve().parent.parent
OUTSIDE: list[str] = []  # where a test tried to connect to, beyond this machine


@event.listens_for(Engine, "connect")
def _no_waiting_for_the_disk(connection: object, record: object) -> None:
    """MLflow makes a database in sixty steps and waits for the disk after each; no test loses its power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


def _refuse_outside(event: str, given: tuple) -> None:
    """Nothing is fetched unasked: a connection to another machine is refused, whoever makes it in this process."""
    if event != "socket.connect":
        return
    sock, address = given
    internet = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type != socket.SOCK_DGRAM
    if internet and not (is_loopback(address[0]) or address[0] in ("", "0.0.0.0", "::")):
        OUTSIDE.append(str(address))
        raise ConnectionRefusedError(f"a test wanted to connect to {address}: tests use this machine alone")


sys.addaudithook(_refuse_outside)


@pytest.fixture(autouse=True)
def nothing_asks_another_machine() -> Iterator[None]:
    """Also where the refusal was caught: the test fails."""
    del OUTSIDE[:]
    yield
    assert not OUTSIDE, f"connections beyond this machine: {OUTSIDE}"


# modules that `make test-fast` leaves out whole: they run the graph, servers, clusters or trainings (5 s and more each);
# a single slow test (2 s and more, alone on a core) has the marker itself
SLOW_MODULES = {
    "test_graph.py",
    "test_faults.py",
    "test_benchmarks_scale.py",
    "test_benchmarks_peak_memory.py",
    "core/test_processes.py",
    "evaluation/test_folders.py",
    "flows/test_any_photo.py",
    "flows/test_audit.py",
    "flows/test_cluster.py",
    "flows/test_executor.py",
    "flows/test_fetch.py",
    "flows/test_fetch_hdtf.py",
    "flows/test_fetch_items.py",
    "flows/test_launch.py",
    "flows/test_makefile.py",
    "flows/test_outputs.py",
    "flows/test_process_lifetime.py",
    "flows/test_recorder.py",
    "flows/test_remote.py",
    "flows/test_serve.py",
    "flows/test_side_by_side.py",
    "flows/test_slurm.py",
    "flows/retrain/test_deployment.py",
    "flows/retrain/test_once.py",
    "flows/retrain/test_promotion.py",
    "flows/retrain/test_registry_faults.py",
    "flows/retrain/test_worktree.py",
    "flows/test_tracking.py",
    "flows/test_worker_pool.py",
    "reporting/test_sheets.py",
    "speech/test_kinds.py",
    "stages/test_align.py",
    "stages/test_bad_files.py",
    "stages/test_evaluate.py",
    "stages/test_masks.py",
    "stages/test_passing_faults.py",
    "stages/test_report.py",
    "stages/test_report_size.py",
    "stages/test_store.py",
    "sync/test_judge.py",
    "test_inputs.py",
    "test_pull.py",
    "training/test_compiling.py",
    "training/test_distributed.py",
    "training/test_loading.py",
    "training/test_resuming.py",
    "video/test_decoder.py",
    "video/test_kinds.py",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole graph first: it takes longest, and the other worker does the rest beside it. Slow modules marked."""
    tests = ROOT / "tests"
    items.sort(key=lambda item: item.path != tests / "test_graph.py")
    for item in items:
        if item.path.is_relative_to(tests) and item.path.relative_to(tests).as_posix() in SLOW_MODULES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
    threadpool_limits(1)  # of libraries that the tests' modules have loaded since


@pytest.fixture(autouse=True)
def _loggers() -> Iterator[None]:
    """Our loggers let every line of a program's console through to ``caplog``; a test of a command line sets them up
    for itself alone.
    """
    loggers = [logging.getLogger(name) for name in ("s3dnerf", "stages", "flows", "__main__")]
    before = [(logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.INFO)
    yield
    for logger, (level, propagate, handlers) in zip(loggers, before):
        logger.setLevel(level)
        logger.propagate, logger.handlers = propagate, handlers


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real clips and weights beside the project."""
    if not (SHARED / "corpora").is_dir():
        pytest.skip("needs ../shared/corpora (real clips, not part of the repository)")
    return SHARED
