"""How our processes compute and end: on one thread, with their parent, with one message where something was wrong or
somebody asked them to stop.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

AGAIN_S = 2.0  # a signal that comes so soon after another one is the same wish


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
def one_message(name: str, stoppable: bool = True) -> Iterator[None]:
    """End the process with status 1 and one message where an error would end it with a traceback.

    Our errors (RuntimeError, ValueError, OSError and their kinds) say what was expected, what came and what to do; any
    other is named with its kind. The environment variable S3DNERF_TRACEBACK shows where they came from.

    Ctrl-C, SIGTERM and SIGHUP end the block as KeyboardInterrupt, so that what it holds is given back and what is half
    made removed; then come one line, the end of every child, and the status 128 + the signal's number (130, 143, 129).
    ``stoppable=False`` leaves SIGTERM and SIGHUP as they are, for a process that has an answer of its own.
    """
    asked: list[int] = []
    before = _listen(asked) if stoppable else {}
    try:
        yield
    except (KeyboardInterrupt, Exception) as error:
        # an import that a signal breaks off, or a child that it reached as well, ends in an error of its own
        if asked or isinstance(error, KeyboardInterrupt):
            said = str(error) if isinstance(error, KeyboardInterrupt) else ""
            print(f"s3dnerf: {name}: {said or 'stopped'}", file=sys.stderr)
            if stoppable:
                with contextlib.suppress(KeyboardInterrupt):  # asked again
                    end_children()
            sys.exit(128 + (asked[0] if asked else signal.SIGINT))
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
    finally:
        if not asked:  # a process that was asked to end ends
            for number, handler in before.items():
                signal.signal(number, handler)


def _listen(asked: list[int]) -> dict[int, Any]:
    """Let a signal that asks to end raise KeyboardInterrupt, and note its number; returns the handlers before.

    A signal that is ignored (``nohup``, a job in the background of a script) stays ignored. Another one that comes at
    once is the same wish (a terminal's Ctrl-C and whoever passes it on), and does not disturb what the first one ends.
    """
    if threading.current_thread() is not threading.main_thread():
        return {}  # signals are the main thread's
    last_s = [-AGAIN_S]

    def handler(number: int, frame: object) -> None:
        now_s = time.monotonic()
        asked.append(number)
        if now_s - last_s[0] > AGAIN_S or len(asked) == 1:
            last_s[0] = now_s
            raise KeyboardInterrupt

    own = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL, signal.SIGHUP: signal.SIG_DFL}
    return {n: signal.signal(n, handler) for n, usual in own.items() if signal.getsignal(n) is usual}


def end_children(patience_s: float = 1.0) -> None:
    """Ask every descendant of this process to end, and end those that have not after ``patience_s`` seconds: an ffmpeg
    that waits for somebody to read from it does not listen.
    """
    import psutil

    left = psutil.Process().children(recursive=True)
    for ask in (psutil.Process.terminate, psutil.Process.kill):
        for child in left:
            with contextlib.suppress(psutil.Error):
                ask(child)
        left = psutil.wait_procs(left, timeout=patience_s)[1]


def one_thread() -> None:
    """One thread a process for everything that would start more: the same sums in the same order everywhere."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = "1"
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
