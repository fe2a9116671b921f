"""The pack store and the checkpoints: what lies there, how large, what still has a use; and removing what has none.

``.packs/<stage>/<key>/`` holds one pack, evaluated clip or finished training (:mod:`stages.content_store`),
``.packs/{inventory,ingest}/<preset>.*`` what is known of a preset's raw files, ``.checkpoints/<stage>/<key>/`` one
training run. An entry is kept

- ``planned``: a run with the settings in force would take it. The plan is followed from ingest's records through the
  store, stage by stage, whatever the outs on disk hold;
- ``undecided``: where the plan cannot be followed, because a pack is still to be made, all that is held of those clips;
- ``on disk``: the outs of a preset under ``data/`` came from it: of several packs that hold the same, the newest.

``half-made``: left by a killed run. ``unused``: the rest. Reads ``params.yaml``'s settings, ``data/``, the two folders;
``s3dnerf store``.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import SettingsError
from s3dnerf.evaluation.other_methods import find_methods
from s3dnerf.settings.schema import CORPORA, PRESETS, VARIANTS, Settings
from s3dnerf.sync.expert import SyncGateError
from s3dnerf.video.packs import PACK_STAGES, PackError
from stages import evaluate, train_s3dnerf, train_sync
from stages.content_store import STORE, ContentStore, DamagedEntry
from stages.context import Context
from stages.out_keys import keys_file, read_keys, recorded_keys
from stages.preprocessing import RESULT, TAR, PackStage, StageError, clip_records, key_basis, pack_key
from stages.stage_fields import key_fields
from stages.training import result_key

CHECKPOINTS = Path(".checkpoints")
PLANNED, UNDECIDED, ON_DISK, UNUSED, HALF_MADE = STATES = ("planned", "undecided", "on disk", "unused", "half-made")
NOT_NOW = (
    StageError,
    PackError,
    SettingsError,
    SyncGateError,
    OSError,
    KeyError,
    ValueError,
)  # why a plan cannot be told today

TRAININGS: dict[str, Any] = {"train_sync": train_sync, "train_s3dnerf": train_s3dnerf}
FINISHED = ("train_sync", "train_s3dnerf", evaluate.KIND)  # kinds whose entries are whole results, not packs
ROW = ("clip", "kind", "offset", "size", "crc32")
Rows = str  # hex hash of what an index says of a pack


@dataclass
class Entry:
    """One thing in the store: where, its stage, bytes, when it was made (seconds since 1970), and what use it has."""

    path: Path
    stage: str
    size: int
    made_s: float
    state: str = UNUSED


@dataclass
class Plan:
    """What the settings in force would take: keys, and clips whose packs cannot be told, by stage."""

    keys: dict[str, set[str]] = field(default_factory=dict)
    unsure: dict[str, set[str]] = field(default_factory=dict)
    # (stage, corpus, pack) → what its out should hold
    rows: dict[tuple[str, str, str], Rows] = field(default_factory=dict)


def lock_names() -> list[str]:
    """The locks of every stage that writes into the store, for all presets (``.locks/<name>.lock``): held, nobody
    does.
    """
    parts = {"train_sync": ("", *train_sync.CORPORA), "train_s3dnerf": ("", *VARIANTS)}
    stages = [
        f"{stage}-{part}" if part else stage
        for stage in ("inventory", "ingest", *PACK_STAGES, *parts, "evaluate")
        for part in parts.get(stage, ("",))
    ]
    return [f"{preset}-{stage}" for preset in PRESETS for stage in stages]


def _result(stage: str, key: str) -> dict[str, Any] | None:
    """What a pack's entry says of itself; None where it is half-made or damaged. Its tar is compared when used."""
    entry = ContentStore().find(stage, key)
    try:
        if entry is None or not (entry.folder / TAR).is_file():
            return None
        result = json.loads(entry.read(RESULT))
        return result if {"rows", "quarantine", "sha256"} <= set(result) else None
    except (OSError, ValueError, DamagedEntry):
        return None


def _rows(rows: Iterable[tuple[Any, ...]]) -> Rows:
    """What index rows (columns :data:`ROW`) say of a pack's content: each part with its place, size and sum."""
    return hashlib.sha256(json.dumps(sorted(rows)).encode()).hexdigest()


def _rows_of(result: dict[str, Any]) -> Rows:
    return _rows(tuple(row.get(name) for name in ROW) for row in result["rows"])


def follow_plan(settings: Settings) -> Plan:
    """The keys that a run with these settings would look for, from ingest's records on. Raises StageError without
    records.
    """
    plan = Plan()
    specs: list[PackStage] = [importlib.import_module(f"stages.{stage}").SPEC for stage in PACK_STAGES]
    bases: dict[str, dict[str, Any] | None] = {}
    for spec in specs:
        try:
            bases[spec.name] = key_basis(spec, settings)
        except NOT_NOW:
            bases[spec.name] = None  # its weight files are not here: what it would make is not known
    for corpus in CORPORA:
        try:
            records = clip_records(settings, corpus)
        except FileNotFoundError as error:
            missing = settings.data_dir / "ingest" / corpus / "clips.parquet"
            raise StageError(
                f"{missing}: no such file — run what the settings in force plan first: dvc repro ingest"
            ) from error
        packs: dict[str, list[dict[str, Any]]] = {}
        for record in records:
            packs.setdefault(record["pack"], []).append(record)
        for pack, members in sorted(packs.items()):
            _follow_pack(plan, specs, bases, corpus, pack, members)
    return plan


def _follow_pack(
    plan: Plan,
    specs: list[PackStage],
    bases: dict[str, dict[str, Any] | None],
    corpus: str,
    pack: str,
    members: list[dict[str, Any]],
) -> None:
    """One pack through the stages; adds to ``plan``."""
    known: dict[str, tuple[str, set[str]]] = {}  # stage → sha256 of its pack, clips in it
    for spec in specs:
        basis = bases[spec.name]
        result = None
        if basis is not None and all(stage in known for stage in spec.upstream):
            alive = [r for r in members if all(r["clip"] in known[stage][1] for stage in spec.upstream)]
            if not alive:  # all its clips stopped before: no pack is made
                known[spec.name] = "", set()
                continue
            key = pack_key(spec, basis, alive, {stage: known[stage][0] for stage in spec.upstream})
            plan.keys.setdefault(spec.name, set()).add(key)
            result = _result(spec.name, key)
        if result is None:
            plan.unsure.setdefault(spec.name, set()).update(r["clip"] for r in members)
            continue
        known[spec.name] = result["sha256"], {row["clip"] for row in result["rows"]}
        plan.rows[spec.name, corpus, pack] = _rows_of(result)


def outs_on_disk(stage: str) -> dict[tuple[str, str, str], Rows]:
    """(preset, corpus, pack) → what the out's index says of it, for every preset under ``data/``."""
    import pandas as pd

    found: dict[tuple[str, str, str], Rows] = {}
    for index in sorted(Path("data").glob(f"*/{stage}/*/index.parquet")):
        preset, corpus = index.parts[1], index.parts[3]
        table = pd.read_parquet(index)
        by_pack: dict[str, list[tuple[Any, ...]]] = {tar.stem: [] for tar in index.parent.glob("*.tar")}
        columns = [table[name].tolist() if name in table else [None] * len(table) for name in ROW]
        for pack, row in zip(table["pack"].tolist(), zip(*columns)):
            by_pack.setdefault(pack, []).append(row)
        found |= {(preset, corpus, pack): _rows(rows) for pack, rows in by_pack.items()}
    return found


def _size(path: Path) -> int:
    return sum(p.lstat().st_size for p in ([path] if path.is_file() else path.rglob("*")) if not p.is_dir())


def _entry(path: Path, stage: str, state: str = UNUSED) -> Entry:
    return Entry(path, stage, _size(path), path.lstat().st_mtime, state)


def survey(settings: Settings) -> list[Entry]:
    """Everything in the store and the checkpoints with its use, sorted by path. Raises StageError when nothing is
    planned yet.
    """
    plan = follow_plan(settings)
    entries: list[Entry] = []
    settled = not plan.unsure
    for folder in sorted(path for path in STORE.glob("*") if path.is_dir()):
        if folder.name in FINISHED:
            continue
        if folder.name not in PACK_STAGES:
            entries += [_entry(path, folder.name, _state_of_known(path, settings)) for path in sorted(folder.iterdir())]
            continue
        outs = outs_on_disk(folder.name)
        mine = {key[1:]: rows for key, rows in outs.items() if key[0] == settings.preset}
        settled = settled and mine == {
            (corpus, pack): rows for (stage, corpus, pack), rows in plan.rows.items() if stage == folder.name
        }
        covered = {rows for (stage, *_), rows in plan.rows.items() if stage == folder.name}
        held = {rows for (preset, *_), rows in outs.items() if preset != settings.preset or rows not in covered}
        entries += _packs(folder, plan, held)
    runs = _planned_runs(settings, settled)
    entries += _checkpoints(settings, runs)
    wanted = {stage: None if jobs is None else {_result_key(job) for job in jobs} for stage, jobs in runs.items()}
    entries += _finished(wanted | {evaluate.KIND: _planned_clips(settings, runs)})
    return sorted(entries, key=lambda entry: entry.path)


def _planned_clips(settings: Settings, runs: dict[str, list[Any] | None]) -> set[str] | None:
    """Keys of the clips that an evaluation with these settings would take; None: cannot be told before its networks are
    made.
    """
    if not (STORE / evaluate.KIND).is_dir():
        return set()
    if not all(jobs is not None and all(map(_made_out, jobs)) for jobs in runs.values()):
        return None
    evaluate.forget()
    try:
        return {job.key for job in evaluate.plan(settings, find_methods(settings.evaluate.methods))}
    except NOT_NOW:
        return None
    finally:
        evaluate.forget()


def _finished(wanted: dict[str, set[str] | None]) -> list[Entry]:
    """Finished trainings and evaluated clips; ``wanted``: kind → keys a run would take, None where they cannot be
    told.
    """
    entries, store = [], ContentStore()
    for kind, keys in wanted.items():
        on_disk = recorded_keys(kind)
        for path in sorted((STORE / kind).iterdir()) if (STORE / kind).is_dir() else []:
            entry = _entry(path, kind)
            entries.append(entry)
            if store.find(kind, path.name) is None:
                entry.state = HALF_MADE
            elif keys is not None and path.name in keys:
                entry.state = PLANNED
            elif path.name in on_disk:
                entry.state = ON_DISK
            elif keys is None:
                entry.state = UNDECIDED
    return entries


def _state_of_known(path: Path, settings: Settings) -> str:
    """What use a table of a preset's raw files has."""
    if path.name.startswith("."):
        return HALF_MADE
    preset = path.name.split(".")[0]
    return PLANNED if preset == settings.preset else ON_DISK if (Path("data") / preset).is_dir() else UNUSED


def _packs(folder: Path, plan: Plan, held: set[Rows]) -> list[Entry]:
    """The entries of one stage. ``held``: what outs hold that the planned entries do not account for."""
    entries, newest = [], dict[Rows, Entry]()
    for path in sorted(folder.iterdir()):
        entry, result = _entry(path, folder.name), _result(folder.name, path.name)
        entries.append(entry)
        if result is None:
            entry.state = HALF_MADE
        elif path.name in plan.keys.get(folder.name, ()):
            entry.state = PLANNED
        elif {row["clip"] for row in (*result["rows"], *result["quarantine"])} <= plan.unsure.get(folder.name, set()):
            entry.state = UNDECIDED
        else:
            rows = _rows_of(result)
            if rows in held and entry.made_s >= newest.get(rows, entry).made_s:
                newest[rows] = entry
    for entry in newest.values():
        entry.state = ON_DISK
    return entries


def _planned_runs(settings: Settings, settled: bool) -> dict[str, list[Any] | None]:
    """The training jobs of a run with these settings, by stage; None: cannot be told before its data are made."""
    plans: dict[str, Callable[[], list[Any]]] = {
        "train_sync": lambda: [train_sync.plan(Context(settings, "train_sync"), role) for role in train_sync.CORPORA],
        "train_s3dnerf": lambda: train_s3dnerf.plan(Context(settings, "train_s3dnerf")),
    }
    found: dict[str, list[Any] | None] = {}
    for stage, jobs in plans.items():
        try:
            found[stage] = jobs() if settled else None
        except NOT_NOW:
            found[stage] = None
        # the generator's data hold the expert: it must be the one of these settings
        settled = settled and all(_made_out(job) for job in found[stage] or ())
    return found


def _stage_of(job: Any) -> str:
    return "train_sync" if isinstance(job, train_sync.Job) else "train_s3dnerf"


def _result_key(job: Any) -> str:
    """The store's name of what a training job ends with."""
    return result_key(job.work, TRAININGS[_stage_of(job)].stated(job))


def _what_decides(job: Any) -> dict[str, Any]:
    """The settings that decide what a training computes."""
    node = f"train_sync_{job.role}" if isinstance(job, train_sync.Job) else "train_s3dnerf"
    part = job.role if isinstance(job, train_sync.Job) else job.variant
    return {"part": part, **key_fields(node, job.settings)}


def _job(folder: Path) -> Any | None:
    """The job of a checkpoint folder; None where it has none, or one of settings that are no longer known."""
    try:
        return TRAININGS[folder.parent.name].Job.from_json((folder / "job.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _made_out(job: Any) -> bool:
    """Whether the out on disk is what a job ends with, as the keys beside that out say."""
    out = Path(job.out)
    kind, entries = read_keys(keys_file(out.parent.parent, f"{out.parent.name}/{out.name}"))
    return out.is_dir() and kind == _stage_of(job) and _result_key(job) in {entry.key for entry in entries}


def _checkpoints(settings: Settings, planned: dict[str, list[Any] | None]) -> list[Entry]:
    entries = []
    for folder in sorted(path for path in CHECKPOINTS.glob("*") if path.name in TRAININGS and path.is_dir()):
        jobs = planned.get(folder.name)
        for path in sorted(folder.iterdir()):
            entry, job = _entry(path, folder.name), _job(path)
            entries.append(entry)
            if job is None:
                entry.state = UNUSED if (path / "job.json").is_file() else HALF_MADE
                continue
            entry.made_s = max((p.lstat().st_mtime for p in path.iterdir()), default=entry.made_s)
            if jobs is not None and str(path) in {str(Path(wanted.work)) for wanted in jobs}:
                entry.state = PLANNED
            elif jobs is None and _what_decides(job) == _what_decides(replace(job, settings=settings)):
                entry.state = UNDECIDED
            elif _made_out(job):
                entry.state = ON_DISK
    return entries


def needless(entries: Iterable[Entry], older_than_days: float = 0.0) -> list[Entry]:
    """The entries to remove: unused ones made at least so long ago, and half-made ones."""
    before = time.time() - older_than_days * 86400
    return [
        entry for entry in entries if entry.state == HALF_MADE or (entry.state == UNUSED and entry.made_s <= before)
    ]


def remove(entries: Iterable[Entry]) -> int:
    """Remove entries. Returns bytes freed. Only while every lock of :func:`lock_names` is held."""
    freed = 0
    for entry in entries:
        if entry.path.is_dir() and not entry.path.is_symlink():
            shutil.rmtree(entry.path)
        else:
            entry.path.unlink()
        freed += entry.size
    return freed
