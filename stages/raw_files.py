"""Raw files are what the inventory saw, checked again when they are used.

``inventory`` keeps size, modification time and sha256 of each raw file in ``.packs/inventory/<preset>.parquet``. A file
whose size and time still stand is not read again; any other is hashed. What a fault of a file's content is, is believed
only of a file that can be read to its end and has the hash of the inventory: a mount that is gone, or a file that was
exchanged since, must not count against the clip.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import PassingFault, S3DNeRFError
from s3dnerf.video.packs import file_sha256
from stages.content_store import STORE

CACHE_COLUMNS = ["root", "path", "size", "mtime_ns", "sha256", "kind"]


class RawFileChanged(S3DNeRFError, RuntimeError):
    """A raw file is not the one that the inventory saw; nothing made of it may be kept under that one's key."""


@dataclass(frozen=True)
class SeenFile:
    """A raw file as the inventory saw it; ``size`` in bytes, −1 where it kept no time (the file was seconds old);
    ``kind``: what its first bytes say.
    """

    sha256: str
    size: int = -1
    mtime_ns: int = -1
    kind: str = ""


def inventory_cache(preset: str) -> Path:
    """Where the inventory of a preset keeps what it saw on this machine."""
    return STORE / "inventory" / f"{preset}.parquet"


def read_inventory_cache(path: Path) -> dict[tuple[str, str], SeenFile]:
    """(absolute raw folder, path in it) → file; empty where there is no cache, or one of another form."""
    import pandas as pd

    if not path.is_file():
        return {}
    table = pd.read_parquet(path)
    if list(table.columns) != CACHE_COLUMNS:  # an earlier version's: made again
        return {}
    seen = map(SeenFile, *(table[name].tolist() for name in ("sha256", "size", "mtime_ns", "kind")))
    return dict(zip(zip(table["root"], table["path"]), seen))


def seen_of(root: str, records: list[dict[str, Any]], cache: Mapping[tuple[str, str], SeenFile]) -> dict[str, SeenFile]:
    """Path in the raw folder → the file that these clips' records mean, for their videos and sound files."""
    absolute, found = os.path.abspath(root), {}
    for record in records:
        for kind in ("video", "audio"):
            path, sha256 = record.get(kind), record.get(f"{kind}_sha256")
            if path and sha256:
                kept = cache.get((absolute, path))
                found[path] = kept if kept is not None and kept.sha256 == sha256 else SeenFile(sha256)
    return found


@functools.lru_cache(maxsize=64)
def _sha256(path: str, size: int, mtime_ns: int) -> str:
    return file_sha256(path)


def check_raw_file(path: str | Path, seen: SeenFile, to_its_end: bool = False) -> None:
    """Raise RawFileChanged where a file is not ``seen``, PassingFault where it cannot be read though it was seen.

    ``to_its_end``: read and hash it also where size and time stand.
    """
    try:
        state = os.stat(path)
        if not to_its_end and (state.st_size, state.st_mtime_ns) == (seen.size, seen.mtime_ns):
            return
        now = file_sha256(path) if to_its_end else _sha256(str(path), state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise PassingFault(
            f"{path}: {error.strerror or error}, though the inventory has the file: is its disk or mount still there?"
        ) from error
    if now != seen.sha256:
        raise RawFileChanged(
            f"{path}: changed since the inventory (sha256 {seen.sha256[:12]}…, now {now[:12]}…): run dvc repro again"
        )
