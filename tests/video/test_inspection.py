"""What the packets of a file tell: whether an edit list moves the picture ahead of its sound, and by how much."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from s3dnerf.video.encoding import VideoError
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


IN_PLACE = (
    "as ffmpeg writes it",
    "frames in their order",
    "no edit list",
    "index first",
    "sound starts later",
    "late picture",
    "fragments",
    "on a frame",
)


@pytest.mark.parametrize("kind", IN_PLACE)
def test_lists_that_move_nothing(kind: str, tmp_path: Path) -> None:
    info = probe(make(kind, tmp_path))
    assert (info.early_s, info.several_edits) == (0.0, False)


def test_a_list_that_begins_between_two_frames_moves_the_picture(tmp_path: Path) -> None:
    """Cut at 0.777 s: the frame at 0.8 s is the first that is shown, and it is shown at 0."""
    info = probe(make("between frames", tmp_path))
    assert info.early_s == pytest.approx(0.8 - 0.777, abs=1e-3) and not info.several_edits


def test_a_list_of_several_pieces_is_named(tmp_path: Path) -> None:
    """Two pieces of one track, joined by the edit list alone: 0.5–0.9 s and 1.3–1.7 s."""
    path = make("as ffmpeg writes it", tmp_path)
    data = bytearray(path.read_bytes())
    at = data.index(b"elst")
    assert struct.unpack_from(">I", data, at - 4)[0] == 28  # one entry
    timescale = struct.unpack_from(">I", data, data.index(b"mdhd") + 16)[0]
    scale = struct.unpack_from(">I", data, data.index(b"mvhd") + 16)[0]
    pieces = [(0.4, 0.5), (0.35, 0.9317)]
    entries = b"".join(struct.pack(">IiI", round(d * scale), round(s * timescale), 1 << 16) for d, s in pieces)
    box = struct.pack(">I4sII", 16 + 12 * len(pieces), b"elst", 0, len(pieces)) + entries
    grown = len(box) - 28
    data[at - 4 : at + 24] = box
    for kind in (b"edts", b"trak", b"moov"):
        place = data.rindex(kind, 0, at) - 4
        struct.pack_into(">I", data, place, struct.unpack_from(">I", data, place)[0] + grown)
    path.write_bytes(data)  # the index stands behind the pictures: no place in them moves
    assert probe(path).several_edits


def test_a_list_that_shows_nothing_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="no frame can be decoded") as caught:
        probe(make("an empty edit", tmp_path))
    assert caught.value.reason == "unreadable"


@pytest.mark.parametrize("kind", ["twice as fast", "sound in several pieces"])
def test_lists_of_other_kinds_are_read(kind: str, tmp_path: Path) -> None:
    assert len(probe(make(kind, tmp_path)).pts) == 40


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"abc", "unreadable"),
        (bytes(100), "unreadable"),
        (b"\0\0\0\x10moov" + bytes(8), "no_video"),
        (b"RIFF" + bytes(60), "unreadable"),
    ],
)
def test_what_is_no_video_has_a_reason(data: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(VideoError) as caught:
        probe(tmp_path / "a.mp4")
    assert caught.value.reason == reason
