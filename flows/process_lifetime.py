"""Who a process works for: the process that runs its DVC stage, or the stage that sent it work, and dying with it.

``kill -9`` of dvc leaves the stage's process alive, and what it goes on writing would be committed by the next run. So
every stage watches the process it works for, and ends itself with its children when that is gone. On another machine
there is no process to watch: there the lock is watched that a stage holds while it works.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import threading
import time
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from s3dnerf.core.errors import S3DNeRFError

ENDED_WITH_OWNER = 113  # exit status


class OwnerGone(S3DNeRFError, RuntimeError):
    """Whoever this process works for is gone: it must do nothing."""


def dvc_above() -> psutil.Process | None:
    """The process that runs the DVC stage which this process belongs to, or None.

    DVC names the stage in our environment (DVC_STAGE) and, while it runs, itself in ``.dvc/tmp/rwlock``: the owner is
    the nearest ancestor that stands there, whether it is ``dvc``, ``python -m dvc``, a script that uses
    ``dvc.repo.Repo`` or a worker of the experiments' queue. Whoever an orphan is handed to stands nowhere there.
    """
    if not os.environ.get("DVC_STAGE"):
        return None
    running = _running_dvc(Path.cwd())
    return next((process for process in psutil.Process().parents() if process.pid in running), None)


def dvc_command(words: list[str]) -> str:
    """The command that a dvc process was given, of its command line: the words after ``dvc``, ``python /…/dvc`` or
    ``python -m dvc``; all of them where it is another program that uses ``dvc.repo.Repo``.

    >>> dvc_command(["python", "-m", "dvc", "repro", "-f"]), dvc_command(["python", "script.py"])
    ('repro -f', 'python script.py')
    """
    return shlex.join(words[next((at + 1 for at, word in enumerate(words[:3]) if Path(word).name == "dvc"), 0) :])


def _running_dvc(folder: Path, patience_s: float = 2.0) -> set[int]:
    """Process ids in the list of readers and writers of the DVC repository that ``folder`` lies in."""
    root = next((place for place in (folder, *folder.parents) if (place / ".dvc").is_dir()), folder)
    end = time.monotonic() + patience_s
    while True:
        try:
            listed = json.loads((root / ".dvc" / "tmp" / "rwlock").read_text(encoding="utf-8"))
            break
        except FileNotFoundError:
            return set()
        except ValueError:  # another dvc is just writing it
            if time.monotonic() > end:
                return set()
            time.sleep(0.02)
    holders = [*listed.get("write", {}).values(), *(one for many in listed.get("read", {}).values() for one in many)]
    return {holder["pid"] for holder in holders if "pid" in holder}


def dvc_identity() -> str | None:
    """:func:`identity` of the process that runs our DVC stage; None where a person started this process.

    Raises OwnerGone where dvc started it (DVC_STAGE, which dvc sets, says so) and is gone already: on a busy machine a
    stage may take seconds to come this far.
    """
    try:
        owner = dvc_above()
        if owner is not None:
            return identity(owner)
    except psutil.NoSuchProcess as gone:
        raise OwnerGone("the dvc that started this ended meanwhile") from gone
    if os.environ.get("DVC_STAGE"):
        raise OwnerGone("the dvc that started this ended meanwhile")
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


def kill_children(pid: int | None = None) -> None:
    """End every descendant of a process (default: this one) at once."""
    try:
        descendants = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return
    for child in descendants:
        try:
            child.send_signal(signal.SIGKILL)
        except psutil.Error:
            pass


def stage_lock(preset: str, stage: str, part: str = "") -> Path:
    """The lock that a stage (or one part of it) holds while it works."""
    return Path(".locks") / f"{preset}-{stage}{'-' if part else ''}{part}.lock"


def end_now() -> None:
    """End this process and all its children."""
    kill_children()
    os._exit(ENDED_WITH_OWNER)


def die_with(process_identity: str, poll_s: float = 0.2) -> None:
    """Watch a process from a thread; when it is gone, end this one and all its children."""

    def watch() -> None:
        while alive(process_identity):
            time.sleep(poll_s)
        end_now()

    threading.Thread(target=watch, name="owner-watch", daemon=True).start()


def end_when_free(lock: str | Path, poll_s: float = 0.5) -> None:
    """Watch a lock that another process holds, from a thread; when nobody holds it, end this process and all its
    children.
    """

    def watch() -> None:
        while True:
            try:
                FileLock(lock).acquire(timeout=0).lock.release()
            except Timeout:
                time.sleep(poll_s)
            else:
                end_now()

    threading.Thread(target=watch, name="lock-watch", daemon=True).start()
