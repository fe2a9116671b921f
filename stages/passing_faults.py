"""Faults that pass: a killed child, memory, a time-out, a mount that is gone. Tried again, then the stage fails.

Such a fault says nothing of the clip in hand. It is never a reason to quarantine, and nothing is stored under it: the
next run makes the clip as if nothing had been.
"""

from __future__ import annotations

import errno
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from s3dnerf.core.errors import PassingFault, S3DNeRFError
from s3dnerf.core.memory import ran_out_of_memory

TRIES, DELAY_S = 4, 0.5  # 0.5, 1 and 2 s between them
SYSTEM = frozenset(
    {
        errno.ENOMEM,
        errno.EAGAIN,
        errno.EINTR,
        errno.EIO,
        errno.ENOENT,
        errno.ENODEV,
        errno.ENXIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ECONNRESET,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.EREMOTEIO,
        errno.EBUSY,
        errno.EMFILE,
        errno.ENFILE,
    }
)
T = TypeVar("T")


class StillFailing(S3DNeRFError, RuntimeError):
    """A passing fault did not pass. The message names what was worked on, and the fault."""


def is_passing(fault: BaseException) -> bool:
    """Whether a fault is the machine's and may be gone at the next try; a full disk is not among them."""
    if isinstance(fault, (PassingFault, subprocess.TimeoutExpired)) or ran_out_of_memory(fault):
        return True
    return isinstance(fault, OSError) and fault.errno in SYSTEM


def retried(what: str, work: Callable[[], T]) -> T:
    """``work()``, again after a passing fault, :data:`TRIES` times in all. Raises StillFailing after the last.

    ``what``: what is worked on, for the message. Any other exception goes through at once.
    """
    for number in range(1, TRIES + 1):
        try:
            return work()
        except Exception as fault:
            if not is_passing(fault):
                raise
            if number == TRIES:
                said = f"{type(fault).__name__}: {fault}" if not isinstance(fault, PassingFault) else str(fault)
                raise StillFailing(
                    f"{what}: {said} ({TRIES} tries). This is a fault of the machine and not kept: run again; where it "
                    "is always the same file, take that file out of the raw folder"
                ) from fault
        time.sleep(DELAY_S * 2 ** (number - 1))
    raise AssertionError("not reached")
