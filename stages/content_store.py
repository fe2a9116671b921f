"""A content-addressed store of finished work: packs, evaluated clips, trainings.

``.packs/<kind>/<key>/`` is one entry: its files and ``manifest.json``, which names each file with its sha256,
the kind and the key, and holds the sha256 of all that. ``kind`` is the stage, ``key`` a hash of everything that decides
the content. An entry appears whole or not at all (it is made in a folder of a temporary name and renamed), and no byte
of it is used before it has been compared: what is changed, cut short or half-written is removed and made again.

The store lies outside DVC's outs, which DVC deletes before a stage runs. Two processes may store the same key at once:
the later one replaces the earlier one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.video.packs import copy_sha256, file_sha256

STORE = Path(".packs")
MANIFEST = "manifest.json"
T = TypeVar("T")


class DamagedEntry(S3DNeRFError, RuntimeError):
    """A file of an entry is not what was stored."""


def _sum_of(manifest: Mapping[str, Any]) -> str:
    content = {name: value for name, value in manifest.items() if name != "sha256"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _plain(name: str) -> bool:
    """Whether a file's name stays inside its entry."""
    path = PurePosixPath(name)
    return bool(name) and not path.is_absolute() and ".." not in path.parts and name != MANIFEST


@dataclass(frozen=True)
class Entry:
    """What an entry's manifest states. Its files are reached through :meth:`read` and :meth:`copy`, which compare them.

    ``files``: name (with ``/`` for folders) → sha256. ``manifest``: the manifest's bytes. ``made``: who made it and
    with what (:mod:`stages.made`), empty where that was not recorded.
    """

    kind: str
    key: str
    folder: Path
    files: Mapping[str, str]
    manifest: bytes
    made: Mapping[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> bytes:
        """A small file's bytes. Raises DamagedEntry when they are not what was stored."""
        try:
            data = (self.folder / name).read_bytes()
        except FileNotFoundError:
            raise DamagedEntry(f"{self.folder / name}: no such file, though the entry's manifest names it") from None
        if hashlib.sha256(data).hexdigest() != self.files.get(name):
            raise DamagedEntry(f"{self.folder / name}: not what was stored: changed or truncated")
        return data

    def copy(self, name: str, target: Path) -> None:
        """Copy a file to ``target``, compared while it is copied (it is read once); ``target`` is removed where it
        failed.

        Raises DamagedEntry when it is not what was stored, OSError when ``target`` cannot be written.
        """
        try:
            source = open(self.folder / name, "rb")
        except FileNotFoundError:
            raise DamagedEntry(f"{self.folder / name}: no such file, though the entry's manifest names it") from None
        with source:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)  # it may be a link into DVC's cache: never written through
            if copy_sha256(source, target) != self.files.get(name):
                target.unlink()
                raise DamagedEntry(f"{self.folder / name}: not what was stored: changed or truncated")

    def copy_all(self, folder: Path) -> None:
        """:meth:`copy` of every file into ``folder``."""
        for name in self.files:
            self.copy(name, folder / name)


class ContentStore:
    """Entries below one folder.

    Parameters
    ----------
    root : path
        The folder, relative to the working directory of the project.
    """

    def __init__(self, root: str | Path | None = None) -> None:
        self.root = STORE if root is None else Path(root)

    def folder(self, kind: str, key: str) -> Path:
        """Where an entry lies, or would lie."""
        return self.root / kind / key

    def has(self, kind: str, key: str) -> bool:
        """Whether there is an entry of this name, whatever its bytes are: cheap enough for every pack of a corpus."""
        return (self.folder(kind, key) / MANIFEST).is_file()

    def find(self, kind: str, key: str) -> Entry | None:
        """An entry whose manifest is whole, or None. Nothing is removed; its files are compared when they are read."""
        folder = self.folder(kind, key)
        try:
            data = (folder / MANIFEST).read_bytes()
            manifest = json.loads(data)
            if (manifest["kind"], manifest["key"], manifest["sha256"]) != (kind, key, _sum_of(manifest)):
                return None
            files = {str(name): str(sha256) for name, sha256 in manifest["files"].items()}
            made = dict(manifest.get("made", {}))
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Entry(kind, key, folder, files, data, made) if all(map(_plain, files)) else None

    def use(self, kind: str, key: str, take: Callable[[Entry], T]) -> T | None:
        """``take(entry)``, or None where there is no whole entry: a damaged one is removed, to be made again.

        ``take`` reads the entry's files; it raises DamagedEntry when one is not what was stored, and may be called once
        more where another process replaced the entry meanwhile.
        """
        while True:
            entry = self.find(kind, key)
            if entry is None:
                self.remove(kind, key)
                return None
            try:
                return take(entry)
            except DamagedEntry:
                now = self.find(kind, key)
                if now is not None and now.manifest == entry.manifest:
                    self.remove(kind, key)
                    return None

    @contextlib.contextmanager
    def new(
        self, kind: str, key: str, known: Mapping[str, str] | None = None, made: Mapping[str, Any] | None = None
    ) -> Iterator[Path]:
        """An empty folder to write an entry's files into. After the block they are the entry; where the block raises
        there is none.

        Parameters
        ----------
        kind, key : str
        known : mapping, filled by the block
            Name → sha256 of files whose hash the writer has; the others are hashed here.
        made : mapping
            As in :class:`Entry`.
        """
        part = self.root / kind / f".{key}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part"
        part.mkdir(parents=True)
        try:
            yield part
            names = sorted(path.relative_to(part).as_posix() for path in part.rglob("*") if path.is_file())
            if bad := [name for name in names if not _plain(name)]:
                raise ValueError(f"{bad[0]}: not a name for a file of an entry")
            files = {name: (known or {}).get(name) or file_sha256(part / name) for name in names}
            manifest: dict[str, Any] = {"format": 1, "kind": kind, "key": key, "files": files}
            if made:
                manifest["made"] = dict(made)
            manifest["sha256"] = _sum_of(manifest)
            with open(part / MANIFEST, "w", encoding="utf-8") as handle:
                json.dump(manifest, handle, sort_keys=True)
                handle.flush()
                os.fsync(handle.fileno())
            self._settle(part, kind, key)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def put(
        self, kind: str, key: str, files: Mapping[str, bytes | Path], made: Mapping[str, Any] | None = None
    ) -> None:
        """Store files (name → bytes, or the file to copy) as an entry; one that stands there is replaced. ``made`` as
        in :class:`Entry`.
        """
        known: dict[str, str] = {}
        with self.new(kind, key, known, made) as folder:
            for name, content in files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                if isinstance(content, Path):
                    with open(content, "rb") as source:
                        known[name] = copy_sha256(source, folder / name)
                else:
                    (folder / name).write_bytes(content)
                    known[name] = hashlib.sha256(content).hexdigest()

    def _settle(self, part: Path, kind: str, key: str) -> None:
        """Give a finished folder its name, in the place of whatever stands there."""
        while True:
            try:
                os.replace(part, self.folder(kind, key))
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                    raise
            self.remove(kind, key)

    def remove(self, kind: str, key: str) -> None:
        """Remove an entry, whole or damaged; nothing where there is none."""
        gone = self.root / kind / f".{key}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part"
        if not os.path.lexists(self.folder(kind, key)):
            return
        try:
            os.replace(self.folder(kind, key), gone)  # at once: nobody sees it half removed
        except FileNotFoundError:
            return
        if gone.is_dir() and not gone.is_symlink():
            shutil.rmtree(gone, ignore_errors=True)
        else:
            gone.unlink(missing_ok=True)
