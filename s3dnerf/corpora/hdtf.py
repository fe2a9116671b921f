"""HDTF in both ways people hold it: cut clips, and whole videos with the 15 annotation lists.

    clips/{RD,WDA,WRA,EX}_<video>_<iii>.mp4                    cut clips (any folder below clips/) videos/<video>.mp4
    or  videos/<prefix>_<video>.mp4        whole videos
    HDTF_dataset/{RD,WDA,WRA}_{video_url,resolution,annotion_time,crop_wh,crop_ratio}.txt    ("annotion" is the real
    spelling)

Lists and layout: github.com/MRzzm/HDTF; clip names: universome/HDTF. Splits are by person; nobody published any.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from s3dnerf.corpora.records import CorpusError, FileFate, Layout, RawFile, Span, read_text, role_of, slug
from s3dnerf.corpora.splits import canonical_names, hdtf_speaker, held_out
from s3dnerf.settings.schema import IngestSettings

PREFIXES = ("RD", "WDA", "WRA")
KINDS = ("video_url", "resolution", "annotion_time", "crop_wh", "crop_ratio")
LIST_NAME = re.compile(rf"({'|'.join(PREFIXES)})_({'|'.join(KINDS)})\.txt")
CLIP_NAME = re.compile(r"([A-Z]+)_(.+)_(\d{1,4})")
SPLIT_SALT = "hdtf-test"


@dataclass
class Annotation:
    """One video of the lists: address, stated height (0: unknown), intervals in seconds, and the crop of each interval
    by number.
    """

    prefix: str
    video: str
    url: str = ""
    height_px: int = 0
    intervals: list[tuple[float, float] | None] = field(default_factory=list)
    crops: dict[int, tuple[int, int, int, int]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The full name: the list's prefix and the video's name."""
        return f"{self.prefix}_{self.video}"


def seconds(text: str) -> float:
    """``mm:ss`` or ``hh:mm:ss`` in seconds. Raises ValueError for anything else."""
    if not re.fullmatch(r"\d+:\d{1,2}(:\d{1,2})?", text):
        raise ValueError(f"{text!r}: expected mm:ss or hh:mm:ss")
    total = 0
    for part in text.split(":"):
        total = total * 60 + int(part)
    return float(total)


def _video(token: str) -> str:
    return re.sub(r"\.mp4$", "", token)


def parse_lists(texts: dict[str, str]) -> dict[str, Annotation]:
    """The lists by ``<prefix>_<video>``.

    Parameters
    ----------
    texts : file name (``RD_crop_wh.txt``) → its text, without byte order mark

    A line that cannot be read raises CorpusError with file, line number and line. An interval that cannot be read
    is kept as None under its number, so that the numbers of the crops still fit.
    """
    found: dict[str, Annotation] = {}
    for file in sorted(texts):
        match = LIST_NAME.fullmatch(file)
        if match is None:
            raise CorpusError(f"{file}: expected one of the 15 lists, {{RD,WDA,WRA}}_{{{','.join(KINDS)}}}.txt")
        prefix, kind = match.groups()
        for number, line in enumerate(texts[file].splitlines(), 1):
            tokens = line.split()
            if not tokens:
                continue
            try:
                name, at = _video(tokens[0]), 0
                if kind in ("crop_wh", "crop_ratio"):
                    name, _, index = name.rpartition("_")
                    at = int(index)
                entry = found.setdefault(f"{prefix}_{name}", Annotation(prefix, name))
                if kind == "video_url":
                    entry.url = tokens[1]
                elif kind == "resolution":
                    entry.height_px = int(tokens[1])
                elif kind == "annotion_time":
                    entry.intervals = [_interval(token) for token in tokens[1:]]
                elif kind == "crop_wh":
                    x, w, y, h = (int(token) for token in tokens[1:5])
                    entry.crops[at] = (x, y, w, h)
            except (ValueError, IndexError) as error:
                raise CorpusError(f"{file}, line {number}: cannot be read: {line.strip()!r} ({error})") from error
    return found


def _interval(token: str) -> tuple[float, float] | None:
    start, _, end = token.partition("-")
    try:
        return seconds(start), seconds(end)
    except ValueError:
        return None


def without_overlap(intervals: list[tuple[float, float] | None]) -> list[tuple[float, float] | None]:
    """Intervals with what an earlier one of the list already has cut away; None where nothing is left.

    Of what is left the longest stretch is kept (``MittRomney`` has 08:10–08:30 and then 00:33–08:53).
    """
    taken: list[tuple[float, float]] = []
    result: list[tuple[float, float] | None] = []
    for interval in intervals:
        pieces = [interval] if interval and interval[1] > interval[0] else []
        for low, high in taken:
            pieces = [p for a, b in pieces for p in ((a, min(b, low)), (max(a, high), b)) if p[1] > p[0]]
        result.append(max(pieces, key=lambda p: (p[1] - p[0], -p[0])) if pieces else None)
        if interval:
            taken.append(interval)
    return result


def find(root: Path, files: Iterable[RawFile], settings: IngestSettings) -> Layout:
    """Spans of an HDTF folder. Raises CorpusError for lists that cannot be read and for test people who are not
    there.
    """
    layout, person = Layout(), canonical_names(settings.same_person)
    clips: list[tuple[RawFile, str, str]] = []
    videos: list[RawFile] = []
    texts: dict[str, str] = {}
    for file in sorted(files, key=lambda f: f.path):
        if LIST_NAME.fullmatch(file.name):
            if file.name in texts:
                layout.drop_file(file.path, "list", "duplicate", "a list of this name was read already")
                continue
            texts[file.name] = read_text(root / file.path)
            layout.files[file.path] = FileFate("list")
        elif file.is_video and "clips" in file.parts[:-1]:
            match = CLIP_NAME.fullmatch(file.stem)
            if match is None:
                layout.drop_file(file.path, "video", "not_in_layout", "expected <prefix>_<video>_<number>")
                layout.exclude(f"hdtf_{slug(file.stem)}", "not_in_layout", file.path)
            else:
                clips.append((file, f"{match[1]}_{match[2]}", match[2]))
        elif file.is_video and "videos" in file.parts[:-1]:
            videos.append(file)
        else:
            layout.drop_file(
                file.path, role_of(file), "not_in_layout", "not below clips/ or videos/, not one of the 15 lists"
            )
    lists = parse_lists(texts)
    names: dict[str, str] = {}
    for file, _, video in clips:
        span = Span(f"hdtf_{slug(file.stem)}", person(hdtf_speaker(video)), "", file.path)
        if span.name in names:
            layout.drop_file(file.path, "video", "duplicate", f"the same clip as {names[span.name]}")
            layout.exclude(f"{span.name}+{slug(file.path)}", "duplicate", file.path)
            continue
        names[span.name] = file.path
        layout.spans.append(span)
        layout.files[file.path] = FileFate("video")
    if videos:
        _whole_videos(layout, videos, lists, {full for _, full, _ in clips}, person)
    known = {span.speaker for span in layout.spans} | {person(hdtf_speaker(entry.video)) for entry in lists.values()}
    _assign_splits(layout, settings, person, known)
    return layout


def _whole_videos(
    layout: Layout,
    videos: list[RawFile],
    lists: dict[str, Annotation],
    as_clips: set[str],
    person: Callable[[str], str],
) -> None:
    """Spans of the annotated intervals of whole videos; every address and interval without one is named."""
    plain: dict[str, list[str]] = {}
    for full, entry in lists.items():
        plain.setdefault(entry.video, []).append(full)
    held: dict[str, str] = {}
    for file in videos:
        full = file.stem if file.stem in lists else next(iter(plain.get(file.stem, [])), "")
        if not full:
            layout.drop_file(file.path, "video", "no_interval", "no list names this video")
            layout.exclude(f"hdtf_{slug(file.stem)}", "no_interval", f"{file.path}: no list names this video")
        elif len(plain[lists[full].video]) > 1 and file.stem not in lists:
            several = ", ".join(sorted(plain[file.stem]))
            layout.drop_file(
                file.path, "video", "ambiguous_name", f"listed as {several}: put the prefix before the name"
            )
            layout.exclude(f"hdtf_{slug(file.stem)}", "ambiguous_name", file.path)
        elif full in held or full in as_clips:
            layout.drop_file(file.path, "video", "duplicate", f"held already: {held.get(full, 'as cut clips')}")
            layout.exclude(f"hdtf_{slug(full)}+{slug(file.path)}", "duplicate", file.path)
        else:
            held[full] = file.path
            layout.files[file.path] = FileFate("video")
    for full, entry in sorted(lists.items()):
        if full in as_clips:
            continue
        if not entry.intervals:
            layout.exclude(f"hdtf_{slug(full)}", "no_interval", f"an address, no interval: {entry.url}")
            if full in held:
                layout.drop_file(held[full], "video", "no_interval", "the lists have no interval of this video")
            continue
        for number, (interval, free) in enumerate(zip(entry.intervals, without_overlap(entry.intervals))):
            name, crop = f"hdtf_{slug(full)}_{number:03d}", entry.crops.get(number)
            if interval is None:
                layout.exclude(name, "bad_interval", f"interval {number} cannot be read")
            elif interval[1] <= interval[0]:
                layout.exclude(name, "bad_interval", f"{interval[0]:g}–{interval[1]:g} s")
            elif full not in held:
                layout.exclude(name, "not_held", f"no videos/{entry.video}.mp4 ({entry.url})")
            elif crop is None:
                layout.exclude(name, "no_crop", f"no crop of interval {number} in {entry.prefix}_crop_wh.txt")
            elif free is None:
                layout.exclude(
                    name, "overlap", f"{interval[0]:g}–{interval[1]:g} s lies in an earlier interval of the list"
                )
            else:
                layout.spans.append(
                    Span(
                        name,
                        person(hdtf_speaker(entry.video)),
                        "",
                        held[full],
                        start_s=free[0],
                        end_s=free[1],
                        crop=crop,
                        crop_of_height_px=entry.height_px,
                    )
                )
    used = {span.video for span in layout.spans}
    for full, path in held.items():
        if path not in used and not layout.files[path].reason:
            layout.drop_file(
                path,
                "video",
                "no_crop" if lists[full].intervals else "no_interval",
                "none of its intervals can be used",
            )


def _assign_splits(layout: Layout, settings: IngestSettings, person: Callable[[str], str], known: set[str]) -> None:
    """``test`` for the people named (or drawn by hash), ``train`` for the others; a name that nobody has is refused."""
    people = {span.speaker for span in layout.spans}
    if settings.hdtf_test_speakers:
        test = {person(hdtf_speaker(name)) for name in settings.hdtf_test_speakers}
        absent = sorted(name for name in settings.hdtf_test_speakers if person(hdtf_speaker(name)) not in known)
        if absent and people:
            here = ", ".join(sorted(people)[:40])
            raise CorpusError(
                f"ingest.hdtf_test_speakers: nobody here is called {', '.join(absent)} — people here: {here}"
            )
    else:
        test = held_out(people, settings.hdtf_test_fraction, SPLIT_SALT)
    for span in layout.spans:
        span.split = "test" if span.speaker in test else "train"
