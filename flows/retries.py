"""Trying a piece of work again after a passing fault of the machine."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from typing import Any

from stages.passing_faults import SYSTEM

TRIES, DELAY_S = 3, 1.0
PASSING = SYSTEM - {errno.ENOENT}  # stages try a file that is not there again themselves, where it may come back


def worth_retrying(fault: BaseException) -> bool:
    """Whether a fault is the machine's and may pass (a busy file system): no full disk, no error of the work or its
    input. An OSError of ours has no number: it says that a file is damaged.
    """
    return isinstance(fault, OSError) and fault.errno in PASSING


def attempt(work: Callable[[Any], Any], job: Any) -> tuple[Any, list[str]]:
    """``work(job)``, up to :data:`TRIES` times where a passing fault comes between, with a delay before each.

    Returns the result and, for each try that failed, what failed. Raises what the last try raised.
    """
    failed: list[str] = []
    while True:
        try:
            return work(job), failed
        except OSError as fault:
            if not worth_retrying(fault) or len(failed) + 1 == TRIES:
                raise
            failed.append(f"{type(fault).__name__}: {fault}")
            time.sleep(DELAY_S * len(failed))
