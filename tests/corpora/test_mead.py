"""MEAD's views, emotions, levels and separate sound; both splits."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3dnerf.corpora import mead
from s3dnerf.corpora.records import Layout, RawFile
from s3dnerf.settings.schema import IngestSettings


def find(paths: list[str], **settings) -> Layout:
    return mead.find(Path("raw"), [RawFile(path, 1, path) for path in paths], IngestSettings(**settings))


def person(name: str, emotion: str, level: int, sentences: int, view: str = "front") -> list[str]:
    """Paths of so many sentences with their sound."""
    where = f"{emotion}/level_{level}"
    return [
        path
        for n in range(1, sentences + 1)
        for path in (f"{name}/video/{view}/{where}/{n:03d}.mp4", f"{name}/audio/{where}/{n:03d}.m4a")
    ]


def test_official_split_takes_the_last_sentences() -> None:
    layout = find(person("M003", "angry", 1, 30) + person("M003", "neutral", 1, 40))
    assert len(layout.spans) == 6 + 10 and {span.split for span in layout.spans} == {"test"}
    assert {s.name for s in layout.spans if "angry" in s.name} == {
        f"mead_M003_front_angry_1_{n:03d}" for n in range(25, 31)
    }
    assert sum(row["reason"] == "training_sentence" for row in layout.excluded) == 24 + 30
    assert layout.files["M003/audio/angry/level_1/001.m4a"].reason == "orphan"
    assert not layout.files["M003/audio/angry/level_1/030.m4a"].reason


def test_identity_split_holds_people_out() -> None:
    paths = [path for i in range(20) for path in person(f"M{i:03d}", "sad", 3, 2)]
    assert {span.split for span in find(paths, mead_split="identity").spans} == {"test"}
    spans = find(paths, mead_split="identity", mead_test_fraction=0.25).spans
    test = {span.speaker for span in spans if span.split == "test"}
    assert len(test) == 5 and not test & {span.speaker for span in spans if span.split == "train"} and len(spans) == 40


def test_views_sound_and_quirks() -> None:
    layout = find(
        [
            "M030/video/front/sad/level_3/001.mp4",
            "M030/audio/sad/level_3/001.m4a",
            "M030/audio/sad/level_3/001.wav",
            "M030/video/left_30/sad/level_3/001.mp4",
            "W021/video/1/front/happy/level_1/001.mp4",
            "W021/audio/happy/level_1/001.m4a",
            "W021/video/front/happy/level_1/002.mp4",
            "W009/video/front/fear/level_2/001.mp4",
            "video_list_test.txt",
            "W009/notes.pdf",
            "W009/video/front/fear/001.mp4",
            "W009/video/behind/fear/level_2/001.mp4",
        ],
        mead_split="identity",
    )
    sounds = {span.name: span.audio for span in layout.spans}
    assert sounds == {
        "mead_M030_front_sad_3_001": "M030/audio/sad/level_3/001.m4a",
        "mead_W021_1_front_happy_1_001": "W021/audio/happy/level_1/001.m4a",
        "mead_W021_front_happy_1_002": "",
        "mead_W009_front_fear_2_001": "",
    }
    reasons = {path: fate.reason for path, fate in layout.files.items() if fate.reason}
    assert reasons == {
        "M030/audio/sad/level_3/001.wav": "duplicate",
        "M030/video/left_30/sad/level_3/001.mp4": "view_not_used",
        "video_list_test.txt": "not_in_layout",
        "W009/notes.pdf": "not_in_layout",
        "W009/video/front/fear/001.mp4": "not_in_layout",
        "W009/video/behind/fear/level_2/001.mp4": "not_in_layout",
    }


@pytest.mark.parametrize(
    "path", ["video/front/sad/level_3/001.mp4", "M030/video/front/sad/001.mp4", "M030/front/sad/level_3/001.mp4"]
)
def test_other_paths_are_not_mead(path: str) -> None:
    assert mead.parse_path(RawFile(path, 1, "")) is None
