"""Trainings as Slurm jobs: real submitit and real processes, with a small stand-in for Slurm first in the path."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from flows.slurm import launch_in_job, requested
from flows.slurm_job import TrainingInJob
from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.loading import preset_settings
from s3dnerf.training.distributed import World
from s3dnerf.training.train_s3dnerf import train
from tests.flows import fake_slurm
from tests.small_corpus import make_training_data
from tests.training.generator_job import files_of, generator_job

ROOT = Path(__file__).resolve().parents[2]
# counts in a file, which is its checkpoint; SIGTERM ends it after the step in hand, as a training's does
COUNTER = """
import os, signal, sys, time
from pathlib import Path

job = Path(sys.argv[2])
what, steps = job.read_text().split()
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
count = job.parent / "count"
at = int(count.read_text()) if count.exists() else 0
print("begins at", at, "with", os.environ.get("S3DNERF_DEVICE"), os.environ.get("OMP_NUM_THREADS"), flush=True)
if what == "fail":
    print("no such file: weights", flush=True)
    sys.exit(3)
while at < int(steps):
    time.sleep(0.05)
    at += 1
    count.with_suffix(".part").write_text(str(at))
    count.with_suffix(".part").replace(count)
    print("step", at, flush=True)
    if asked:
        sys.exit(130)
(job.parent / "result").write_text("done")
"""
WAITER = """
import logging, sys
from flows import slurm
from flows.log_setup import configure_logging
from s3dnerf.core.processes import one_message
slurm.LOG_S, slurm.ASK_S, slurm.RESULT_S = 0.05, 0.2, 0.5
configure_logging()
with one_message("train_s3dnerf"):
    slurm.launch_in_job("counter", ["--job", "work/job"], 1)
assert "torch" not in sys.modules
"""


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Slurm's commands in the path, and a folder to work in with a training that counts."""
    for name, value in fake_slurm.install(tmp_path / "bin").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("S3DNERF_SLURM", "partition=gpu time=60 gpus_per_node=2")
    monkeypatch.setenv("S3DNERF_DEVICE", "cpu")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
    (tmp_path / "counter.py").write_text(COUNTER)
    (tmp_path / "work").mkdir()
    return tmp_path


def waiter(folder: Path, what: str, steps: int) -> subprocess.Popen:
    (folder / "work/job").write_text(f"{what} {steps}")
    return subprocess.Popen(
        [sys.executable, "-c", WAITER], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(condition: Callable[[], object], timeout_s: float = 30.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def counted(folder: Path) -> int:
    count = folder / "work/count"
    return int(count.read_text()) if count.exists() else 0


def state(folder: Path, job: str = "1") -> str:
    path = folder / "slurm_jobs" / job / "state"
    return path.read_text() if path.exists() else ""


def test_a_job_s_lines_are_shown_and_its_end_is_waited_for(slurm: Path) -> None:
    process = waiter(slurm, "run", 3)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    shown = [line for line in said.splitlines() if line.startswith(("begins", "step"))]
    assert shown == ["begins at 0 with cpu 1", "step 1", "step 2", "step 3"]
    assert "Slurm job 1 submitted (partition=gpu time=60 gpus_per_node=2); its log: work/slurm/1_0_log.out" in said
    wait_for(lambda: state(slurm) == "COMPLETED")
    assert (slurm / "work/result").exists()
    script = (slurm / "work/slurm/1_submission.sh").read_text()
    for flag in (
        "partition=gpu",
        "time=60",
        "gpus-per-node=2",
        "requeue",
        "signal=B:USR2@90",
        "job-name=s3dnerf-counter",
    ):
        assert f"#SBATCH --{flag}" in script


def test_a_line_is_shown_while_the_job_runs(slurm: Path) -> None:
    process = waiter(slurm, "run", 100)
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert any(line == "step 2\n" for line in lines) and state(slurm) == "RUNNING" and counted(slurm) < 100
    process.terminate()
    process.communicate(timeout=30)


def test_a_failed_training_is_an_error_with_its_last_lines(slurm: Path) -> None:
    process = waiter(slurm, "fail", 1)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(
        r"s3dnerf: train_s3dnerf: Slurm job 1: counter ended with status 3;.*\n.*\n  no such file: weights\n", said
    ), said
    assert "Traceback" not in said


def test_a_cancelled_job_is_an_error(slurm: Path) -> None:
    process = waiter(slurm, "run", 2000)
    wait_for(lambda: counted(slurm) > 1)
    subprocess.run(["scancel", "1"], check=True)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Slurm job 1 ended without a result, state CANCELLED by 0; its last lines:\n" in said
    assert said.strip().splitlines()[-2] == f"  step {counted(slurm)}"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_job_ends_with_the_process_that_waits_and_the_next_run_goes_on(slurm: Path, number: int) -> None:
    process = waiter(slurm, "run", 2000)
    wait_for(lambda: counted(slurm) > 1)
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == (128 + number if number != signal.SIGKILL else -number), said
    wait_for(lambda: state(slurm) == "CANCELLED by 0")
    left = counted(slurm)
    assert left < 2000
    process = waiter(slurm, "run", left + 2)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and f"begins at {left} with" in said, said


@pytest.mark.parametrize("how", ["preempt", "warn"])
def test_a_job_that_is_queued_again_goes_on_from_its_checkpoint(slurm: Path, how: str) -> None:
    process = waiter(slurm, "run", 40)
    wait_for(lambda: counted(slurm) > 1)
    subprocess.run([how, "1"], check=True)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    begun = [int(line.split()[2]) for line in said.splitlines() if line.startswith("begins")]
    assert len(begun) == 2 and begun[0] == 0 and 1 < begun[1] < 40
    steps = [int(line.split()[1]) for line in said.splitlines() if line.startswith("step")]
    assert steps == list(range(1, 41)) and (slurm / "work/result").exists()


def test_a_job_whose_waiting_process_left_no_trace_is_ended_first(slurm: Path) -> None:
    process = waiter(slurm, "run", 2000)
    wait_for(lambda: counted(slurm) > 1)
    guards = [p for p in psutil.process_iter() if _waits_for_a_line(p, slurm)]
    assert guards
    for guard in guards:  # as when the whole machine goes down
        guard.kill()
    process.kill()
    process.wait()
    assert state(slurm) == "RUNNING"
    process = waiter(slurm, "run", counted(slurm) + 3)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "Slurm job 1 of the same training is still in the queue: cancelled" in said, said
    assert state(slurm) == "CANCELLED by 0" and (slurm / "work/result").exists()


def _waits_for_a_line(process: psutil.Process, folder: Path) -> bool:
    try:
        return "scancel" in " ".join(process.cmdline()) and Path(process.cwd()) == folder
    except psutil.Error:
        return False


def test_what_sbatch_refuses_is_said(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_SLURM_REFUSES", "1")
    process = waiter(slurm, "run", 1)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "sbatch refused the job: sbatch: error: invalid partition specified" in said
    assert not list((slurm / "slurm_jobs").iterdir())


def test_the_launch_command_runs_in_the_job(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "S3DNERF_LAUNCH", "srun sh -c 'echo head {head} job $SLURM_JOB_ID; exec \"$@\"' sh {python} {command}"
    )
    monkeypatch.setenv("S3DNERF_SLURM", "time=60 nodes=2")
    process = waiter(slurm, "run", 1)
    said, _ = process.communicate(timeout=60)
    of_the_job = [line for line in said.splitlines() if not line.startswith("Slurm job")]  # may stand in between
    assert process.returncode == 0 and of_the_job[0] == f"head {os.uname().nodename} job 1", said
    assert of_the_job[1].startswith("begins at 0"), said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partition=gpu", "time is missing — expected time=MINUTES"),
        ("time=60 gpus=4", "got 'gpus=4' — accepted: time=…, nodes=…, gpus_per_node=…"),
        ("time=1-00:00", "got 'time=1-00:00' — accepted: time= with a whole number from 1"),
        ("time=60 nodes=0", "nodes= with a whole number from 1"),
        ("time=60 exclusive=no", "accepted: exclusive=true"),
        ("time", "got 'time' — accepted"),
        ("time=60 comment='a", "No closing quotation — accepted"),
        ("time=60 nodes=2", r"nodes=2 without \$S3DNERF_LAUNCH — expected"),
    ],
)
def test_a_request_that_cannot_be_made_is_refused(
    slurm: Path, monkeypatch: pytest.MonkeyPatch, text: str, said: str
) -> None:
    monkeypatch.setenv("S3DNERF_SLURM", text)
    with pytest.raises(SettingsError, match=r"^\$S3DNERF_SLURM: .*" + said):
        requested()


def test_a_request_becomes_fields(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DNERF_SLURM", "time=60 comment='a b' exclusive=true mem=64G reservation=day")
    assert requested() == {"time": 60, "comment": "a b", "exclusive": True, "mem": "64G", "reservation": "day"}
    monkeypatch.delenv("S3DNERF_SLURM")
    assert requested() == {}


def test_a_machine_without_slurm_is_said_before_any_work(tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "S3DNERF_SLURM": "time=60", "PATH": str(tmp_path)}
    for name in ("dvc.yaml", "params.yaml"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    for stage in ("check", "train_s3dnerf"):
        done = subprocess.run(
            [sys.executable, "-m", "flows.run", stage], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 2 and "$S3DNERF_SLURM: sbatch: not found — expected a machine with" in done.stderr


def test_submitit_s_own_executor_of_this_machine_runs_the_same(slurm: Path) -> None:
    import submitit

    for name, steps, said in (("run", 2, ""), ("fail", 2, "counter ended with status 3; its last lines stand above")):
        job_file = slurm / "work" / name
        job_file.write_text(f"{name} {steps}")
        executor = submitit.LocalExecutor(slurm / "local")
        job = executor.submit(TrainingInJob("counter", ["--job", str(job_file)], 1))
        assert job.result() == said
    assert counted(slurm) == 2


def test_a_preempted_training_ends_with_the_bytes_of_one_that_ran_through(
    slurm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.slurm.LOG_S", 0.05)
    monkeypatch.setenv("FAKE_SLURM_GRACE_S", "30")  # a step ends before a training stops: seconds on a busy machine
    settings = preset_settings("tiny")
    make_training_data(settings, slurm / "data")
    given = {"batch": 1, "steps": 12, "checkpoint_every": 1, "strip_every": 12}
    through, preempted = (generator_job(settings, slurm / "data", slurm / name, **given) for name in ("one", "two"))
    train(through, World())
    path = Path(preempted.work) / "job.json"
    path.parent.mkdir(parents=True)
    path.write_text(preempted.to_json())

    def preempt() -> None:
        wait_for(lambda: (path.parent / "checkpoint.pt").exists(), timeout_s=120)
        subprocess.run(["preempt", "1"], check=True)

    with ThreadPoolExecutor(1) as beside:
        preemption = beside.submit(preempt)
        launch_in_job(train.__module__, ["--job", str(path)], 1)
        preemption.result()
    log = (path.parent / "slurm/1_0_log.out").read_text()
    assert re.search(r"stopped at step \d+ of 12; start again to go on", log) and log.count("steps ") >= 2, log
    assert files_of(Path(through.out)) == files_of(Path(preempted.out))
