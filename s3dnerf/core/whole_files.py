"""The one writer: a file appears whole or not at all, made by one run at a time, and never over what it is made of.

- :func:`taking_the_place_of`: a part file of its own for each run beside the target, flushed to disk, renamed when
  whole, removed when not;
- :func:`claimed`: what a command does before any work with a file that a person asked for: is it a folder, may it be
  written, is there room, does another run write it now, is it one of the inputs.

Part and lock files are hidden (``.<name>.<process>.<random>.part``, ``.<name>.lock``), and short enough for any name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.file_names import shown

NAME_BYTES = 120  # of a target's name in those of its part and its lock: file systems take 255 in all
ROOM_BYTES = 1 << 16  # written and taken back before any work


class OutputRefused(S3DNeRFError, ValueError):
    """A file that a command was asked to write cannot be, or must not: nothing was done."""


def _beside(path: Path, ending: str) -> Path:
    """A hidden name beside ``path`` that says whose it is."""
    name = os.fsencode(path.name)[:NAME_BYTES].decode("utf-8", "ignore")
    return path.with_name(f".{name}.{ending}")


@contextlib.contextmanager
def part_of(path: str | Path) -> Iterator[Path]:
    """The name of a part file beside ``path``, this run's own; what was written there in the block is removed after."""
    part = _beside(Path(path), f"{os.getpid()}.{secrets.token_hex(4)}.part")
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


@contextlib.contextmanager
def taking_the_place_of(path: str | Path) -> Iterator[Path]:
    """The name of a part file beside ``path``, to be written in the block; after it flushed to disk and renamed, or
    removed where the block raises. The folder is made where there is none.

    A link is replaced, not followed. Raises OSError, which names ``path``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_of(path) as part:
        yield part
        with naming(path), open(part, "rb+") as handle:
            os.fsync(handle.fileno())
        os.replace(part, path)


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """An error of the system that does not say where, such as a full disk's, names ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def refuse_inputs(path: str | Path, option: str, inputs: Mapping[str, str | Path | None]) -> None:
    """Raise OutputRefused where ``path`` is one of the inputs, under whichever name, or lies in one that is a folder.

    Parameters
    ----------
    path : what is to be written
    option : what a person typed for it, for the message
    inputs : what a person calls each input → its path; None for one that is not given
    """
    path = Path(path)
    for name, given in inputs.items():
        if given is None or not os.path.exists(given):
            continue
        if os.path.exists(path) and os.path.samefile(path, given):
            raise OutputRefused(f"{option}: {shown(path)} is {name} ({shown(given)}): expected another name")
        if os.path.isdir(given) and Path(os.path.realpath(path)).is_relative_to(os.path.realpath(given)):
            raise OutputRefused(f"{option}: {shown(path)} lies in {name} ({shown(given)}): expected another folder")
        if os.path.isdir(given) and _holds(given, path):
            raise OutputRefused(f"{option}: {shown(path)} is a file of {name} ({shown(given)}): expected another name")


def _holds(folder: str | Path, path: Path) -> bool:
    """Whether one of a folder's files is just this file, under whichever name."""
    try:
        wanted = os.stat(path)
        found = [os.stat(entry) for entry in Path(folder).iterdir()]
    except OSError:
        return False
    return any(os.path.samestat(wanted, state) for state in found)


@contextlib.contextmanager
def claimed(path: str | Path, option: str, inputs: Mapping[str, str | Path | None] | None = None) -> Iterator[Path]:
    """Hold a file that a person asked for while it is made: for the block, no other run of this program writes it.

    The folder is made where there is none, and removed again where nothing was written into it. Yields the path.

    Raises
    ------
    OutputRefused
        Before the block: it is a folder, it is an input (:func:`refuse_inputs`), its folder cannot be made or written,
        the disk is full, or another run is writing it.
    """
    path = Path(path)
    refuse_inputs(path, option, inputs or {})
    if os.path.isdir(path):
        raise OutputRefused(f"{option}: {shown(path)} is a folder: expected the name of a file")
    made = _make_folder(path, option)
    try:
        with _locked(path, option):
            yield path
    finally:
        for folder in made:
            with contextlib.suppress(OSError):  # it holds what was made
                folder.rmdir()


def _make_folder(path: Path, option: str) -> list[Path]:
    """Make the folder of ``path``; those that were made, the deepest first."""
    missing = [folder for folder in path.parents if not os.path.lexists(folder)]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = f"{shown(path.parent)} is no folder and cannot be made one: {error.strerror}"
        raise OutputRefused(f"{option}: {shown(path)} cannot be written: {where}") from error
    return missing


@contextlib.contextmanager
def _locked(path: Path, option: str) -> Iterator[None]:
    """Hold the lock file beside ``path``, after a few bytes were written into it to see that there is room.

    The lock is the kernel's, so that it ends with the process, however that ends. The file is removed while it is held:
    who opened it meanwhile sees that it is gone, and opens the next.
    """
    import fcntl

    lock = _beside(Path(os.path.realpath(path.parent)) / path.name, "lock")
    while True:
        try:
            if len(os.fsencode(path.name)) > os.pathconf(lock.parent, "PC_NAME_MAX"):
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise OutputRefused(f"{option}: {shown(path)} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise OutputRefused(f"{option}: another run is writing {shown(path)} now: nothing done") from None
        except OSError as error:  # a file system without locks
            os.close(handle)
            refused = f"{shown(path)} cannot be held while it is written: {error.strerror}"
            raise OutputRefused(f"{option}: {refused} — expected a folder on a local disk") from error
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), os.stat(lock)):
                break
        os.close(handle)  # removed by the run that held it
    try:
        try:
            _try_to_write(handle)
        except OSError as error:
            raise OutputRefused(f"{option}: {shown(path)} cannot be written: {error.strerror}") from error
        yield
    finally:
        lock.unlink(missing_ok=True)
        os.close(handle)


def _try_to_write(handle: int) -> None:
    """Raise the system's error where nothing more can be written there: a full disk, a used-up quota."""
    left = ROOM_BYTES
    while left:  # the last bytes of a disk are written, and the next ones refused
        left -= os.write(handle, bytes(left))
    os.fsync(handle)
    os.ftruncate(handle, 0)
