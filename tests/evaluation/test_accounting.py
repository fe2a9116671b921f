"""Every file of both folders is scored, passed over as what it is, or named; what is no video in one line each kind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3dnerf.evaluation import accounting
from s3dnerf.evaluation.accounting import problem_lines
from s3dnerf.evaluation.folders import generated_videos, score_folders
from s3dnerf.evaluation.other_methods import find_methods, other_files
from s3dnerf.evaluation.protocol import Tools
from tests.fake_preset import DrawnFaces
from tests.videos import drawn, write_video

OPENINGS = [0.2, 0.6, 0.9, 0.4]
COMPANION = bytes.fromhex("00051607") + bytes(100)
MEDIA = b"\0\0\0\x18ftypisom"


def fill(folder: Path, **files: bytes) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def lines(generated: Path) -> list[str]:
    return problem_lines(generated_videos(generated, "generated", "files")[1])


def test_videos_of_any_name_are_scored_and_everything_else_is_named(tmp_path: Path) -> None:
    made, truth = tmp_path / "made", tmp_path / "truth"
    mpeg = ("-c:v", "mpeg2video", "-q:v", "2", "-pix_fmt", "yuv420p")
    for name in ("x", "y", "z", "w"):
        write_video(truth / f"{name}.mp4", drawn(OPENINGS * 4))
    write_video(made / "x.mpeg", drawn(OPENINGS * 4), *mpeg)
    write_video(made / "y.mp4", drawn(OPENINGS * 4))
    (made / "y.mp4").rename(made / "y.bin")  # known by its bytes
    write_video(made / "z.mp4", drawn(OPENINGS * 4))
    (made / "z.mp4").rename(made / "z")
    write_video(made / "w.MOV", drawn(OPENINGS * 4))
    fill(made, **{"._x.mpeg": COMPANION, ".DS_Store": b"\0", "notes.txt": b"mine", "p.png": b"\x89PNG\r\n\x1a\n", "s.wav": b"RIFF\0\0\0\0WAVE",
                  "y.mp4.part": MEDIA, "more/a.mp4": MEDIA})  # fmt: skip
    fill(truth, **{"Thumbs.db": b"\0", "list.csv": b"a,b", "old/x.mp4": MEDIA})
    os.mkfifo(made / "pipe.mp4")
    rows, problems = score_folders(made, truth, Tools(faces=DrawnFaces()))
    scored = {r["clip"]: r["value"] for r in rows if r["metric"] == "ssim"}
    assert set(scored) == {"x", "y", "z", "w"} and scored["y"] == scored["z"] == 1 and scored["x"] > 0.9
    text = [line for line in problem_lines(problems) if "truth_without_sound" not in line]
    assert text == [
        "folder_not_read: 2: made/more, truth/old (videos lie beside it, and are taken for one method's, true videos lie beside each other)",
        "not_a_video: 5: made/notes.txt, made/p.png, made/pipe.mp4, made/s.wav, truth/list.csv (a text, a picture, not a file but a pipe, a socket or a device, a sound)",
        "passed_over: 4: made/.DS_Store, made/._x.mpeg, made/y.mp4.part, truth/Thumbs.db (of the operating system or a program, not of anybody's, what macOS keeps of another file (AppleDouble), a part of a download or of a file that is being written)",
    ]  # fmt: skip
    held = {str(p.relative_to(tmp_path)) for folder in (made, truth) for p in folder.iterdir()}
    used = {f"made/{m.path.name}" for m in generated_videos(made, "", "")[0]} | {f"truth/{name}.mp4" for name in scored}
    assert held == used | {p.name for p in problems if p.what in accounting.IN_ONE_LINE}


def test_a_thousand_texts_are_one_line(tmp_path: Path) -> None:
    fill(tmp_path, **{f"{n:04d}.txt": b"a" for n in range(1000)}, **{"v.mp4": MEDIA})
    (line,) = lines(tmp_path)
    assert line.startswith("not_a_video: 1000: ") and line.endswith(" and 980 more (a text)") and len(line) < 2000


def test_two_files_of_one_name(tmp_path: Path) -> None:
    fill(tmp_path, **{"a.mkv": MEDIA, "a.mp4": MEDIA, "a": MEDIA})
    videos, problems = generated_videos(tmp_path, "", "")
    assert [v.path.name for v in videos] == ["a"] and [(p.name, p.what) for p in problems] == [("a", "same_name")] * 2


METHODS = {
    "one/HDTF/x.mp4": MEDIA, "one/HDTF/x.mkv": MEDIA, "one/HDTF/._x.mp4": COMPANION, "one/HDTF/deep/y.mp4": MEDIA, "one/HDTF/readme": b"text",
    "one/loose.mp4": MEDIA, "one/notes.txt": b"text", "readme.md": b"text", ".DS_Store": b"\0", "__MACOSX/one/HDTF/x.mp4": MEDIA,
}  # fmt: skip


def test_a_folder_of_methods_names_what_lies_beside_them(tmp_path: Path) -> None:
    fill(tmp_path / "made", **METHODS)
    videos, problems = generated_videos(tmp_path / "made", "", "")
    assert [(v.method, v.corpus, v.path.name) for v in videos] == [("one", "hdtf", "x.mkv")]
    assert [(p.method, p.name) for p in problems if p.what == "same_name"] == [("one", "x")]
    assert {(p.name, p.what) for p in problems if p.what != "same_name"} == LEFT


LEFT = {
    ("made/one/HDTF/._x.mp4", "passed_over"), ("made/one/HDTF/deep", "folder_not_read"), ("made/one/HDTF/readme", "not_a_video"),
    ("made/one/loose.mp4", "outside_layout"), ("made/one/notes.txt", "not_a_video"), ("made/readme.md", "not_a_video"),
    ("made/.DS_Store", "passed_over"), ("made/__MACOSX", "passed_over"),
}  # fmt: skip


def test_other_methods_videos_and_what_lies_beside_them(tmp_path: Path) -> None:
    fill(tmp_path / "made", **METHODS)
    found = find_methods(str(tmp_path / "made"))
    assert [(m.name, m.corpus, m.clip, m.label) for m in found] == [
        ("one", "hdtf", "x", "one/HDTF/x.mkv"),
        ("one", "hdtf", "x", "one/HDTF/x.mp4"),
    ]
    assert {(p.name, p.what) for p in other_files(str(tmp_path / "made"))} == LEFT
    assert other_files(None) == [] and other_files(str(tmp_path / "none")) == []


def test_a_folder_that_holds_no_video_says_what_it_holds(tmp_path: Path) -> None:
    fill(tmp_path / "made", **{"a.txt": b"a", "one/b.mp4": MEDIA})
    with pytest.raises(
        FileNotFoundError,
        match=r"no videos, .*; not_a_video: 1: made/a.txt \(a text\); outside_layout: 1: made/one/b.mp4",
    ):
        generated_videos(tmp_path / "made", "", "")


def test_a_sub_folder_that_may_not_be_opened_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path, **{"made/one/hdtf/a.mp4": MEDIA, "made/two/hdtf/a.mp4": MEDIA})
    iterdir = Path.iterdir

    def refusing(self: Path):
        if self.name == "two" or self.name == "locked":
            raise PermissionError(13, "Permission denied", str(self))
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refusing)
    assert lines(tmp_path / "made") == ["unreadable_folder: 1: made/two (may not be opened (no permission))"]
    with pytest.raises(PermissionError):
        accounting.look_into(tmp_path / "locked", tmp_path / "locked")


def test_a_name_that_is_not_utf8_is_named_and_never_opened(tmp_path: Path) -> None:
    """OpenCV ends the process with a segmentation fault over one."""
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / os.fsdecode(b"n\xe4me.mp4")).write_bytes(MEDIA)
    (tmp_path / "made" / "a.mp4").write_bytes(MEDIA)
    assert lines(tmp_path / "made") == ["made/n\\xe4me.mp4: name_not_utf8: rename the file: its name is not UTF-8"]


@pytest.mark.parametrize("name", ["a\nb", "a%d", "-x", "a:b", "*?", "'\"", "x" * 200])
def test_videos_with_odd_names_are_scored(tmp_path: Path, name: str) -> None:
    for folder in ("made", "truth"):
        write_video(tmp_path / folder / "plain.mp4", drawn(OPENINGS))
        (tmp_path / folder / "plain.mp4").rename(tmp_path / folder / f"{name}.mp4")
    rows, problems = score_folders(tmp_path / "made", tmp_path / "truth", Tools(faces=DrawnFaces()))
    assert [r["value"] for r in rows if r["metric"] == "ssim"] == [1.0]
    text = "\n".join([*problem_lines(problems), *(f"{r['clip']} {r['reason']}" for r in rows)])
    assert text.encode() and len(text.splitlines()) == len(problems) + len(rows)  # printable, a line each
