"""MEAD: acted emotions in three levels and up to seven views, sound apart.

    M003/video/front/angry/level_1/001.mp4
    M003/audio/angry/level_1/001.m4a           one sound for all views; other containers are taken as well

Some people miss views or emotions; ``W021`` has ``video/1/front/…``. Layout and official split: uniBruce/Mead. Its test
set is held out by sentence (the last 10 of neutral, the last 6 of each emotion and level), not by person. So there are
two modes:

- ``ingest.mead_split: sentence``: for evaluation only. The official test sentences are ``test``; the others would be
  the same people in training and are left out as ``training_sentence``;
- ``identity``: whole people. ``ingest.mead_test_fraction`` of them (by a hash of the name; 1: all, since nothing trains
  on MEAD by default) are ``test``, the others ``train``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from s3dnerf.corpora.records import FileFate, Layout, RawFile, Span, role_of, slug
from s3dnerf.corpora.splits import canonical_names, held_out
from s3dnerf.settings.schema import IngestSettings

VIEWS = ("front", "left_30", "left_60", "right_30", "right_60", "top", "down")
TEST_SENTENCES = {"neutral": 10}
TEST_SENTENCES_EMOTION = 6
SPLIT_SALT = "mead-test"
SENTENCE = ("person", "emotion", "level", "sentence")


def parse_path(file: RawFile) -> dict[str, str] | None:
    """person, kind (video or audio), take, view, emotion, level and sentence of a path; None when it is not MEAD's
    layout.
    """
    parts = file.parts
    for kind in ("video", "audio"):
        if kind not in parts[1:-1]:
            continue
        at = parts.index(kind, 1)
        inner = list(parts[at + 1 : -1])
        take = view = ""
        if kind == "video":
            if inner and inner[0] not in VIEWS:
                take = inner.pop(0)
            if not inner or inner[0] not in VIEWS:
                return None
            view = inner.pop(0)
        elif len(inner) == 3:
            take = inner.pop(0)
        level = re.fullmatch(r"level_?(\d+)", inner[1]) if len(inner) == 2 else None
        if level is None:
            return None
        return {
            "person": parts[at - 1],
            "kind": kind,
            "take": take,
            "view": view,
            "emotion": inner[0],
            "level": level[1],
            "sentence": file.stem,
        }
    return None


def official_test(sentences: dict[tuple[str, str, str], set[str]]) -> set[tuple[str, str, str, str]]:
    """(person, emotion, level, sentence) of the official test set.

    Parameters
    ----------
    sentences : (person, emotion, level) → sentence names
        Names sort as numbers where they are numbers.
    """
    chosen = set()
    for (who, emotion, level), names in sentences.items():
        ordered = sorted(names, key=lambda n: (int(n) if n.isdigit() else 0, n))
        chosen |= {
            (who, emotion, level, name) for name in ordered[-TEST_SENTENCES.get(emotion, TEST_SENTENCES_EMOTION) :]
        }
    return chosen


def find(root: Path, files: Iterable[RawFile], settings: IngestSettings) -> Layout:
    """Spans of a MEAD folder: one a video of the views in ``ingest.mead_views``."""
    layout, person = Layout(), canonical_names(settings.same_person)
    videos: list[tuple[RawFile, dict[str, str]]] = []
    sounds: dict[tuple[str, ...], RawFile] = {}
    for file in sorted(files, key=lambda f: f.path):
        facts = parse_path(file)
        if facts and facts["kind"] == "video" and file.is_video:
            videos.append((file, facts))
        elif facts and facts["kind"] == "audio" and file.is_audio:
            key = (facts["person"], facts["take"], facts["emotion"], facts["level"], facts["sentence"])
            if key in sounds:
                layout.drop_file(file.path, "audio", "duplicate", f"the sound of {sounds[key].path} comes first")
            else:
                sounds[key] = file
        elif file.suffix in (".txt", ".json", ".csv"):
            layout.drop_file(file.path, "list", "not_in_layout", "a list that this pipeline does not use")
        else:
            expected = "not <person>/video/<view>/<emotion>/level_<n>/<sentence>.mp4, nor its sound"
            layout.drop_file(file.path, role_of(file), "not_in_layout", expected)
    sentences: dict[tuple[str, str, str], set[str]] = {}
    for _, facts in videos:
        sentences.setdefault((facts["person"], facts["emotion"], facts["level"]), set()).add(facts["sentence"])
    test_sentences = official_test(sentences)
    test_people = held_out((person(facts["person"]) for _, facts in videos), settings.mead_test_fraction, SPLIT_SALT)
    used_sounds: set[str] = set()
    names: dict[str, str] = {}
    for file, facts in videos:
        sound = sounds.get((facts["person"], facts["take"], facts["emotion"], facts["level"], facts["sentence"]))
        sound = sound or sounds.get((facts["person"], "", facts["emotion"], facts["level"], facts["sentence"]))
        name = "_".join(
            ["mead", *(slug(facts[k]) for k in ("person", "take", "view", "emotion", "level", "sentence") if facts[k])]
        )
        who, reason, detail = person(facts["person"]), "", ""
        if facts["view"] not in settings.mead_views:
            reason, detail = (
                "view_not_used",
                f"view {facts['view']}; ingest.mead_views: {', '.join(settings.mead_views)}",
            )
        elif settings.mead_split == "sentence" and tuple(facts[k] for k in SENTENCE) not in test_sentences:
            reason, detail = "training_sentence", "not in the official test set (ingest.mead_split: sentence)"
        elif name in names:
            reason, detail = "duplicate", f"the same sentence as {names[name]}"
        if reason:
            layout.drop_file(file.path, "video", reason, detail)
            layout.exclude(f"{name}+{slug(file.path)}" if reason == "duplicate" else name, reason, detail)
            continue
        names[name] = file.path
        split = "test" if settings.mead_split == "sentence" or who in test_people else "train"
        layout.files[file.path] = FileFate("video")
        layout.spans.append(Span(name, who, split, file.path, audio=sound.path if sound else ""))
        used_sounds |= {sound.path} if sound else set()
    for file in sounds.values():
        alone = FileFate("audio", "orphan", "no video in use has this sound")
        layout.files[file.path] = FileFate("audio") if file.path in used_sounds else alone
    return layout
