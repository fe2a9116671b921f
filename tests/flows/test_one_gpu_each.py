"""Workers take a GPU each: a pool's by turns, Dask's by the resource that they offer. No GPU is needed to see it."""

from __future__ import annotations

import os
import time

import pytest

from flows.cluster import connected
from flows.worker_pool import WorkerPool


def my_gpu(job: int) -> tuple[int, str | None]:
    time.sleep(0.5)  # so that every worker of the pool gets a job
    return os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES")


def seen(gpus: tuple[str, ...]) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    with WorkerPool(2, gpus) as pool:
        pool.run(my_gpu, range(6), [str(i) for i in range(6)], lambda i, result, failed: found.update([result]))
    return found


@pytest.mark.slow
def test_each_worker_of_a_pool_sees_one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert sorted(seen(("3", "GPU-b2")).values()) == ["3", "GPU-b2"]
    assert set(seen(()).values()) == {None}


@pytest.mark.slow
@pytest.mark.parametrize("offered", [{"GPU": 1}, {}], ids=["gpus", "none"])
def test_a_piece_on_dask_asks_for_a_gpu_where_there_are_any(offered: dict[str, int]) -> None:
    distributed = pytest.importorskip("distributed")
    given = {
        "n_workers": 2,
        "threads_per_worker": 2,
        "processes": False,
        "protocol": "tcp://",
        "dashboard_address": None,
    }
    with distributed.LocalCluster(**given, host="127.0.0.1", resources=offered) as cluster:
        address = cluster.scheduler_address.removeprefix("tcp://")
        with connected(f"dask://{address}", gpu=True) as gpus:
            assert gpus.slots == (2 if offered else 4)
            asked = []
            submit = gpus.client.submit
            gpus.client.submit = lambda *a, **k: asked.append(k["resources"]) or submit(*a, **k)
            assert gpus.call("piece", ["cat"], b"said", ".").stdout == b"said"
            assert asked == [offered]
        with connected(f"dask://{address}") as plain:
            assert plain.slots == 4 and plain.resources == {}
