"""What all tests share: one torch thread, shapes enforced, the real data beside the project where it is there."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from jaxtyping import install_import_hook  # noqa: E402

install_import_hook(
    ["s3dnerf.model", "s3dnerf.sync", "s3dnerf.metrics", "s3dnerf.training.losses"], "beartype.beartype"
)

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The whole graph first: it takes longest, and the other worker does the rest beside it."""
    items.sort(key=lambda item: item.path != ROOT / "tests" / "test_graph.py")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


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
