"""HDTF's lists with every quirk, and both ways people hold the videos."""

from __future__ import annotations

from pathlib import Path

import pytest

from s3dnerf.corpora import hdtf
from s3dnerf.corpora.cutting import SpanError, fit_crop
from s3dnerf.corpora.records import CorpusError, Layout, RawFile, Span
from s3dnerf.corpora.splits import hdtf_speaker
from s3dnerf.settings.schema import IngestSettings

LISTS = {
    "RD_video_url.txt": "Radio1 https://example.org/1\nRadio11 https://example.org/11\nRadio24 https://example.org/24\n",
    "RD_annotion_time.txt": "Radio1.mp4 00:20-01:35\nRadio11.mp4 00:30-01:00 01:30-02:30\n",
    "RD_resolution.txt": "Radio1.mp4 720\nRadio11.mp4 720\nRadio24.mp4 720\n",
    "RD_crop_wh.txt": "Radio1_0.mp4 466 530 0 530\nRadio11_1.mp4 557 478 0 478\n",
    "RD_crop_ratio.txt": "Radio1_0.mp4 1.2\n",
    "WRA_annotion_time.txt": "AdamKinzinger0.mp4 00:05-02:55\nAdamKinzinger1.mp4 00:05-01:55 \nMittRomney.mp4 08:10-08:30 00:33-08:53\nLong.mp4 1:02:03-1:02:10\n",
    "WRA_crop_wh.txt": "AdamKinzinger0_0.mp4 306 480 41 480\nAdamKinzinger1_0.mp4 319 492 11 492\nMittRomney_0.mp4 614 964 0 964\n"
    "MittRomney_1.mp4 614 964 0 964\nLong_0.mp4 0 240 0 240\n",
    "WRA_resolution.txt": "AdamKinzinger0.mp4 720\nAdamKinzinger1.mp4 0\nMittRomney.mp4 1080\nLong.mp4 360\n",
}


def find(root: Path, paths: list[str], lists: dict[str, str] | None = None, **settings) -> Layout:
    """The layout of these videos (never opened) and lists."""
    files = [RawFile(path, 1, path) for path in paths]
    for name, text in (lists or {}).items():
        (root / "HDTF_dataset").mkdir(exist_ok=True)
        (root / "HDTF_dataset" / name).write_bytes(text.encode())
        files.append(RawFile(f"HDTF_dataset/{name}", len(text), name))
    return hdtf.find(root, files, IngestSettings(hdtf_test_fraction=0.0, **settings))


def excluded(layout: Layout) -> dict[str, str]:
    return {row["clip"]: row["reason"] for row in layout.excluded}


def test_real_lists_have_their_known_counts(shared: Path) -> None:
    folder = shared / "corpora/HDTF/HDTF_dataset"
    lists = hdtf.parse_lists({path.name: path.read_bytes().decode("utf-8-sig") for path in folder.glob("*.txt")})
    assert sum(bool(a.url) for a in lists.values()) == 370
    assert sum(bool(a.intervals) for a in lists.values()) == 369
    assert sum(len(a.intervals) for a in lists.values()) == 436
    assert sum(len(a.crops) for a in lists.values()) == 421
    assert [name for name, a in lists.items() if a.url and not a.intervals] == ["RD_Radio24"]
    assert [name for name, a in lists.items() if not a.height_px] == ["WRA_KevinMcCarthy1"]
    assert min(w for a in lists.values() for _, _, w, _ in a.crops.values()) == 240
    assert "WDA_CarolynMaloney2" in lists  # the list opens with a byte order mark
    assert len({hdtf_speaker(a.video) for a in lists.values()}) == 277


def test_real_lists_every_exclusion_is_named(shared: Path) -> None:
    """All 370 videos 'held': 436 intervals are spans or named."""
    folder = shared / "corpora/HDTF/HDTF_dataset"
    texts = {path.name: path.read_text(encoding="utf-8-sig") for path in folder.glob("*.txt")}
    names = hdtf.parse_lists(texts)
    files = [RawFile(f"videos/{a.video}.mp4", 1, a.video) for a in names.values()]
    files += [RawFile(f"HDTF_dataset/{path.name}", 1, path.name) for path in folder.glob("*.txt")]
    layout = hdtf.find(shared / "corpora/HDTF", files, IngestSettings())
    reasons = sorted(row["reason"] for row in layout.excluded)
    assert len(layout.spans) == 421
    assert reasons == ["no_crop"] * 15 + ["no_interval"]
    unused = {path: fate.reason for path, fate in layout.files.items() if fate.reason}
    assert unused["videos/Radio24.mp4"] == "no_interval" and unused["videos/Radio15.mp4"] == "no_crop"
    assert len(layout.files) == 370 + 15
    test = {span.speaker for span in layout.spans if span.split == "test"}
    assert 10 <= len(test) <= 50 and not test & {span.speaker for span in layout.spans if span.split == "train"}


def test_whole_videos(tmp_path: Path) -> None:
    layout = find(
        tmp_path,
        [
            "videos/Radio1.mp4",
            "videos/RD_Radio11.mkv",
            "videos/AdamKinzinger0.mp4",
            "videos/AdamKinzinger1.mp4",
            "videos/Nobody.mp4",
            "videos/Radio24.mp4",
            "videos/Long.mp4",
            "notes.txt",
        ],
        LISTS,
    )
    spans = {span.name: span for span in layout.spans}
    first = spans["hdtf_RD_Radio1_000"]
    assert (first.video, first.start_s, first.end_s, first.crop, first.crop_of_height_px) == (
        "videos/Radio1.mp4",
        20,
        95,
        (466, 0, 530, 530),
        720,
    )
    assert spans["hdtf_RD_Radio11_001"].start_s == 90 and spans["hdtf_RD_Radio11_001"].video == "videos/RD_Radio11.mkv"
    assert spans["hdtf_WRA_Long_000"].start_s == 3723
    assert {spans[f"hdtf_WRA_AdamKinzinger{i}_000"].speaker for i in (0, 1)} == {"AdamKinzinger"}
    assert excluded(layout) == {
        "hdtf_RD_Radio11_000": "no_crop",
        "hdtf_RD_Radio24": "no_interval",
        "hdtf_Nobody": "no_interval",
        "hdtf_WRA_MittRomney_000": "not_held",
        "hdtf_WRA_MittRomney_001": "not_held",
    }
    assert (
        layout.files["notes.txt"].reason == "not_in_layout"
        and layout.files["videos/Radio24.mp4"].reason == "no_interval"
    )


def test_overlapping_intervals_share_nothing(tmp_path: Path) -> None:
    spans = {s.name: (s.start_s, s.end_s) for s in find(tmp_path, ["videos/MittRomney.mp4"], LISTS).spans}
    assert spans == {"hdtf_WRA_MittRomney_000": (490, 510), "hdtf_WRA_MittRomney_001": (33, 490)}
    assert hdtf.without_overlap([(0, 10), (2, 8), (5, 12), None, (20, 20)]) == [(0, 10), None, (10, 12), None, None]


def test_cut_clips(tmp_path: Path) -> None:
    layout = find(
        tmp_path,
        [
            "clips/RD_Radio8_000.mp4",
            "clips/RD_Radio2_000.mp4",
            "clips/WDA_EdMarkey0_000.mp4",
            "clips/EX_A_b_c_012.mp4",
            "clips/strange name.mp4",
            "videos/Radio8.mp4",
        ],
        LISTS | {"RD_annotion_time.txt": "Radio8.mp4 00:00-00:10\n"},
        hdtf_test_speakers=("Radio2", "Radio8"),
        same_person=(("Radio2", "Radio8"),),
    )
    spans = {span.name: span for span in layout.spans}
    assert {name: span.speaker for name, span in spans.items()} == {
        "hdtf_RD_Radio8_000": "Radio2",
        "hdtf_RD_Radio2_000": "Radio2",
        "hdtf_WDA_EdMarkey0_000": "EdMarkey",
        "hdtf_EX_A_b_c_012": "A_b_c",
    }
    assert {name for name, span in spans.items() if span.split == "test"} == {
        "hdtf_RD_Radio8_000",
        "hdtf_RD_Radio2_000",
    }
    assert layout.files["clips/strange name.mp4"].reason == "not_in_layout"
    assert layout.files["videos/Radio8.mp4"].reason == "duplicate"  # its clips are held already


def test_a_test_person_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="hdtf_test_speakers: nobody here is called Radio9 — people here: Radio8"):
        find(tmp_path, ["clips/RD_Radio8_000.mp4"], hdtf_test_speakers=("Radio9",))


def test_speakers() -> None:
    assert [hdtf_speaker(v) for v in ("AdamKinzinger2", "Radio11", "Radio13", "KatieHill", "FAzSK8PLmGI", "007")] == [
        "AdamKinzinger",
        "Radio11",
        "Radio13",
        "KatieHill",
        "FAzSK8PLmGI",
        "007",
    ]


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("RD_crop_wh.txt", "Radio1_0.mp4 1 2 3\n", "line 1"),
        ("RD_crop_wh.txt", "\nRadio1.mp4 1 2 3 4\n", "line 2"),
        ("RD_resolution.txt", "Radio1.mp4 high\n", "line 1"),
        ("RD_video_url.txt", "Radio1\n", "line 1"),
    ],
)
def test_a_broken_line_is_named(name: str, text: str, line: str) -> None:
    with pytest.raises(CorpusError, match=f"{name}, {line}: cannot be read"):
        hdtf.parse_lists({name: text})


def test_an_unreadable_interval_keeps_the_numbers_of_the_others(tmp_path: Path) -> None:
    layout = find(
        tmp_path, ["videos/Radio11.mp4"], LISTS | {"RD_annotion_time.txt": "Radio11.mp4 oops 01:30-02:30 05:00-04:00\n"}
    )
    assert [(s.name, s.start_s) for s in layout.spans] == [("hdtf_RD_Radio11_001", 90)]
    assert excluded(layout)["hdtf_RD_Radio11_000"] == excluded(layout)["hdtf_RD_Radio11_002"] == "bad_interval"


@pytest.mark.parametrize(
    ("crop", "stated", "size", "expected"),
    [
        ((466, 0, 530, 530), 720, (1280, 720), (466, 0, 530, 530)),
        ((466, 0, 530, 530), 720, (1920, 1080), (699, 0, 795, 795)),  # a download at another resolution than annotated
        ((466, 10, 530, 530), 1080, (640, 360), (155, 3, 177, 177)),
        (
            (389, 0, 776, 776),
            720,
            (1920, 1080),
            (389, 0, 776, 776),
        ),  # does not fit the stated 720: measured on a picture like this
        ((100, 0, 240, 240), 0, (640, 360), (100, 0, 240, 240)),  # resolution 0: unknown, taken as it is
        ((700, 0, 600, 600), 720, (1280, 720), (700, 0, 580, 600)),  # a little over the border: cut there
    ],
)
def test_crops_fit_the_file_that_is_held(crop: tuple, stated: int, size: tuple, expected: tuple) -> None:
    assert fit_crop(Span("a", "a", "train", "a", crop=crop, crop_of_height_px=stated), *size) == expected


@pytest.mark.parametrize(
    ("crop", "stated", "size"),
    [((389, 0, 776, 776), 0, (640, 360)), ((-400, 0, 500, 500), 720, (1280, 720)), ((0, 0, 0, 9), 0, (64, 64))],
)
def test_crops_beyond_the_frame_are_excluded(crop: tuple, stated: int, size: tuple) -> None:
    with pytest.raises(SpanError) as caught:
        fit_crop(Span("a", "a", "train", "a", crop=crop, crop_of_height_px=stated), *size)
    assert caught.value.reason == "crop_outside"
