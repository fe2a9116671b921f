"""How a preprocessing stage runs: plan its packs, take what the pack store has, make the rest, account for every clip.

A stage module gives a :class:`PackStage`; its ``process(job)`` yields one :class:`ClipResult` a clip. Packs are kept in
the store (:mod:`stages.content_store`), one entry each: ``pack.tar`` and ``result.json``, its index rows and its
quarantine. The key is the hash of the input bytes, the settings and the code version, so that one added video makes one
pack.

Reads ``data/<preset>/ingest/<corpus>/clips.parquet``, the upstream stages' packs and the raw files; writes
``data/<preset>/<stage>/<corpus>/`` (see :mod:`s3dnerf.video.packs`) and ``data/<preset>/keys/<stage>.json`` (see
:mod:`stages.out_keys`).
"""

from __future__ import annotations

import importlib
import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.settings.schema import CORPORA, Settings
from s3dnerf.video.packs import (
    INDEX_COLUMNS,
    QUARANTINE_COLUMNS,
    TAR_HASHES,
    CorpusPacks,
    PackError,
    file_sha256,
    write_atomic,
    write_pack,
    write_table,
)
from stages.content_store import ContentStore, Entry
from stages.context import Context
from stages.keys import clip_basis, key_of, stage_basis
from stages.out_keys import KeptEntry, forget_keys, write_keys
from stages.passing_faults import StillFailing, is_passing, retried
from stages.raw_files import (
    RawFileChanged,
    SeenFile,
    check_raw_file,
    inventory_cache,
    read_inventory_cache,
    seen_of,
)

logger = logging.getLogger(__name__)

TAR, RESULT = "pack.tar", "result.json"  # the files of a pack's entry


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
    ``raw_root``: folder that the records' ``video`` and ``audio`` are relative to. ``raw``: those files as the
    inventory saw them, where the stage reads them.
    """

    stage: str
    corpus: str
    pack: str
    clips: tuple[dict[str, Any], ...]
    upstream: dict[str, str]
    raw_root: str
    settings: Settings
    key: str = ""
    raw: Mapping[str, SeenFile] = field(default_factory=dict)


@dataclass(frozen=True)
class PackStage:
    """What tells one preprocessing stage from another.

    ``upstream``: stages whose packs it reads, the last one deciding which clips are still in play. ``weights``: weight
    files named by the settings whose bytes decide the output. ``keyed_as``: the stage whose settings and code its keys
    hold, where it is not ``name``. ``reads_raw``: whether it opens the raw files.
    """

    name: str
    upstream: tuple[str, ...]
    weights: Callable[[Settings], list[Path]] = lambda settings: []
    keyed_as: str = ""
    reads_raw: bool = False


def _anywhere(detail: str, job: PackJob) -> str:
    """What went wrong, without where this machine keeps the raw files: an out does not depend on that."""
    return detail.replace(f"{job.raw_root}/", "") if job.raw_root else detail


def _make_checked(
    job: PackJob, record: dict[str, Any], make: Callable[[dict[str, Any]], dict[str, Any]]
) -> dict[str, Any]:
    """``make(record)``, its raw files being those of the inventory before and after.

    A fault is held against a clip only where its raw files can be read to their ends and are what the inventory saw.
    Raises RawFileChanged or PassingFault where they are not.
    """
    paths = (str(record.get(kind) or "") for kind in ("video", "audio"))
    files = [(Path(job.raw_root) / path, job.raw[path]) for path in paths if path in job.raw]
    for path, seen in files:
        check_raw_file(path, seen)
    try:
        parts = make(record)
    except Exception as fault:
        if not is_passing(fault):
            for path, seen in files:
                check_raw_file(path, seen, to_its_end=True)
        raise
    for path, seen in files:
        check_raw_file(path, seen)
    return parts


def each_clip(job: PackJob, make: Callable[[dict[str, Any]], dict[str, Any]]) -> Iterator[ClipResult]:
    """``make(record) -> parts`` for each clip; a Quarantine (or any fault of one clip) stops that clip alone.

    Raises, so that the pack is not stored, what is not the clip's fault: StillFailing for a passing fault that did not
    pass, RawFileChanged, PackError for a damaged pack of ours, OSError for a full disk.
    """
    for record in job.clips:
        try:
            parts = retried(f"{job.stage}: clip {record['clip']}", partial(_make_checked, job, record, make))
            yield ClipResult(record["clip"], parts)
        except Quarantine as bad:
            yield ClipResult(record["clip"], reason=bad.reason, detail=_anywhere(bad.detail, job)[:300])
        except (PackError, RawFileChanged, StillFailing):
            raise
        except OSError as fault:
            if fault.errno is not None:
                raise  # a full disk is not the clip's fault
            yield ClipResult(
                record["clip"],
                reason=getattr(fault, "reason", "unreadable"),
                detail=_anywhere(str(fault), job)[:300],
            )
        except Exception as fault:  # a clip must not take its pack along; the report shows the fault's place
            where = traceback.extract_tb(fault.__traceback__)[-1]
            detail = f"{type(fault).__name__}: {str(fault)[:200]} ({Path(where.filename).name}:{where.lineno})"
            yield ClipResult(record["clip"], reason="processing_error", detail=detail)


def result_bytes(rows: list[dict[str, Any]], quarantine: list[dict[str, Any]], sha256: str) -> bytes:
    """A pack's ``result.json``: its index rows, its quarantine sorted by clip, the sha256 of its tar."""
    return json.dumps({"rows": rows, "quarantine": quarantine, "sha256": sha256}, sort_keys=True).encode()


def make_pack(job: PackJob) -> str:
    """Make one pack into the store. Returns its key. The entry appears whole or not at all."""
    module = importlib.import_module(f"stages.{job.stage}")
    parts, quarantined = {}, []
    for result in retried(f"{job.stage}: pack {job.corpus}/{job.pack}", lambda: list(module.process(job))):
        if result.reason:
            quarantined.append(
                {"clip": result.clip, "stage": job.stage, "reason": result.reason, "detail": result.detail}
            )
        else:
            parts[result.clip] = result.parts
    missing = {r["clip"] for r in job.clips} - set(parts) - {q["clip"] for q in quarantined}
    if missing:
        raise StageError(f"{job.stage}: process() said nothing of {sorted(missing)}")
    known: dict[str, str] = {}
    with ContentStore().new(job.stage, job.key, known) as entry:
        rows = write_pack(entry / TAR, parts)
        known[TAR] = file_sha256(entry / TAR)
        write_atomic(entry / RESULT, result_bytes(rows, sorted(quarantined, key=lambda q: q["clip"]), known[TAR]))
    return job.key


@dataclass(frozen=True)
class TakenPack:
    """What a pack's entry says: its index rows, its quarantine, and the sha256 of its two files."""

    rows: list[dict[str, Any]]
    quarantine: list[dict[str, Any]]
    files: Mapping[str, str]


def take(job: PackJob, target: Path) -> TakenPack | None:
    """A job's store entry, its pack copied to ``target``; or None (a damaged entry is removed, to be made again).

    The pack is read once: checked while it is copied. Raises OSError when ``target`` cannot be written.
    """

    def copied(entry: Entry) -> TakenPack:
        result = json.loads(entry.read(RESULT))
        entry.copy(TAR, target)
        return TakenPack(result["rows"], result["quarantine"], dict(entry.files))

    return ContentStore().use(job.stage, job.key, copied)


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


def made_packs(spec: PackStage, context: Context, plans: dict[str, list[PackJob]]) -> dict[str, TakenPack | None]:
    """Key → entry of every pack of the plans that the store has, copied into the out; the others are made first and are
    None.
    """
    jobs = [job for corpus in plans.values() for job in corpus]
    entries = {job.key: None if context.ignore_store else take(job, pack_path(context, job)) for job in jobs}
    # the largest first: the last pack then keeps the others waiting least
    todo = sorted((job for job in jobs if entries[job.key] is None), key=lambda job: (-len(job.clips), job.key))
    logger.info(f"{spec.name}: {len(entries)} packs, {len(entries) - len(todo)} from the store, {len(todo)} to make")
    context.run(make_pack, with_raw(spec, context, todo), [f"{job.corpus}/{job.pack}" for job in todo])
    return entries


def with_raw(spec: PackStage, context: Context, jobs: list[PackJob]) -> list[PackJob]:
    """Jobs that are to be made, with their raw files as the inventory saw them where the stage reads those."""
    if not spec.reads_raw or not jobs:
        return jobs
    cache = read_inventory_cache(inventory_cache(context.settings.preset))
    return [replace(job, raw=seen_of(job.raw_root, list(job.clips), cache)) for job in jobs]


def write_out(context: Context, corpus: str, jobs: list[PackJob], taken: list[TakenPack]) -> None:
    """A corpus's tables, beside its packs: the quarantine, each pack's sha256, and, last, the index."""
    folder = context.out(corpus)
    for stray in {path.name for path in folder.iterdir()} - {f"{job.pack}.tar" for job in jobs}:
        (folder / stray).unlink()  # of an earlier plan, or of a killed run
    write_table(folder / "quarantine.parquet", [row for pack in taken for row in pack.quarantine], QUARANTINE_COLUMNS)
    hashes = {f"{job.pack}.tar": pack.files[TAR] for job, pack in zip(jobs, taken)}
    write_atomic(folder / TAR_HASHES, (json.dumps(hashes, indent=0, sort_keys=True) + "\n").encode())
    rows = [{"pack": job.pack, **row} for job, pack in zip(jobs, taken) for row in pack.rows]
    write_table(folder / "index.parquet", rows, INDEX_COLUMNS)


def run_packs(spec: PackStage, context: Context) -> dict[str, Any]:
    """Run a preprocessing stage over all corpora. Returns counts a corpus: clips, packs, made, quarantined."""
    settings, summary = context.settings, {}
    plans = {corpus: plan(spec, settings, corpus) for corpus in CORPORA}
    forget_keys(settings.data_dir, spec.name)
    for corpus in CORPORA:
        context.out(corpus).mkdir(parents=True, exist_ok=True)
        # written last: without it nobody takes a half-filled folder for an out
        context.out(corpus, "index.parquet").unlink(missing_ok=True)
    entries = made_packs(spec, context, plans)
    kept: list[KeptEntry] = []
    for corpus, jobs in plans.items():
        taken = []
        for job in jobs:
            pack = entries[job.key] or take(job, pack_path(context, job))
            if pack is None:  # damaged since it was made, or another process is just replacing it
                make_pack(with_raw(spec, context, [job])[0])
                pack = take(job, pack_path(context, job))
            if pack is None:
                raise StageError(
                    f"{spec.name}: pack {corpus}/{job.pack} is not whole in the store after it was made twice: is the "
                    f"disk of {ContentStore().folder(spec.name, job.key)} sound?"
                )
            taken.append(pack)
            quarantined = [row["clip"] for row in pack.quarantine]
            kept.append(KeptEntry(job.key, dict(pack.files), f"{corpus}/{job.pack}", quarantined))
        write_out(context, corpus, jobs, taken)
        bad = [row for pack in taken for row in pack.quarantine]
        clips = sum(len(job.clips) for job in jobs)
        summary[corpus] = {
            "clips": clips,
            "packs": len(jobs),
            "made": sum(entries[job.key] is None for job in jobs),
            "quarantined": len(bad),
        }
        if clips:
            logger.info(
                f"  {corpus}: {clips - len(bad)} of {clips} clips" + (f", {len(bad)} quarantined" if bad else "")
            )
        check_failed_fraction(spec.name, corpus, clips, bad, settings.ingest.max_failed_fraction)
    write_keys(settings.data_dir, spec.name, spec.name, kept)
    return summary
