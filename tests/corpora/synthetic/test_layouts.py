"""The plans and lists of the sample corpora: names, splits, quirks, and nothing twice."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from s3dnerf.corpora.synthetic.layouts import (
    MISSING_NAME,
    hdtf_plans,
    lrs2_plans,
    mead_plans,
    write_hdtf_lists,
    write_lrs2_lists,
)
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import Settings


@pytest.fixture(scope="module")
def settings() -> Settings:
    return preset_settings("sample")


def test_hdtf_has_the_people_of_the_settings_in_both_ways_of_holding(settings: Settings) -> None:
    plans, lists = hdtf_plans(settings)
    people = {plan.person.removeprefix("hdtf/") for plan in plans}
    named = set(settings.ingest.hdtf_test_speakers)
    assert named <= people and len(people - named) == settings.sample.hdtf_train_speakers
    assert len({plan.video for plan in plans}) == len(plans)
    clips = [plan for plan in plans if plan.video.startswith("clips/")]
    assert {re.fullmatch(r"clips/(?:RD|WDA|WRA)_([A-Za-z]+)_000\.mp4", plan.video)[1] in named for plan in clips} == {
        True,
        False,
    }
    assert {plan.fps for plan in plans} == {(25, 1), (30000, 1001), (30, 1)}
    assert len([p for p in plans if p.person == plans[0].person]) == 2  # one person in two files
    held = {
        plan.video.removeprefix("videos/").removesuffix(".mp4") for plan in plans if plan.video.startswith("videos/")
    }
    listed = {line.split()[0] for name, lines in lists.items() if name.endswith("video_url") for line in lines}
    assert listed == held | {MISSING_NAME}


def test_hdtf_lists_agree_with_the_plans(settings: Settings) -> None:
    plans, lists = hdtf_plans(settings)
    by_video = {Path(plan.video).name: plan for plan in plans}
    intervals, crops = 0, 0
    for kind in ("RD", "WDA", "WRA"):
        for line in lists[f"{kind}_annotion_time"]:
            video, *spans = line.split()
            speaking = [(a, b) for a, b, what in by_video[video].parts if what == "speaker"]
            assert len(spans) == len(speaking)
            for span, (a, b) in zip(spans, speaking, strict=True):
                start, end = (int(m) * 60 + int(s) for m, s in (t.split(":") for t in span.split("-")))
                assert a == start and start < end <= b + 1e-9
                intervals += 1
        for line in lists[f"{kind}_crop_wh"]:
            name, x, w, y, h = line.split()
            video, number = re.fullmatch(r"(.+)_(\d)\.mp4", name).groups()
            plan = by_video[f"{video}.mp4"]
            x, w, y, h = map(int, (x, w, y, h))
            assert 0 <= x and x + w <= plan.size[1] and 0 <= y and y + h <= plan.size[0] and (h, w) < plan.size
            place = plan.places[int(number)]
            assert x + 0.3 * w < place[0] < x + 0.7 * w
            crops += 1
    assert intervals == crops == len([p for p in plans if p.video.startswith("videos/")]) + 1  # one video has two


def test_hdtf_lists_are_written_with_their_quirks(settings: Settings, tmp_path: Path) -> None:
    write_hdtf_lists(tmp_path, hdtf_plans(settings)[1])
    files = sorted(path.name for path in (tmp_path / "HDTF_dataset").iterdir())
    assert len(files) == 15 and "WRA_annotion_time.txt" in files
    assert (tmp_path / "HDTF_dataset" / "WDA_video_url.txt").read_bytes().startswith(b"\xef\xbb\xbf")
    times = "".join(
        (tmp_path / "HDTF_dataset" / f"{kind}_annotion_time.txt").read_text() for kind in ("RD", "WDA", "WRA")
    )
    assert len(re.findall(r"^\w+\.mp4 \d\d:\d\d-\d\d:\d\d \d\d:\d\d-\d\d:\d\d $", times, re.M)) == 1


def test_too_few_names_are_refused(settings: Settings) -> None:
    short = dataclasses.replace(settings, ingest=dataclasses.replace(settings.ingest, hdtf_test_speakers=("Ames",)))
    with pytest.raises(ValueError, match="sample.hdtf_test_speakers: 10 — accepted: at most 1"):
        hdtf_plans(short)


def test_lrs2_lists_hold_every_utterance_once_by_folder(settings: Settings, tmp_path: Path) -> None:
    plans, lists = lrs2_plans(settings)
    stems = [line.split()[0] for lines in lists.values() for line in lines]
    assert sorted(stems) == sorted(p.video.removeprefix("mvlrs_v1/main/").removesuffix(".mp4") for p in plans)
    assert len(set(stems)) == len(stems) == settings.sample.lrs2_speakers * settings.sample.lrs2_utterances
    folders = {name: {line.split("/")[0] for line in lines} for name, lines in lists.items()}
    assert all(folders.values()) and not folders["train"] & folders["val"] and not folders["train"] & folders["test"]
    assert all(re.fullmatch(r"\d{19}/\d{5}", stem) for stem in stems) and all(
        p.size == (160, 160) and p.fps == (25, 1) for p in plans
    )
    write_lrs2_lists(tmp_path, lists)
    assert all(line.endswith(" NF") for line in (tmp_path / "mvlrs_v1" / "test.txt").read_text().splitlines())


def test_mead_keeps_sound_apart_and_shorter(settings: Settings) -> None:
    plans = mead_plans(settings)
    assert len(plans) == settings.sample.mead_speakers * settings.sample.mead_clips
    for plan in plans:
        assert re.fullmatch(r"[MW]\d{3}/video/front/\w+/level_1/\d{3}\.mp4", plan.video)
        assert (
            plan.audio == plan.video.replace("video/front", "audio").replace(".mp4", ".m4a")
            and plan.audio_shorter_s > 0.03
        )
        assert plan.female == plan.video.startswith("W")
    assert {plan.fps for plan in plans} == {(30, 1), (65521, 2184)}


def test_paths_stay_inside_the_preset(settings: Settings) -> None:
    for plan in [*hdtf_plans(settings)[0], *lrs2_plans(settings)[0], *mead_plans(settings)]:
        assert not Path(plan.raw_root).is_absolute() and plan.raw_root.startswith("data/sample/sample/raw/")
