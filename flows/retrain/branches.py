"""The branch that is retrained, and sending the branch of a night to the git remote.

What is trained is a named branch: whatever is checked out, a feature branch or changed files, plays no part.
"""

from __future__ import annotations

import os
from pathlib import Path

from flows.git_calls import GitError, git, git_text
from s3dnerf.core.errors import SettingsError

BRANCH = "S3DNERF_RETRAIN_BRANCH"  # environment: the branch where none is given
USUAL = "main"


def remote_of(repository: Path, branch: str = "") -> str:
    """The git remote that branches are pushed to: ``remote.pushDefault``, that of ``branch``, ``origin``, the only one;
    empty where there is none, or where there are several and nothing says which.
    """
    remotes = git_text(repository, "remote").splitlines()
    asked = [
        git(repository, "config", name).stdout.decode().strip()
        for name in ("remote.pushDefault", f"branch.{branch}.remote")
    ]
    wanted = [name for name in (*asked, "origin", *(remotes if len(remotes) == 1 else ())) if name in remotes]
    return wanted[0] if wanted else ""


def default_branch(repository: Path) -> str:
    """The default branch of the git remote as this clone knows it (``refs/remotes/origin/HEAD``), else ``main``."""
    remote = remote_of(repository)
    prefix = f"refs/remotes/{remote}/"
    named = git(repository, "symbolic-ref", "--quiet", f"{prefix}HEAD").stdout.decode().strip() if remote else ""
    return named.removeprefix(prefix) or USUAL


def branch_to_train(repository: Path, asked: str = "") -> tuple[str, str]:
    """The branch that is retrained, and its commit.

    Parameters
    ----------
    asked : its name; empty: the one that S3DNERF_RETRAIN_BRANCH names, else :func:`default_branch`

    The repository's own branch of that name comes before the remote's; nothing is fetched. Raises SettingsError where
    there is no such branch, GitError.
    """
    name = asked or os.environ.get(BRANCH, "") or default_branch(repository)
    remote = remote_of(repository, name)
    for reference in (f"refs/heads/{name}", f"refs/remotes/{remote}/{name}", f"refs/remotes/{name}"):
        done = git(repository, "rev-parse", "--quiet", "--verify", f"{reference}^{{commit}}")
        if done.returncode == 0:
            return name, done.stdout.decode().strip()
    known = git_text(repository, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines()
    own = [branch for branch in known if not branch.startswith("retrain/")]
    raise SettingsError(
        f"retrain: got the branch {name!r}, which this repository does not have — accepted by --branch or {BRANCH}: "
        f"{', '.join(own) or 'none yet'}"
    )


def push_branch(repository: Path, branch: str, trained: str) -> str:
    """Push a branch to the git remote. Returns a line that says so, or why it is not there; empty without a remote.

    Raises nothing: the branch is in this repository in any case, and what is promoted does not depend on it.
    """
    try:
        remote = remote_of(repository, trained)
        if not remote:
            several = git_text(repository, "remote").split()
            which = f"{', '.join(several)}: which one is not said, set git's remote.pushDefault"
            return f"{branch} was NOT pushed: there are several git remotes, {which}" if several else ""
        git_text(repository, "push", "--quiet", remote, f"refs/heads/{branch}:refs/heads/{branch}")
    except GitError as error:
        return f"{branch} was NOT pushed, it is in this repository alone: {' '.join(str(error).split())}"
    return f"{branch} was pushed to {remote}"
