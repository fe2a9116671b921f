"""Names, splits, cutting and packs: what must stay the same when a corpus grows."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from s3dnerf.corpora import portraits
from s3dnerf.corpora.cutting import SpanError, cut_span, cut_ticks
from s3dnerf.corpora.packing import assign_packs
from s3dnerf.corpora.records import CLIP_COLUMNS, CorpusError, RawFile, Span, slug, table_bytes
from s3dnerf.corpora.splits import canonical_names, check_files, check_people, held_out
from s3dnerf.settings.schema import IngestSettings

FACTS = {"fps_hz": 25.0, "width_px": 640, "height_px": 480, "first_tick": 0, "end_tick": 1000, "has_audio": True}


def test_slugs_are_safe_and_distinct() -> None:
    assert slug("Radio8_000") == "Radio8_000"
    made = [slug(name) for name in ("a b", "a.b", "a-b", "ä", "é", "…", " ")]
    assert len(set(made)) == len(made)
    assert all(name.replace("-", "").replace("_", "").isalnum() and name.isascii() for name in made)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (250, [250]),
        (251, [250]),
        (255, [250]),
        (256, [128, 128]),
        (627, [209, 209, 209]),
        (24, []),
        (25, [25]),
        (0, []),
        (1779, [250] * 7),
        (500, [250, 250]),
    ],
)
def test_even_pieces_of_at_most_ten_seconds(length: int, expected: list[int]) -> None:
    pieces = cut_ticks(2, 2 + length, 10.0, 1.0)
    assert [b - a for a, b in pieces] == expected
    assert not pieces or pieces[0][0] == 2 and all(p[1] == q[0] for p, q in zip(pieces, pieces[1:]))


def test_no_piece_is_too_short() -> None:
    for length in range(1, 700):
        for piece in cut_ticks(0, length, 4.0, 3.0):
            assert 75 <= piece[1] - piece[0] <= 100


def test_cutting_a_span() -> None:
    words = (("A", 0.1, 0.2), ("B", 11.0, 11.4), ("C", 19.9, 20.5))
    span = Span("lrs2_x", "x", "train", "v.mp4", start_s=0.0, end_s=20.0, text="A B C", words=words)
    clips = cut_span(span, FACTS, 10.0, 1.0)
    assert [(c["clip"], c["start_s"], c["end_s"], c["text"]) for c in clips] == [
        ("lrs2_x-00", 0.0, 10.0, "A"),
        ("lrs2_x-01", 10.0, 20.0, "B C"),
    ]
    # to the file's end
    assert cut_span(Span("y", "y", "train", "v.mp4", start_s=38.0, end_s=60.0), FACTS, 10.0, 1.0)[0]["end_s"] == 40.0
    for start, end, reason in ((41.0, 60.0, "interval_outside"), (39.5, 60.0, "too_short")):
        with pytest.raises(SpanError) as caught:
            cut_span(Span("z", "z", "train", "v.mp4", start_s=start, end_s=end), FACTS, 10.0, 1.0)
        assert caught.value.reason == reason


def made_clips(people: int, videos: int, clips: int) -> list[dict[str, str]]:
    return [
        {"clip": f"c_{p}_{v}_{c}", "speaker": f"p{p}", "video": f"{p}/{v}.mp4"}
        for p in range(people)
        for v in range(videos)
        for c in range(clips)
    ]


def test_packs_are_small_whole_and_independent_of_order() -> None:
    clips = made_clips(60, 2, 3)
    packs = assign_packs("hdtf", clips, 16)
    assert packs == assign_packs("hdtf", clips[::-1], 16)
    sizes = pd.Series(packs).value_counts()
    assert sizes.max() <= 16 and 360 / 16 <= len(sizes) <= 60
    assert pd.Series(packs).str.fullmatch(r"hdtf-[0-9a-f]{8}").all()
    homes = {p: {packs[f"c_{p}_{v}_{c}"] for v in range(2) for c in range(3)} for p in range(60)}
    assert all(len(home) == 1 for home in homes.values())  # a person's clips stay together


def test_one_more_video_changes_one_pack() -> None:
    clips = made_clips(60, 2, 3)
    before = assign_packs("hdtf", clips, 16)

    def contents(packs: dict[str, str]) -> set[tuple[str, frozenset[str]]]:
        table = pd.Series(packs)
        return {(name, frozenset(part.index)) for name, part in table.groupby(table)}

    for number in range(30):
        added = [{"clip": f"new_{number}_{c}", "speaker": f"new{number}", "video": "new.mp4"} for c in range(3)]
        gone = contents(before) - contents(assign_packs("hdtf", clips + added, 16))
        assert len(gone) <= 1
    assert not contents(before) - contents(assign_packs("hdtf", clips, 16))


def test_one_person_with_many_clips_is_split_by_video() -> None:
    clips = made_clips(1, 40, 5)
    packs = assign_packs("hdtf", clips, 16)
    assert max(pd.Series(packs).value_counts()) <= 16
    assert all(len({packs[f"c_0_{v}_{c}"] for c in range(5)}) == 1 for v in range(40))


def test_150000_utterances_make_a_few_thousand_packs() -> None:
    packs = pd.Series(assign_packs("lrs2", made_clips(10_000, 15, 1), 64))
    assert len(packs) == 150_000 and 2344 <= packs.nunique() <= 6000


def test_names_of_one_person() -> None:
    person = canonical_names([["Radio2", "Radio8"], ["A", "B", "C"]])
    assert [person(n) for n in ("Radio8", "C", "D")] == ["Radio2", "A", "D"]
    with pytest.raises(CorpusError, match="two lists"):
        canonical_names([["A", "B"], ["B", "C"]])
    with pytest.raises(CorpusError, match="two names or more"):
        canonical_names([["A"]])


def test_held_out_shares() -> None:
    names = [f"n{i}" for i in range(400)]
    many = held_out(names, 0.1, "s")
    assert 20 <= len(many) <= 65 and held_out([*names, "one more"], 0.1, "s") - {"one more"} == many
    assert (
        len(held_out(names[:8], 0.25, "s")) == 2
        and len(held_out(names[:3], 0.01, "s")) == 1
        and len(held_out(names[:3], 0.99, "s")) == 2
    )
    assert held_out(names, 0.0, "s") == set() and held_out(names[:5], 1.0, "s") == set(names[:5])


def test_nobody_is_trained_and_tested_on() -> None:
    check_people([("A", "train", "hdtf"), ("A", "train", "lrs2"), ("B", "test", "mead")])
    with pytest.raises(CorpusError, match="A: test in portraits, train in hdtf\\+lrs2"):
        check_people([("A", "train", "hdtf"), ("A", "train", "lrs2"), ("A", "test", "portraits")])


def test_the_same_bytes_are_the_same_person_whatever_the_name() -> None:
    check_files([("1", "train", "hdtf", "a.mp4"), ("1", "train", "lrs2", "b.mp4"), ("2", "test", "portraits", "c.mp4")])
    # within a corpus ingest excludes the second
    check_files([("1", "train", "hdtf", "a.mp4"), ("1", "test", "hdtf", "b.mp4")])
    with pytest.raises(CorpusError, match="train as hdtf/a.mp4, test as portraits/me.mp4"):
        check_files(
            [("1", "train", "hdtf", "a.mp4"), ("2", "test", "hdtf", "c.mp4"), ("1", "test", "portraits", "me.mp4")]
        )


def test_portraits() -> None:
    files = [RawFile(path, 1, path) for path in ("May_1.mp4", "May_2.mp4", "b/Obama.mpg", "c/Obama.mpg", "readme.txt")]
    layout = portraits.find(Path("raw"), files, IngestSettings())
    assert {span.name: (span.speaker, span.split) for span in layout.spans if "Obama" not in span.name} == {
        "portraits_May_1": ("May", "test"),
        "portraits_May_2": ("May", "test"),
    }
    assert len({span.name for span in layout.spans}) == 4 and layout.files["readme.txt"].reason == "not_in_layout"


def test_a_portrait_s_video_is_known_by_its_bytes_where_its_name_says_nothing() -> None:
    kinds = {"May.dat": "video", "Obama": "media", "me.MPEG": "", "me.wmv": "", "photo.jpg": "picture", "speech.caf": "audio",
             "still.gif": "picture", "main.ts": "text", "notes": "text"}  # fmt: skip
    layout = portraits.find(
        Path("raw"), [RawFile(path, 1, path, kind) for path, kind in kinds.items()], IngestSettings()
    )
    assert {span.video for span in layout.spans} == {"May.dat", "Obama", "me.MPEG", "me.wmv"}
    left = {path: (fate.role, fate.reason, fate.detail) for path, fate in layout.files.items() if fate.reason}
    assert left["photo.jpg"] == ("other", "not_in_layout", "a picture, not a video")
    assert left["speech.caf"] == ("audio", "not_in_layout", "a sound, not a video")
    assert {left[path][2] for path in ("main.ts", "notes")} == {"a text, not a video"} and len(left) == 5


def test_empty_tables_keep_their_types(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(table_bytes([], CLIP_COLUMNS))
    empty = pd.read_parquet(tmp_path / "t.parquet")
    assert (
        list(empty.columns) == list(CLIP_COLUMNS)
        and str(empty["crop_x"].dtype) == "int64"
        and str(empty["start_s"].dtype) == "float64"
    )
    assert table_bytes([], CLIP_COLUMNS) == table_bytes([], CLIP_COLUMNS)
