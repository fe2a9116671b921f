"""What is missing and what is too much in an unpacked LRS2 (by its lists) or MEAD (a sound for each sentence)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from s3dnerf.corpora import lrs2, mead
from s3dnerf.corpora.records import RawFile, read_text


@dataclass(frozen=True)
class Finding:
    """One row: what is the matter (``missing``, ``extra``, …), with what, and in words."""

    state: str
    name: str
    detail: str


def _files(folder: Path) -> Iterator[str]:
    """The files below a folder, relative to it, with ``/``; hidden folders are passed over."""
    todo = [""]
    while todo:
        at = todo.pop()
        with os.scandir(folder / at) as entries:
            for entry in sorted(entries, key=lambda e: e.name):
                path = f"{at}/{entry.name}" if at else entry.name
                if entry.is_dir():
                    todo += [] if entry.name.startswith(".") else [path]
                else:
                    yield path


def _lrs2_held(folder: Path) -> dict[tuple[str, str], set[str]]:
    """(part, suffix) → ``<folder>/<utterance>`` of the files that are there."""
    held: dict[tuple[str, str], set[str]] = {}
    for part in lrs2.PARTS:
        if (folder / part).is_dir():
            for path in _files(folder / part):
                stem, suffix = os.path.splitext(path)
                held.setdefault((part, suffix.lower()), set()).add(stem)
    return held


def check_lrs2(folder: Path) -> tuple[Iterator[Finding], str]:
    """Every utterance that the four lists name, against the videos and transcripts; and one line of counts.

    A part (``main``, ``pretrain``) of which nothing is there is one finding a list. A video that no list names is
    ``extra``, where all lists of its part are there.
    """
    top = folder / "mvlrs_v1"
    held = _lrs2_held(top)
    lists = {name: lrs2.parse_list(read_text(top / name)) for name in lrs2.LISTS if (top / name).is_file()}
    videos = sum(len(names) for (_, suffix), names in held.items() if suffix == ".mp4")
    named = len({(_part_of(name), utterance) for name, found in lists.items() for utterance in found})
    return _lrs2_findings(held, lists), f"{videos} videos, {named} utterances in {len(lists)} lists"


def _part_of(name: str) -> str:
    return "pretrain" if name == "pretrain.txt" else "main"


def _lrs2_findings(held: dict[tuple[str, str], set[str]], lists: dict[str, list[str]]) -> Iterator[Finding]:
    named: dict[str, set[str]] = {part: set() for part in lrs2.PARTS}
    for name in lrs2.LISTS:
        if name not in lists:
            yield Finding("missing", f"mvlrs_v1/{name}", "no such list: put it beside the archives")
            continue
        part = _part_of(name)
        named[part].update(lists[name])
        videos, transcripts = held.get((part, ".mp4"), set()), held.get((part, ".txt"), set())
        if not videos and lists[name]:
            yield Finding("missing", f"mvlrs_v1/{part}", f"{len(lists[name])} utterances in {name}, no video there")
            continue
        for utterance in dict.fromkeys(lists[name]):
            for suffix, there in ((".mp4", videos), (".txt", transcripts)):
                if utterance not in there:
                    yield Finding("missing", f"mvlrs_v1/{part}/{utterance}{suffix}", f"named in {name}")
    for part in lrs2.PARTS:
        if all(name in lists for name in lrs2.LISTS if _part_of(name) == part):
            for utterance in sorted(held.get((part, ".mp4"), set()) - named[part]):
                yield Finding("extra", f"mvlrs_v1/{part}/{utterance}.mp4", "in no list")


def check_mead(folder: Path) -> tuple[Iterator[Finding], str]:
    """Whether each person has videos and sounds, and each sentence both; and one line of counts.

    There is no list of all of MEAD: some people miss views or emotions, so that those are counted and not asked for.
    """
    views: Counter[str] = Counter()
    people: dict[str, set[str]] = {}
    sentences: dict[str, dict[tuple[str, ...], str]] = {"video": {}, "audio": {}}
    for path in _files(folder):
        file = RawFile(path, 0, "")
        facts = mead.parse_path(file)
        if facts is None or not (file.is_video if facts["kind"] == "video" else file.is_audio):
            continue
        people.setdefault(facts["person"], set()).add(facts["kind"])
        key = tuple(facts[name] for name in ("person", "take", "emotion", "level", "sentence"))
        sentences[facts["kind"]].setdefault(key, path)
        views[facts["view"]] += facts["kind"] == "video"
    by_view = ", ".join(f"{view} {views[view]}" for view in mead.VIEWS if views[view])
    counted = f"{len(people)} people, {sum(views.values())} videos ({by_view}), {len(sentences['audio'])} sounds"
    return _mead_findings(people, sentences["video"], sentences["audio"]), counted


def _mead_findings(
    people: dict[str, set[str]], videos: dict[tuple[str, ...], str], sounds: dict[tuple[str, ...], str]
) -> Iterator[Finding]:
    for person, kinds in sorted(people.items()):
        for kind in ("video", "audio"):
            if kind not in kinds:
                yield Finding("missing", f"{person}/{kind}", f"{person} has no {kind}")
    used = set[tuple[str, ...]]()
    for key, path in sorted(videos.items()):
        sound = key if key in sounds else (key[0], "", *key[2:])
        used.add(sound)
        if sound not in sounds and "audio" in people[key[0]]:
            yield Finding("missing", path, "no sound of this sentence")
    for key, path in sorted(sounds.items()):
        if key not in used and "video" in people[key[0]]:
            yield Finding("extra", path, "no video of this sentence")
