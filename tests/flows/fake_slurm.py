"""Slurm's commands on one machine, for tests: ``sbatch``, ``squeue``, ``sacct``, ``scancel``, ``scontrol`` and ``srun``
as far as submitit and ``flows/slurm.py`` use them, and ``preempt`` and ``warn``, with which a test does what Slurm does.

One script, found by the name it is called by (:func:`install`). A job is a folder of ``$FAKE_SLURM`` with its state; a
process of its own runs the batch script as a session, again where it was queued again, and kills what is left of it.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

COMMANDS = ("sbatch", "squeue", "sacct", "scancel", "scontrol", "srun", "preempt", "warn")
GRACE_S = "1.5"  # from SIGTERM to SIGKILL, unless $FAKE_SLURM_GRACE_S says otherwise; Slurm's own KillWait is 30


def install(folder: Path) -> dict[str, str]:
    """Put the commands into a folder. Returns what to set in the environment, in front of the path."""
    folder.mkdir()
    for name in COMMANDS:
        script = folder / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -E "{Path(__file__).resolve()}" {name} "$@"\n')
        script.chmod(0o755)
    jobs = folder.parent / "slurm_jobs"
    jobs.mkdir()
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", "FAKE_SLURM": str(jobs)}


def _job(job_id: str) -> Path:
    return Path(os.environ["FAKE_SLURM"], job_id)


def _state(job: Path, state: str = "") -> str:
    if state:
        (job / "state.part").write_text(state)
        (job / "state.part").replace(job / "state")
    return (job / "state").read_text()


def _signal(job: Path, number: int, whole: bool = True) -> None:
    pid = int((job / "pid").read_text())
    try:
        os.killpg(pid, number) if whole else os.kill(pid, number)
    except ProcessLookupError:
        pass


def sbatch(script: str) -> None:
    if os.environ.get("FAKE_SLURM_REFUSES"):
        sys.exit("sbatch: error: invalid partition specified: no_such")
    jobs = Path(os.environ["FAKE_SLURM"])
    job = jobs / str(len(list(jobs.iterdir())) + 1)
    job.mkdir()
    (job / "script").write_text(Path(script).read_text())
    _state(job, "PENDING")
    subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, "work", job.name],
        start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    print(f"Submitted batch job {job.name}")


def work(job_id: str) -> None:
    """What Slurm does with a job."""
    job = _job(job_id)
    (wanted,) = re.findall(r"^#SBATCH --output=(.+)$", (job / "script").read_text(), re.MULTILINE)
    environment = os.environ | {"SLURM_JOB_ID": job_id, "SLURM_NTASKS": "1", "SLURM_JOB_NUM_NODES": "1"}
    again = True
    while again:
        with open(wanted.strip("'").replace("%j", job_id), "a") as log:
            batch = subprocess.Popen(["bash", str(job / "script")], start_new_session=True, stdout=log, stderr=log,
                                     env=environment)  # fmt: skip
            (job / "pid").write_text(str(batch.pid))
            _state(job, "RUNNING")
            while batch.poll() is None and not (job / "ending").exists():
                time.sleep(0.02)
            if batch.poll() is None:
                time.sleep(0.05)
                end = time.monotonic() + float(os.environ.get("FAKE_SLURM_GRACE_S", GRACE_S))
                while batch.poll() is None and time.monotonic() < end:
                    time.sleep(0.02)
            _signal(job, signal.SIGKILL)
            code = batch.wait()
        again = (job / "requeue").exists()
        (job / "ending").unlink(missing_ok=True)
        (job / "requeue").unlink(missing_ok=True)
        cancelled = (job / "cancelled").exists()
        _state(job, "PENDING" if again else "CANCELLED by 0" if cancelled else "FAILED" if code else "COMPLETED")
        if again:
            time.sleep(0.3)


def squeue(*words: str) -> None:
    job = _job(words[words.index("--jobs") + 1])
    if not job.is_dir():
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    if _state(job) in ("PENDING", "RUNNING"):
        print(_state(job))


def sacct(*words: str) -> None:
    print(_state(_job(words[words.index("--jobs") + 1])))


def scancel(job_id: str) -> None:
    job = _job(job_id)
    if _state(job) not in ("PENDING", "RUNNING"):
        return
    (job / "cancelled").touch()
    (job / "ending").touch()
    _signal(job, signal.SIGTERM)


def scontrol(action: str, job_id: str) -> None:
    assert action == "requeue"
    (_job(job_id) / "requeue").touch()


def preempt(job_id: str) -> None:
    """SIGTERM for all of a job, its end after the grace, and back to the queue."""
    job = _job(job_id)
    for name in ("requeue", "ending"):
        (job / name).touch()
    _signal(job, signal.SIGTERM)


def warn(job_id: str) -> None:
    """``--signal=B:USR2@90``: to the batch script's own process alone."""
    _signal(_job(job_id), signal.SIGUSR2, whole=False)


def srun(*words: str) -> None:
    os.execvp(words[0], words)


if __name__ == "__main__":
    {**{name: globals()[name] for name in COMMANDS}, "work": work}[sys.argv[1]](*sys.argv[2:])
