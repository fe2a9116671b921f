"""The pool of worker processes: order, one thread each, a worker that dies, and who ends with whom."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.executor import LocalExecutor
from flows.worker_pool import WorkerLost, WorkerPool
from tests.flows import pieces_of_work as work

ROOT = Path(__file__).resolve().parents[2]


def run(function, jobs: list, count: int = 2) -> list:
    names = [f"pack-{i}" for i in range(len(jobs))]
    with LocalExecutor("masks", "processes", count) as executor:
        return executor(function, jobs, names)


def test_results_keep_the_jobs_order() -> None:
    assert run(work.slow_first, list(range(8))) == list(range(8))
    assert run(work.square, []) == []


def test_each_worker_has_one_thread_and_leaves_ctrl_c_to_its_parent() -> None:
    answers = run(work.who, list(range(8)))
    assert len({pid for pid, *_ in answers}) == 2
    assert {rest for _, *rest in map(list, answers) for rest in [tuple(rest)]} == {(os.getpid(), "1", True)}


def test_a_worker_that_was_killed_costs_nothing_but_time(tmp_path: Path) -> None:
    jobs = [(str(tmp_path / str(i)), 1 if i in (1, 4) else 0) for i in range(6)]
    assert run(work.killed_at_first, jobs) == [str(i) for i in range(6)]


def test_a_pack_that_kills_its_worker_twice_is_named_and_its_neighbours_are_done(tmp_path: Path) -> None:
    jobs = [(str(tmp_path / str(i)), 9 if i == 1 else 0) for i in range(6)]
    with pytest.raises(
        WorkerLost, match="pack-1: its worker process was killed by SIGKILL, .*memory.* second time, alone"
    ):
        run(work.killed_at_first, jobs)
    assert (tmp_path / "1").stat().st_size == 2  # tried twice
    with LocalExecutor("masks", "processes", 2) as executor:  # and the same may be asked for again
        assert executor(work.killed_at_first, [(str(tmp_path / "2"), 0)], ["pack-2"]) == ["2"]


def test_an_error_is_raised_as_it_was_and_nothing_is_begun_after_it() -> None:
    with pytest.raises(ValueError, match="an error in the work") as error:
        run(work.raises, ["good", "bad", *["good"] * 50])
    assert "pieces_of_work.py" in error.value.__notes__[0]
    with pytest.raises(RuntimeError, match="Odd: 1 and 2"):
        run(work.odd, [0])


def test_passing_faults_are_tried_again_in_the_worker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with LocalExecutor("masks", "processes", 1) as executor:
        assert executor(work.fails_at_first, [(str(tmp_path / "a"), 1)], ["hdtf/a"]) == [1]
        assert executor.counts == {"pieces_done": 1, "tries_that_failed": 1}
    assert "masks: hdtf/a: try 1 failed, tried again: OSError: [Errno 5] a busy file system" in caplog.text
    with pytest.raises(OSError, match="a busy file system"):
        run(work.fails_at_first, [(str(tmp_path / "b"), 9)])
    assert (tmp_path / "b").stat().st_size == 3


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # pytest may itself run where it is ignored, as under nohup
from flows.worker_pool import WorkerPool
from tests.flows import pieces_of_work as work

if __name__ == "__main__":
    with WorkerPool(2) as pool:
        pool.run(work.waits, sys.argv[1:], sys.argv[1:], lambda *outcome: None)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_whoever_started_them(tmp_path: Path, number: int) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    begun = [tmp_path / "a", tmp_path / "b"]
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py"), *map(str, begun)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    end = time.monotonic() + 120
    while not all(path.exists() and path.read_text() for path in begun):
        assert parent.poll() is None and time.monotonic() < end, parent.communicate()
        time.sleep(0.05)
    workers = [psutil.Process(int(path.read_text())) for path in begun]
    parent.send_signal(number)
    parent.communicate(timeout=60)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive


def test_a_pool_that_was_never_used_starts_nothing() -> None:
    before = psutil.Process().children()
    with WorkerPool(4):
        assert psutil.Process().children() == before
