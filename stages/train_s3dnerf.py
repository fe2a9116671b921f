"""Stage ``train_s3dnerf``: the generator, a run for each variant of ``train.variants``.

Reads HDTF's preprocessed training clips and ``train_sync``'s expert; writes ``data/<preset>/train_s3dnerf/<variant>/``
(see :mod:`s3dnerf.training.train_s3dnerf`). Checkpoints lie in ``.checkpoints/train_s3dnerf/<key>/``, keyed by
settings, data and code: nothing resumes under other settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from s3dnerf.sync.expert import check_gate, load_expert
from s3dnerf.training.checkpoints import data_fingerprint
from s3dnerf.training.clips import STAGES
from s3dnerf.training.phases import sync_weight
from s3dnerf.training.train_s3dnerf import Job, card_settings, train, train_settings
from stages.context import Context
from stages.keys import key_of, stage_basis
from stages.training import run_training

CHECKPOINTS = Path(".checkpoints/train_s3dnerf")


def plan(context: Context) -> list[Job]:
    """One job a variant: the one this run is a part for, or all."""
    settings = context.settings
    expert = settings.data_dir / "train_sync" / "expert"
    clips = settings.data_dir / "ingest" / "hdtf" / "clips.parquet"
    weights = [Path(str(settings.train.vgg_weights))] if settings.train.perceptual != "stand_in" else []
    data = data_fingerprint([*(settings.data_dir / stage / "hdtf" for stage in STAGES), clips, expert, *weights])
    basis = stage_basis("train_s3dnerf", settings)
    jobs = []
    for variant in (context.part,) if context.part else tuple(dict.fromkeys(settings.train.variants)):
        work = CHECKPOINTS / key_of(variant, basis, data)
        jobs.append(Job(settings, variant, str(settings.data_dir), str(expert), str(work), str(context.out(variant))))
    return jobs


def stated(job: Job) -> dict[str, Any]:
    """The settings that a generator's card states."""
    return card_settings(job.settings)


def main(context: Context) -> dict[str, Any]:
    """Train every variant. Returns variant → out folder. Raises SyncGateError before any work when the expert did not
    pass.
    """
    jobs = plan(context)
    _, card = load_expert(jobs[0].expert)
    for job in jobs:
        check_gate(card, sync_weight(train_settings(job)))
    for job in jobs:
        run_training(context, job, job.work, job.out, stated(job), train, job.processes)
        for picture in sorted((Path(job.out) / "strips").glob("*.png"))[-1:]:
            context.tracker.artifact(picture)
    return {job.variant: job.out for job in jobs}
