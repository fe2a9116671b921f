"""The worktrees of retraining, the commands that run in them, and the lock that keeps it to one run at a time.

A worktree shares with the main checkout what git ignores: the store and the checkpoints by links
(``flows/workspace.py``), and DVC's cache by its setting ``cache.dir``. So the first night makes nothing that the main
checkout has made.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
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
SCRATCH = Path(".worktrees/rescore")  # where an earlier generator is measured again
# force: what a failed run left in the worktree is nobody's
PULL = ("pull", "--allow-missing", "--run-cache", "--force")
LAST_LINES = 12
QUICK_S = 300.0  # of dvc commands that only read or write its settings


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


def worktree(repository: Path, revision: str, where: Path = PLACE) -> Path:
    """A clean checkout of ``revision`` beside the working copy; what earlier runs made and git ignores stays in it."""
    place = repository / where
    reattach(repository, place)
    git_text(repository, "worktree", "prune")
    if place.is_dir() and (place / ".git").is_file():
        git_text(place, "checkout", "--quiet", "--force", "--detach", revision)
        git_text(place, "clean", "--quiet", "--force", "-d")
    else:
        git_text(repository, "worktree", "add", "--quiet", "--force", "--detach", str(where), revision)
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
    run_module("dvc", words, place, environment(place, repository), hours)


def stage(place: Path, repository: Path, name: str, hours: float) -> None:
    """One stage in a worktree, by its own code and without DVC; MLflow gets no record of it. Raises RetrainError as
    :func:`dvc` does.
    """
    outside = environment(place, repository) | {"S3DNERF_TRACKING": "off"}
    run_module("flows.run", (name,), place, outside, hours)


def run_module(module: str, words: Sequence[str], place: Path, outside: Mapping[str, str], hours: float) -> None:
    """``python -m module words…`` in a folder, with the environment ``outside``; see :func:`dvc`."""
    name = " ".join([module, *words])
    command = [sys.executable, "-m", module, *words]
    last: deque[str] = deque(maxlen=LAST_LINES)
    late = threading.Event()
    with subprocess.Popen(
        command,
        cwd=place,
        env=outside,
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
        raise RetrainError("\n".join([f"{name} took longer than {hours:g} h and was ended; so far:", *last]))
    if process.returncode:
        raise RetrainError("\n".join([f"{name} failed; its last lines:", *last]))


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


def dvc_answer(place: Path, repository: Path, *words: str) -> str:
    """What a quick dvc command in a folder prints. Raises RetrainError where it fails or does not answer."""
    command = [sys.executable, "-m", "dvc", *words]
    try:
        done = subprocess.run(
            command, cwd=place, env=environment(place, repository), capture_output=True, text=True, timeout=QUICK_S
        )
    except subprocess.TimeoutExpired:
        raise RetrainError(f"dvc {' '.join(words)} gave no answer within {QUICK_S:g} s") from None
    if done.returncode:
        raise RetrainError(f"dvc {' '.join(words)} failed: {(done.stderr or done.stdout).strip()[-300:]}")
    return done.stdout.strip()


def has_remote(place: Path, repository: Path) -> bool:
    """Whether a DVC remote is configured. Raises RetrainError."""
    return bool(dvc_answer(place, repository, "remote", "list"))


def share_cache(place: Path, repository: Path) -> None:
    """Let DVC in the worktree use the cache of the main checkout, its own or the one that its settings name: what was
    made there is checked out here, and what is made here is there once. Raises RetrainError.
    """
    cache = dvc_answer(repository, repository, "cache", "dir")
    dvc_answer(place, repository, "cache", "dir", "--local", cache)


def seed(place: Path, repository: Path, hours: float) -> None:
    """In a worktree without data: check out what ``dvc.lock`` names and the cache holds. Raises RetrainError."""
    if not (place / "data").exists() and (place / "dvc.lock").is_file():
        dvc(place, repository, "checkout", "--allow-missing", hours=hours)
