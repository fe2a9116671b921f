"""How runs in MLflow belong together: one parent for a ``dvc repro``, its stages below it, none RUNNING for ever.

A run's tag :data:`PROCESS` names the process that it belongs to: the stage's own, or of a parent the ``dvc``. By it the
second stage finds the parent that the first one made, and a run whose process was killed is found and marked KILLED, by
the next stage that is recorded on this machine. A parent has its last state after each of its stages, since no stage
knows whether it is the last: FINISHED, or FAILED or KILLED where one of them was.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil

from flows.git_calls import GitError, git
from flows.mlflow_client import TrackingClient
from flows.process_lifetime import alive, dvc_above, dvc_command, identity
from s3dnerf.video.packs import file_sha256

PROCESS = "s3dnerf.process"
LOCK = Path("dvc.lock")
GOOD, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"


def process_tag(process: psutil.Process | None = None) -> str:
    """A process (default: this one) as :data:`PROCESS` names it: ``host pid-created``."""
    return f"{socket.gethostname()} {identity(process or psutil.Process())}"


def forgotten(tag: str) -> bool:
    """Whether the process of a :data:`PROCESS` tag ran on this machine and is gone."""
    host, _, process = tag.rpartition(" ")
    return host == socket.gethostname() and not alive(process)


def end_forgotten(tracking: TrackingClient, experiment: str) -> int:
    """Mark as KILLED what still says RUNNING in an experiment and whose process on this machine is gone. Returns how
    many did. Raises MlflowError.
    """
    with tracking.asked():
        running = tracking.client.search_runs([experiment], "attributes.status = 'RUNNING'")
        gone = [run for run in running if forgotten(run.data.tags.get(PROCESS, ""))]
        for run in gone:
            tracking.client.set_terminated(run.info.run_id, KILLED)
    return len(gone)


def version_tags(preset: str, revision: Mapping[str, Any]) -> dict[str, str]:
    """The tags that lead from a run back to git and DVC: the commit, the branch (none for a detached HEAD), whether
    tracked files differ from it, and the sha256 of ``dvc.lock`` as the stage found it.

    ``revision``: :func:`flows.provenance.git_state`.
    """
    tags = {"preset": preset, "mlflow.source.type": "LOCAL"}
    if revision["revision"]:
        tags |= {
            "mlflow.source.git.commit": revision["revision"],
            "mlflow.source.git.dirty": str(bool(revision["dirty"])).lower(),
        }
        try:
            branch = git(Path(), "symbolic-ref", "--quiet", "--short", "HEAD").stdout.decode(errors="replace").strip()
        except GitError:
            branch = ""
        tags |= {"mlflow.source.git.branch": branch} if branch else {}
    return tags | ({"dvc.lock_sha256": file_sha256(LOCK)} if LOCK.is_file() else {})


class Parent:
    """The run of the ``dvc`` that this stage belongs to; made by its first stage that is recorded."""

    def __init__(self, tracking: TrackingClient, run_id: str) -> None:
        self.tracking, self.run_id = tracking, run_id

    @classmethod
    def joined(cls, tracking: TrackingClient, experiment: str, tags: Mapping[str, str]) -> Parent | None:
        """The parent, RUNNING unless an earlier stage of it ended badly; None where no dvc started this process.

        ``tags``: those of a parent that is made. Raises MlflowError.
        """
        try:
            dvc = dvc_above()
            if dvc is None:
                return None
            owner, command = process_tag(dvc), f"dvc {dvc_command(dvc.cmdline())}"
        except psutil.NoSuchProcess:  # it ended meanwhile, and this process ends itself in a moment
            return None
        with tracking.asked():
            client = tracking.client
            found = client.search_runs([experiment], f"tags.`{PROCESS}` = '{owner}'", max_results=1)
            if found:
                run = found[0]
                if run.info.status == GOOD:
                    client.update_run(run.info.run_id, status="RUNNING")
            else:
                made = {**tags, PROCESS: owner, "command": command, "mlflow.source.name": command}
                run = client.create_run(experiment, run_name=command, tags=made)
        return cls(tracking, run.info.run_id)

    def end(self, status: str) -> None:
        """After a stage that ended in ``status``: the same for the parent, unless an earlier stage ended worse. Raises
        MlflowError.
        """
        with self.tracking.asked():
            before = self.tracking.client.get_run(self.run_id).info.status
            worse = before if before in (FAILED, KILLED) and status == GOOD else status
            self.tracking.client.set_terminated(self.run_id, worse)


def ended(tracking: TrackingClient, run_id: str, status: str, parent: Parent | None) -> None:
    """Give a run its last state, and its parent one that follows from it. Raises MlflowError."""
    try:
        with tracking.asked():
            tracking.client.set_terminated(run_id, status)
    finally:
        if parent is not None:
            parent.end(status)
