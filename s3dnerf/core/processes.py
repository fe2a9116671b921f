"""How our processes compute and end: on one thread, with their parent, and with one message where something was
wrong.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
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


def _said(error: Exception) -> str:
    """What an error says to a person: its message alone where it is of a kind that we raise on purpose."""
    if isinstance(error, (RuntimeError, ValueError, OSError)) and str(error):
        return str(error)
    printed = getattr(error, "stderr", None) or ""  # of a command that failed
    printed = printed.decode(errors="replace") if isinstance(printed, bytes) else printed
    return f"unexpected {type(error).__name__}: {error}" + (f"\n{printed.strip()[-500:]}" if printed else "")


def _stdout_closed() -> bool:
    """Whether whoever read our output is gone, as in ``s3dnerf … | head``."""
    try:
        pipe = select.poll()
        pipe.register(sys.stdout.fileno(), 0)
    except (OSError, ValueError):  # it is no file
        return False
    return any(event & select.POLLERR for _, event in pipe.poll(0))


@contextlib.contextmanager
def one_message(name: str) -> Iterator[None]:
    """End the process with status 1 and one message where an error would end it with a traceback.

    Our errors (RuntimeError, ValueError, OSError and their kinds) say what was expected, what came and what to do; any
    other is named with its kind. The environment variable S3DNERF_TRACEBACK shows where they came from.
    """
    try:
        yield
    except Exception as error:
        if os.environ.get("S3DNERF_TRACEBACK"):
            raise
        if isinstance(error, BrokenPipeError) and _stdout_closed():
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for Python's own last flush
            sys.exit(1)
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        room = (
            "\nmake room (`s3dnerf store` says what is no longer used) and run again: what is done is kept"
            if full
            else ""
        )
        print(f"s3dnerf: {name}: {_said(error)}{room}\n(S3DNERF_TRACEBACK=1 shows where)", file=sys.stderr)
        sys.exit(1)


def one_thread() -> None:
    """One thread a process for everything that would start more: the same sums in the same order everywhere."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
