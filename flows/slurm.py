"""A training as a Slurm job, submitted through submitit, while the stage waits for it: ``dvc repro`` needs no GPU node.

Switched on by the environment, so that it makes nothing stale::

    export S3DNERF_SLURM="partition=gpu gpus_per_node=4 time=1440"

The words are fields of ``sbatch`` (:data:`FIELDS`); ``time`` (minutes) must be there. In the job runs what runs without
Slurm, on the first node that Slurm gives (``flows/slurm_job.py``): plain Python, ``torchrun``, or what
``$S3DNERF_LAUNCH`` says, where ``srun`` reaches all nodes of the job. Its lines are shown while it runs. The job ends
with the process that waits for it, whatever ends that. Needs the extra ``slurm``, and the project's folder and this
Python at the same path on every node.

Writes ``slurm/`` beside the training's job file, in ``.checkpoints/``: the batch script, submitit's files, the log.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from flows import launch as direct
from flows.slurm_job import WARN_S, TrainingInJob
from s3dnerf.core.errors import S3DNeRFError, SettingsError

logger = logging.getLogger(__name__)

VARIABLE = "S3DNERF_SLURM"
WORDS = ("partition", "account", "qos", "constraint", "gres", "nodelist", "exclude", "reservation", "comment",
         "mem", "mem_per_cpu", "mem_per_gpu")  # fmt: skip
NUMBERS = ("time", "nodes", "gpus_per_node", "cpus_per_task")
FLAGS = ("exclusive",)  # exclusive=true
FIELDS = (*NUMBERS, *WORDS, *FLAGS)
NOT_OF_SUBMITIT = ("reservation",)
COMMANDS = ("sbatch", "squeue", "scancel", "srun")
EXTRA = "pip install '.[slurm]'"
# by which a job computes as it would here, for sites where sbatch does not pass the environment on
CARRIED = ("S3DNERF_LAUNCH", "S3DNERF_DEVICE", "S3DNERF_LOADER_WORKERS", "PYTHONPATH", "OMP_NUM_THREADS",
           "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "CUBLAS_WORKSPACE_CONFIG")  # fmt: skip
REQUEUES = 1000  # after its time a job is queued again, and goes on from its checkpoint: a training takes what it takes
LOG_S, ASK_S = 1.0, 15.0  # between looks at the log, and at the queue
RESULT_S = 15.0  # until a file that was written on another machine is seen here
LAST_LINES = 5
# A process that is not ours any more: waits for the first line (the job's id), then for another one, or for our end
GUARD = 'exec 3<&0; (read -r job || exit 0; read -r ended || scancel "$job") <&3 3<&- >/dev/null 2>&1 &'


class SlurmError(S3DNeRFError, RuntimeError):
    """A job could not be submitted, or ended without the training's result; the message says what Slurm says."""


def requested() -> dict[str, Any]:
    """The fields of ``$S3DNERF_SLURM``; empty where it is not set.

    Raises SettingsError for a field or value that is not accepted, and where submitit or Slurm's commands are missing.
    """
    text = os.environ.get(VARIABLE, "")
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SettingsError(f"${VARIABLE}: {error} — accepted: words like time=1440") from error
    if not words:
        return {}
    fields = dict(_field(word) for word in words)
    if "time" not in fields:
        raise SettingsError(f"${VARIABLE}: time is missing — expected time=MINUTES")
    if fields.get("nodes", 1) > 1 and not direct.checked_template():
        raise SettingsError(
            f"${VARIABLE}: nodes={fields['nodes']} without ${direct.VARIABLE} — expected a command line there that "
            "starts the processes on all nodes (docs/how-to/cluster.md)"
        )
    if importlib.util.find_spec("submitit") is None:
        raise SettingsError(f"${VARIABLE}: submitit is not installed: it is in the extra `slurm` — {EXTRA}")
    if missing := [command for command in COMMANDS if shutil.which(command) is None]:
        raise SettingsError(f"${VARIABLE}: {missing[0]}: not found — expected a machine with Slurm's commands")
    return fields


def _field(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if name not in FIELDS or not equals or not value:
        raise SettingsError(f"${VARIABLE}: got {word!r} — accepted: {', '.join(f'{one}=…' for one in FIELDS)}")
    if name in NUMBERS:
        if not value.isdecimal() or int(value) < 1:
            raise SettingsError(f"${VARIABLE}: got {word!r} — accepted: {name}= with a whole number from 1")
        return name, int(value)
    if name in FLAGS:
        if value != "true":
            raise SettingsError(f"${VARIABLE}: got {word!r} — accepted: {name}=true")
        return name, True
    return name, value


def launch_in_job(module: str, arguments: list[str], processes: int) -> None:
    """Run a training module (:func:`flows.launch.launch`) as a Slurm job and wait for its end; its lines are shown.

    Parameters
    ----------
    module : str
    arguments : list of str
        With ``--job FILE``, beside which the job's files go.
    processes : int

    Raises SlurmError where the job is refused, fails or is cancelled, SettingsError for ``$S3DNERF_SLURM``.
    """
    fields = requested()
    folder = Path(arguments[arguments.index("--job") + 1]).resolve().parent / "slurm"
    _end_left_over(folder)
    shutil.rmtree(folder, ignore_errors=True)
    with _cancelled_with_us() as watch:
        try:
            # task 0: on several nodes submitit counts a task each, and there is one, which starts the others itself
            job = _executor(folder, module, fields).submit(TrainingInJob(module, arguments, processes)).task(0)
        except RuntimeError as refused:  # what sbatch said
            raise SlurmError(f"sbatch refused the job: {refused} — see ${VARIABLE}") from refused
        watch(job.job_id)
        asked = os.environ[VARIABLE]
        logger.info(f"Slurm job {job.job_id} submitted ({asked}); its log: {os.path.relpath(job.paths.stdout)}")
        _wait(job)


def _executor(folder: Path, module: str, fields: dict[str, Any]) -> Any:
    """submitit's Slurm executor for a job of one process on the first node."""
    import submitit
    from submitit.slurm.slurm import SlurmJobEnvironment

    # exec: a batch script's own process gets the signal before its time is up, so that has to be Python
    python = f"exec {shlex.quote(sys.executable)}"
    executor = submitit.SlurmExecutor(folder, max_num_timeout=REQUEUES, python=python)
    carried = [f"export {name}={shlex.quote(os.environ[name])}" for name in CARRIED if name in os.environ]
    own = {name: value for name, value in fields.items() if name in NOT_OF_SUBMITIT}
    executor.update_parameters(
        **{name: value for name, value in fields.items() if name not in NOT_OF_SUBMITIT},
        job_name=f"s3dnerf-{module.rpartition('.')[2]}",
        setup=[*carried, "export SUBMITIT_LOG_LEVEL=ERROR"],
        use_srun=False,  # a job step could not start others with srun
        stderr_to_stdout=True,
        additional_parameters={"requeue": True, "signal": f"B:{SlurmJobEnvironment.USR_SIG}@{WARN_S}", **own},
    )
    return executor


@contextlib.contextmanager
def _cancelled_with_us() -> Iterator[Callable[[str], None]]:
    """``watch(job id)``: the job is cancelled when the block ends by an error or a signal, or with this process by
    ``kill -9``: by a shell that is no child of ours and waits for our end.
    """
    with subprocess.Popen(["/bin/sh", "-c", GUARD], stdin=subprocess.PIPE, text=True, start_new_session=True) as guard:
        assert guard.stdin is not None

        def watch(job_id: str) -> None:
            print(job_id, file=guard.stdin, flush=True)

        yield watch
        print("ended", file=guard.stdin, flush=True)


def _queue_state(job_id: str) -> str | None:
    """What ``squeue`` calls a job's state, empty for one that is not in the queue, None where it gives no answer."""
    command = ["squeue", "--noheader", "--jobs", job_id, "--format", "%T"]
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    if said.returncode == 0:
        return said.stdout.strip().partition("\n")[0]
    return "" if "invalid job id" in said.stderr.lower() else None


def _end_left_over(folder: Path) -> None:
    """Cancel a job of the same training whose waiting process ended without a trace (its machine went down), and wait
    until it is gone: two would write one checkpoint.
    """
    for path in sorted(folder.glob("*_submitted.pkl")):
        job_id, said = path.name.partition("_")[0], False
        while _queue_state(job_id) != "":
            if not said:
                logger.info(f"Slurm job {job_id} of the same training is still in the queue: cancelled")
                subprocess.run(["scancel", job_id], check=False, capture_output=True)
            said = True
            time.sleep(LOG_S)


class _Log:
    """A job's log file, which grows while it is read, maybe on another machine."""

    def __init__(self, path: Path) -> None:
        self.path, self.at, self.last = path, 0, list[str]()

    def show(self, rest: bool = False) -> None:
        """Log the whole lines that were added; with ``rest`` also a last one without an end."""
        try:
            with self.path.open("rb") as log:
                log.seek(self.at)
                added = log.read()
        except FileNotFoundError:
            return
        whole = len(added) if rest else added.rfind(b"\n") + 1
        self.at += whole
        for line in added[:whole].decode(errors="replace").splitlines():
            logger.info("%s", line.rstrip())
            self.last = [*self.last, line.strip()][-LAST_LINES:]


def _wait(job: Any) -> None:
    """Show a job's lines until it has ended. Raises SlurmError where its training did not end well."""
    log, state, asked_s, absent = _Log(job.paths.stdout), "", float("-inf"), 0
    while not _has_result(job) and absent < 2:  # twice: a job that is queued again may be in between
        log.show()
        if time.monotonic() - asked_s >= (LOG_S if absent else ASK_S):
            now, asked_s = _queue_state(job.job_id), time.monotonic()
            absent = absent + 1 if now == "" else 0
            if now and now != state:
                state = now
                logger.info(f"Slurm job {job.job_id}: {state}")
        time.sleep(LOG_S)
    ended, end_s = "" if _has_result(job) else _last_state(job.job_id), time.monotonic() + RESULT_S
    while not _has_result(job) and not ended.startswith("CANCELLED") and time.monotonic() < end_s:
        time.sleep(LOG_S)
    log.show(rest=True)
    last = "; its last lines:\n  " + "\n  ".join(log.last) if log.last else "; it wrote no line"
    if not _has_result(job):
        raise SlurmError(f"Slurm job {job.job_id} ended without a result, state {ended}{last}")
    fault = job.exception() or job.result()
    if fault:
        raise SlurmError(f"Slurm job {job.job_id}: {str(fault).strip()}{last}")


def _has_result(job: Any) -> bool:
    with contextlib.suppress(OSError):  # or NFS goes on showing what it showed before
        job.paths.folder.chmod(job.paths.folder.stat().st_mode)
    return job.paths.result_pickle.exists()


def _last_state(job_id: str) -> str:
    """What ``sacct`` calls the state of a job that has left the queue."""
    command = ["sacct", "--allocations", "--noheader", "--parsable2", "--format", "State", "--jobs", job_id]
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        said = ""
    return said.strip().partition("\n")[0] or "unknown (sacct does not say)"
