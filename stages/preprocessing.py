"""How a preprocessing stage runs: plan its packs, take what the pack store has, make the rest, account for every clip.

A stage module gives a :class:`PackStage`; its ``process(job)`` yields one :class:`ClipResult` a clip. The pack
store ``.packs/<stage>/<key>/`` lies outside DVC's outs; the key is the hash of the input bytes, the settings and
the code version, so that one added video makes one pack. Each entry holds the sha256 of its tar, checked on use.

Reads ``data/<preset>/ingest/<corpus>/clips.parquet`` and the upstream stages' packs; writes
``data/<preset>/<stage>/<corpus>/`` (see :mod:`s3dnerf.video.packs`).
"""

from __future__ import annotations

import importlib
import json
import logging
import shutil
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.video.packs import (
    INDEX_COLUMNS,
    QUARANTINE_COLUMNS,
    CorpusPacks,
    PackError,
    copy_sha256,
    file_sha256,
    write_atomic,
    write_pack,
    write_table,
)
from stages.context import Context
from stages.keys import clip_basis, key_of, stage_basis

logger = logging.getLogger(__name__)

STORE = Path(".packs")


class Quarantine(S3DNeRFError):
    """A clip cannot be used: a reason code (snake_case) and a detail for a person."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class StageError(S3DNeRFError, RuntimeError):
    """A stage cannot go on; the message says what to do."""


@dataclass
class ClipResult:
    """One clip's parts by kind (``landmarks.npy`` → array), or why it stops here."""

    clip: str
    parts: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True)
class PackJob:
    """One pack to make; everything ``process`` needs, picklable.

    ``clips``: ingest's records (plain dicts) of the clips still in play. ``upstream``: stage → corpus folder.
    ``raw_root``: folder that the records' ``video`` and ``audio`` are relative to.
    """

    stage: str
    corpus: str
    pack: str
    clips: tuple[dict[str, Any], ...]
    upstream: dict[str, str]
    raw_root: str
    settings: Settings
    key: str = ""


@dataclass(frozen=True)
class PackStage:
    """What tells one preprocessing stage from another.

    ``upstream``: stages whose packs it reads, the last one deciding which clips are still in play. ``weights``: weight
    files named by the settings whose bytes decide the output. ``keyed_as``: the stage whose settings and code its keys
    hold, where it is not ``name``.
    """

    name: str
    upstream: tuple[str, ...]
    weights: Callable[[Settings], list[Path]] = lambda settings: []
    keyed_as: str = ""


def _anywhere(detail: str, job: PackJob) -> str:
    """What went wrong, without where this machine keeps the raw files: an out does not depend on that."""
    return detail.replace(f"{job.raw_root}/", "") if job.raw_root else detail


def each_clip(job: PackJob, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[ClipResult]:
    """``make(record) -> parts`` for each clip; a Quarantine (or any fault of one clip) stops that clip alone."""
    for record in job.clips:
        try:
            yield ClipResult(record["clip"], make(record))
        except Quarantine as bad:
            yield ClipResult(record["clip"], reason=bad.reason, detail=_anywhere(bad.detail, job)[:300])
        except PackError:
            raise  # a damaged pack of ours is not the clip's fault: made again, it is whole
        except (MemoryError, OSError) as fault:
            if isinstance(fault, OSError) and fault.errno is None:
                yield ClipResult(
                    record["clip"],
                    reason=getattr(fault, "reason", "unreadable"),
                    detail=_anywhere(str(fault), job)[:300],
                )
            else:
                raise  # a full disk or no memory is not the clip's fault
        except Exception as fault:  # a clip must not take its pack along; the report shows the fault's place
            where = traceback.extract_tb(fault.__traceback__)[-1]
            detail = f"{type(fault).__name__}: {str(fault)[:200]} ({Path(where.filename).name}:{where.lineno})"
            yield ClipResult(record["clip"], reason="processing_error", detail=detail)


def make_pack(job: PackJob) -> str:
    """Make one pack into the store. Returns its key. The entry appears whole or not at all."""
    module = importlib.import_module(f"stages.{job.stage}")
    parts, quarantined = {}, []
    for result in module.process(job):
        if result.reason:
            quarantined.append(
                {"clip": result.clip, "stage": job.stage, "reason": result.reason, "detail": result.detail}
            )
        else:
            parts[result.clip] = result.parts
    missing = {r["clip"] for r in job.clips} - set(parts) - {q["clip"] for q in quarantined}
    if missing:
        raise StageError(f"{job.stage}: process() said nothing of {sorted(missing)}")
    entry = STORE / job.stage / job.key
    if entry.exists():
        shutil.rmtree(entry)
    rows = write_pack(entry / "pack.tar", parts)
    result = {
        "rows": rows,
        "quarantine": sorted(quarantined, key=lambda q: q["clip"]),
        "sha256": file_sha256(entry / "pack.tar"),
    }
    write_atomic(entry / "result.json", json.dumps(result, sort_keys=True).encode())
    return job.key


def take(job: PackJob, target: Path) -> dict[str, Any] | None:
    """A job's store entry, its pack copied to ``target``; or None (a damaged entry is removed, to be made again).

    The pack is read once: checked while it is copied. Raises OSError when ``target`` cannot be written.
    """
    entry = STORE / job.stage / job.key
    try:
        result = json.loads((entry / "result.json").read_text())
        wanted, source = result["sha256"], open(entry / "pack.tar", "rb")
    except (OSError, ValueError, KeyError):
        wanted = None
    else:
        target.unlink(missing_ok=True)  # it may be a link into DVC's cache: never written through
        with source:
            if copy_sha256(source, target) == wanted:
                return result
        target.unlink()
    if entry.exists():
        shutil.rmtree(entry)
    return None


def clip_records(settings: Settings, corpus: str) -> list[dict[str, Any]]:
    """Ingest's records of a corpus, sorted by clip, as plain dicts."""
    import pandas as pd

    table = pd.read_parquet(settings.data_dir / "ingest" / corpus / "clips.parquet")
    return table.sort_values("clip").to_dict("records")


def raw_root(settings: Settings, corpus: str) -> str:
    """The raw folder of a corpus, as the settings name it ('' where the corpus is not used)."""
    return getattr(settings.raw, corpus) or ""


def key_basis(spec: PackStage, settings: Settings) -> dict[str, Any]:
    """What all packs of a stage have in common: settings, versions of code, packages, weight files."""
    files = [path for path in spec.weights(settings) if path.is_file()]
    return stage_basis(spec.keyed_as or spec.name, settings) | {"weights": [[p.name, file_sha256(p)] for p in files]}


def pack_key(spec: PackStage, basis: dict[str, Any], records: list[dict[str, Any]], inputs: dict[str, str]) -> str:
    """The store's name of a pack: its :func:`key_basis`, its clips, and the sha256 of its upstream packs."""
    return key_of(spec.name, basis, [clip_basis(record) for record in records], inputs)


def plan(spec: PackStage, settings: Settings, corpus: str) -> list[PackJob]:
    """The packs of one corpus, each with its key."""
    folders = {s: settings.data_dir / s / corpus for s in spec.upstream}
    readers = {s: CorpusPacks(f) for s, f in folders.items()}
    packs: dict[str, list[dict[str, Any]]] = {}
    for record in clip_records(settings, corpus):
        if all(record["clip"] in reader for reader in readers.values()):
            packs.setdefault(record["pack"], []).append(record)
    basis = key_basis(spec, settings)
    jobs = []
    for pack, records in sorted(packs.items()):
        inputs = {s: file_sha256(f / f"{pack}.tar") for s, f in folders.items()}
        key = pack_key(spec, basis, records, inputs)
        jobs.append(
            PackJob(
                spec.name,
                corpus,
                pack,
                tuple(records),
                {s: str(f) for s, f in folders.items()},
                raw_root(settings, corpus),
                settings,
                key,
            )
        )
    return jobs


def check_failed_fraction(stage: str, corpus: str, planned: int, bad: list[dict[str, Any]], limit: float) -> None:
    """Raise StageError with the table of reasons when more than ``limit`` of a corpus's clips failed here."""
    if planned and len(bad) / planned > limit:
        counts: dict[str, int] = {}
        for row in bad:
            counts[row["reason"]] = counts.get(row["reason"], 0) + 1
        table = "\n".join(f"  {n:6d}  {reason}" for reason, n in sorted(counts.items(), key=lambda kv: -kv[1]))
        first = "\n".join(f"  {row['clip']}: {row['reason']}: {row['detail']}" for row in bad[:5])
        head = (
            f"{stage}: {len(bad)} of {planned} {corpus} clips failed, more than ingest.max_failed_fraction = {limit:g}"
        )
        raise StageError(f"{head}\n{table}\nfor example\n{first}")


def pack_path(context: Context, job: PackJob) -> Path:
    """Where the out has a job's pack."""
    return context.out(job.corpus, f"{job.pack}.tar")


def run_packs(spec: PackStage, context: Context) -> dict[str, Any]:
    """Run a preprocessing stage over all corpora. Returns counts a corpus: clips, packs, made, quarantined."""
    settings, summary = context.settings, {}
    plans = {corpus: plan(spec, settings, corpus) for corpus in CORPORA}
    for corpus in CORPORA:
        context.out(corpus).mkdir(parents=True, exist_ok=True)
        # written last: without it nobody takes a half-filled folder for an out
        context.out(corpus, "index.parquet").unlink(missing_ok=True)
    entries = {job.key: take(job, pack_path(context, job)) for jobs in plans.values() for job in jobs}
    # the largest first: the last pack then keeps the others waiting least
    todo = sorted(
        (job for jobs in plans.values() for job in jobs if entries[job.key] is None),
        key=lambda job: (-len(job.clips), job.key),
    )
    planned = len(entries)
    logger.info(f"{spec.name}: {planned} packs, {planned - len(todo)} from the store, {len(todo)} to make")
    context.run(make_pack, todo, [f"{job.corpus}/{job.pack}" for job in todo])
    made = {job.key for job in todo}
    for corpus, jobs in plans.items():
        folder = context.out(corpus)
        rows, bad = [], []
        for job in jobs:
            entry = entries[job.key] or take(job, pack_path(context, job))
            if entry is None:
                raise StageError(
                    f"{spec.name}: pack {corpus}/{job.pack} is not in the store after it was made; run again"
                )
            rows += [{"pack": job.pack, **row} for row in entry["rows"]]
            bad += entry["quarantine"]
        for stray in {path.name for path in folder.iterdir()} - {f"{job.pack}.tar" for job in jobs}:
            (folder / stray).unlink()  # of an earlier plan, or of a killed run
        write_table(folder / "quarantine.parquet", bad, QUARANTINE_COLUMNS)
        write_table(folder / "index.parquet", rows, INDEX_COLUMNS)
        clips = sum(len(job.clips) for job in jobs)
        summary[corpus] = {
            "clips": clips,
            "packs": len(jobs),
            "made": sum(j.key in made for j in jobs),
            "quarantined": len(bad),
        }
        if clips:
            logger.info(
                f"  {corpus}: {clips - len(bad)} of {clips} clips" + (f", {len(bad)} quarantined" if bad else "")
            )
        check_failed_fraction(spec.name, corpus, clips, bad, settings.ingest.max_failed_fraction)
    return summary
