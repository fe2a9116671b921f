"""The plain edit lists are told from the others without ffmpeg, and for the plain ones ffmpeg says the same."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from s3dnerf.video import probing
from s3dnerf.video.editlist import starts_on_a_frame
from s3dnerf.video.probing import probe
from tests.video.numbered import ffmpeg, tone, write

NO_REORDERING = ("-c:v", "libx264", "-bf", "0")


def make(kind: str, folder: Path) -> Path:
    """One made video."""
    path = folder / "a.mp4"
    if kind in ("between frames", "on a frame"):
        source = write(folder / "whole.mp4", 60, "30", sound=tone(2))
        ffmpeg("-ss", "0.777" if kind == "between frames" else "0.8", "-i", source, "-c", "copy", path)
        return path
    if kind == "late picture":
        return write(path, 40, "30", filters="setpts=PTS+0.3/TB", sound=tone(1.5))
    if kind == "frames in their order":
        return write(path, 40, "30", codec=NO_REORDERING)
    if kind == "fragments":
        ffmpeg("-i", write(folder / "whole.mp4", 40, "30"), "-c", "copy", "-movflags", "frag_keyframe+empty_moov", path)
        return path
    if kind == "no edit list":
        ffmpeg(
            "-i", write(folder / "whole.mp4", 40, "30", codec=NO_REORDERING), "-c", "copy", "-use_editlist", "0", path
        )
        return path
    if kind == "index first":
        ffmpeg(
            "-i", write(folder / "whole.mp4", 40, "30", sound=tone(1)), "-c", "copy", "-movflags", "+faststart", path
        )
        return path
    write(path, 40, "30", sound=tone(1))
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") if kind != "sound starts later" else data.index(b"elst", data.index(b"elst") + 4)
    if kind == "twice as fast":
        struct.pack_into(">I", data, at + 20, 2 << 16)
    elif kind == "sound in several pieces":
        struct.pack_into(">I", data, data.index(b"elst", at + 4) + 8, 2)
    elif kind == "an empty edit":
        struct.pack_into(">i", data, at + 16, -1)
    elif kind == "sound starts later":
        struct.pack_into(">i", data, at + 16, 2048)
    elif kind == "a box too large":
        struct.pack_into(">I", data, data.index(b"trak") - 4, 1 << 30)
    else:
        assert kind == "as ffmpeg writes it"
    path.write_bytes(data)
    return path


PLAIN = ("as ffmpeg writes it", "frames in their order", "no edit list", "index first", "sound starts later")
OTHER = (
    "between frames",
    "late picture",
    "fragments",
    "twice as fast",
    "sound in several pieces",
    "an empty edit",
    "a box too large",
)


@pytest.mark.parametrize("kind", PLAIN)
def test_plain_lists_need_no_second_reading(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(kind, tmp_path)
    assert starts_on_a_frame(path)
    asked: list[str] = []
    edits = probing._edits
    monkeypatch.setattr(probing, "_edits", lambda *arguments: asked.append(kind) or edits(*arguments))
    info = probe(path)
    assert not asked and edits(str(path), int(info.pts[0]), info.time_base) == (info.early_s, info.several_edits) == (
        0.0,
        False,
    )


@pytest.mark.parametrize("kind", OTHER)
def test_for_others_ffmpeg_is_asked(kind: str, tmp_path: Path) -> None:
    assert not starts_on_a_frame(make(kind, tmp_path))


def test_an_edit_on_a_later_frame_is_left_to_ffmpeg(tmp_path: Path) -> None:
    path = make("on a frame", tmp_path)
    assert not starts_on_a_frame(path) and probe(path).early_s == 0.0
    assert probe(make("between frames", tmp_path)).early_s > 0.0


@pytest.mark.parametrize("data", [b"", b"abc", bytes(100), b"\0\0\0\x10moov" + bytes(8), b"RIFF" + bytes(60)])
def test_what_is_no_mp4_is_no_plain_one(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    assert not starts_on_a_frame(tmp_path / "a.mp4")
    assert not starts_on_a_frame(tmp_path / "nothing.mp4")


def test_real_clips(shared: Path) -> None:
    for path in sorted((shared / "corpora/LRS2").rglob("*.mp4")):
        assert starts_on_a_frame(path)
        info = probe(path)
        assert probing._edits(str(path), int(info.pts[0]), info.time_base) == (info.early_s, info.several_edits)
