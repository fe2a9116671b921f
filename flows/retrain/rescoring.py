"""Measuring an earlier generator again: with the code, the judge and the data of tonight.

Where a metric's version or the judge changed, the numbers of an earlier report cannot be compared with tonight's. Its
generator can: it is fetched from MLflow, put in the place of the trained one in a second worktree
(``.worktrees/rescore``), whose other data are links to those of the first, and the stage ``evaluate`` runs there. Each
clip goes through the store, so that a generator measured twice by equal means is computed once.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from flows.champion import Champion
from flows.retrain import worktree
from flows.retrain.outcome import RetrainError
from flows.retrain.plan import Plan
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.reporting.report_files import Report
from s3dnerf.reporting.sources import network_file
from s3dnerf.settings.loading import as_dict
from s3dnerf.video.packs import write_atomic

OWN = ("train_s3dnerf", "evaluate", "keys")  # below data/<preset>, what the second worktree does not share
CLIPS = "clips.parquet"


def scratch_worktree(plan: Plan) -> Path:
    """The second worktree, at the revision of the first, its data links to those of the first but for OWN."""
    place = worktree.worktree(plan.repository, plan.revision, worktree.SCRATCH)
    data = place / plan.settings.data_dir
    shutil.rmtree(place / "data", ignore_errors=True)
    data.mkdir(parents=True)
    for path in sorted((plan.place / plan.settings.data_dir).iterdir()):
        if path.name not in OWN:
            (data / path.name).symlink_to(path)
    train = dataclasses.replace(plan.settings.train, variants=(plan.variant,))
    settings = as_dict(dataclasses.replace(plan.settings, train=train))
    write_atomic(place / "params.yaml", dump_yaml(settings).encode())
    return place


def measured_again(plan: Plan, version: Champion, tonight: Report) -> Report:
    """The report of an earlier version as tonight's code, judge and data give it: tonight's report with other rows.

    Raises MlflowError where its generator is not to be had, RetrainError where the stage fails or takes longer than
    the plan's hours.
    """
    place = scratch_worktree(plan)
    folder = network_file(place / plan.settings.data_dir, plan.variant).parent
    plan.registry().fetch(version, folder)
    try:
        worktree.stage(place, plan.repository, "evaluate", plan.options.hours)
    except RetrainError as error:
        raise RetrainError(
            f"version {version.version} could not be measured again by tonight's code: {error}"
        ) from None
    clips = (place / plan.settings.data_dir / "evaluate" / CLIPS).read_bytes()
    return Report(f"version {version.version}, measured again", {**tonight.files, CLIPS: clips}, tonight.find)
