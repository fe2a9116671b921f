"""Where packs are worked on: what the environment accepts, when a pool is started, which faults are tried again."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from flows import executor, retries
from flows.run import STAGES
from s3dnerf.video.encoding import VideoError
from tests.flows import pieces_of_work as work

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch):
    """An executor of the pool ``auto`` whose processes are played: it notes what it was given to do there."""
    there: list[list[int]] = []

    class Played:
        def __init__(self, count: int, gpus: tuple[str, ...] = ()) -> None: ...

        def __enter__(self) -> Played:
            return self

        def __exit__(self, *error: object) -> None: ...

        def run(self, function, jobs, names, done) -> None:
            there.append(list(jobs))
            for index, job in enumerate(jobs):
                done(index, function(job), [])

    monkeypatch.setattr(executor, "WorkerPool", Played)
    monkeypatch.setattr(executor, "POOL_START_S", 0.1)
    return executor.LocalExecutor("masks", "auto", 2), there


def names(jobs: list[int]) -> list[str]:
    return [f"pack-{job}" for job in jobs]


def test_small_work_is_done_here(local) -> None:
    here, there = local
    assert here(work.square, [0, 1, 2], names([0, 1, 2])) == [0, 1, 4] and there == []
    assert here(work.square, [], []) == []
    assert here.counts == {"pieces_done": 3, "tries_that_failed": 0}


def test_a_pool_is_started_where_the_work_repays_it_and_then_kept(local) -> None:
    here, there = local
    jobs = [0, 1, 2, 3]
    assert here(work.slow_first, jobs, names(jobs)) == jobs and there == [[1, 2, 3]]
    assert here(work.square, [5], names([5])) == [25] and there[1:] == [[5]]


def test_the_watcher_is_given_each_piece() -> None:
    seen: list[tuple[str, int, int]] = []
    with executor.LocalExecutor("masks", watcher=lambda *state: seen.append(state)) as here:
        here(work.square, [1, 2], names([1, 2]))
    assert seen == [("masks", 0, 2), ("masks", 1, 2), ("masks", 2, 2)]


def test_inline_tries_again_as_well(tmp_path: Path) -> None:
    with executor.LocalExecutor("masks") as here:
        assert here(work.fails_at_first, [(str(tmp_path / "a"), 1)], ["a"]) == [1]
    assert here.counts["tries_that_failed"] == 1


@pytest.mark.parametrize(
    ("environment", "kind", "count"),
    [
        ({"S3DNERF_RUNNER": "inline", "S3DNERF_WORKERS": "3"}, executor.LocalExecutor, 0),
        ({"S3DNERF_WORKERS": "3"}, executor.LocalExecutor, 3),
        ({"S3DNERF_POOL": "dask://node:1"}, executor.ClusterExecutor, None),
    ],
)
def test_the_environment_chooses(
    monkeypatch: pytest.MonkeyPatch, environment: dict, kind: type, count: int | None
) -> None:
    monkeypatch.setattr(executor, "lacking", lambda engine: None)
    for name in ("S3DNERF_RUNNER", "S3DNERF_POOL", "S3DNERF_WORKERS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    chosen = executor.executor_of("masks", Path("lock"))
    assert isinstance(chosen, kind) and getattr(chosen, "count", None) == count


@pytest.mark.parametrize(("name", "value"), [("S3DNERF_RUNNER", "slurm"), ("S3DNERF_POOL", "fibres")])
def test_a_wrong_switch_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(executor.RunnerError, match=f"{name}: got '{value}' — accepted: "):
        executor.switch(name)


@pytest.mark.parametrize("value", ["0", "-1", "many"])
def test_a_wrong_number_of_workers_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("S3DNERF_WORKERS", value)
    with pytest.raises(executor.RunnerError, match="S3DNERF_WORKERS"):
        executor.workers()


@pytest.mark.parametrize(
    ("outcome", "retried"),
    [
        (OSError(errno.EIO, "a busy file system"), True),
        (ConnectionResetError(errno.ECONNRESET, "a worker went away"), True),
        (TimeoutError(errno.ETIMEDOUT, "slow storage"), True),
        (OSError(errno.ENOSPC, "the disk is full"), False),
        (OSError(errno.EDQUOT, "the quota is used up"), False),
        (FileNotFoundError(errno.ENOENT, "no such file"), False),
        (VideoError("a damaged video"), False),  # an OSError of ours, without a number: the file will not mend itself
        (ValueError("an error in the work"), False),
        (MemoryError(), False),
    ],
    ids=lambda value: value.args[-1] if isinstance(value, Exception) and value.args else str(value),
)
def test_only_a_passing_fault_of_the_machine_is_tried_again(outcome: Exception, retried: bool) -> None:
    assert retries.worth_retrying(outcome) is retried


def test_every_stage_has_its_file() -> None:
    assert all((ROOT / "stages" / f"{stage}.py").is_file() for stage in STAGES)
