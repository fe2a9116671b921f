"""The files in a tar, a zip, or a tar or zip cut into parts: names and sizes first, bytes as a stream.

Parts (``lrs2_v1_partaa``, ``…ab``, …) are read as one file without being joined on the disk. Nothing is written here,
and an archive that has a name outside of its folder, a link or a device is refused as soon as that is seen. That a tar
was cut short or damaged in its middle is found, where :mod:`tarfile` itself just stops.
"""

from __future__ import annotations

import bisect
import contextlib
import io
import lzma
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import EOFHeaderError, HeaderError  # type: ignore[attr-defined]
from typing import IO, Any, cast

from s3dnerf.core.errors import S3DNeRFError

WHOLE_NAME = re.compile(r".+\.(tar(\.(gz|bz2|xz))?|tgz|tbz2|txz|zip)", re.IGNORECASE)
PART_NAME = re.compile(r"(.+?)[._-]?part([a-z]{2})")
BUFFER = 1 << 20


class ArchiveError(S3DNeRFError, ValueError):
    """An archive is damaged, cut short or unsafe, or a part of it is not there; ``state`` is damaged or unsafe."""

    def __init__(self, message: str, state: str = "damaged") -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True)
class Archive:
    """One archive.

    Attributes
    ----------
    name : relative to the folder that was looked through; of one in parts, what their names begin with
    files : its parts in order; one where it is whole
    """

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Member:
    """A file in an archive; ``open`` gives its bytes while the next one has not been asked for."""

    name: str
    size_bytes: int
    open: Callable[[], IO[bytes]]


class JoinedParts(io.RawIOBase):
    """Files one after the other as one that can be read and sought in; one of them is open at a time."""

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        self._files = list(files)
        self._ends = list[int]()
        for file in files:
            self._ends.append((self._ends[-1] if self._ends else 0) + file.stat().st_size)
        self._at, self._open, self._handle = 0, -1, cast(Any, None)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes."""
        return True

    def tell(self) -> int:
        """The place, in bytes from the beginning of the first part."""
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place; the new one."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._ends[-1] if self._ends else 0}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the part at this place goes; the count of bytes, 0 at the end."""
        part = bisect.bisect_right(self._ends, self._at)
        if part == len(self._files):
            return 0
        if part != self._open:
            self._close_part()
            self._handle, self._open = open(self._files[part], "rb", buffering=0), part
        self._handle.seek(self._at - (self._ends[part - 1] if part else 0))
        count = self._handle.readinto(buffer)
        self._at += count
        return int(count)

    def _close_part(self) -> None:
        if self._handle is not None:
            self._handle.close()
        self._handle, self._open = None, -1

    def close(self) -> None:
        """Close the part that is open."""
        self._close_part()
        super().close()


def archives_in(folder: Path) -> tuple[list[Archive], list[Path]]:
    """The archives in a folder and those below it, by name, and all other files. Hidden files are neither."""
    whole, parts, others = list[Archive](), dict[str, list[tuple[str, Path]]](), list[Path]()
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if not path.is_file() or any(part.startswith(".") for part in name.parts):
            continue
        if WHOLE_NAME.fullmatch(path.name):
            whole.append(Archive(name.as_posix(), (path,)))
        elif match := PART_NAME.fullmatch(path.name):
            parts.setdefault(name.with_name(match[1]).as_posix(), []).append((match[2], path))
        else:
            others.append(path)
    joined = [Archive(name, tuple(path for _, path in sorted(found))) for name, found in parts.items()]
    return sorted(whole + joined, key=lambda archive: archive.name), others


def check_parts(archive: Archive) -> None:
    """Raise ArchiveError where a part before the last one is not there (aa, ab, ad)."""
    for number, path in enumerate(archive.files):
        match = PART_NAME.fullmatch(path.name)
        wanted = chr(ord("a") + number // 26) + chr(ord("a") + number % 26)
        if match and match[2] != wanted:
            raise ArchiveError(f"{archive.name}: got part {match[2]}, expected part {wanted} before it")


def members_of(archive: Archive) -> Generator[Member, None, None]:
    """Its files in the order in which they lie there; memory does not grow with their number in a tar.

    Raises ArchiveError: ``damaged`` (cut short, no archive, wrong bytes, locked by a password) or ``unsafe``.
    """
    check_parts(archive)
    with reading(archive), io.BufferedReader(JoinedParts(archive.files), BUFFER) as handle:
        zipped = handle.peek(2)[:2] == b"PK"
        yield from _zip_members(archive, handle) if zipped else _tar_members(archive, handle)


@contextlib.contextmanager
def reading(archive: Archive) -> Iterator[None]:
    """An error of a reader's in the block is an ArchiveError of this archive."""
    faults = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, NotImplementedError, OSError)
    try:
        yield
    except faults as error:
        raise ArchiveError(
            f"{archive.name}: cannot be read to its end: {str(error) or type(error).__name__}"
        ) from error


def _check_safe(archive: Archive, name: str, plain: bool) -> None:
    inside = PurePosixPath(name)
    outside = inside.is_absolute() or ".." in inside.parts or "\\" in name or "\0" in name
    if outside or not plain:
        what = "a name outside of its folder" if outside else "a link or a device"
        raise ArchiveError(f"{archive.name}: {name!r} is {what}, expected plain files: nothing more is taken", "unsafe")


class _Header(tarfile.TarInfo):
    """A tar's header that keeps by which one the archive ended."""

    @classmethod
    def fromtarfile(cls, tarfile: tarfile.TarFile) -> _Header:  # noqa: F811
        """The next header; notes on the archive why there is none."""
        try:
            return cast(_Header, super().fromtarfile(tarfile))
        except HeaderError as error:
            cast(Any, tarfile).ended_by = error
            raise


def _tar_members(archive: Archive, handle: IO[bytes]) -> Iterator[Member]:
    with tarfile.open(fileobj=handle, mode="r:*", tarinfo=_Header) as opened:
        while (info := opened.next()) is not None:
            opened.members.clear()  # type: ignore[attr-defined]
            if info.isdir():
                continue
            _check_safe(archive, info.name, info.isreg())
            yield Member(info.name, info.size, lambda info=info: _opened(opened, info))  # type: ignore[misc]
        ended = getattr(opened, "ended_by", None)
        if not isinstance(ended, EOFHeaderError):
            where = f"at byte {opened.offset}"  # type: ignore[attr-defined]
            raise ArchiveError(f"{archive.name}: ends {where} with {ended}, expected the end mark of a tar")


def _opened(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(info)
    assert found is not None, "a plain file"
    return found


def _zip_members(archive: Archive, handle: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(handle) as opened:
        for info in opened.infolist():
            mode = stat.S_IFMT(info.external_attr >> 16)
            if info.is_dir():
                continue
            _check_safe(archive, info.filename, not mode or stat.S_ISREG(mode))
            if info.flag_bits & 1:
                raise ArchiveError(f"{archive.name}: {info.filename} is locked by a password, expected none")
            yield Member(info.filename, info.file_size, lambda info=info: opened.open(info))  # type: ignore[misc]
