"""Children that read and write media: with a time limit, and with faults of the machine told from faults of the file.

A child that was killed by a signal (the kernel's, when memory runs out), that came to no end in time, or that ran into
an error of the system (memory, open files, a mount that is gone) says nothing about the file it read:
:class:`PassingFault`. Reads and writes nothing itself.
"""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from s3dnerf.core.errors import PassingFault

# far above what decoding a whole file takes on a slow core: reached where a disk or a mount no longer answers
PATIENCE_S, PATIENCE_S_PER_MB = 900.0, 20.0
# what ffmpeg prints where the system refuses something. "Input/output error" is not among them: demuxers say it of a
# file that is cut short as well (that the file can be read to its end is checked by whoever believes such a fault)
SYSTEM_FAULTS = re.compile(
    r"Cannot allocate memory|Resource temporarily unavailable|Too many open files|Stale (NFS )?file handle"
    r"|Transport endpoint is not connected|Connection timed out|Host is down|No such device"
)
DISK_FULL = re.compile(r"No space left on device|Disk quota exceeded")
LOOK_EVERY_S = 1.0


def patience_s(path: str | Path | None = None) -> float:
    """Seconds that a child may take over a file (or, without one, without moving on), by the file's size."""
    try:
        size = os.stat(path).st_size if path is not None else 0
    except OSError:
        size = 0
    return PATIENCE_S + PATIENCE_S_PER_MB * size / 1e6


def refuse_passing(returncode: int, log: str, what: str) -> None:
    """Raise PassingFault (OSError for a full disk) where a child's end was the machine's fault; else nothing.

    ``returncode``: its status, negative for a signal. ``log``: what it printed. ``what``: the file it worked on.
    """
    if returncode < 0:
        try:
            name = signal.Signals(-returncode).name
        except ValueError:
            name = f"signal {-returncode}"
        raise PassingFault(f"{what}: ffmpeg was killed by {name} (out of memory is the usual reason)")
    if returncode and (fault := DISK_FULL.search(log)):
        number = errno.ENOSPC if fault[0].startswith("No space") else errno.EDQUOT
        raise OSError(number, os.strerror(number), what)
    if returncode and (fault := SYSTEM_FAULTS.search(log)):
        raise PassingFault(f"{what}: ffmpeg failed by the system: {fault[0]}")


class Guard:
    """Ends a child that does not move on: around a blocking read or write of its pipe.

        with Guard(process, limit_s) as guard:
            with guard.waiting():
                data = stream.read(n)

    A thread looks once a second; after the limit the child is killed, the read or write ends, and ``expired`` is True.
    """

    def __init__(self, process: subprocess.Popen[Any], limit_s: float) -> None:
        self.process, self.limit_s, self.expired = process, limit_s, False
        self._since: float | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ffmpeg-guard", daemon=True)

    def _watch(self) -> None:
        while not self._over.wait(min(LOOK_EVERY_S, self.limit_s)):
            since = self._since
            if since is not None and time.monotonic() - since > self.limit_s:
                self.expired = True
                self.process.kill()
                return

    def waiting(self) -> Guard.Waiting:
        """A block that may not take longer than the limit."""
        return Guard.Waiting(self)

    class Waiting:
        """See :meth:`Guard.waiting`."""

        def __init__(self, guard: Guard) -> None:
            self.guard = guard

        def __enter__(self) -> None:
            self.guard._since = time.monotonic()

        def __exit__(self, *error: object) -> None:
            self.guard._since = None

    def __enter__(self) -> Guard:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def refuse_expired(self, what: str) -> None:
        """Raise PassingFault where the child was killed for not moving on."""
        if self.expired:
            raise PassingFault(f"{what}: ffmpeg did not move on for {self.limit_s:.0f} s")
