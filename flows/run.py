"""Run one stage: what ``dvc.yaml`` calls, ``python -m flows.run <stage> [--part P]``.

Loads the settings, takes the lock of the stage's out, watches the process it works for, hands the stage a runner and a
tracker, and writes how long it took to ``.timings/<preset>/`` (never into an out). Exit status: 0 done; 2 the settings
or the command are wrong, nothing was done; 1 the stage failed, with one message that says why.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import os
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from flows import slurm
from flows.enough_speakers import too_few_lines
from flows.executor import RunnerError
from flows.launch import checked_template, launch
from flows.log_setup import configure_logging
from flows.process_lifetime import ENDED_WITH_OWNER, OwnerGone, die_with, dvc_identity, stage_lock
from flows.project_folder import enter_project
from flows.proxies import spare_loopback
from flows.stage_run import run_stage
from flows.store_switch import ignore_store
from flows.workspace import link_main, seen_from_here
from s3dnerf.core.devices import chosen_device_name, onnx_provider
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.processes import one_message, one_thread
from s3dnerf.settings.loading import load_settings
from s3dnerf.settings.schema import Settings

logger = logging.getLogger(__name__)

STAGES = (
    "check",
    "sample",
    "inventory",
    "ingest",
    "resample",
    "align",
    "masks",
    "lips",
    "speech",
    "train_sync",
    "train_s3dnerf",
    "evaluate",
    "report",
)
TRAININGS = ("train_sync", "train_s3dnerf")
TRACKED = (*TRAININGS, "evaluate", "report")
LOCK_WAIT_S = 20.0
PLAIN = ("check",)  # not recorded: where it stops a run, nobody waits for Prefect's server to start first


def sweep(out: Path) -> None:
    """Remove what a killed run left half-written in an out; only under its lock, since another's temporary files look
    the same.
    """
    for left in out.rglob(".*.part*"):
        left.unlink()


def _tracker(settings: Settings, stage: str, part: str, origin: dict[str, Any]) -> Any:
    from flows.graph import data_read
    from flows.tracking import MlflowTracker, system_metrics_wanted, wanted
    from stages.context import NoTracker

    if stage not in TRACKED or not wanted():
        return nullcontext(NoTracker())
    data = data_read(stage, part, settings.preset, origin["dvc_lock"])
    machine = system_metrics_wanted() and stage in TRAININGS and not slurm.requested()  # a job runs elsewhere
    return MlflowTracker(settings, stage, part, origin["git"], data, machine)


def has_networks(stage: str, settings: Settings) -> bool:
    """Whether a stage runs networks under these settings; each stage's own settings alone are read."""
    if stage == "align":
        return settings.align.backend == "insightface"
    if stage == "masks":
        return settings.masks.backend == "deep3d"
    if stage == "speech":
        return settings.speech.backend != "logmel" or settings.speech.sync_filter == "syncnet"
    return stage in (*TRAININGS, "evaluate")


def device_of(stage: str, settings: Settings) -> dict[str, str]:
    """``device``: where a stage's networks run (insightface's: onnxruntime's name for it); nothing for a stage that has
    none under these settings. Of a Slurm job: what was asked for.
    """
    if not has_networks(stage, settings):
        return {}
    if stage in TRAININGS and slurm.requested():
        return {"device": f"Slurm ({os.environ[slurm.VARIABLE]})"}
    return {"device": onnx_provider() if stage == "align" else chosen_device_name()}


def run(stage: str, part: str = "", params: str = "params.yaml") -> Any:
    """Run a stage in this process, under its lock. Returns what the stage's ``main`` returns."""
    from flows.provenance import git_state, provenance
    from s3dnerf.video.packs import (
        write_atomic,  # here: it imports numpy, which takes its threads from the environment as it is then
    )
    from stages.code_lock import require
    from stages.code_parts import ALWAYS_RUN
    from stages.context import Context

    main = link_main()
    settings = seen_from_here(main, load_settings(params))
    if stage not in ALWAYS_RUN:  # those decide no output, and check looks at every stage
        require((stage,))
    in_job = False
    if stage in ("check", *TRAININGS):  # check is the first of the graph: what is wrong is said now, not hours later
        checked_template()
        in_job = bool(slurm.requested())
    if stage == "check":  # likewise git, of which a training wants the revision
        git_state()
    name = f"{stage}-{part}" if part else stage
    lock = stage_lock(settings.preset, stage, part)
    lock.parent.mkdir(exist_ok=True)
    begun = time.monotonic()
    try:
        held = FileLock(lock).acquire(timeout=LOCK_WAIT_S)
    except Timeout:
        raise RuntimeError(f"{lock}: another run of {name} holds its out; end that one first") from None
    with held:
        sweep(settings.data_dir / stage / part)
        origin = provenance(settings.preset) if stage in TRACKED else {}
        with _tracker(settings, stage, part, origin) as tracker:
            context = Context(
                settings=settings,
                stage=stage,
                part=part,
                tracker=tracker,
                launch=slurm.launch_in_job if in_job else launch,
                provenance=origin,
                ignore_store=ignore_store(),
            )
            main = importlib.import_module(f"stages.{stage}").main
            result = main(context) if stage in PLAIN else run_stage(main, context, has_networks(stage, settings))
        for line in too_few_lines(settings) if stage == "ingest" else ():
            logger.warning(f"ingest: {line}")
        timing = Path(".timings") / settings.preset / "stages" / f"{name}.json"
        took = {"stage": name, "seconds": round(time.monotonic() - begun, 2), **device_of(stage, settings)}
        write_atomic(timing, json.dumps(took).encode())
    return result


def main() -> None:
    """The command line of a DVC stage."""
    spare_loopback()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("stage", choices=STAGES)
    parser.add_argument("--part", default="", help="train_sync: expert or judge; train_s3dnerf: a variant")
    args = parser.parse_args()
    one_thread()
    configure_logging()
    try:
        owner = dvc_identity()
    except OwnerGone as gone:
        print(f"s3dnerf: {args.stage}: {gone}: nothing done", file=sys.stderr)
        sys.exit(ENDED_WITH_OWNER)
    if owner is not None:
        die_with(owner)
    with one_message(args.stage):
        try:
            enter_project()
            run(args.stage, args.part)
        except (SettingsError, RunnerError) as error:
            print(f"s3dnerf: {error}", file=sys.stderr)
            sys.exit(2)


if __name__ == "__main__":
    main()
