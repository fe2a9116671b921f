"""Who a process works for: the ``dvc`` above it, and dying when that is gone.

``kill -9`` of dvc leaves the stage's process alive, and what it goes on writing would be committed by the next run.
So every stage watches the process it works for, and ends itself with its children when that is gone.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import psutil


def dvc_above(pid: int | None = None) -> psutil.Process | None:
    """The nearest ancestor that is a ``dvc`` command, or None."""
    for process in psutil.Process(pid or os.getpid()).parents():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if any(Path(word).name == "dvc" for word in words[:2]) or words[1:3] == ["-m", "dvc"]:
            return process
    return None


def identity(process: psutil.Process) -> str:
    """``pid-created``: a process, not whoever got its number later."""
    return f"{process.pid}-{int(process.create_time() * 100)}"


def alive(process_identity: str) -> bool:
    """Whether just this process still runs."""
    pid, _, _ = process_identity.partition("-")
    try:
        process = psutil.Process(int(pid))
        return identity(process) == process_identity and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def kill_children() -> None:
    """End every descendant of this process at once."""
    for child in psutil.Process().children(recursive=True):
        try:
            child.send_signal(signal.SIGKILL)
        except psutil.Error:
            pass


def die_with(process_identity: str, poll_s: float = 0.2) -> None:
    """Watch a process from a thread; when it is gone, end this one and all its children."""

    def watch() -> None:
        while alive(process_identity):
            time.sleep(poll_s)
        kill_children()
        os._exit(113)

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()
