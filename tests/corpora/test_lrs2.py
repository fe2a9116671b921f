"""LRS2's lists and transcripts; the split is by folder."""

from __future__ import annotations

from pathlib import Path

from s3dnerf.corpora import lrs2
from s3dnerf.corpora.records import Layout, RawFile
from s3dnerf.settings.schema import IngestSettings

TRANSCRIPT = "Text:  DOWN THE ROAD \nConf:  1\n\nWORD START END ASDSCORE\nDOWN 0.08 0.26 9.3\nTHE 0.26 0.32 10.1\nROAD 12.32 12.66 9.7\n"


def find(root: Path, texts: dict[str, str], videos: list[str], fraction: float = 0.0) -> Layout:
    files = [RawFile(f"mvlrs_v1/{path}", 1, path) for path in videos]
    for path, text in texts.items():
        target = root / "mvlrs_v1" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        files.append(RawFile(f"mvlrs_v1/{path}", len(text), path))
    return lrs2.find(root, files, IngestSettings(lrs2_val_fraction=fraction))


def test_transcripts() -> None:
    text, words = lrs2.parse_transcript(TRANSCRIPT)
    assert text == "DOWN THE ROAD" and words[0] == ("DOWN", 0.08, 0.26) and words[2][1] == 12.32
    assert lrs2.parse_transcript("Text:  HELLO\nConf:  3\n") == ("HELLO", ())
    assert lrs2.parse_transcript("") == ("", ())


def test_lists_split_by_folder(tmp_path: Path) -> None:
    layout = find(
        tmp_path,
        {
            "test.txt": "1/00001 NF\n1/00009 NF\n",
            "val.txt": "2/00001\n",
            "train.txt": "3/00001\n\n",
            "main/3/00001.txt": TRANSCRIPT,
            "main/9/00001.txt": "Text: LOST\n",
            "readme": "x",
        },
        ["main/1/00001.mp4", "main/2/00001.mp4", "main/3/00001.mp4", "pretrain/1/00050.mp4", "pretrain/3/00002.mp4"],
    )
    assert {span.name: span.split for span in layout.spans} == {
        "lrs2_main_1_00001": "test",
        "lrs2_main_2_00001": "val",
        "lrs2_main_3_00001": "train",
        "lrs2_pretrain_1_00050": "test",  # a person of the test list, never trained on
        "lrs2_pretrain_3_00002": "train",
    }
    assert {span.name: span.text for span in layout.spans if span.text} == {"lrs2_main_3_00001": "DOWN THE ROAD"}
    assert {row["clip"]: row["reason"] for row in layout.excluded} == {"lrs2_main_1_00009": "missing"}
    assert {path: fate.reason for path, fate in layout.files.items() if fate.reason} == {
        "mvlrs_v1/readme": "not_in_layout",
        "mvlrs_v1/main/9/00001.txt": "orphan",
    }


def test_a_part_that_is_not_held_is_one_line(tmp_path: Path) -> None:
    layout = find(tmp_path, {"pretrain.txt": "".join(f"{i}/00001\n" for i in range(300))}, ["main/1/00001.mp4"])
    assert [(row["clip"], row["reason"]) for row in layout.excluded] == [("lrs2_pretrain_pretrain", "not_held")]
    assert "300 utterances" in layout.excluded[0]["detail"]


def test_val_folders_are_drawn_stably(tmp_path: Path) -> None:
    videos = [f"main/{i}/00001.mp4" for i in range(40)]
    drawn = {s.speaker for s in find(tmp_path, {}, videos, fraction=0.25).spans if s.split == "val"}
    again = {s.speaker for s in find(tmp_path, {}, videos[::-1], fraction=0.25).spans if s.split == "val"}
    assert len(drawn) == 10 and drawn == again
    one_more = {
        s.speaker for s in find(tmp_path, {}, [*videos, "main/99/00001.mp4"], fraction=0.25).spans if s.split == "val"
    }
    assert len(drawn ^ one_more) <= 2
