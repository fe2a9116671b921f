"""Packs: up to 64 clips of one corpus in one tar, and the index that finds a clip's parts in it.

A corpus folder of a stage (``data/<preset>/<stage>/<corpus>/``) holds

- ``<pack>.tar``: uncompressed, WebDataset naming: ``<clip>.<kind>`` with the kind from the first dot on
  (``hdtf_0001.landmarks.npy``). Members sorted, times and owners zero: equal content is equal bytes;
- ``index.parquet``: one row a member: pack, clip, kind, offset, size (bytes);
- ``quarantine.parquet``: clips that stopped here: clip, stage, reason, detail.

Writes are to a temporary name, flushed to disk, renamed.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

INDEX_COLUMNS = ["pack", "clip", "kind", "offset", "size"]
QUARANTINE_COLUMNS = ["clip", "stage", "reason", "detail"]


class PackError(RuntimeError):
    """A pack or its index is missing, damaged or not what the index says."""


def encode(kind: str, value: Any) -> bytes:
    """Bytes of one part: arrays as ``.npy``, mappings as ``.json``, bytes as they are."""
    if isinstance(value, bytes):
        return value
    if kind.endswith(".npy"):
        buffer = io.BytesIO()
        np.save(buffer, np.ascontiguousarray(value), allow_pickle=False)
        return buffer.getvalue()
    if kind.endswith(".json"):
        return json.dumps(value, sort_keys=True, ensure_ascii=False).encode()
    raise TypeError(f"{kind}: expected bytes, or a kind ending in .npy or .json; got {type(value).__name__}")


def decode(kind: str, data: bytes) -> Any:
    """Inverse of :func:`encode`; other kinds come back as bytes."""
    if kind.endswith(".npy"):
        return np.load(io.BytesIO(data), allow_pickle=False)
    return json.loads(data) if kind.endswith(".json") else data


def file_sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file, read in pieces."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write ``data`` to a temporary name beside ``path``, flush it to disk, rename."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_pack(path: str | Path, clips: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write the parts of ``clips`` (clip → kind → value) as one tar.

    Returns the index rows without the pack's name: clip, kind, offset, size. Raises ValueError for a
    clip id with a dot or a slash: a name must not climb out of the archive.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = []
    try:
        with open(part, "wb") as handle:
            with tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar:
                for clip in sorted(clips):
                    if not clip or "." in clip or "/" in clip:
                        raise ValueError(f"clip id {clip!r}: expected no dot and no slash")
                    for kind in sorted(clips[clip]):
                        data = encode(kind, clips[clip][kind])
                        info = tarfile.TarInfo(f"{clip}.{kind}")
                        info.size = len(data)
                        tar.addfile(info, io.BytesIO(data))
                        padded = -len(data) % tarfile.BLOCKSIZE
                        rows.append({"clip": clip, "kind": kind, "offset": tar.offset - len(data) - padded, "size": len(data)})
            handle.flush()
            os.fsync(handle.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return rows


def write_table(path: str | Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    """Rows as a parquet file with just these columns, in the order given; equal rows are equal bytes."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=columns)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    write_atomic(path, buffer.getvalue())


class CorpusPacks:
    """The packs of one corpus at one stage, read by clip and kind.

    Parameters
    ----------
    folder : path
        ``data/<preset>/<stage>/<corpus>``. Raises PackError when there is no index.
    """

    def __init__(self, folder: str | Path) -> None:
        import pandas as pd

        self.folder = Path(folder)
        path = self.folder / "index.parquet"
        if not path.is_file():
            raise PackError(f"{path}: no such file — run the stage that makes it: dvc repro {self.folder.parent.name}")
        self.index = pd.read_parquet(path)
        self._where = {(r.clip, r.kind): (r.pack, int(r.offset), int(r.size)) for r in self.index.itertuples()}
        self.clips: list[str] = sorted(set(self.index["clip"]))

    def __contains__(self, clip: str) -> bool:
        return clip in self._clip_set

    @property
    def _clip_set(self) -> set[str]:
        if not hasattr(self, "_clips_cached"):
            self._clips_cached = set(self.clips)
        return self._clips_cached

    def kinds(self, clip: str) -> list[str]:
        """Kinds of parts this clip has here."""
        return sorted(kind for name, kind in self._where if name == clip)

    def read(self, clip: str, kind: str) -> Any:
        """One part, decoded. Raises PackError when it is not in the index or the tar is too short."""
        try:
            pack, offset, size = self._where[clip, kind]
        except KeyError:
            raise PackError(f"{self.folder}: no {kind} of clip {clip}; its parts here: {self.kinds(clip) or 'none'}") from None
        with open(self.folder / f"{pack}.tar", "rb") as handle:
            handle.seek(offset)
            data = handle.read(size)
        if len(data) != size:
            raise PackError(f"{self.folder / pack}.tar: expected {size} bytes at {offset}, got {len(data)}: the pack is truncated")
        return decode(kind, data)
