"""Pieces of work for the tests of executors; in a module of their own, which a spawned process can import."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path


def square(number: int) -> int:
    return number * number


def slow_first(number: int) -> int:
    """The later, the quicker: results come in another order than they were begun."""
    time.sleep(0.3 if number == 0 else 0.0)
    return number


def who(number: int) -> tuple[int, int, str | None, bool]:
    """Process, its parent, its threads, whether Ctrl-C is left to the parent."""
    time.sleep(0.05)
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return os.getpid(), os.getppid(), os.environ.get("OMP_NUM_THREADS"), ignored


def _count(path: Path) -> int:
    """How often this was called for a file."""
    with open(path, "ab") as file:
        file.write(b".")
    return path.stat().st_size


def fails_at_first(job: tuple[str, int]) -> int:
    """A busy file system for as many tries as the job says."""
    path, times = job
    if _count(Path(path)) <= times:
        raise OSError(errno.EIO, "a busy file system", path)
    return times


def killed_at_first(job: tuple[str, int]) -> str:
    """Kills its own process, as the kernel does when memory runs out, for as many tries as the job says."""
    path, times = job
    if _count(Path(path)) <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    return Path(path).name


def raises(job: str) -> str:
    if job == "bad":
        raise ValueError("an error in the work")
    time.sleep(0.05)
    return job


class Odd(Exception):
    """An exception whose pickle cannot be read again."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def odd(job: int) -> int:
    raise Odd(1, 2)


def waits(path: str) -> None:
    """Says that it began, then works for long."""
    Path(path).write_text(str(os.getpid()))
    time.sleep(300)
