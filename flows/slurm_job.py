"""What runs in a Slurm job of ``flows/slurm.py``: the launch of one training, and its end when Slurm wants the node.

Three ways to end before the training does, each with a checkpoint behind it:

- the job's time is nearly up (SIGUSR2, WARN_S seconds before): the training is asked to end, and submitit queues the
  job again;
- the job is preempted (SIGTERM): the training ends, and this process waits for its own end, after which Slurm queues
  the job again;
- the job is cancelled (SIGTERM as well): the same, and it is not queued again.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import Any

import psutil

from flows.launch import launch
from flows.log_setup import configure_logging

WARN_S = 90  # seconds from the signal to the end of a job's time
STOP_S = 60  # of these, for the step in hand and its checkpoint; then the training is killed
GRACE_S = 3600.0  # the longest that a preempted job waits for its end


class TrainingInJob:
    """``TrainingInJob(module, arguments, processes)()`` runs a training (:func:`flows.launch.launch`) and returns why
    it failed, empty where it did not. submitit pickles it.
    """

    def __init__(self, module: str, arguments: list[str], processes: int) -> None:
        self.module, self.arguments, self.processes = module, arguments, processes

    def __call__(self) -> str:
        from submitit import JobEnvironment

        time_is_up = signal.Signals[f"SIG{JobEnvironment.USR_SIG}"]
        queue_again: Any = signal.getsignal(time_is_up)  # submitit's
        asked: list[int] = []

        def end(number: int, frame: object) -> None:
            asked.append(number)
            _signal_children(signal.SIGTERM)
            signal.alarm(STOP_S if number == time_is_up else 0)

        signal.signal(time_is_up, end)
        signal.signal(signal.SIGTERM, end)
        signal.signal(signal.SIGALRM, lambda number, frame: _signal_children(signal.SIGKILL))
        configure_logging()
        try:
            launch(self.module, self.arguments, self.processes)
        except (RuntimeError, ValueError) as error:
            if time_is_up in asked:
                queue_again(time_is_up, None)  # ends this process
            if asked:  # Slurm alone knows whether the job runs again: with no result behind it, it may
                time.sleep(GRACE_S)
                os._exit(1)
            return str(error)
        return ""

    def checkpoint(self) -> Any:
        """What is to run when the job begins again: the same. The training's own checkpoint is its state."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _signal_children(number: int) -> None:
    """Send a signal to what this process has started, which passes it on."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            child.send_signal(number)
