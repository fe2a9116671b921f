"""LRS2: utterances of people on television, folders of one speaker's programme, 160×160 at 25 fps.

    mvlrs_v1/{main,pretrain}/<folder>/<5 digits>.mp4    with <5 digits>.txt beside it
    mvlrs_v1/{train,val,test,pretrain}.txt              the first token of a line is <folder>/<5 digits>

Transcripts: ``Text:`` and ``Conf:`` lines; pretrain adds a table ``WORD START END ASDSCORE`` in seconds. The speaker is
the folder. A folder has one split: test if the test list names any of its utterances, else val if the val list does or
the folder is drawn for it (``ingest.lrs2_val_fraction``), else train.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from s3dnerf.corpora.records import FileFate, Layout, RawFile, Span, read_text, role_of, slug
from s3dnerf.corpora.splits import canonical_names, held_out
from s3dnerf.settings.schema import IngestSettings

PARTS = ("main", "pretrain")
LISTS = ("train.txt", "val.txt", "test.txt", "pretrain.txt")
SPLIT_SALT = "lrs2-val"


def parse_transcript(text: str) -> tuple[str, tuple[tuple[str, float, float], ...]]:
    """The spoken words, and (word, start_s, end_s) where the file has the table. A line that is no row ends the
    table.
    """
    spoken, words, in_table = "", [], False
    for line in text.splitlines():
        tokens = line.split()
        if line.startswith("Text:"):
            spoken = " ".join(tokens[1:])
        elif tokens[:3] == ["WORD", "START", "END"]:
            in_table = True
        elif in_table and len(tokens) >= 3:
            try:
                words.append((tokens[0], float(tokens[1]), float(tokens[2])))
            except ValueError:
                break
    return spoken, tuple(words)


def parse_list(text: str) -> list[str]:
    """``<folder>/<utterance>`` of each line that has one."""
    return [line.split()[0] for line in text.splitlines() if line.strip()]


def find(root: Path, files: Iterable[RawFile], settings: IngestSettings) -> Layout:
    """Spans of an LRS2 folder: one an utterance."""
    layout, person = Layout(), canonical_names(settings.same_person)
    files = sorted(files, key=lambda f: f.path)
    lists: dict[str, list[str]] = {}
    videos: dict[tuple[str, str], RawFile] = {}
    transcripts: dict[tuple[str, str], RawFile] = {}
    for file in files:
        where = file.parts[file.parts.index("mvlrs_v1") + 1 :] if "mvlrs_v1" in file.parts else file.parts
        if len(where) == 1 and where[0] in LISTS:
            lists[where[0]] = parse_list(read_text(root / file.path))
            layout.files[file.path] = FileFate("list")
        elif len(where) == 3 and where[0] in PARTS and file.suffix in (".mp4", ".txt"):
            table = videos if file.suffix == ".mp4" else transcripts
            table[where[0], f"{where[1]}/{file.stem}"] = file
        else:
            layout.drop_file(
                file.path,
                role_of(file),
                "not_in_layout",
                "not main/ or pretrain/<folder>/<utterance>.mp4 or .txt, no list",
            )
    for key, file in transcripts.items():
        alone = FileFate("transcript", "orphan", "no video of this utterance")
        layout.files[file.path] = FileFate("transcript") if key in videos else alone
    _missing(layout, lists, videos)
    splits = _folder_splits(lists, [utterance.split("/")[0] for _, utterance in videos], settings)
    for (part, utterance), file in sorted(videos.items()):
        folder, number = utterance.split("/")
        transcript = transcripts.get((part, utterance))
        spoken, words = parse_transcript(read_text(root / transcript.path) if transcript else "")
        layout.files[file.path] = FileFate("video")
        name = f"lrs2_{part}_{slug(folder)}_{slug(number)}"
        layout.spans.append(Span(name, person(folder), splits[folder], file.path, text=spoken, words=words))
    return layout


def _folder_splits(lists: dict[str, list[str]], folders: list[str], settings: IngestSettings) -> dict[str, str]:
    named = {
        split: {utterance.split("/")[0] for utterance in lists.get(f"{split}.txt", [])} for split in ("val", "test")
    }
    free = set(folders) - named["val"] - named["test"]
    drawn = held_out(free, settings.lrs2_val_fraction, SPLIT_SALT)
    return {
        f: "test" if f in named["test"] else "val" if f in named["val"] or f in drawn else "train" for f in set(folders)
    }


def _missing(layout: Layout, lists: dict[str, list[str]], videos: dict[tuple[str, str], RawFile]) -> None:
    """Utterances that a list names and nobody has; a part of the corpus that is not held at all is one line."""
    held = {part: {utterance for p, utterance in videos if p == part} for part in PARTS}
    for name, utterances in sorted(lists.items()):
        part = "pretrain" if name == "pretrain.txt" else "main"
        absent = [u for u in dict.fromkeys(utterances) if u not in held[part]]
        if absent and not held[part]:
            layout.exclude(
                f"lrs2_{part}_{name.removesuffix('.txt')}",
                "not_held",
                f"{len(absent)} utterances in {name}, no {part}/ folder",
            )
            continue
        for utterance in absent:
            clip = f"lrs2_{part}_" + "_".join(slug(p) for p in utterance.split("/"))
            layout.exclude(clip, "missing", f"{name} names {utterance}: no such video")
