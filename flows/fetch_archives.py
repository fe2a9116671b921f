"""``s3dnerf fetch lrs2`` and ``fetch mead``: unpack archives that a licensee has downloaded, and check what is there.

Every archive is looked through first: is it whole and safe, how large is what it holds. Then its files are written into
``.cache/`` of the target, which the pipeline passes over, and moved in one unit at a time (an LRS2 folder, a MEAD
person) when all of the unit's files are written, from whichever archives they come. A run that was killed is gone on
with: files of the right size are not written again. Nothing that lies there is replaced or deleted; what differs,
misses or is too much goes into the table ``unpacked.csv``. This module and :mod:`flows.archive_members` alone decide
where a file may lie: :mod:`tarfile` and :mod:`zipfile` give bytes and never write.
"""

from __future__ import annotations

import csv
import errno
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from flows.archive_members import Archive, ArchiveError, Member, archives_in, members_of, reading
from flows.corpus_check import Finding, check_lrs2, check_mead
from flows.download import DownloadError, readable_size
from flows.fetch_hdtf import WORK, remove_empty
from flows.progress import Progress
from s3dnerf.core.errors import InputRefused
from s3dnerf.core.whole_files import claimed, taking_the_place_of
from s3dnerf.corpora import lrs2, mead
from s3dnerf.corpora.records import RawFile
from s3dnerf.video.file_kinds import passed_over

TABLE = "unpacked.csv"
PIECE = 1 << 20
PERSON = re.compile(r"(?<![A-Za-z0-9])[MW]\d{3}(?![A-Za-z0-9])")
NOT_WRONG = frozenset({"extra", "not_in_layout", "not_read"})  # named, and no reason for exit status 1


@dataclass(frozen=True)
class ArchivedCorpus:
    """A corpus that comes in archives.

    Attributes
    ----------
    name : as a person knows it
    place : (an archive's name, a file's name in it) → where the file belongs below the corpus's folder; None: nowhere
    unit : such a place → the folder (or file) that is moved in as one
    owner : an archive's name → the unit that it belongs to by its name, '' where its name says none
    loose : the names of files that may lie beside the archives
    check : folder → what is missing or too much there, then one line of counts
    """

    name: str
    place: Callable[[str, str], PurePosixPath | None]
    unit: Callable[[PurePosixPath], PurePosixPath]
    owner: Callable[[str], str]
    loose: tuple[str, ...]
    check: Callable[[Path], tuple[Iterable[Finding], str]]


def lrs2_place(_: str, name: str) -> PurePosixPath | None:
    """``mvlrs_v1/{main,pretrain}/<folder>/<utterance>.{mp4,txt}`` or ``mvlrs_v1/<list>``; whatever lies above is left
    out.
    """
    path = PurePosixPath(name)
    if path.name in lrs2.LISTS and (len(path.parts) == 1 or path.parts[-2] == "mvlrs_v1"):
        return PurePosixPath("mvlrs_v1", path.name)
    if len(path.parts) >= 3 and path.parts[-3] in lrs2.PARTS and path.suffix.lower() in (".mp4", ".txt"):
        return PurePosixPath("mvlrs_v1", *path.parts[-3:])
    return None


def mead_place(archive: str, name: str) -> PurePosixPath | None:
    """``<person>/{video,audio}/…`` as :func:`s3dnerf.corpora.mead.parse_path` reads it, without what lies above. The
    person is the folder above; where that is no MEAD name, the one that the archive's name says.
    """
    parts = PurePosixPath(name).parts
    at = next((i for i, part in enumerate(parts) if part in ("video", "audio")), None)
    if at is None:
        return None
    person = parts[at - 1] if at and PERSON.fullmatch(parts[at - 1]) else mead_person(archive)
    file = RawFile(PurePosixPath(person, *parts[at:]).as_posix(), 0, "")
    facts = mead.parse_path(file) if person else None
    fits = facts and (file.is_video if facts["kind"] == "video" else file.is_audio)
    return PurePosixPath(file.path) if fits else None


def mead_person(name: str) -> str:
    """The last MEAD person (``M003``, ``W021``) that a path names; '' where it names none.

    >>> mead_person("MEAD/M003/video.tar"), mead_person("W021_audio.zip"), mead_person("video.tar")
    ('M003', 'W021', '')
    """
    found = PERSON.findall(name)
    return found[-1] if found else ""


LRS2 = ArchivedCorpus(
    "LRS2", lrs2_place, lambda path: PurePosixPath(*path.parts[:3]), lambda archive: "", lrs2.LISTS, check_lrs2
)
MEAD = ArchivedCorpus("MEAD", mead_place, lambda path: PurePosixPath(path.parts[0]), mead_person, (), check_mead)
CORPORA = {"lrs2": LRS2, "mead": MEAD}


class Unpacking:
    """One run into one folder.

    Parameters
    ----------
    folder : the corpus's folder
    """

    def __init__(self, corpus: ArchivedCorpus, folder: Path) -> None:
        self.corpus, self.folder, self.work = corpus, folder, folder / WORK
        self.findings = list[Finding]()
        self.left: Counter[PurePosixPath] = Counter()  # unit → files that are not written yet
        self.held_back: dict[PurePosixPath, str] = {}  # unit → the archive for want of which it is not moved in
        self.files, self.needed_bytes, self.written, self.moved = 0, 0, 0, 0

    def look_through(self, archives: Iterable[Archive]) -> list[Archive]:
        """The archives that are whole and safe; the others, and what they hold back, are noted."""
        good = []
        for archive in archives:
            units: Counter[PurePosixPath] = Counter()
            files, needed, outside, example = 0, 0, 0, ""
            try:
                with closing(members_of(archive)) as members:
                    for member in members:
                        if passed_over(member.name):
                            continue
                        place = self.corpus.place(archive.name, member.name)
                        if place is None:
                            outside, example = outside + 1, example or member.name
                            continue
                        units[self.corpus.unit(place)] += 1
                        files += 1
                        needed += 0 if self._is_here(place, member) else member.size_bytes
            except ArchiveError as error:
                self._refuse(archive, error, units)
                continue
            if outside:
                detail = f"{outside} files are not in {self.corpus.name}'s layout, the first: {example}: not unpacked"
                self.findings.append(Finding("not_in_layout", archive.name, detail))
            self.left.update(units)
            self.files, self.needed_bytes = self.files + files, self.needed_bytes + needed
            good.append(archive)
        return good

    def _refuse(self, archive: Archive, error: ArchiveError, units: Iterable[PurePosixPath]) -> None:
        self.findings.append(Finding(error.state, archive.name, str(error)))
        print(f"{error.state}: {error}")
        owner = self.corpus.owner(archive.name)
        for unit in (*units, *([PurePosixPath(owner)] if owner else ())):
            self.held_back.setdefault(unit, archive.name)

    def _is_here(self, place: PurePosixPath, member: Member) -> bool:
        """Whether a file is written: in the folder under its name, whatever it holds, or waiting, whole."""
        return (self.folder / place).exists() or _size(self.work / place) == member.size_bytes

    def check_room(self) -> None:
        """Raise DownloadError where what is to be written does not fit."""
        free = shutil.disk_usage(self.folder).free
        if free < self.needed_bytes:
            raise DownloadError(
                f"{self.folder}: {readable_size(free)} free, expected {readable_size(self.needed_bytes)} to unpack "
                "into: make room, or name another folder with --to"
            )

    def unpack(self, archives: Iterable[Archive]) -> None:
        """Write what is missing and move in each unit when it is whole. Raises DownloadError where nothing can be
        written.
        """
        with Progress(f"unpack {self.corpus.name}", self.files) as progress:
            for archive in archives:
                touched = set[PurePosixPath]()
                try:
                    with closing(members_of(archive)) as members:
                        for member in members:
                            place = self.corpus.place(archive.name, member.name)
                            if place is None or passed_over(member.name):
                                continue
                            unit = self.corpus.unit(place)
                            touched.add(unit)
                            self._write(archive, member, place)
                            self.left[unit] -= 1
                            progress.step(archive.name)
                            if not self.left[unit] and unit not in self.held_back:
                                self._move_in(unit)
                except ArchiveError as error:
                    self._refuse(archive, error, {unit for unit in self.left if self.left[unit] and unit in touched})
        for unit in sorted({*self.held_back, *(unit for unit, left in self.left.items() if left > 0)}):
            why = self.held_back.get(unit, "an archive that cannot be read")
            if (self.work / unit).exists() or not (self.folder / unit).exists():
                self.findings.append(Finding("held_back", str(unit), f"not moved in before {why} can be read"))

    def _write(self, archive: Archive, member: Member, place: PurePosixPath) -> None:
        there = _size(self.folder / place)
        if there is not None and there != member.size_bytes:
            detail = f"{there} bytes there, {member.size_bytes} in {archive.name}: left as it is"
            self.findings.append(Finding("differs", str(place), detail))
        if self._is_here(place, member):
            return
        target = self.work / place
        part = target.with_name(f"{target.name}.part")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with reading(archive):
                source = member.open()
            with source, open(part, "wb") as handle:
                while True:
                    with reading(archive):
                        piece = source.read(PIECE)
                    if not piece:
                        break
                    handle.write(piece)
                came = handle.tell()
            if came != member.size_bytes:
                raise ArchiveError(f"{archive.name}: {member.name}: got {came} bytes, expected {member.size_bytes}")
            part.replace(target)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            why = "the disk is full: make room and" if full else f"cannot be written: {error.strerror}: then"
            raise DownloadError(f"{target}: {why} run the command again; what was unpacked is kept") from error
        finally:
            part.unlink(missing_ok=True)
        self.written += 1

    def _move_in(self, unit: PurePosixPath) -> None:
        if (self.work / unit).exists():
            (self.folder / unit).parent.mkdir(parents=True, exist_ok=True)
            merge(self.work / unit, self.folder / unit)
            self.moved += 1


def _size(path: Path) -> int | None:
    """A file's size in bytes; None where there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return None


def merge(source: Path, target: Path) -> None:
    """Move a folder or file to where it belongs, in one step where nothing is there; what is there stays."""
    if not target.exists():
        os.rename(source, target)
        return
    if source.is_dir() and target.is_dir():
        for entry in sorted(source.iterdir()):
            merge(entry, target / entry.name)
        remove_empty(source)


def copy_loose(corpus: ArchivedCorpus, files: Iterable[Path], folder: Path) -> list[Finding]:
    """Put the lists that lie beside the archives where they belong; what differs or is not read."""
    found = []
    for path in files:
        place = corpus.place("", path.name) if path.name in corpus.loose else None
        if place is None:
            found.append(Finding("not_read", path.name, "neither an archive that is read here nor a list"))
            continue
        target, content = folder / place, path.read_bytes()
        if not target.exists():
            with taking_the_place_of(target) as part:
                part.write_bytes(content)
        elif target.read_bytes() != content:
            found.append(Finding("differs", str(place), f"differs from {path}: left as it is"))
    return found


def write_findings(path: Path, findings: Iterable[Finding]) -> Counter[str]:
    """The table of what was found, whole or not at all; how many of each state."""
    counts: Counter[str] = Counter()
    with taking_the_place_of(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(("state", "name", "detail"))
        for finding in findings:
            counts[finding.state] += 1
            writer.writerow((finding.state, finding.name, finding.detail))
    return counts


def _all(first: Iterable[Finding], then: Iterable[Finding]) -> Iterator[Finding]:
    yield from first
    yield from then


def fetch_archives(corpus: ArchivedCorpus, archives: Path, folder: Path) -> int:
    """Unpack a corpus's archives and check what is there then; exit status 1 where something is missing or damaged.

    Parameters
    ----------
    archives : the folder of the archives as they were downloaded; they stay as they are
    folder : the corpus's folder, as ``raw.lrs2`` or ``raw.mead`` names it

    Raises
    ------
    InputRefused
        No such folder, or no archive in it.
    DownloadError
        What is to be unpacked does not fit or cannot be written; what was unpacked is kept.
    OutputRefused
        The folder cannot be written, or another run is writing into it.
    """
    if not archives.is_dir():
        raise InputRefused(f"--archives: got {archives}, expected the folder of {corpus.name}'s archives")
    found, others = archives_in(archives)
    if not found:
        raise InputRefused(f"--archives: {archives}: got no archive there, expected tar, zip, or parts named …partaa")
    with claimed(folder / TABLE, "--to"):
        run = Unpacking(corpus, folder)
        print(f"{corpus.name}: looking through {len(found)} archives")
        good = run.look_through(found)
        print(
            f"{corpus.name}: {run.files} files in {len(good)} archives, {readable_size(run.needed_bytes)} to unpack "
            f"into {folder}: {readable_size(shutil.disk_usage(folder).free)} free"
        )
        run.check_room()
        run.unpack(good)
        run.findings += copy_loose(corpus, others, folder)
        if not run.held_back and run.work.exists():
            shutil.rmtree(run.work)
            remove_empty(run.work.parent)
        checked, counted = corpus.check(folder)
        counts = write_findings(folder / TABLE, _all(run.findings, checked))
    print(f"{corpus.name}: {run.written} files unpacked; {counted}")
    said = ", ".join(f"{count} {state.replace('_', ' ')}" for state, count in sorted(counts.items()))
    print(f"{corpus.name}: {said} ({folder / TABLE})" if said else f"{corpus.name}: nothing is missing")
    return 1 if counts.keys() - NOT_WRONG else 0
