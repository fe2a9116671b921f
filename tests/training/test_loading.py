"""Batches made ahead: the same whoever makes them, in whatever parts."""

from __future__ import annotations

import dataclasses
import os
import signal
from pathlib import Path

import pytest
import torch

from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.schema import Settings
from s3dnerf.training.batches import Batch
from s3dnerf.training.distributed import World, loader_workers
from s3dnerf.training.generator_data import GeneratorData
from s3dnerf.training.loading import batches, in_a_thread
from s3dnerf.video.packs import PackError


def data_of(settings: Settings, data_dir: Path) -> GeneratorData:
    return GeneratorData(data_dir, settings.model, settings.train, seed=5)


def tensors(batch: Batch) -> list[torch.Tensor]:
    named = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return [
        t
        for value in named.values()
        for t in ([value] if torch.is_tensor(value) else vars(value).values())
        if torch.is_tensor(t)
    ]


def test_processes_make_the_bytes_that_a_thread_makes(settings: Settings, data_dir: Path) -> None:
    data = data_of(settings, data_dir)
    made = {n: list(batches(data, 3, 7, World(), batch=2, parts=2, workers=n)) for n in (0, 2)}
    assert [len(parts) for parts in made[2]] == [2] * 4
    for one, other in zip(made[0], made[2], strict=True):
        for a, b in zip(one, other, strict=True):
            found = tensors(a)
            assert len(found) > 10 and all(torch.equal(x, y) for x, y in zip(found, tensors(b), strict=True))


def test_processes_share_the_batch_that_one_would_draw(settings: Settings, data_dir: Path) -> None:
    data = data_of(settings, data_dir)
    ((whole,),) = batches(data, 4, 5, World(), batch=4)
    shares = [part.target for rank in (0, 1) for part in next(batches(data, 4, 5, World(rank, 2), batch=4, parts=2))]
    assert len(shares) == 4 and torch.equal(torch.cat(shares), whole.target)


def test_workers_outlive_what_asks_the_training_to_end(settings: Settings, data_dir: Path) -> None:
    """Ctrl-C reaches every process of a terminal; the step in hand still wants its next batch."""
    import psutil

    made = batches(data_of(settings, data_dir), 0, 40, World(), batch=1, workers=1)
    next(made)
    (worker,) = (child for child in psutil.Process().children() if "spawn_main" in " ".join(child.cmdline()))
    for asked in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, asked)
    assert len([next(made) for _ in range(10)]) == 10
    made.close()
    psutil.wait_procs([worker], timeout=10)
    assert not worker.is_running()


def test_what_a_worker_raises_arrives(settings: Settings, data_dir: Path) -> None:
    data = data_of(settings, data_dir)
    data.folder.packs["align"].folder = data_dir / "gone"
    for workers in (0, 1):
        with pytest.raises(PackError, match="gone/.*: no such file"):
            next(batches(data, 0, 1, World(), batch=1, workers=workers))


def test_a_thread_ends_with_its_values_and_with_its_reader() -> None:
    assert list(in_a_thread(iter(range(5)))) == list(range(5))
    ahead = in_a_thread(iter(range(5)))
    assert next(ahead) == 0
    ahead.close()


@pytest.mark.parametrize(
    ("device", "processes", "cores", "workers"),
    [("cpu", 1, 64, 0), ("cuda", 1, 2, 1), ("cuda", 1, 64, 4), ("cuda", 8, 16, 1), ("cuda", 8, 8, 0)],
)
def test_workers_where_cores_are_spare(
    monkeypatch: pytest.MonkeyPatch, device: str, processes: int, cores: int, workers: int
) -> None:
    monkeypatch.delenv("S3DNERF_LOADER_WORKERS", raising=False)
    monkeypatch.setattr("s3dnerf.training.distributed.usable_cores", lambda: cores)
    world = World(0, processes, device=torch.device(device), local_size=processes)
    assert loader_workers(world) == workers
    monkeypatch.setenv("S3DNERF_LOADER_WORKERS", "7")
    assert loader_workers(world) == 7
    monkeypatch.setenv("S3DNERF_LOADER_WORKERS", "many")
    with pytest.raises(SettingsError, match="S3DNERF_LOADER_WORKERS: got 'many'"):
        loader_workers(world)
