"""Membership: every raw file and every clip, used or excluded, at which stage and for which reason.

Reads ``data/<preset>``: ``inventory/files.parquet``, ``ingest/<corpus>/{files,excluded,clips}.parquet``, each pack
stage's ``quarantine.parquet`` and ``index.parquet``. What none of them speaks of is ``unaccounted``: the report counts
it, and it must be none.

The whole table is an out of the stage ``report`` under DVC (:func:`table_path`): of HDTF, LRS2 and MEAD together it has
more rows than git should hold. A report in git has its counts, its number of rows and its hashes
(:func:`table_facts`). One rule for small corpora: a table of at most :data:`IN_REPORT_BYTES` is also a file of the
report, so that the report of the sample can be verified from a clone alone, without ``dvc pull``; at that size it is
one twentieth of the 5 MB that a report may have. The measurements (``clips.parquet``), which ``evaluate`` keeps under
DVC, are in the report by the same rule up to :data:`CLIPS_IN_REPORT_BYTES`: everything else that is recomputed from a
report rests on them, and a whole test set of HDTF and MEAD has more.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s3dnerf.settings.schema import CORPORA
from s3dnerf.training.clips import STAGES
from s3dnerf.video.packs import PACK_STAGES

if TYPE_CHECKING:
    import pandas as pd

TABLE, CLIPS = "membership.parquet", "clips.parquet"
IN_REPORT_BYTES = 256_000
CLIPS_IN_REPORT_BYTES = 2_000_000
COLUMNS = ["corpus", "kind", "name", "path", "speaker", "split", "status", "stage", "reason", "detail", "used_for"]
COUNTED = ("corpus", "kind", "split", "status", "stage", "reason")
USED, EXCLUDED, UNACCOUNTED = "used", "excluded", "unaccounted"


def table_path(preset: str) -> str:
    """Where the whole table of a preset is, relative to the repository.

    >>> table_path("tiny")
    'data/tiny/report/membership.parquet'
    """
    return f"data/{preset}/report/{TABLE}"


def clips_path(preset: str) -> str:
    """Where ``evaluate`` keeps the measurements of a preset, relative to the repository.

    >>> clips_path("tiny")
    'data/tiny/evaluate/clips.parquet'
    """
    return f"data/{preset}/evaluate/{CLIPS}"


def table_facts(path: str, data: bytes, rows: int, most: int) -> dict[str, Any]:
    """What ``report.json`` says of a table under DVC.

    Parameters
    ----------
    path : where it is, relative to the repository
    data : the table as parquet
    rows : how many it has
    most : of how many bytes it is also a file of the report

    Returns
    -------
    dict
        ``path``, ``rows``, ``bytes``, ``sha256``, ``md5`` (the name under which DVC keeps it), and ``in_report``:
        whether it is a file of the report as well.
    """
    return {
        "path": path,
        "rows": rows,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "md5": hashlib.md5(data).hexdigest(),
        "in_report": len(data) <= most,
    }


def table_bytes(table: pd.DataFrame) -> bytes:
    """The table as parquet; equal tables are equal bytes."""
    buffer = io.BytesIO()
    table[COLUMNS].to_parquet(buffer, index=False)
    return buffer.getvalue()


def _read(path: Path, columns: list[str]) -> pd.DataFrame:
    """These columns of a table; no row where there is no such file."""
    import pandas as pd

    return pd.read_parquet(path, columns=columns) if path.is_file() else pd.DataFrame(columns=columns, dtype="str")


def _rows(corpus: str, kind: str, found: pd.DataFrame) -> pd.DataFrame:
    """``found`` with all :data:`COLUMNS`; those that it lacks are empty."""
    return found.assign(corpus=corpus, kind=kind).reindex(columns=COLUMNS).fillna("").astype("str")


def file_rows(data_dir: Path, corpus: str, inventory: pd.DataFrame) -> pd.DataFrame:
    """One row a raw file; a file that ingest does not speak of is unaccounted.

    Parameters
    ----------
    inventory : columns ``corpus`` and ``path``
    """
    named = ["path", "role", "status", "reason", "detail", "clips"]
    fates = _read(data_dir / "ingest" / corpus / "files.parquet", named)
    paths = inventory.loc[inventory["corpus"] == corpus, ["path"]]
    found = paths.merge(fates, on="path", how="outer", indicator="side")
    silent, unknown = found["side"] == "left_only", found["side"] == "right_only"
    used = (found["status"] == USED) & ~unknown
    clips = found["clips"].fillna(0).astype("int64").astype("str")
    found["used_for"] = (found["role"] + ": " + clips + " clips").where(used, "")
    found["stage"] = "ingest"
    found.loc[used, "stage"] = ""
    found.loc[unknown, "stage"] = "inventory"
    found.loc[silent | unknown, ["status", "reason"]] = [UNACCOUNTED, ""]
    found.loc[silent, "detail"] = "ingest says nothing of it"
    found.loc[unknown, "detail"] = "ingest names it, the inventory does not"
    return _rows(corpus, "file", found.assign(name=found["path"]))


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


def _used_for(
    clips: pd.DataFrame, corpus: str, measured: set[str], evaluated: tuple[str, ...], uses: dict[str, set[str]]
) -> pd.Series:
    """What usable clips were used for; ``clips``: columns ``name``, ``speaker``, ``split``."""
    import pandas as pd

    by_person: dict[tuple[str, str], str] = {}
    for split, speaker in clips[["split", "speaker"]].drop_duplicates().itertuples(index=False):
        seen = sorted(use for use, people in uses.items() if f"{corpus}/{speaker}" in people)
        by_person[split, speaker] = ", ".join(seen) if seen else f"no stage uses {corpus}'s {split} part"
    kept_back = (
        "held out; not measured (evaluate.max_clips_per_speaker)"
        if corpus in evaluated
        else "held out; not in evaluate.corpora"
    )
    found = pd.Series(
        [by_person[person] for person in zip(clips["split"], clips["speaker"])], index=clips.index, dtype="str"
    )
    test = clips["split"] == "test"
    return found.mask(test, kept_back).mask(test & clips["name"].isin(measured), "evaluate")


def clip_rows(
    data_dir: Path, corpus: str, measured: set[str], evaluated: tuple[str, ...], uses: dict[str, set[str]]
) -> pd.DataFrame:
    """One row a clip: those that ingest excluded, those that a stage quarantined, and those that came through."""
    import pandas as pd

    why = ["clip", "stage", "reason", "detail"]
    excluded = _read(data_dir / "ingest" / corpus / "excluded.parquet", why).rename(columns={"clip": "name"})
    clips = _read(data_dir / "ingest" / corpus / "clips.parquet", ["clip", "video", "speaker", "split"])
    clips = clips.rename(columns={"clip": "name", "video": "path"})
    bad = pd.concat([_read(data_dir / stage / corpus / "quarantine.parquet", why) for stage in PACK_STAGES])
    bad = bad.drop_duplicates("clip").rename(columns={"clip": "name"})
    found = clips.merge(bad, on="name", how="left", indicator="side")
    stopped, whole = found["side"] == "both", pd.Series(True, index=found.index)
    lost = pd.Series("", index=found.index, dtype="str")
    for stage in reversed(PACK_STAGES):
        indexed = _read(data_dir / stage / corpus / "index.parquet", ["clip"])["clip"].drop_duplicates()
        present = found["name"].isin(indexed)
        lost = lost.where(present, stage)
        whole &= present | (stage not in STAGES)
    used, silent = whole & ~stopped, ~whole & ~stopped
    found["status"] = UNACCOUNTED
    found.loc[stopped, "status"] = EXCLUDED
    found.loc[used, "status"] = USED
    found.loc[silent, "stage"] = lost[silent]
    found.loc[silent, "detail"] = "neither in the stage's packs nor in its quarantine"
    found["used_for"] = _used_for(found, corpus, measured, evaluated, uses).where(used, "")
    return _rows(corpus, "clip", pd.concat([excluded.assign(status=EXCLUDED), found]))


def membership(
    data_dir: str | Path, measured: set[str], evaluated: tuple[str, ...], uses: dict[str, set[str]]
) -> pd.DataFrame:
    """The whole table, :data:`COLUMNS` (text), sorted: files before clips, by corpus and name.

    Parameters
    ----------
    measured : clips that ``evaluate`` measured
    evaluated : corpora that ``evaluate`` was to measure
    uses : what the networks' cards say (:func:`uses_of`)
    """
    import pandas as pd

    data_dir = Path(data_dir)
    inventory = _read(data_dir / "inventory" / "files.parquet", ["corpus", "path"])
    parts = []
    for corpus in CORPORA:
        parts += [
            file_rows(data_dir, corpus, inventory),
            clip_rows(data_dir, corpus, measured, evaluated, uses),
        ]
    table = pd.concat(parts).assign(clip=lambda t: t["kind"] != "file")
    return table.sort_values(["corpus", "clip", "name"], kind="stable", ignore_index=True)[COLUMNS]


def empty_table() -> pd.DataFrame:
    """A table without rows."""
    import pandas as pd

    return pd.DataFrame(columns=COLUMNS, dtype="str")


def counts(table: pd.DataFrame, keys: tuple[str, ...] = COUNTED) -> list[dict[str, Any]]:
    """How many rows, by :data:`COUNTED`; the largest first within a corpus and kind.

    Parameters
    ----------
    keys : the columns to count by, another choice for reports of an earlier schema
    """
    found = table.groupby(list(keys), sort=False).size()
    listed = [dict(zip(keys, map(str, key))) | {"count": int(count)} for key, count in found.items()]
    return sorted(
        listed,
        key=lambda r: (
            r["corpus"],
            r["kind"] != "file",
            r["status"] != USED,
            -r["count"],
            r["stage"],
            r["reason"],
            r.get("split", ""),
        ),
    )
