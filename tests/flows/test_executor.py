"""The runners give the same results in the same order; the server of a run is gone when its owner is."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from flows import executor
from flows.run import STAGES
from s3dnerf.core.processes import usable_cores
from s3dnerf.settings.loading import settings_from
from s3dnerf.video.encoding import VideoError
from stages.context import Context

ROOT = Path(__file__).resolve().parents[2]

SCRIPT = """
import json, os, sys, time
from pathlib import Path
from flows.executor import run_stage
from s3dnerf.settings.loading import settings_from
from stages.context import Context
from tests_work import square

def main(context):
    seen.extend(context.run(square, list(range(5)), [f"pack-{i}" for i in range(5)]))

seen = []
if __name__ == "__main__":
    run_stage(main, Context(settings=settings_from({"preset": "tiny"}), stage="lips"))
    print(json.dumps({"results": seen, "api": os.environ.get("PREFECT_API_URL", "")}))
    if os.environ.get("ASK_SERVER"):
        import urllib.request
        def ask(what):
            request = urllib.request.Request(f"{os.environ['PREFECT_API_URL']}/{what}/filter", data=b"{}", headers={"Content-Type": "application/json"})
            return json.load(urllib.request.urlopen(request))
        print(json.dumps({"flows": [(r["name"], r["state_type"]) for r in ask("flow_runs")], "tasks": sorted((r["name"], r["state_type"]) for r in ask("task_runs"))}))
"""


def run_script(folder: Path, **environment: str) -> list[dict]:
    (folder / "tests_work.py").write_text("def square(x):\n    return x * x\n")
    (folder / "script.py").write_text(SCRIPT)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "S3DNERF"))}
    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=folder,
        env=clean | environment | {"PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def answers(api: str) -> bool:
    try:
        with urllib.request.urlopen(api + "/health", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder for all: its Prefect database is made once."""
    return tmp_path_factory.mktemp("project")


@pytest.mark.parametrize("pool", ["auto", "processes"])
def test_prefect_runs_are_seen_and_equal_inline(project: Path, pool: str) -> None:
    said, seen = run_script(project, S3DNERF_POOL=pool, S3DNERF_WORKERS="2", ASK_SERVER="1")
    assert said["results"] == [0, 1, 4, 9, 16]
    runs = len(seen["flows"])
    assert seen["flows"] == [["tiny", "COMPLETED"]] * runs
    assert seen["tasks"] == []  # a stage has thousands of packs: none is a task run
    end = time.monotonic() + 20
    while answers(said["api"]) and time.monotonic() < end:
        time.sleep(0.1)
    assert not answers(said["api"])


def test_inline_starts_no_server(tmp_path: Path) -> None:
    (said,) = run_script(tmp_path, S3DNERF_RUNNER="inline")
    assert said == {"results": [0, 1, 4, 9, 16], "api": ""}
    assert not (tmp_path / ".prefect").exists()


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
        ("done", False),
    ],
    ids=lambda value: (
        getattr(value, "args", [value])[-1] if isinstance(value, Exception) and value.args else str(value)
    ),
)
def test_only_a_passing_fault_of_the_machine_is_tried_again(
    outcome: object, retried: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(executor, "RETRY_DELAY_S", 0.0)
    tried = []

    def work(job: str) -> object:
        tried.append(job)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    if isinstance(outcome, BaseException):
        with pytest.raises(type(outcome)):
            executor.attempt(work, "pack")
    else:
        assert executor.attempt(work, "pack") == outcome
    assert len(tried) == (executor.TRIES if retried else 1)


WORK = """
import os, signal, time
from pathlib import Path

def killed_once(job):
    number, folder = job
    if number == 2 and not (Path(folder) / "killed").exists():
        (Path(folder) / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number

def killed_always(job):
    if job[0] == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return job[0]

class Two(RuntimeError):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")

def failing(job):
    raise Two("one", "two") if job[0] == 1 else ValueError("other")
"""


@pytest.fixture
def pool_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Work for spawned processes, and an executor with a pool of two."""
    (tmp_path / "pool_work.py").write_text(WORK)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.setenv("S3DNERF_WORKERS", "2")
    context = Context(settings=settings_from({"preset": "tiny"}), stage="lips")
    with executor.PackExecutor(context, "processes") as packs:
        yield packs, __import__("pool_work"), [(i, str(tmp_path)) for i in range(4)], [f"pack-{i}" for i in range(4)]
    sys.modules.pop("pool_work", None)


def test_what_a_killed_worker_had_in_hand_is_done_again(pool_work) -> None:
    packs, work, jobs, names = pool_work
    assert packs.run(work.killed_once, jobs, names) == [0, 1, 2, 3]


def test_workers_that_are_killed_again_and_again_are_said_with_their_packs(pool_work) -> None:
    packs, work, jobs, names = pool_work
    with pytest.raises(executor.WorkersLost, match=r"killed twice.*pack-2.*S3DNERF_WORKERS=1"):
        packs.run(work.killed_always, jobs, names)


def test_an_error_that_cannot_be_sent_is_said_all_the_same(pool_work) -> None:
    packs, work, jobs, names = pool_work
    with pytest.raises(RuntimeError, match="Two: one two"):
        packs.run(work.failing, jobs[1:2], names[1:2])


def test_a_stage_uses_the_cores_it_may_use(tmp_path: Path) -> None:
    script = "from s3dnerf.core.processes import usable_cores; print(usable_cores())"
    first = min(os.sched_getaffinity(0))
    command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {{{first}}}); {script}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
    cores = len(os.sched_getaffinity(0))
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert usable_cores(tmp_path) == cores
    (tmp_path / "cpu.max").write_text("150000 100000\n")
    assert usable_cores(tmp_path) == min(cores, 1)
    (tmp_path / "cpu.max").write_text("20000 100000\n")
    assert usable_cores(tmp_path) == 1  # a fifth of a core is still a process
    (tmp_path / "cpu.max").unlink()
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("-1")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000")
    assert usable_cores(tmp_path) == cores
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("100000")
    assert usable_cores(tmp_path) == 1


def test_every_stage_has_its_file() -> None:
    assert all((ROOT / "stages" / f"{stage}.py").is_file() for stage in STAGES)
