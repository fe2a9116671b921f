"""Stage ``ingest``: raw layouts to clip records, every raw file accounted for.

Reads ``data/<preset>/inventory/files.parquet``, the corpora's lists and the head of each video (kept by content in
``.packs/ingest/<preset>.json``); writes ``data/<preset>/ingest/<corpus>/``

- ``clips.parquet``: one row a clip (columns in :data:`s3dnerf.corpora.records.CLIP_COLUMNS`);
- ``files.parquet``: one row a raw file: role, used or excluded, reason, detail (of a used video: what is done to show
  it right, such as ``deinterlaced``), clips;
- ``excluded.parquet``: clips and annotated intervals that never became a record, with reason and detail.

Run: ``python -m flows.run ingest``
"""

from __future__ import annotations

import functools
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3dnerf.corpora import hdtf, lrs2, mead, portraits
from s3dnerf.corpora.cutting import SpanError, cut_span
from s3dnerf.corpora.packing import assign_packs
from s3dnerf.corpora.records import (
    CLIP_COLUMNS,
    DELIBERATE,
    EXCLUDED_COLUMNS,
    FILE_COLUMNS,
    FOLDER,
    INVENTORY_COLUMNS,
    CorpusError,
    Layout,
    RawFile,
    Span,
    role_of,
    table_bytes,
)
from s3dnerf.corpora.splits import check_files, check_people
from s3dnerf.settings.schema import CORPORA, IngestSettings, Settings
from s3dnerf.video.clock import clock_of
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.file_kinds import passed_over
from s3dnerf.video.packs import write_atomic
from s3dnerf.video.probing import probe
from stages.code_lock import stage_versions
from stages.content_store import STORE
from stages.context import Context
from stages.environment import stage_environment
from stages.passing_faults import retried
from stages.preprocessing import StageError, check_failed_fraction
from stages.raw_files import SeenFile, check_raw_file, inventory_cache, read_inventory_cache

logger = logging.getLogger(__name__)

FINDERS = {"hdtf": hdtf.find, "lrs2": lrs2.find, "mead": mead.find, "portraits": portraits.find}
# files a probing job: enough jobs to share out, few enough to plan 150,000 files
PROBE_JOBS, PROBE_FILES_MIN, PROBE_FILES_MAX = 64, 8, 256
# after so many jobs what was found is kept: opening LRS2 takes half an hour, and a run that was killed goes on there
KEEP_EVERY_JOBS = 64
# more than 8K: a few kilobytes of compressed black can be gigabytes of frames
MAX_PICTURE_PX = 7680 * 4320
# the picture may end this much before the container says, and no more, or the file is truncated
TRUNCATED_S = 0.5
PROBE_PARTS = ("framework", "decode", "encode")  # of the code, that say what is read of a video file


@dataclass(frozen=True)
class ProbeJob:
    """Some video files to open: (path on this machine, sha256) each; ``seen``: of the same files, as the inventory saw
    them, where it says when they changed.
    """

    files: tuple[tuple[str, str], ...]
    seen: tuple[SeenFile, ...] = ()


def facts_of(path: str) -> dict[str, Any]:
    """What ingest wants to know of a video file, or ``reason`` and ``detail`` why it cannot be used.

    Raises PassingFault where the machine failed.
    """
    try:
        info = probe(path)
    except VideoError as error:
        return {"reason": error.reason, "detail": str(error).replace(path, Path(path).name)[:300]}
    if not info.ordered:
        return {"reason": "broken_timestamps", "detail": "presentation times stand still or go back"}
    missing_s = info.declared_s - info.duration_s
    if info.damage and missing_s > TRUNCATED_S:
        return {
            "reason": "truncated",
            "detail": f"{info.duration_s:.2f} s of {info.declared_s:.2f} s can be read. {info.damage}",
        }
    clock = clock_of(info)
    return {
        "fps_hz": info.fps_hz,
        "width_px": info.width_px,
        "height_px": info.height_px,
        "first_tick": clock.first_tick,
        "end_tick": clock.end_tick,
        "has_audio": info.has_audio,
        "notes": list(info.notes),
        "reason": "",
        "detail": "",
    }


def probe_files(job: ProbeJob) -> list[tuple[str, dict[str, Any]]]:
    """(sha256, facts) of each file of a job.

    Raises StillFailing for a passing fault that did not pass, RawFileChanged for a file that is not the inventory's.
    """
    seen = job.seen or tuple(SeenFile(sha) for _, sha in job.files)

    def facts(path: str, file: SeenFile) -> dict[str, Any]:
        check_raw_file(path, file)
        found = facts_of(path)
        # a fault is believed of a file that can be read to its end and has the bytes that the inventory saw
        check_raw_file(path, file, to_its_end=bool(found["reason"]))
        return found

    return [
        (sha, retried(f"ingest: {path}", functools.partial(facts, path, file)))
        for (path, sha), file in zip(job.files, seen, strict=True)
    ]


def probe_version(settings: Settings) -> str:
    """The code and packages that the facts of a video file were read with."""
    versions = {part: version for part, version in stage_versions("ingest", settings).items() if part in PROBE_PARTS}
    return json.dumps([versions, stage_environment("ingest", settings, tables=False)], sort_keys=True)


def probe_all(context: Context, wanted: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Facts by sha256 for ``wanted`` (sha256 → path): those known by content and code are not opened again, unless the
    store is to be ignored.
    """
    store, version = STORE / "ingest" / f"{context.settings.preset}.json", probe_version(context.settings)
    known: dict[str, dict[str, Any]] = {}
    try:
        kept = json.loads(store.read_text())
        known = kept["facts"] if kept["code"] == version and not context.ignore_store else {}
    except (OSError, ValueError, KeyError):
        pass  # no cache, or not ours: made anew
    todo = sorted((path, sha) for sha, path in wanted.items() if sha not in known)
    size = min(max(len(todo) // PROBE_JOBS, PROBE_FILES_MIN), PROBE_FILES_MAX)
    saw = read_inventory_cache(inventory_cache(context.settings.preset)) if todo else {}
    seen = {os.path.join(root, path): file for (root, path), file in saw.items()}
    jobs = []
    for i in range(0, len(todo), size):
        files = tuple(todo[i : i + size])
        kept = [seen.get(os.path.abspath(path)) for path, _ in files]
        states = (k if k and k.sha256 == sha else SeenFile(sha) for k, (_, sha) in zip(kept, files))
        jobs.append(ProbeJob(files, tuple(states)))
    if jobs:
        logger.info(f"ingest: opening {len(todo)} videos")
    for at in range(0, len(jobs), KEEP_EVERY_JOBS):
        portion = jobs[at : at + KEEP_EVERY_JOBS]
        for found in context.run(probe_files, portion, [f"probe-{at + i:05d}" for i in range(len(portion))]):
            known.update(found)
        write_atomic(store, json.dumps({"code": version, "facts": known}).encode())
    facts = {sha: known[sha] for sha in wanted}
    if len(facts) < len(known):  # files that are gone
        write_atomic(store, json.dumps({"code": version, "facts": facts}).encode())
    return facts


def inventory(settings_out: Path) -> dict[str, list[RawFile]]:
    """The inventory's rows by corpus. Raises StageError when there is none, or one of an earlier version."""
    import pandas as pd

    if not settings_out.is_file():
        raise StageError(f"{settings_out}: no such file — run the stage that makes it: dvc repro inventory")
    table = pd.read_parquet(settings_out)
    rows: dict[str, list[RawFile]] = {corpus: [] for corpus in CORPORA}
    if list(table.columns) != list(INVENTORY_COLUMNS):
        raise StageError(f"{settings_out}: of an earlier version of this program — make it again: dvc repro inventory")
    for corpus, *file in zip(*(table[name].tolist() for name in INVENTORY_COLUMNS)):
        rows[corpus].append(RawFile(*file))
    return rows


def readable_files(layout_files: list[RawFile]) -> tuple[list[RawFile], list[tuple[RawFile, str, str]]]:
    """Files that a layout may use, and those that none can: (file, reason, detail)."""
    good, bad = [], []
    for file in layout_files:
        if file.kind == FOLDER:
            bad.append((file, "unreadable_folder", "may not be opened (no permission): nothing in it is used"))
        elif "\\x" in file.path:
            bad.append((file, "name_not_utf8", "rename the file: its name is not UTF-8"))
        elif not file.sha256:
            bad.append(
                (file, "unreadable", "cannot be opened: a link that points nowhere, not a file, or no permission")
            )
        else:
            good.append(file)
    return good, bad


def find_layout(corpus: str, root: Path, files: list[RawFile], settings: IngestSettings) -> Layout:
    """A corpus's layout, with the files that no layout can use accounted for as well."""
    nobodys = {file.path: what for file in files if (what := passed_over(file.path, file.kind))}
    good, bad = readable_files([file for file in files if file.path not in nobodys])
    layout = FINDERS[corpus](root, good, settings)
    for path, what in nobodys.items():
        layout.drop_file(path, what.role, what.reason, what.detail)
    for file, reason, detail in bad:
        layout.drop_file(file.path, FOLDER if file.kind == FOLDER else role_of(file), reason, detail)
        if file.is_video:
            layout.exclude(f"{corpus}+{file.path}", reason, detail)
    return layout


def span_fault(span: Span, corpus: str, facts: dict[str, Any], files: dict[str, RawFile]) -> tuple[str, str] | None:
    """Why a span's files cannot be used, if so."""
    if facts["reason"]:
        return facts["reason"], facts["detail"]
    if facts["width_px"] * facts["height_px"] > MAX_PICTURE_PX:
        return "too_large", f"{facts['width_px']}×{facts['height_px']} pixels, more than {MAX_PICTURE_PX:,}"
    if span.audio:
        return None if files[span.audio].size else ("audio_empty", f"{span.audio}: an empty file")
    if facts["has_audio"]:
        return None
    return (
        ("audio_missing", "no sound file of this sentence, no sound track")
        if corpus == "mead"
        else ("no_audio", "no sound track")
    )


def limit_clips(records: list[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Training clips of a video beyond ``most``: those to leave out, so that the kept ones are spread evenly over
    it.
    """
    by_video: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["split"] == "train":
            by_video.setdefault(record["video"], []).append(record)
    extra = []
    for clips in by_video.values():
        if most and len(clips) > most:
            clips = sorted(clips, key=lambda r: (r["start_s"], r["clip"]))
            keep = {(2 * i + 1) * len(clips) // (2 * most) for i in range(most)}
            extra += [clip for number, clip in enumerate(clips) if number not in keep]
    return extra


def cut_corpus(
    corpus: str, layout: Layout, files: list[RawFile], facts: dict[str, dict[str, Any]], settings: IngestSettings
) -> list[dict[str, Any]]:
    """Clip records of a corpus, sorted by clip; adds to the layout's exclusions and the fates of its files."""
    by_path = {file.path: file for file in files}
    records: list[dict[str, Any]] = []
    first: dict[
        tuple[str, str], tuple[str, str]
    ] = {}  # the same bytes under two names would be two people, perhaps in two splits
    for span in layout.spans:
        found = facts[by_path[span.video].sha256]
        fault = span_fault(span, corpus, found, by_path)
        layout.files[span.video].note = ", ".join(found.get("notes", []))
        content = by_path[span.video].sha256, by_path[span.audio].sha256 if span.audio else ""
        held = first.setdefault(content, (span.video, span.audio)) if fault is None else (span.video, span.audio)
        if held != (span.video, span.audio):
            fault = "duplicate", f"the same bytes as {held[0]}"
        if fault is None:
            try:
                pieces = cut_span(span, found, settings.clip_s, settings.min_clip_s)
            except SpanError as error:
                fault = (error.reason, error.detail)
        if fault is not None:
            layout.exclude(span.name, *fault)
            for path in filter(None, (span.video, span.audio)):
                fate = layout.files[path]
                fate.reason, fate.detail = fate.reason or fault[0], fate.detail or fault[1]
            continue
        records += [
            {**piece, "corpus": corpus, "video_sha256": content[0], "audio_sha256": content[1]} for piece in pieces
        ]
    if corpus == "hdtf" and settings.max_train_clips_per_video:
        extra = limit_clips(records, settings.max_train_clips_per_video)
        for record in extra:
            layout.exclude(
                record["clip"],
                "over_limit",
                f"ingest.max_train_clips_per_video is {settings.max_train_clips_per_video}",
            )
        gone = {record["clip"] for record in extra}
        records = [record for record in records if record["clip"] not in gone]
    packs = assign_packs(corpus, records, settings.pack_clips)
    return [{**record, "pack": packs[record["clip"]]} for record in sorted(records, key=lambda r: r["clip"])]


def file_rows(files: list[RawFile], layout: Layout, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a raw file. A file with a clip is used, whatever became of its other clips."""
    clips: dict[str, int] = {}
    for record in records:
        for path in (record["video"], record["audio"]):
            clips[path] = clips.get(path, 0) + bool(path)
    rows = []
    for file in sorted(files, key=lambda f: f.path):
        fate, count = layout.files[file.path], clips.get(file.path, 0)
        media = fate.role in ("video", "audio")
        used = count > 0 if media else not fate.reason
        reason = "" if used else fate.reason or "no_clip"
        detail = fate.note if used else fate.detail or "none of its clips could be used"
        status = "used" if used else "excluded"
        rows.append(
            {"path": file.path, "role": fate.role, "status": status, "reason": reason, "detail": detail, "clips": count}
        )
    return rows


def reason_table(files: list[dict[str, Any]]) -> str:
    """How many files were left out for which reason, with one example each."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in files:
        if row["status"] == "excluded":
            groups.setdefault(row["reason"], []).append(row)
    ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
    return "\n".join(
        f"  {len(rows):6d}  {reason}, for example {rows[0]['path']}: {rows[0]['detail']}" for reason, rows in ordered
    )


def main(context: Context) -> dict[str, Any]:
    """Records of all corpora. Returns counts a corpus: files, clips, excluded, packs.

    Raises StageError for lists that cannot be read, a person in two splits, or too many faulty clips.
    """
    settings = context.settings
    raw = inventory(settings.data_dir / "inventory" / "files.parquet")
    try:
        layouts = {
            c: find_layout(c, Path(getattr(settings.raw, c) or ""), files, settings.ingest) for c, files in raw.items()
        }
        check_people((span.speaker, span.split, corpus) for corpus, layout in layouts.items() for span in layout.spans)
        content = {(corpus, file.path): file.sha256 for corpus, files in raw.items() for file in files if file.size}
        videos = {(corpus, span.split, span.video) for corpus, layout in layouts.items() for span in layout.spans}
        check_files((content[c, path], split, c, path) for c, split, path in sorted(videos) if (c, path) in content)
    except CorpusError as error:
        raise StageError(f"ingest: {error}") from error
    wanted: dict[str, str] = {}
    for corpus, layout in layouts.items():
        by_path = {file.path: file for file in raw[corpus]}
        for span in layout.spans:
            wanted.setdefault(by_path[span.video].sha256, str(Path(getattr(settings.raw, corpus)) / span.video))
    facts = probe_all(context, wanted)
    summary: dict[str, Any] = {}
    for corpus, layout in layouts.items():
        records = cut_corpus(corpus, layout, raw[corpus], facts, settings.ingest)
        excluded = sorted(layout.excluded, key=lambda row: (row["clip"], row["reason"], row["detail"]))
        files = file_rows(raw[corpus], layout, records)
        write_atomic(context.out(corpus, "clips.parquet"), table_bytes(records, CLIP_COLUMNS))
        write_atomic(context.out(corpus, "files.parquet"), table_bytes(files, FILE_COLUMNS))
        write_atomic(context.out(corpus, "excluded.parquet"), table_bytes(excluded, EXCLUDED_COLUMNS))
        bad = [row for row in excluded if row["reason"] not in DELIBERATE]
        if files and not records:
            folder = getattr(settings.raw, corpus)
            raise StageError(f"ingest: no clip in {len(files)} files of raw.{corpus} ({folder})\n{reason_table(files)}")
        packs = len({record["pack"] for record in records})
        summary[corpus] = {"files": len(files), "clips": len(records), "excluded": len(excluded), "packs": packs}
        if files:
            people = len({record["speaker"] for record in records})
            logger.info(
                f"  {corpus}: {len(records)} clips of {people} people in {packs} packs; {len(excluded)} excluded"
                + (f", {len(bad)} of them faulty" if bad else "")
            )
        check_failed_fraction("ingest", corpus, len(records) + len(bad), bad, settings.ingest.max_failed_fraction)
    return summary
