"""What the page keeps on disk, and for how long: one folder of its own, in which every upload and every video lies.

The folder has mode 0700 and is removed when the server ends. A server that was killed cannot remove its own, so the
next one does: a folder belongs to a running server while that one holds the lock in it, which the system gives back
whatever ends a process. In it, a visitor's files go when the visitor closes the page, and any file after a while.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PREFIX = "s3dnerf-page-"
LOCK = "lock"
UNLOCKED_S = 60.0  # a folder without a lock is being made by somebody, or was left so long ago
SWEEP_EVERY_S = 30.0


def remove_abandoned(parent: Path) -> int:
    """Remove the folders in ``parent`` that servers of this user left when they were killed; how many there were."""
    removed = 0
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):  # another server removes it as well
            state = folder.lstat()
            if folder.is_symlink() or not folder.is_dir() or state.st_uid != os.getuid():
                continue
            if _is_free(folder, time.time() - state.st_mtime):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def _is_free(folder: Path, age_s: float) -> bool:
    """Whether no running server holds a folder."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return age_s > UNLOCKED_S
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(lock)
    return True


@contextlib.contextmanager
def own_folder() -> Iterator[Path]:
    """A folder for the block, in the system's folder for temporary files, which for the block it replaces: whatever
    writes a temporary file, here or in a process started from here, writes it there. Removed with all that is in it.
    """
    remove_abandoned(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    lock = os.open(folder / f"{LOCK}.new", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(folder / f"{LOCK}.new", folder / LOCK)  # nobody sees it without its lock
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        yield folder
    finally:
        tempfile.tempdir = before[0]
        os.environ.pop("TMPDIR")
        if before[1] is not None:
            os.environ["TMPDIR"] = before[1]
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


@dataclass
class _Visit:
    """One visitor's open page: their files, and whether what runs for them is to stop."""

    files: set[Path] = field(default_factory=set)
    stop: threading.Event = field(default_factory=threading.Event)


class Visits:
    """Who has the page open, and which files are theirs.

    Parameters
    ----------
    folder : where all files lie; nothing outside of it is ever removed
    keep_s : after so many seconds a file is removed even where the page stays open
    """

    def __init__(self, folder: Path, keep_s: float) -> None:
        self.folder, self.keep_s = folder.resolve(), keep_s
        self._visits: dict[str, _Visit] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()

    def _visit(self, session: str) -> _Visit:
        return self._visits.setdefault(session, _Visit())

    def hold(self, session: str, path: str | Path) -> Path:
        """Note that a file is a visitor's. Equal uploads of two visitors are one file: it goes with the last one."""
        path = Path(path).resolve()
        with self._lock:
            if path.is_relative_to(self.folder):
                self._visit(session).files.add(path)
        return path

    def new_video(self, session: str) -> Path:
        """The name of a video to be made for a visitor, which nobody else can guess."""
        place = self.folder / secrets.token_hex(16)
        place.mkdir(mode=0o700)
        return self.hold(session, place / "talking-head.mp4")

    def drop(self, session: str, path: Path) -> None:
        """Remove a file that came to nothing, with its folder."""
        with self._lock:
            if session in self._visits:
                self._visits[session].files.discard(path)
            _remove(path, self.folder)

    def begin(self, session: str) -> threading.Event:
        """The event that is set when what now begins for a visitor is to stop."""
        with self._lock:
            visit = self._visit(session)
            visit.stop = threading.Event()
            if self._ended.is_set():
                visit.stop.set()
            return visit.stop

    def stop(self, session: str) -> None:
        """Stop what runs for a visitor."""
        with self._lock:
            if session in self._visits:
                self._visits[session].stop.set()

    def close(self, session: str) -> None:
        """A visitor has closed the page: stop what runs for them and remove their files."""
        with self._lock:
            visit = self._visits.pop(session, None)
            if visit is None:
                return
            visit.stop.set()
            others = set[Path]().union(*(other.files for other in self._visits.values()))
            for path in visit.files - others:
                _remove(path, self.folder)

    def end(self) -> None:
        """The server ends: stop whatever runs."""
        self._ended.set()
        with self._lock:
            for visit in self._visits.values():
                visit.stop.set()

    def sweep(self) -> None:
        """Remove every file that is older than ``keep_s``, also what uploads that broke off have left."""
        oldest = time.time() - self.keep_s
        for path in list(self.folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                if not path.is_dir() and path.lstat().st_mtime < oldest:
                    _remove(path, self.folder)

    def keep_sweeping(self) -> None:
        """Sweep now and then until the server ends."""
        every_s = min(SWEEP_EVERY_S, self.keep_s)

        def sweep_on() -> None:
            while not self._ended.wait(every_s):
                self.sweep()

        threading.Thread(target=sweep_on, name="sweep", daemon=True).start()

    def held_bytes(self) -> int:
        """How much lies in the folder."""
        total = 0
        for path in list(self.folder.rglob("*")):
            with contextlib.suppress(FileNotFoundError):
                total += path.lstat().st_size
        return total


def _remove(path: Path, top: Path) -> None:
    """Remove a file, and its folder where that is empty then."""
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        if path.parent != top:
            path.parent.rmdir()
