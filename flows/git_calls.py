"""Git, as far as this project asks it: one place that starts it and passes on what it refuses.

A folder without a history, a checkout of another user's (which git does not look at until told to) and a missing git
are three things; none of them is "there is no such revision". A clone made with ``--depth`` lacks commits that others
have: what looks for one says how to fetch it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from s3dnerf.core.errors import S3DNeRFError

HERE = Path()
TIMEOUT_S = 300.0  # a network file system may take minutes over a status; for ever is a fault
BEGIN = "git init && git add -A && git commit -m begin"


class GitError(S3DNeRFError, RuntimeError):
    """Git is missing, refuses the repository or failed; the message holds its own words, advice included."""


class NoHistory(GitError):
    """A folder lies in no git repository, as one from a ZIP download does."""


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A git command in a folder, whatever its exit status.

    Raises GitError where git cannot look at the repository at all: it is not installed, does not answer, or the folder
    belongs to somebody else; NoHistory where there is no repository.
    """
    # its words are looked at below; nobody is there to be asked for a password
    environment = os.environ | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, env=environment, timeout=TIMEOUT_S
        )
    except FileNotFoundError:
        raise GitError("git is not installed, or not in PATH: install it, versions are kept with it") from None
    except subprocess.TimeoutExpired:
        raise GitError(f"git {words[0]} in {folder.resolve()} gave no answer within {TIMEOUT_S:g} s") from None
    said = done.stderr.decode(errors="replace").strip()
    if done.returncode and "dubious ownership" in said:
        raise GitError(f"git does not look at a folder that belongs to another user; it says:\n{said}")
    if done.returncode and "not a git repository: " in said:  # the note of a worktree leads nowhere
        todo = "where the main repository was moved, `git worktree repair` in it ties its worktrees to it again"
        raise GitError(f"{folder.resolve()}: {said} — {todo}")
    if done.returncode and "not a git repository" in said:
        raise NoHistory(
            f"{folder.resolve()} has no git history (a ZIP download?), which versions of data and reports are tied to "
            f"— clone the project instead, or begin a history here: {BEGIN}"
        )
    return done


def git_text(folder: Path, *words: str) -> str:
    """What a git command prints. Raises GitError with what git said where it fails."""
    done = git(folder, *words)
    if done.returncode:
        said = (done.stderr or done.stdout).decode(errors="replace").strip()
        raise GitError(f"git {' '.join(words[:2])}: {said[-300:]}")
    return done.stdout.decode("utf-8", "surrogateescape").strip()


def shallow_hint(folder: Path) -> str:
    """What to add to "there is no such commit" where the clone holds only the last ones; empty where it is whole."""
    shallow = git(folder, "rev-parse", "--is-shallow-repository").stdout.strip() == b"true"
    return "; this clone holds only the last commits, the others come with: git fetch --unshallow" if shallow else ""


def git_bytes(revision: str, path: str | Path, repository: Path = HERE) -> bytes | None:
    """A file of the repository as a revision has it, or None where it has none."""
    done = git(repository, "cat-file", "blob", f"{revision}:./{Path(path).as_posix()}")
    return done.stdout if done.returncode == 0 else None


def git_names(revision: str, folder: Path, repository: Path = HERE) -> list[str]:
    """Files of a folder of the repository in a revision, relative to the folder."""
    done = git(repository, "ls-tree", "-r", "-z", "--name-only", revision, "--", f"{folder.as_posix()}/")
    names = [name for name in done.stdout.decode("utf-8", "surrogateescape").split("\0") if name]
    return [Path(name).relative_to(folder).as_posix() for name in names]


def is_revision(name: str, repository: Path = HERE) -> bool:
    """Whether git knows a commit of this name."""
    return git(repository, "rev-parse", "--quiet", "--verify", f"{name}^{{commit}}").returncode == 0
