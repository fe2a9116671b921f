"""Stage ``inventory`` (always run, cheap): one table of the raw files, path, size and sha256.

The graph depends on this table, not on the raw folders, which are hundreds of thousands of files. A file's hash is kept
while its size and modification time stand, in ``.packs/inventory/<preset>.parquet`` outside the outs; the out holds no
times, so it stands byte for byte while the raw files do.

It also fills the store from the outs on disk (:mod:`stages.seeding`): those that came by ``dvc pull`` are then as good
as made here.

Reads the folders that ``raw.*`` names; writes ``data/<preset>/inventory/files.parquet`` (corpus, path relative to the
corpus's folder, size, sha256, kind: what the first bytes say) and ``weights/<section>.json`` (see
:mod:`stages.weight_hashes`). A folder that may not be opened is a row of its own, its path ending in ``/``.

Run: ``python -m flows.run inventory``
"""

from __future__ import annotations

import errno
import functools
import io
import logging
import os
import stat
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from s3dnerf.corpora.records import FOLDER, INVENTORY_COLUMNS, table_bytes
from s3dnerf.settings.schema import CORPORA
from s3dnerf.video.file_kinds import hash_and_kind, passed_over
from s3dnerf.video.packs import write_atomic
from stages.context import Context
from stages.passing_faults import retried
from stages.preprocessing import StageError
from stages.raw_files import CACHE_COLUMNS, SeenFile, inventory_cache, read_inventory_cache
from stages.seeding import fill_store
from stages.weight_hashes import write_weights

logger = logging.getLogger(__name__)

# a file changed so shortly ago may change again within the clock's resolution: its hash is not kept
RACY_S = 2.0
SAY_EVERY_S, KEEP_EVERY_S = 10.0, 30.0
# what is hashed in one go: by one process, and between two looks at the clock
PIECE_FILES, PIECE_BYTES, ROUND_PIECES = 2000, 256 << 20, 32


def path_text(path: str) -> str:
    """A path as text that every table can hold: bytes that are not UTF-8 become ``\\xff``."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def walk(root: str) -> Iterator[tuple[str, os.stat_result | None]]:
    """Everything below ``root`` but folders, links followed, no folder twice: path relative to it (sorted by folder)
    and its state; None where the system does not let us see it, and with ``/`` at its end for a folder that may not be
    opened.
    """
    seen: set[tuple[int, int]] = set()
    todo = [""]
    while todo:
        folder = todo.pop()
        state = os.stat(os.path.join(root, folder))
        if (state.st_dev, state.st_ino) in seen:
            continue
        seen.add((state.st_dev, state.st_ino))
        try:
            with os.scandir(os.path.join(root, folder)) as found:
                entries = sorted(found, key=lambda e: e.name)
        except PermissionError:
            if not folder:
                raise
            yield f"{folder}/", None
            continue
        for entry in entries:
            path, seen_as = os.path.join(folder, entry.name), _state(entry)
            if seen_as is not None and stat.S_ISDIR(seen_as.st_mode):
                todo.append(path)
            else:
                yield path, seen_as


def _state(entry: os.DirEntry[str]) -> os.stat_result | None:
    """The state of what an entry leads to; of the entry itself for a link that points nowhere; None in a folder whose
    names may be read and nothing else.
    """
    try:
        return entry.stat()
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EACCES):
            raise  # of the disk or the mount
    try:
        return entry.stat(follow_symlinks=False)
    except PermissionError:
        return None


def check_roots(context: Context) -> dict[str, str]:
    """Corpus → raw folder for the corpora in use. Raises StageError naming the setting of a folder that is not there
    or may not be opened.
    """
    roots = {corpus: getattr(context.settings.raw, corpus) for corpus in CORPORA}
    for corpus, root in roots.items():
        if root is not None and not os.path.isdir(root):
            made = context.settings.sample.enabled and root.startswith(str(context.settings.data_dir / "sample"))
            put = "put the corpus there, name its folder, or set it to null to leave it out"
            todo = "run `dvc repro sample`, which makes it" if made else put
            raise StageError(f"raw.{corpus}: {root}: no such folder — {todo}")
        if root is not None:
            try:
                os.scandir(root).close()
            except PermissionError as refused:
                todo = "allow this user to read it, or set it to null to leave it out"
                raise StageError(f"raw.{corpus}: {root}: the folder may not be opened — {todo}") from refused
    return {corpus: root for corpus, root in roots.items() if root is not None}


def _look(path: str) -> tuple[str, str]:
    """sha256 of a raw file and what its first bytes say; '' and '' of one that nobody may read: ingest excludes it by
    its missing hash.

    Raises StillFailing where the disk or the mount fails: that says nothing of the file.
    """
    try:
        return retried(f"inventory: {path}", lambda: hash_and_kind(path))
    except PermissionError:
        return "", ""


def hash_files(paths: list[str]) -> list[tuple[int, int, str, str]]:
    """Size in bytes, modification time in ns, sha256 and kind of some files, as they are when they are read."""
    found = []
    for path in paths:
        state = retried(f"inventory: {path}", functools.partial(os.stat, path))
        found.append((state.st_size, state.st_mtime_ns, *_look(path)))
    return found


def _pieces(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Files in pieces of work: at most :data:`PIECE_FILES`, and no more once they are :data:`PIECE_BYTES`."""
    piece, size = list[dict[str, Any]](), 0
    for row in rows:
        piece.append(row)
        size += row["size"]
        if len(piece) == PIECE_FILES or size >= PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


class _Cache:
    """What is known of the files seen so far, written whole now and then: a killed run loses no more than
    :data:`KEEP_EVERY_S` of hashing.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows, self.written_s = path, list[dict[str, Any]](), time.monotonic()

    def add(self, row: dict[str, Any]) -> None:
        """Keep a file's row, unless it changed so shortly ago that it may change again within the clock's
        resolution.
        """
        if row["sha256"] and time.time_ns() - row["mtime_ns"] > RACY_S * 1e9:
            self.rows.append({name: row[name] for name in CACHE_COLUMNS})

    def keep(self, now: bool = False) -> None:
        """Write it, where it is time to."""
        import pandas as pd

        if now or time.monotonic() - self.written_s > KEEP_EVERY_S:
            buffer = io.BytesIO()
            pd.DataFrame(self.rows, columns=CACHE_COLUMNS).to_parquet(buffer, index=False)
            write_atomic(self.path, buffer.getvalue())
            self.written_s = time.monotonic()


def _seen(roots: dict[str, str], known: Mapping[tuple[str, str], SeenFile]) -> tuple[list[dict[str, Any]], int]:
    """A row a file, with the hash that is known of it; how many must be hashed (their hash is None). Raises StageError
    for an empty folder.
    """
    rows: list[dict[str, Any]] = []
    for corpus, root in roots.items():
        before, absolute = len(rows), os.path.abspath(root)
        for path, state in walk(root):
            text = path_text(path)
            size, mtime = (state.st_size, state.st_mtime_ns) if state is not None else (0, 0)
            row = {"corpus": corpus, "path": text, "size": size, "sha256": None, "kind": ""}
            row |= {"root": absolute, "mtime_ns": mtime}
            kept = known.get((absolute, text))
            if state is None or not stat.S_ISREG(state.st_mode):
                # a link that points nowhere, a pipe or a socket: opening it may wait for ever
                row |= {"sha256": "", "kind": FOLDER if path.endswith("/") else ""}
            elif kept and (kept.size, kept.mtime_ns) == (size, mtime):
                row |= {"sha256": kept.sha256, "kind": kept.kind}
            else:
                row["file"] = os.path.join(root, path)
            if row["kind"] == FOLDER and not passed_over(text):
                logger.warning(f"inventory: raw.{corpus}: {text}: this folder may not be opened (no permission)")
            rows.append(row)
        if len(rows) == before:
            raise StageError(
                f"raw.{corpus}: {root}: the folder is empty — put the corpus there, or set it to null to leave it out"
            )
    return rows, sum(row["sha256"] is None for row in rows)


def _hash(context: Context, rows: list[dict[str, Any]], cache: _Cache) -> None:
    """Hash the files of ``rows``, on all cores where that repays their start."""
    done_bytes, done, said = 0, 0, time.monotonic()
    pieces = list(_pieces(rows))
    for at in range(0, len(pieces), ROUND_PIECES):
        together = pieces[at : at + ROUND_PIECES]
        files = [[row["file"] for row in piece] for piece in together]
        names = [f"hash-{at + i:05d}" for i in range(len(together))]
        for piece, found in zip(together, context.run(hash_files, files, names), strict=True):
            for row, (size, mtime, sha, kind) in zip(piece, found, strict=True):
                row |= {"size": size, "mtime_ns": mtime, "sha256": sha, "kind": kind}
                cache.add(row)
                done_bytes += size
            done += len(piece)
        cache.keep()
        if time.monotonic() - said > SAY_EVERY_S:
            logger.info(f"inventory: {done} of {len(rows)} files hashed, {done_bytes / 1e9:.1f} GB so far")
            said = time.monotonic()


def main(context: Context) -> dict[str, Any]:
    """List the raw files. Returns counts: files, bytes, hashed. Raises StageError for a folder that is not there or
    empty.
    """
    roots = check_roots(context)
    cache = _Cache(inventory_cache(context.settings.preset))
    known = {} if context.ignore_store else read_inventory_cache(cache.path)
    rows, hashed = _seen(roots, known)
    for row in rows:
        if row["sha256"] is not None:
            cache.add(row)
    try:
        _hash(context, [row for row in rows if row["sha256"] is None], cache)
    finally:
        cache.keep(now=True)
    rows.sort(key=lambda row: (row["corpus"], row["path"]))
    total = sum(row["size"] for row in rows)
    write_atomic(context.out("files.parquet"), table_bytes(rows, INVENTORY_COLUMNS))
    write_weights(context.settings, context.out("weights"))
    if not context.ignore_store:
        for kind, count in fill_store(context.settings.data_dir).items():
            logger.info(f"inventory: {count} of {kind} taken from the outs on disk into the store")
    logger.info(f"inventory: {len(rows)} files, {total / 1e6:.1f} MB, {hashed} hashed")
    return {"files": len(rows), "bytes": total, "hashed": hashed}
