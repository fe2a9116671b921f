"""Git and dvc in the worktree of retraining, and the lock that keeps it to one run at a time."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from flows.git_calls import git_text
from flows.mlflow_client import tracking_uri
from flows.process_lifetime import kill_children
from flows.retrain.outcome import RetrainError
from s3dnerf.core.processes import die_with_parent
from s3dnerf.video.packs import write_atomic

logger = logging.getLogger(__name__)

PLACE, LOCK = Path(".worktrees/retrain"), Path(".locks/retrain.lock")
# force: what a failed run left in the worktree is nobody's
PULL = ("pull", "--allow-missing", "--run-cache", "--force")
LAST_LINES = 12


@contextmanager
def alone(repository: Path) -> Iterator[None]:
    """Hold the one lock of retraining. Raises Timeout at once when another run holds it."""
    (repository / LOCK).parent.mkdir(parents=True, exist_ok=True)
    with FileLock(repository / LOCK, timeout=0):
        yield


def reattach(repository: Path, place: Path) -> None:
    """Tie the worktree to this repository's git folder where it names another: both were moved, or copied.

    Not by ``git worktree repair``: in a copy it changes the original's notes and leaves the copy tied to it (2.39).
    """
    note = place / ".git"
    if not note.is_file():
        return
    named = Path(note.read_text(encoding="utf-8").partition("gitdir:")[2].strip())
    common = (repository / git_text(repository, "rev-parse", "--git-common-dir")).resolve()
    ours = common / "worktrees" / named.name
    if (place / named).resolve() == ours and ours.is_dir():
        return
    ours.mkdir(parents=True, exist_ok=True)
    for name, text in (("commondir", "../.."), ("HEAD", git_text(repository, "rev-parse", "HEAD"))):
        if not (ours / name).exists():  # pruned meanwhile
            (ours / name).write_text(f"{text}\n", encoding="utf-8")
    (ours / "gitdir").write_text(f"{note}\n", encoding="utf-8")
    note.write_text(f"gitdir: {ours}\n", encoding="utf-8")


def worktree(repository: Path, revision: str) -> Path:
    """A clean checkout of ``revision`` beside the working copy; what earlier runs made and git ignores stays in it."""
    place = repository / PLACE
    reattach(repository, place)
    git_text(repository, "worktree", "prune")
    if place.is_dir() and (place / ".git").is_file():
        git_text(place, "checkout", "--quiet", "--force", "--detach", revision)
        git_text(place, "clean", "--quiet", "--force", "-d")
    else:
        git_text(repository, "worktree", "add", "--quiet", "--force", "--detach", str(PLACE), revision)
    local = repository / ".dvc" / "config.local"  # a remote's credentials
    if local.is_file():
        write_atomic(place / ".dvc" / "config.local", local.read_bytes())
    return place


def environment(place: Path, repository: Path) -> dict[str, str]:
    """The environment of the worktree's commands: this Python first, MLflow's database the repository's own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return {**os.environ, "PATH": path, "MLFLOW_TRACKING_URI": tracking_uri(repository, place)}


def dvc(place: Path, repository: Path, *words: str, hours: float) -> None:
    """A dvc command in the worktree, its lines to the log; it dies with this process.

    Raises RetrainError when it fails, with its last lines, and when it takes longer than ``hours``: it is ended then.
    """
    command = [sys.executable, "-m", "dvc", *words]
    last: deque[str] = deque(maxlen=LAST_LINES)
    late = threading.Event()
    with subprocess.Popen(
        command,
        cwd=place,
        env=environment(place, repository),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        preexec_fn=die_with_parent,
    ) as process:

        def end() -> None:
            late.set()
            kill_children(process.pid)
            process.kill()

        timer = threading.Timer(hours * 3600, end)
        timer.daemon = True
        timer.start()
        assert process.stdout is not None
        try:
            for line in process.stdout:
                logger.info("%s", line.rstrip())
                if line.strip():
                    last.append(line.strip())
        except BaseException:
            kill_children(process.pid)
            process.kill()
            raise
        finally:
            timer.cancel()
    if late.is_set():
        raise RetrainError(
            "\n".join([f"dvc {' '.join(words)} took longer than {hours:g} h and was ended; so far:", *last])
        )
    if process.returncode:
        raise RetrainError("\n".join([f"dvc {' '.join(words)} failed; its last lines:", *last]))


def mend_rwlock(place: Path) -> None:
    """Remove DVC's list of readers and writers where a full disk left it torn: every later dvc would refuse, nobody
    else runs one here.
    """
    path = place / ".dvc" / "tmp" / "rwlock"
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except ValueError:
        path.unlink()


def has_remote(place: Path, repository: Path) -> bool:
    """Whether a DVC remote is configured."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "remote", "list"],
        cwd=place,
        env=environment(place, repository),
        capture_output=True,
        text=True,
    )
    return done.returncode == 0 and bool(done.stdout.strip())
