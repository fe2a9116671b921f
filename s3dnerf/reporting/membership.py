"""Membership: every raw file and every clip, used or excluded, at which stage and for which reason.

Reads ``data/<preset>``: ``inventory/files.parquet``, ``ingest/<corpus>/{files,excluded,clips}.parquet``, each pack
stage's ``quarantine.parquet`` and ``index.parquet``. What none of them speaks of is ``unaccounted``: the report counts
it, and it must be none.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from s3dnerf.settings.schema import CORPORA
from s3dnerf.training.clips import STAGES
from s3dnerf.video.packs import PACK_STAGES

COLUMNS = ["corpus", "kind", "name", "path", "speaker", "split", "status", "stage", "reason", "detail", "used_for"]
USED, EXCLUDED, UNACCOUNTED = "used", "excluded", "unaccounted"


def _table(path: Path) -> list[dict[str, Any]]:
    import pandas as pd

    return pd.read_parquet(path).to_dict("records") if path.is_file() else []


def _row(corpus: str, kind: str, name: str, status: str, **more: Any) -> dict[str, Any]:
    return {**dict.fromkeys(COLUMNS, ""), "corpus": corpus, "kind": kind, "name": name, "status": status, **more}


def file_rows(data_dir: Path, corpus: str) -> list[dict[str, Any]]:
    """One row a raw file of the inventory; a file that ingest does not speak of is unaccounted."""
    fates = {r["path"]: r for r in _table(data_dir / "ingest" / corpus / "files.parquet")}
    rows = []
    for file in _table(data_dir / "inventory" / "files.parquet"):
        if file["corpus"] != corpus:
            continue
        fate = fates.pop(file["path"], None)
        if fate is None:
            silent = {"stage": "ingest", "detail": "ingest says nothing of it"}
            rows.append(_row(corpus, "file", file["path"], UNACCOUNTED, path=file["path"], **silent))
            continue
        used = fate["status"] == USED
        rows.append(
            _row(
                corpus,
                "file",
                file["path"],
                fate["status"],
                path=file["path"],
                stage="" if used else "ingest",
                reason=fate["reason"],
                detail=fate["detail"],
                used_for=f"{fate['role']}: {fate['clips']} clips" if used else "",
            )
        )
    rows += [
        _row(
            corpus,
            "file",
            path,
            UNACCOUNTED,
            path=path,
            stage="inventory",
            detail="ingest names it, the inventory does not",
        )
        for path in sorted(fates)
    ]
    return rows


def uses_of(cards: dict[str, dict[str, Any]]) -> dict[str, set[str]]:
    """The people that each network was trained on, by its card: use → ``corpus/speaker``.

    Parameters
    ----------
    cards : ``expert``, ``judge`` and the variants' cards
        The generators train on HDTF and name people without the corpus.
    """
    found: dict[str, set[str]] = {}
    for name, card in cards.items():
        if name in ("expert", "judge"):
            found[f"train_sync {name}"] = set(card.get("speakers", []))
            found[f"held out for train_sync {name}"] = set(card.get("held_out_speakers", []))
        elif card:
            found.setdefault("train_s3dnerf", set()).update(f"hdtf/{person}" for person in card.get("speakers", []))
    return found


def _use(
    corpus: str, clip: dict[str, Any], measured: bool, evaluated: tuple[str, ...], uses: dict[str, set[str]]
) -> str:
    """What a usable clip was used for."""
    if clip["split"] != "test":
        person = f"{corpus}/{clip['speaker']}"
        seen = sorted(use for use, people in uses.items() if person in people)
        return ", ".join(seen) if seen else f"no stage uses {corpus}'s {clip['split']} part"
    if measured:
        return "evaluate"
    return (
        "held out; not measured (evaluate.max_clips_per_speaker)"
        if corpus in evaluated
        else "held out; not in evaluate.corpora"
    )


def clip_rows(
    data_dir: Path, corpus: str, measured: set[str], evaluated: tuple[str, ...], uses: dict[str, set[str]]
) -> list[dict[str, Any]]:
    """One row a clip: those that ingest excluded, those that a stage quarantined, and those that came through."""
    rows = []
    for bad in _table(data_dir / "ingest" / corpus / "excluded.parquet"):
        rows.append(
            _row(corpus, "clip", bad["clip"], EXCLUDED, stage=bad["stage"], reason=bad["reason"], detail=bad["detail"])
        )
    stopped: dict[str, dict[str, Any]] = {}
    present: dict[str, set[str]] = {}
    for stage in PACK_STAGES:
        for bad in _table(data_dir / stage / corpus / "quarantine.parquet"):
            stopped.setdefault(bad["clip"], bad)
        present[stage] = {r["clip"] for r in _table(data_dir / stage / corpus / "index.parquet")}
    for clip in _table(data_dir / "ingest" / corpus / "clips.parquet"):
        name = clip["clip"]
        about = {"path": clip["video"], "speaker": clip["speaker"], "split": clip["split"]}
        if name in stopped:
            bad = stopped[name]
            rows.append(
                _row(
                    corpus,
                    "clip",
                    name,
                    EXCLUDED,
                    **about,
                    stage=bad["stage"],
                    reason=bad["reason"],
                    detail=bad["detail"],
                )
            )
        elif all(name in present[stage] for stage in STAGES):
            rows.append(
                _row(
                    corpus, "clip", name, USED, **about, used_for=_use(corpus, clip, name in measured, evaluated, uses)
                )
            )
        else:
            lost = next(stage for stage in PACK_STAGES if name not in present[stage])
            silent = {"stage": lost, "detail": "neither in the stage's packs nor in its quarantine"}
            rows.append(_row(corpus, "clip", name, UNACCOUNTED, **about, **silent))
    return rows


def membership(
    data_dir: str | Path, measured: set[str], evaluated: tuple[str, ...], uses: dict[str, set[str]]
) -> list[dict[str, Any]]:
    """All rows, sorted: files before clips, by corpus and name.

    Parameters
    ----------
    measured : clips that ``evaluate`` measured
    evaluated : corpora that ``evaluate`` was to measure
    uses : what the networks' cards say (:func:`uses_of`)
    """
    data_dir = Path(data_dir)
    rows = []
    for corpus in CORPORA:
        rows += file_rows(data_dir, corpus) + clip_rows(data_dir, corpus, measured, evaluated, uses)
    return sorted(rows, key=lambda r: (r["corpus"], r["kind"] != "file", r["name"]))


def counts(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How many, by corpus, kind, status, stage and reason; the largest first within a corpus and kind."""
    found = Counter((r["corpus"], r["kind"], r["status"], r["stage"], r["reason"]) for r in rows)
    keys = ("corpus", "kind", "status", "stage", "reason")
    listed = [dict(zip(keys, key)) | {"count": count} for key, count in found.items()]
    return sorted(
        listed,
        key=lambda r: (r["corpus"], r["kind"] != "file", r["status"] != USED, -r["count"], r["stage"], r["reason"]),
    )
