"""How our processes compute and end: on one thread, with their parent, and with one message where something was
wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import signal
import sys
from collections.abc import Iterator


def die_with_parent() -> None:
    """Ask the kernel to end this process with its parent (Linux).

    For children of a launcher or a pool: killed with -9, their parent cannot end them, and what they went on writing
    would be taken for another run's.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None, use_errno=True).prctl(pr_set_pdeathsig, signal.SIGKILL)


@contextlib.contextmanager
def one_message(name: str) -> Iterator[None]:
    """End the process with status 1 and one message where the library's own errors would end it with a traceback.

    Our errors (RuntimeError, ValueError, OSError and their kinds) say what was expected, what came and what to do. The
    environment variable S3DNERF_TRACEBACK shows where they came from.
    """
    try:
        yield
    except (RuntimeError, ValueError, OSError) as error:
        if os.environ.get("S3DNERF_TRACEBACK"):
            raise
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = (
            "\nmake room (`s3dnerf store` says what is no longer used) and run again: what is done is kept"
            if full
            else ""
        )
        print(f"s3dnerf: {name}: {error}{room}\n(S3DNERF_TRACEBACK=1 shows where)", file=sys.stderr)
        sys.exit(1)


def one_thread() -> None:
    """One thread a process for everything that would start more: the same sums in the same order everywhere."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
