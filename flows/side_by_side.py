"""``s3dnerf run --side-by-side``: the variants of the model (``train.variants``) are trained at once, each on GPUs of
its own.

What they need is made first, by ``dvc repro``; then each variant by a ``dvc repro --single-item`` of its own, in the
same folder: DVC gives its lock back while a stage's command runs, and takes it again to write ``dvc.lock``; what
follows by ``dvc repro`` again. The bytes are those of one variant after the other. A variant that fails ends with its
own message while the others go on.

How many at once, and on what:

- on this machine's GPUs, ``train.processes`` of them each: as many as there are such groups
  (``CUDA_VISIBLE_DEVICES``);
- with ``$S3DNERF_SLURM``: all, each a job of its own, and Slurm decides;
- with ``$S3DNERF_LAUNCH`` alone, which starts processes where this program does not see: one after the other;
- on the processor: as many as it has cores for, at ``train.processes`` each.

``$S3DNERF_VARIANTS_AT_ONCE`` sets another number; more than there are groups of GPUs share them by turns.
"""

from __future__ import annotations

import itertools
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from flows import slurm
from flows.launch import checked_template
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.devices import VISIBLE, usable_gpus
from s3dnerf.core.errors import S3DNeRFError, SettingsError
from s3dnerf.core.processes import die_with_parent, end_children
from s3dnerf.settings.schema import Settings

AT_ONCE = "S3DNERF_VARIANTS_AT_ONCE"
STAGE = "train_s3dnerf"
DVC = (sys.executable, "-m", "dvc", "--wait-for-lock")


class VariantsFailed(S3DNeRFError, RuntimeError):
    """Some of the variants were not trained; the message names them, and those that were."""


@dataclass(frozen=True)
class Plan:
    """What is asked of DVC, each by its names of stages.

    Attributes
    ----------
    needed : what the variants read, which is made first
    variants : trained at once
    rest : whether anything else was asked for
    """

    needed: tuple[str, ...]
    variants: tuple[str, ...]
    rest: bool


def planned(stages: Sequence[str]) -> Plan:
    """The plan for the stages named, or for all. Raises SettingsError where none of them needs a variant."""
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            graph = repo.index.graph  # an edge leads from a stage to what it needs
            named = [stage for name in stages for stage in repo.stage.collect(name)] if stages else list(graph)
            asked = set(named).union(*(networkx.descendants(graph, stage) for stage in named))
            variants = [stage for stage in asked if stage.addressing.startswith(f"{STAGE}@")]
            needed = {stage.addressing for variant in variants for stage in graph.successors(variant)}
    except DvcException as error:
        raise SettingsError(str(error)) from error
    if not variants:
        raise SettingsError(f"--side-by-side: got {', '.join(stages)} — expected {STAGE}, or a stage that needs it")
    names = tuple(sorted(stage.addressing for stage in variants))
    return Plan(tuple(sorted(needed)), names, bool({stage.addressing for stage in named} - set(names)))


def places(settings: Settings) -> list[str | None]:
    """One entry for each variant that is trained at once: its ``CUDA_VISIBLE_DEVICES``, None to leave that alone.
    Empty: all at once.

    Raises SettingsError where ``$S3DNERF_VARIANTS_AT_ONCE`` is no whole number from 1, and for the switches of Slurm
    and launching.
    """
    processes, text = settings.train.processes, os.environ.get(AT_ONCE, "")
    if text and (not text.isdecimal() or int(text) < 1):
        raise SettingsError(f"${AT_ONCE}: got {text!r} — accepted: a whole number from 1")
    in_job, template = bool(slurm.requested()), checked_template()
    gpus = () if in_job or template else usable_gpus()
    groups: list[str | None] = [
        ",".join(gpus[at : at + processes]) for at in range(0, max(1, len(gpus) - processes + 1), processes) if gpus
    ]
    if text:
        return list(itertools.islice(itertools.cycle(groups or [None]), int(text)))
    if in_job:
        return []
    return groups or [None] * (1 if template else max(1, usable_cores() // processes))


def run_side_by_side(stages: Sequence[str], settings: Settings) -> int:
    """Run the graph, or the stages named and what they need, with the variants at once. Returns the exit status.

    Raises SettingsError before any work, VariantsFailed after the last variant has ended.
    """
    plan = planned(stages)
    free = places(settings)
    if plan.needed and (status := repro(plan.needed)):
        return status
    _train(plan.variants, free or [None] * len(plan.variants))
    return repro(stages) if plan.rest else 0


def repro(stages: Sequence[str]) -> int:
    """``dvc repro`` of these stages, or of all. Returns its exit status."""
    with subprocess.Popen([sys.executable, "-m", "dvc", "repro", *stages]) as dvc:
        try:
            return dvc.wait()
        except KeyboardInterrupt:
            end_children(patience_s=5)  # before dvc goes, while its stages are still known as ours
            raise


def _train(variants: Sequence[str], free: list[str | None]) -> None:
    """Train each variant where there is a place for it. Raises VariantsFailed."""
    waiting, free = list(variants), list(free)
    running: dict[str, tuple[subprocess.Popen[str], str | None]] = {}
    statuses: dict[str, int] = {}
    ended: queue.Queue[str] = queue.Queue()

    def show(name: str, dvc: subprocess.Popen[str]) -> None:
        assert dvc.stdout is not None
        for line in dvc.stdout:
            print(f"{name.partition('@')[2]} | {line}", end="", flush=True)
        ended.put(name)

    try:
        while waiting or running:
            while waiting and free:
                name, place = waiting.pop(0), free.pop(0)
                print(f"{name}: begins" + (f" on {VISIBLE}={place}" if place else ""), flush=True)
                dvc = subprocess.Popen(
                    [*DVC, "repro", "--single-item", name],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    env=os.environ | ({VISIBLE: place} if place is not None else {}),
                    preexec_fn=die_with_parent,
                )
                running[name] = dvc, place
                threading.Thread(target=show, args=(name, dvc), name=f"lines-of-{name}", daemon=True).start()
            name = ended.get()
            dvc, place = running.pop(name)
            statuses[name] = dvc.wait()
            free.append(place)
            print(f"{name}: " + (f"failed, status {statuses[name]}" if statuses[name] else "done"), flush=True)
    except KeyboardInterrupt:
        end_children(patience_s=5)
        raise
    failed = [name for name in variants if statuses[name]]
    if failed:
        done = [name for name in variants if not statuses[name]]
        raise VariantsFailed(
            f"{', '.join(failed)} failed, with the message above; {', '.join(done) or 'none'} done. Run again: what is "
            "done is kept, the others go on from their checkpoints"
        )
