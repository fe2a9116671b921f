"""Stage ``train_sync``: the lip-sync expert, which trains the generator, and the judge, which scores it.

Reads the preprocessed clips of HDTF and LRS2 (expert) or of LRS2 alone (judge); writes
``data/<preset>/train_sync/{expert,judge}/`` (see :mod:`s3dnerf.training.train_sync`). ``context.part`` names one of the
two; empty, both. Checkpoints lie in ``.checkpoints/train_sync/<key>/``, keyed by settings, data and code. Run: ``python
-m flows.run train_sync --part expert``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from s3dnerf.settings.loading import as_dict
from s3dnerf.training.checkpoints import data_fingerprint
from s3dnerf.training.clips import STAGES
from s3dnerf.training.sync_data import SyncDataError, split_for
from s3dnerf.training.train_sync import NOT_IN_CARD, Job, backend_settings, train
from s3dnerf.video.packs import PackError
from stages.context import Context
from stages.keys import key_of, stage_basis
from stages.preprocessing import StageError
from stages.training import run_training

CHECKPOINTS = Path(".checkpoints/train_sync")
CORPORA = {"expert": ("hdtf", "lrs2"), "judge": ("lrs2",)}


def plan(context: Context, role: str) -> Job:
    """The job of one role. Raises StageError when there is nobody to train on or to judge by, before any work."""
    settings = context.settings
    try:
        split_for(role, settings.data_dir, settings)
    except (SyncDataError, PackError, FileNotFoundError) as error:
        raise StageError(str(error)) from error
    data = [settings.data_dir / stage / corpus for stage in STAGES for corpus in CORPORA[role]]
    data += [settings.data_dir / "ingest" / corpus / "clips.parquet" for corpus in CORPORA[role]]
    key = key_of(role, stage_basis("train_sync", settings, f"train_sync_{role}"), data_fingerprint(data))
    return Job(settings, role, str(settings.data_dir), str(CHECKPOINTS / key), str(context.out(role)))


def stated(job: Job) -> dict[str, Any]:
    """The settings that a role's card states."""
    sync = {name: value for name, value in as_dict(job.settings.sync).items() if name not in NOT_IN_CARD[job.role]}
    return sync if job.settings.sync.audio == "mel" else {**sync, "speech": backend_settings(job.settings)}


def main(context: Context) -> dict[str, Any]:
    """Train the roles asked for. Returns role → held-out accuracy, interval and verdict."""
    roles = [context.part] if context.part else list(CORPORA)
    if set(roles) - set(CORPORA):
        raise StageError(f"train_sync --part {context.part}: accepted: {', '.join(CORPORA)}")
    summary = {}
    for job in [plan(context, role) for role in roles]:
        run_training(context, job, job.work, job.out, stated(job), train, job.processes)
        card = json.loads((Path(job.out) / "card.json").read_text(encoding="utf-8"))
        held = card["held_out"]
        numbers = {
            "held_out_accuracy": held["accuracy"],
            "offset_frames": card["offset_frames"],
            "passes": float(card["passes"]),
        }
        context.tracker.metrics({f"{job.role}_{name}": value for name, value in numbers.items()}, job.steps)
        summary[job.role] = {
            "accuracy": held["accuracy"],
            "low": held["low"],
            "high": held["high"],
            "passes": card["passes"],
        }
    return summary
