"""Which store entries an out was put together from, recorded beside the outs: ``data/<preset>/keys/<name>.json``.

An out of DVC's holds content alone, no keys: remade with equal bytes by other code, it leaves what follows alone. The
keys are an out of their own that nothing depends on. With them, outs that came by ``dvc pull`` fill the store
(:mod:`stages.seeding`), and ``s3dnerf store`` knows which entries the outs on disk came from.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from s3dnerf.video.packs import write_atomic


@dataclass(frozen=True)
class KeptEntry:
    """One entry: its key, the sha256 of each of its files, where the out has it (``hdtf/hdtf-0000``, a clip's name, or
    nothing), for a pack the clips that stopped there, and who made it with what (:mod:`stages.made`), where that was
    recorded.
    """

    key: str
    files: dict[str, str]
    place: str = ""
    quarantined: list[str] = field(default_factory=list)
    made: dict[str, Any] = field(default_factory=dict)


def keys_file(data_dir: Path, name: str) -> Path:
    """``name``: the stage, with its part where it has several: ``align``, ``train_sync/expert``."""
    return data_dir / "keys" / f"{name}.json"


def forget_keys(data_dir: Path, name: str) -> None:
    """Before an out is written: what stood there is no longer what its keys say."""
    keys_file(data_dir, name).unlink(missing_ok=True)


def write_keys(data_dir: Path, name: str, kind: str, entries: list[KeptEntry]) -> None:
    """Record the entries of a finished out, sorted by place; ``kind`` as in the store."""
    rows = [asdict(entry) for entry in sorted(entries, key=lambda entry: (entry.place, entry.key))]
    rows = [{name: value for name, value in row.items() if value or name != "made"} for row in rows]
    text = json.dumps({"format": 1, "kind": kind, "entries": rows}, sort_keys=True, ensure_ascii=False)
    write_atomic(keys_file(data_dir, name), (text + "\n").encode())


def read_keys(path: Path) -> tuple[str, list[KeptEntry]]:
    """(kind, entries) of a keys file; ('', []) where it is missing or not one of ours: nothing is known then."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return str(record["kind"]), [KeptEntry(**row) for row in record["entries"]]
    except (OSError, ValueError, KeyError, TypeError):
        return "", []


def recorded_keys(kind: str) -> set[str]:
    """The keys of a kind that the outs of all presets under ``data/`` were put together from."""
    found = map(read_keys, sorted(Path("data").glob("*/keys/**/*.json")))
    return {entry.key for of_kind, entries in found if of_kind == kind for entry in entries}
