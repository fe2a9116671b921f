"""Packs: up to 64 clips of one corpus in one tar, and the index that finds a clip's parts in it.

A corpus folder of a stage (``data/<preset>/<stage>/<corpus>/``) holds

- ``<pack>.tar``: uncompressed, WebDataset naming: ``<clip>.<kind>`` with the kind from the first dot on
  (``hdtf_0001.landmarks.npy``). Members sorted, times and owners zero: equal content is equal bytes;
- ``index.parquet``: one row a member: pack, clip, kind, offset, size (bytes), crc32 (of its bytes, compared at each
  reading);
- ``packs.json``: each tar's name and sha256, so that nobody need read a corpus to know that it is the same;
- ``quarantine.parquet``: clips that stopped here: clip, stage, reason, detail.

Writes are to a temporary name, flushed to disk, renamed (:mod:`s3dnerf.core.whole_files`).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.whole_files import naming, taking_the_place_of

PACK_STAGES = ("resample", "align", "masks", "lips", "speech")  # in the order in which they run
INDEX_COLUMNS = ["pack", "clip", "kind", "offset", "size", "crc32"]
TAR_HASHES = "packs.json"
QUARANTINE_COLUMNS = ["clip", "stage", "reason", "detail"]
# rows a parquet row group: the rows of one pack are found without reading the others
ROW_GROUP = 16384
COPY_BYTES = 1 << 20


class PackError(S3DNeRFError, RuntimeError):
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


def copy_sha256(source: IO[bytes], target: str | Path) -> str:
    """Copy an open file to ``target``; hex SHA-256 of what was copied, from the same one reading."""
    digest = hashlib.sha256()
    with naming(target), open(target, "wb") as handle:
        while piece := source.read(COPY_BYTES):
            digest.update(piece)
            handle.write(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def _written_whole(path: str | Path) -> Iterator[IO[bytes]]:
    """A file open to be written that takes the place of ``path`` after the block, whole."""
    with taking_the_place_of(path) as part, naming(path), open(part, "wb") as handle:
        yield handle


def write_atomic(path: str | Path, data: bytes) -> None:
    """Write ``data`` to a temporary name beside ``path``, flush it to disk, rename."""
    with _written_whole(path) as handle:
        handle.write(data)


def write_pack(path: str | Path, clips: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Write the parts of ``clips`` (clip → kind → value) as one tar.

    Returns the index rows without the pack's name: clip, kind, offset, size, crc32. Raises ValueError for a
    clip id with a dot or a slash: a name must not climb out of the archive.
    """
    rows = []
    with (
        _written_whole(path) as handle,
        tarfile.open(fileobj=handle, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for clip in sorted(clips):
            if not clip or "." in clip or "/" in clip:
                raise ValueError(f"clip id {clip!r}: expected no dot and no slash")
            for kind in sorted(clips[clip]):
                data = encode(kind, clips[clip][kind])
                info = tarfile.TarInfo(f"{clip}.{kind}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
                padded = -len(data) % tarfile.BLOCKSIZE
                offset = tar.offset - len(data) - padded
                rows.append(
                    {"clip": clip, "kind": kind, "offset": offset, "size": len(data), "crc32": zlib.crc32(data)}
                )
    return rows


def write_table(path: str | Path, rows: Iterable[Mapping[str, Any]], columns: list[str]) -> None:
    """Rows as a parquet file with just these columns, in the order given; equal rows are equal bytes."""
    import pandas as pd

    table = pd.DataFrame(list(rows), columns=columns)
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, row_group_size=ROW_GROUP)
    write_atomic(path, buffer.getvalue())


class CorpusPacks:
    """The packs of one corpus at one stage, read by clip and kind.

    Parameters
    ----------
    folder : path
        ``data/<preset>/<stage>/<corpus>``. Raises PackError when there is no index.
    pack : str, optional
        Only this pack's clips. What a job opens for its one pack: the whole index of LRS2 takes seconds and hundreds of
        megabytes, one pack's rows of it milliseconds.
    """

    def __init__(self, folder: str | Path, pack: str | None = None) -> None:
        import pandas as pd

        self.folder = Path(folder)
        path = self.folder / "index.parquet"
        if not path.is_file():
            raise PackError(f"{path}: no such file — run the stage that makes it: dvc repro {self.folder.parent.name}")
        table = pd.read_parquet(path, filters=None if pack is None else [("pack", "==", pack)])
        if list(table.columns) != INDEX_COLUMNS:
            raise PackError(
                f"{path}: columns {list(table.columns)}, expected {INDEX_COLUMNS} — make it again: dvc repro "
                f"{self.folder.parent.name}"
            )
        # names as numbers: LRS2's four indexes are two million rows, and every training process holds them
        self.index = table.astype({"pack": "category", "clip": "category", "kind": "category"})
        self.clips: list[str] = self.index["clip"].cat.categories.tolist()
        self._number = {clip: number for number, clip in enumerate(self.clips)}
        self._kinds = self.index["kind"].cat.categories.tolist()
        self._codes = {name: self.index[name].cat.codes.to_numpy() for name in ("pack", "clip", "kind")}
        self._order = np.argsort(self._codes["clip"], kind="stable")
        self._first = np.searchsorted(self._codes["clip"][self._order], np.arange(len(self.clips) + 1))

    def __contains__(self, clip: str) -> bool:
        return clip in self._number

    def _rows(self, clip: str) -> dict[str, int]:
        """Which row of the index holds each kind of a clip's parts."""
        if clip not in self._number:
            return {}
        at = self._number[clip]
        rows = self._order[self._first[at] : self._first[at + 1]].tolist()
        return {self._kinds[self._codes["kind"][row]]: row for row in rows}

    def kinds(self, clip: str) -> list[str]:
        """Kinds of parts this clip has here."""
        return sorted(self._rows(clip))

    def read(self, clip: str, kind: str) -> Any:
        """One part, decoded. Raises PackError when it is not in the index, or the tar is gone, too short or changed
        since it was made.
        """
        return decode(kind, self.read_bytes(clip, kind))

    def read_bytes(self, clip: str, kind: str) -> bytes:
        """One part as it was written. Raises as :meth:`read` does."""
        try:
            row = self._rows(clip)[kind]
        except KeyError:
            raise PackError(
                f"{self.folder}: no {kind} of clip {clip}; its parts here: {self.kinds(clip) or 'none'}"
            ) from None
        pack = self.index["pack"].cat.categories[self._codes["pack"][row]]
        offset, size = int(self.index["offset"].to_numpy()[row]), int(self.index["size"].to_numpy()[row])
        crc = int(self.index["crc32"].to_numpy()[row])
        tar, again = self.folder / f"{pack}.tar", f"make it again: dvc repro {self.folder.parent.name}"
        try:
            with open(tar, "rb") as handle:
                handle.seek(offset)
                data = handle.read(size)
        except FileNotFoundError:
            raise PackError(f"{tar}: no such file, though the index names it — {again}") from None
        if len(data) != size:
            raise PackError(
                f"{tar}: expected {size} bytes at {offset}, got {len(data)}: the pack is truncated — {again}"
            )
        if zlib.crc32(data) != crc:
            raise PackError(f"{tar}: {clip}.{kind} is not what was written: changed bytes — {again}")
        return data
