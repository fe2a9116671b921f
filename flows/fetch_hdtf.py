"""``s3dnerf fetch hdtf``: the videos that HDTF's lists name, whole, as ``videos/<prefix>_<video>.<suffix>``.

That is one of the two ways in which :mod:`s3dnerf.corpora.hdtf` reads HDTF: it cuts the annotated intervals and crops
itself. Beside the videos: ``HDTF_dataset/`` (the lists), ``fetched.csv`` (what came, from where, at which height) and
``quarantine.csv`` (what its site no longer gives: not asked for again without ``--retry-gone``). Downloads under way
lie in ``.cache/``, which the pipeline passes over.
"""

from __future__ import annotations

import csv
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flows.download import DownloadError, readable_size
from flows.video_source import Unreachable, VideoFailed, VideoGone, VideoSource, Wanted
from s3dnerf.core.errors import InputRefused, SettingsError
from s3dnerf.core.whole_files import claimed, taking_the_place_of
from s3dnerf.corpora.hdtf import CLIP_NAME, LIST_NAME, Annotation, parse_lists
from s3dnerf.corpora.records import read_text
from s3dnerf.video.file_kinds import VIDEO, named_kind

LISTS, VIDEOS, WORK = "HDTF_dataset", "videos", Path(".cache") / "s3dnerf-fetch"
NEEDED = ("video_url", "annotion_time", "resolution", "crop_wh")
FETCHED, QUARANTINE = "fetched.csv", "quarantine.csv"
FETCHED_COLUMNS = ("video", "url", "file", "height_px", "annotated_px", "size_bytes", "date")
QUARANTINE_COLUMNS = ("video", "url", "reason", "date", "detail")
IN_A_ROW = 3  # videos that nobody answered for, one after the other: then it is the network
LEAST_BITS_PER_S = 1_000_000  # assumed of a 720p or 1080p video: a lower bound, for the first look at the disk
TERMS = (
    "HDTF's lists: CC BY 4.0 (github.com/MRzzm/HDTF). The videos belong to their owners and YouTube's terms of service "
    "apply: whether you may download and use them is for you to settle."
)


@dataclass(frozen=True)
class Plan:
    """What is to be done in a folder, each list sorted by name.

    Attributes
    ----------
    missing : to be asked for
    here : names of videos that are here, whole or as cut clips
    gone : names in the quarantine
    unused : names without an address, or without an interval to cut
    """

    missing: tuple[Annotation, ...]
    here: tuple[str, ...]
    gone: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def hours(self) -> float:
        """The annotated speech of what is missing."""
        return sum(i[1] - i[0] for entry in self.missing for i in entry.intervals if i and i[1] > i[0]) / 3600


def list_files(folder: Path) -> dict[str, Path]:
    """HDTF's lists in a folder or in its ``HDTF_dataset/``: name → file.

    Raises InputRefused where there is none, or where one of those that are needed is missing of a set.
    """
    for place in (folder, folder / LISTS):
        found = {path.name: path for path in sorted(place.glob("*.txt")) if LIST_NAME.fullmatch(path.name)}
        if found:
            break
    else:
        raise InputRefused(
            f"--lists: {folder}: got no list there, expected HDTF's RD_video_url.txt, RD_annotion_time.txt and their "
            "like (github.com/MRzzm/HDTF, folder HDTF_dataset)"
        )
    for prefix in sorted({name.partition("_")[0] for name in found}):
        absent = [f"{prefix}_{kind}.txt" for kind in NEEDED if f"{prefix}_{kind}.txt" not in found]
        if absent:
            raise InputRefused(f"--lists: {place}: got lists of {prefix}, expected {', '.join(absent)} among them")
    return found


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV table; none where there is no such file. Raises InputRefused where columns are missing."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8") as handle:
        reader = csv.DictReader(handle)
        absent = [name for name in columns if name not in (reader.fieldnames or ())]
        if absent:
            raise InputRefused(f"{path}: got no column {', '.join(absent)}, expected {', '.join(columns)}")
        return [{name: row[name] or "" for name in columns} for row in reader]


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Rows as a CSV table, whole or not at all."""
    with taking_the_place_of(path) as part, open(part, "w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns)
        writer.writeheader()
        writer.writerows(rows)


def held(folder: Path, lists: Mapping[str, Annotation]) -> set[str]:
    """Full names of the listed videos that a HDTF folder has: under ``videos/`` with or without the prefix, or as cut
    clips under ``clips/``, as :func:`s3dnerf.corpora.hdtf.find` reads them.
    """
    plain: dict[str, list[str]] = {}
    for full, entry in lists.items():
        plain.setdefault(entry.video, []).append(full)
    found = set[str]()
    for path in sorted((folder / VIDEOS).rglob("*")):
        if path.is_file() and named_kind(path.name) == VIDEO:
            named = [path.stem] if path.stem in lists else plain.get(path.stem, [])
            found |= set(named) if len(named) == 1 else set()
    for path in sorted((folder / "clips").rglob("*")):
        match = CLIP_NAME.fullmatch(path.stem)
        if match and path.is_file() and named_kind(path.name) == VIDEO:
            found.add(f"{match[1]}_{match[2]}")
    return found & lists.keys()


def planned(
    folder: Path, lists: Mapping[str, Annotation], quarantine: Sequence[Mapping[str, str]], again: bool
) -> Plan:
    """What is missing in ``folder`` and may be asked for.

    Parameters
    ----------
    quarantine : rows of ``quarantine.csv``; one counts while the list still has its address
    again : ask for what is in the quarantine as well

    Raises InputRefused for a name that is no file's name.
    """
    here, barred = held(folder, lists), {(row["video"], row["url"]) for row in quarantine}
    missing, gone, unused = list[Annotation](), list[str](), list[str]()
    for full, entry in sorted(lists.items()):
        if "/" in full or "\0" in full:
            raise InputRefused(f"--lists: got the video name {full!r}, expected one without a slash")
        if full in here:
            continue
        if not entry.url or not any(i and i[1] > i[0] for i in entry.intervals):
            unused.append(full)
        elif (full, entry.url) in barred and not again:
            gone.append(full)
        else:
            missing.append(entry)
    return Plan(tuple(missing), tuple(sorted(here)), tuple(gone), tuple(unused))


def wanted_stream(entry: Annotation) -> Wanted:
    """The stream that a video's crops were measured on."""
    crops = entry.crops.values()
    return Wanted(
        entry.height_px,
        max((x + w for x, _, w, _ in crops), default=0),
        max((y + h for _, y, _, h in crops), default=0),
    )


def copy_lists(files: Mapping[str, Path], folder: Path) -> None:
    """Put the lists under ``HDTF_dataset/``. Raises InputRefused where another list of the name is there."""
    for name, source in files.items():
        target = folder / LISTS / name
        content = source.read_bytes()
        if target.exists() and target.read_bytes() != content:
            raise InputRefused(f"--lists: got a {name} that differs from {target}, expected equal ones: move one away")
        if not target.exists():
            with taking_the_place_of(target) as part:
                part.write_bytes(content)


def agreed(plan: Plan, folder: Path, yes: bool) -> bool:
    """Say what will be downloaded and on which terms, and ask once. Raises SettingsError without a terminal and
    ``yes``; DownloadError where the disk cannot hold it.
    """
    free = shutil.disk_usage(folder).free
    least = int(plan.hours * 3600 * LEAST_BITS_PER_S / 8)
    print(
        f"HDTF: {len(plan.missing)} videos to fetch, {plan.hours:.1f} hours of them annotated (whole videos are "
        f"longer, and their sizes are not known before), into {folder}: {readable_size(free)} free"
    )
    print(TERMS)
    if free < least:
        raise DownloadError(
            f"{folder}: {readable_size(free)} free, expected {readable_size(least)} at least (the annotated hours at "
            f"{LEAST_BITS_PER_S / 1e6:g} Mbit/s): make room, or name another folder with --to"
        )
    if yes:
        return True
    if not sys.stdin.isatty():
        raise SettingsError("fetch hdtf: got no terminal to ask at: expected --yes")
    return input("fetch these? [y/N] ").strip().lower() in ("y", "yes")


def remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing."""
    if not any(folder.iterdir()):
        folder.rmdir()


class Run:
    """The downloads of one run into a folder, one after the other, with the two tables kept up to date."""

    def __init__(self, folder: Path, source: VideoSource, sleep_s: float) -> None:
        self.folder, self.source, self.sleep_s = folder, source, sleep_s
        self.fetched = read_table(folder / FETCHED, FETCHED_COLUMNS)
        self.gone = read_table(folder / QUARANTINE, QUARANTINE_COLUMNS)
        self.counts: Counter[str] = Counter()
        self.below = 0

    def all(self, entries: Sequence[Annotation]) -> None:
        """Fetch them. Raises DownloadError for a full disk, and where nobody answered for :data:`IN_A_ROW` videos."""
        silent = 0
        for number, entry in enumerate(entries, 1):
            if number > 1:
                time.sleep(self.sleep_s)
            try:
                said = self._one(entry)
                silent = 0
            except VideoGone as error:
                self.counts["gone"] += 1
                silent = 0
                said = f"{error} ({error.reason}: in {QUARANTINE})"
                self._note_gone(entry, error)
            except VideoFailed as error:
                self.counts["failed"] += 1
                silent, said = 0, f"{error} (failed)"
            except Unreachable as error:
                self.counts["failed"] += 1
                silent, said = silent + 1, f"{error} (nobody answered)"
                if silent == min(IN_A_ROW, len(entries)):
                    print(f"{number} of {len(entries)}: {said}")
                    raise DownloadError(
                        f"{silent} videos in a row got no answer, the last: {error}: nothing was put into "
                        "the quarantine for it; what came is kept, run the command again when the network is there"
                    ) from error
            print(f"{number} of {len(entries)}: {said}")

    def _one(self, entry: Annotation) -> str:
        got = self.source.fetch(entry.name, entry.url, wanted_stream(entry))
        target = self.folder / VIDEOS / got.path.name
        target.parent.mkdir(exist_ok=True)
        with open(got.path, "rb+") as handle:
            os.fsync(handle.fileno())
        got.path.replace(target)
        row = (entry.name, entry.url, target.name, got.height_px, entry.height_px, got.size_bytes, _today())
        self.fetched = [r for r in self.fetched if r["video"] != entry.name]
        self.fetched.append(dict(zip(FETCHED_COLUMNS, map(str, row))))
        write_table(self.folder / FETCHED, FETCHED_COLUMNS, self.fetched)
        if any(r["video"] == entry.name for r in self.gone):
            self._without(entry.name)
            write_table(self.folder / QUARANTINE, QUARANTINE_COLUMNS, self.gone)
        self.counts["fetched"] += 1
        self.below += 0 < got.height_px < entry.height_px
        return f"{entry.name}: {got.height_px} px high, {readable_size(got.size_bytes)}"

    def _without(self, name: str) -> None:
        self.gone = [row for row in self.gone if row["video"] != name]

    def _note_gone(self, entry: Annotation, error: VideoGone) -> None:
        self._without(entry.name)
        row = (entry.name, entry.url, error.reason, _today(), str(error))
        self.gone.append(dict(zip(QUARANTINE_COLUMNS, row)))
        write_table(self.folder / QUARANTINE, QUARANTINE_COLUMNS, self.gone)


def _today() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def fetch_hdtf(
    lists: Path | None,
    folder: Path,
    yes: bool = False,
    retry_gone: bool = False,
    sleep_s: float = 5.0,
    pause_s: float = 2.0,
) -> int:
    """Fetch the annotated videos that are missing; exit status 1 where one failed or a person said no.

    Parameters
    ----------
    lists : folder of HDTF's lists; None: those that ``folder`` has already
    folder : the HDTF folder, as ``raw.hdtf`` names it
    sleep_s : seconds between two videos
    pause_s : seconds before a cut connection is tried again

    Raises
    ------
    InputRefused, CorpusError
        No lists, or lists that cannot be read; before anything is written.
    SettingsError
        A negative interval; no terminal to ask at, and not ``yes``.
    DownloadError
        No yt-dlp; no room; nobody answered for several videos in a row. What came is kept.
    OutputRefused
        The folder cannot be written, or another run is writing into it.
    """
    if sleep_s < 0:
        raise SettingsError(f"--sleep: got {sleep_s:g}, expected 0 or more seconds")
    files = list_files(lists or folder)
    entries = parse_lists({name: read_text(path) for name, path in files.items()})
    with claimed(folder / FETCHED, "--to"):
        plan = planned(folder, entries, read_table(folder / QUARANTINE, QUARANTINE_COLUMNS), retry_gone)
        if plan.missing:
            source = VideoSource(folder / WORK, pause_s=pause_s)
            try:
                if not agreed(plan, folder, yes):
                    print("nothing fetched")
                    return 1
                copy_lists(files, folder)
                run = Run(folder, source, sleep_s)
                try:
                    run.all(plan.missing)
                finally:
                    _say(plan, run.counts, run.below)
            finally:
                source.close()
            if not run.counts["failed"] and (folder / WORK).exists():
                shutil.rmtree(folder / WORK)
                remove_empty(folder / WORK.parent)
            return 1 if run.counts["failed"] else 0
        copy_lists(files, folder)
        _say(plan, Counter(), 0)
    return 0


def _say(plan: Plan, counts: Mapping[str, int], below: int) -> None:
    """The counts of a run, whether it came to its end or not."""
    left = len(plan.missing) - sum(counts.values())
    gone = len(plan.gone) + counts["gone"]
    print(
        f"HDTF: {counts['fetched']} fetched, {len(plan.here)} here already, {gone} gone"
        + (f" ({QUARANTINE}; --retry-gone asks for them again)" if gone else "")
        + f", {counts['failed']} failed"
        + (f", {left} not asked for" if left else "")
        + (f"; listed without an address or an interval: {len(plan.unused)}" if plan.unused else "")
    )
    if below:
        print(
            f"{below} came less high than they were annotated ({FETCHED}): yt-dlp finds no larger stream; for YouTube "
            "it needs a JavaScript runtime (docs/how-to/fetch.md). To try anew, remove those files"
        )
