"""What a stage's flow run shows in Prefect: its key numbers, the clips that it could not use, how far it is.

Pure functions from what a stage returned and wrote to Prefect's artifacts (``key``, ``type``, ``description``,
``data``). A key is ``<preset>-<stage>[-<part>]-<what>``: Prefect keeps the history of each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

TABLES = ("quarantine.parquet", "excluded.parquet")  # of a preprocessing stage, of ingest
EXAMPLES = 3  # clips shown with each reason
MOST_ROWS = 200


def artifact_key(*words: str) -> str:
    """A key as Prefect accepts it: lower-case letters, digits and dashes.

    >>> artifact_key("tiny", "train_sync", "", "numbers")
    'tiny-train-sync-numbers'
    """
    return "-".join(re.sub(r"[^a-z0-9]+", "-", word.lower()).strip("-") for word in words if word)


def quarantine_rows(out: Path, since: float) -> list[dict[str, Any]]:
    """One row a corpus and reason of the clips that a stage could not use, the most frequent first.

    Parameters
    ----------
    out : Path
        The stage's out; its corpus folders hold the tables.
    since : float
        Seconds since 1970: tables written before are another run's.
    """
    import pandas as pd

    rows = []
    for name in TABLES:
        for path in sorted(out.glob(f"*/{name}")):
            if path.stat().st_mtime < since:
                continue
            for (stage, reason), clips in pd.read_parquet(path).groupby(["stage", "reason"]):
                first = clips.sort_values("clip").head(EXAMPLES)
                examples = [f"{clip}: {detail}" for clip, detail in zip(first["clip"], first["detail"], strict=True)]
                rows.append(
                    {
                        "corpus": path.parent.name,
                        "stage": stage,
                        "reason": reason,
                        "clips": len(clips),
                        "examples": "; ".join(examples),
                    }
                )
    return sorted(rows, key=lambda row: (-row["clips"], row["corpus"], row["reason"]))[:MOST_ROWS]


def quarantine_table(key: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The rows of :func:`quarantine_rows` as a table artifact."""
    clips = sum(row["clips"] for row in rows)
    description = f"{clips} clips not used, by corpus and reason, with the first {EXAMPLES} of each"
    return {"key": key, "type": "table", "description": description, "data": json.dumps(rows)}


def progress(key: str, title: str, done: int, total: int) -> dict[str, Any]:
    """How far a stage is, as a progress artifact (percent)."""
    percent = round(100.0 * done / total, 1) if total else 100.0
    return {"key": key, "type": "progress", "description": f"{title}: {done} of {total}", "data": percent}


def key_numbers(key: str, title: str, seconds: float, packs: Mapping[str, int], summary: Any) -> dict[str, Any]:
    """A stage's key numbers as a markdown artifact.

    Parameters
    ----------
    packs : mapping
        What the executor counted, such as pieces of work done and tried again.
    summary : object
        What the stage returned: counts by name, or counts by corpus and name; anything else is left out.
    """
    lines = [f"# {title}", "", f"- seconds: {seconds:.1f}"]
    lines += [f"- {name.replace('_', ' ')}: {count}" for name, count in packs.items()]
    counts = dict(summary) if isinstance(summary, Mapping) else {}
    lines += [f"- {name}: {value}" for name, value in counts.items() if isinstance(value, (int, float, str))]
    tables = {name: row for name, row in counts.items() if isinstance(row, Mapping)}
    if tables:
        # packs are made or taken from the store; a stage counts those that it made
        rows = {
            name: {**row, "from the store": row["packs"] - row["made"]} if {"packs", "made"} <= set(row) else dict(row)
            for name, row in tables.items()
        }
        columns = list(dict.fromkeys(column for row in rows.values() for column in row))
        lines += ["", f"| | {' | '.join(columns)} |", "|---|" + "---:|" * len(columns)]
        lines += [f"| {name} | {' | '.join(str(row.get(c, '')) for c in columns)} |" for name, row in rows.items()]
    return {"key": key, "type": "markdown", "description": title, "data": "\n".join(lines) + "\n"}
