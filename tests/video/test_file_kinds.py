"""What files are, by their bytes and by their names; and which are nobody's."""

from __future__ import annotations

import hashlib
import io
import os
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s3dnerf.video.file_kinds import (
    AUDIO_SUFFIXES,
    PICTURE_SUFFIXES,
    SUFFIXES,
    VIDEO_SUFFIXES,
    hash_and_kind,
    kind_of,
    meant_as,
    passed_over,
)
from s3dnerf.video.signatures import content_kind
from tests.video.numbered import ffmpeg

PICTURES = ("-f", "lavfi", "-i", "testsrc2=s=64x48:r=25:d=0.4")
SOUND = ("-f", "lavfi", "-i", "sine=300:r=48000:d=0.4")
DV = ("-vf", "scale=720:576", "-pix_fmt", "yuv420p", "-target", "pal-dv")
# name: ffmpeg's words for its streams
MADE_VIDEOS = {
    "a.mp4": (), "a.mov": (), "a.mkv": (), "a.webm": ("-c:v", "libvpx"), "a.avi": (), "a.mpg": (), "a.mpeg": ("-f", "mpeg"),
    "a.vob": (), "a.ts": (), "a.m2ts": (), "a.mts": ("-f", "mpegts", "-mpegts_m2ts_mode", "1"), "a.flv": ("-c:v", "flv"),
    "a.f4v": (), "a.wmv": (), "a.asf": (), "a.3gp": ("-c:v", "mpeg4", "-s", "176x144"), "a.ogv": ("-c:v", "libtheora"),
    "a.mxf": ("-c:v", "mpeg2video"), "a.dv": DV, "a.gif": (), "a.m4v": (), "a.y4m": ("-pix_fmt", "yuv420p"), "a.264": ("-f", "h264"),
    "a.265": ("-c:v", "libx265", "-x265-params", "log-level=error"), "a.m1v": (), "a.ivf": ("-c:v", "libvpx"), "a.nut": (),
}  # fmt: skip
MADE_SOUNDS = {
    "a.wav": (), "a.rf64": ("-f", "wav", "-rf64", "always"), "a.w64": (), "a.aiff": (), "a.caf": (), "a.au": (), "a.flac": (),
    "a.mp3": (), "a.mp2": (), "a.aac": (), "a.ac3": (), "a.eac3": (), "a.dts": ("-strict", "-2"), "a.wv": (), "a.tta": (),
    "a.ogg": (), "a.opus": (), "a.oga": ("-c:a", "flac"), "a.m4a": (), "a.mka": (), "a.weba": ("-f", "webm"), "a.wma": (),
}  # fmt: skip


def made(folder: Path, name: str, *words: str) -> Path:
    ffmpeg(*words, folder / name)
    return folder / name


@pytest.mark.parametrize("name", MADE_VIDEOS)
def test_videos_are_known_by_their_bytes_and_by_their_names(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name, *PICTURES, *MADE_VIDEOS[name])
    content = content_kind(path.read_bytes()[:4096])
    assert content in ("video", "media") and kind_of(path) == "video"
    assert meant_as(name, content) == meant_as(name.upper(), content) == meant_as("nameless", content) == "video"
    assert meant_as("a.dat", content) == "video" and path.suffix in VIDEO_SUFFIXES


@pytest.mark.parametrize("name", MADE_SOUNDS)
def test_sounds_are_known_by_their_bytes_and_by_their_names(tmp_path: Path, name: str) -> None:
    path = made(tmp_path, name, *SOUND, *MADE_SOUNDS[name])
    content = content_kind(path.read_bytes()[:4096])
    assert content in ("audio", "media") and kind_of(path) == meant_as(name.upper(), content) == "audio"
    assert path.suffix in AUDIO_SUFFIXES
    if path.suffix not in (".mka", ".weba"):  # a container that says in its first bytes that nothing is shown
        assert meant_as("nameless", content) == "audio"


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF", "PPM", "JPEG2000"])
def test_pictures_are_known_by_their_bytes(tmp_path: Path, form: str) -> None:
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(tmp_path / "x", format=form)
    assert kind_of(tmp_path / "x") == "picture"


def test_the_files_that_this_project_got_wrong(shared: Path) -> None:
    if not (shared / "inputs").is_dir():
        pytest.skip("needs ../shared/inputs")
    expected = {".mp4": "video", ".mov": "video", ".mkv": "video", ".mpeg": "video", ".wav": "audio", ".aiff": "audio",
                ".caf": "audio", ".au": "audio", ".amr": "audio", ".webp": "picture", ".png": "picture", ".jpg": "picture",
                ".md": "text", ".yaml": "text"}  # fmt: skip
    for path in sorted((shared / "inputs").iterdir()):
        assert kind_of(path) == ("companion" if path.name.startswith("._") else expected[path.suffix]), path.name


def _zip() -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr(zipfile.ZipInfo("a"), "b")  # with no time of its own: test ids hold these bytes
    return data.getvalue()


OTHERS = {
    b"": "", b"\0" * 4096: "", b"%PDF-1.7\n": "document", b"<html>404</html>": "text", "ä".encode() * 2047 + b"\xc3": "text",
    "\ufeffpreset: tiny".encode("utf-16"): "text", _zip(): "archive", bytes.fromhex("00051607") + bytes(100): "companion",
    np.random.default_rng(1).bytes(4096): "", b"RIFF\0\0\0\0ACON": "", b"\xff\xfb": "", b"BM is no picture": "text",
}  # fmt: skip


@pytest.mark.parametrize("data", OTHERS, ids=lambda data: ascii(data[:12]))
def test_what_is_neither_is_known_as_what_it_is_or_not_at_all(data: bytes) -> None:
    assert content_kind(data) == OTHERS[data]


@pytest.mark.parametrize("size", range(0, 40))
def test_a_file_of_a_few_bytes_is_no_error(size: int) -> None:
    for start in (b"RIFF", b"\x1a\x45\xdf\xa3", b"OggS", b"G", b"\xff\xfb\x90", b"\xff\xf1", b"BM", b"\0\0\0\x08ftyp"):
        assert isinstance(content_kind((start + bytes(40))[:size]), str)


def test_a_suffix_is_of_one_kind() -> None:
    every = " ".join(SUFFIXES.values()).split()
    assert len(every) == len(set(every)) and all(name == name.lower() and name[0] == "." for name in every)
    asked = ".mpeg .aiff .wmv .3gp .ogv .m2ts .mts .dv .mxf .vob .asf .f4v .gif".split()
    asked += ".caf .au .w64 .amr .ac3 .wv .tta .wma .mp2 .opus .aif .oga .mka .weba .rf64 .snd .eac3 .dts .ape".split()
    assert set(asked) <= {*VIDEO_SUFFIXES, *AUDIO_SUFFIXES} and ".jpg" in PICTURE_SUFFIXES


def test_a_name_of_several_kinds_is_what_its_bytes_say(tmp_path: Path) -> None:
    assert meant_as("main.ts", "text") == "text" and meant_as("film.ts", "") == "video"
    Image.new("RGB", (9, 9)).save(tmp_path / "still.gif")
    assert kind_of(tmp_path / "still.gif") == meant_as("still.gif", "picture") == "picture"
    # one that says one thing stays what it is meant as: a reader says what is wrong with it
    assert meant_as("page.mp4", "text") == meant_as("photo.mp4", "picture") == "video"
    assert meant_as("film.wav", "media") == "audio" and meant_as("notes.txt", "text") == "text"


NOBODYS = {
    "companion_file": ["._base_1.mp4", "clips/._a.mp4", "__MACOSX/clips/a.mp4", "__MACOSX/._a", ".AppleDouble/a.mp4"],
    "system_file": [
        ".DS_Store", "clips/.DS_Store", "Thumbs.db", "THUMBS.DB", "desktop.ini", ".directory", ".Trashes/501/a.mp4", ".Trashes",
        ".Spotlight-V100/Store-V2/x", ".fseventsd/0000", "@eaDir/a.mp4/SYNO@.jpg", ".Trash-1000/files/a.mp4", ".nfs00ab12",
        "Icon\r", "lost+found", "$RECYCLE.BIN/a.mp4", "System Volume Information/x", ".rows.csv.lock", ".git/config",
    ],
    "editor_file": [".~lock.list.csv#", "list.txt~", "#list.txt#", ".list.txt.swp", "~$list.docx", "a.txt.bak"],
    "unfinished_download": [
        "a.mp4.part", "a.mp4.crdownload", "a.mp4.!qB", "a.mp4.aria2", "a.mp4.ytdl", "a.f137.mp4.part-Frag12", ".a.mp4.17.ab.part",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "path"), [(r, p) for r, paths in NOBODYS.items() for p in paths])
def test_what_is_nobody_s_is_passed_over_as_what_it_is(reason: str, path: str) -> None:
    found = passed_over(path)
    assert found is not None and found.reason == reason and found.role in ("companion", "system") and found.detail


@pytest.mark.parametrize(
    "path", ["a.mp4", ".hidden.mp4", "clips/Thumbs.mp4", "parts/a.mp4", "a.part.mp4", "trash/a.mp4", "a", "__a.mp4"]
)
def test_what_is_somebody_s_is_not(path: str) -> None:
    assert passed_over(path) is None


def test_a_name_alone_does_not_make_a_companion(tmp_path: Path) -> None:
    """``._x`` that holds a video is a video whose name somebody chose."""
    assert (
        passed_over("._x.mp4", "media") is None and passed_over("._x.mp4", "companion") and passed_over("._x.mp4", "")
    )


def test_what_cannot_be_opened_is_the_system_s_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        kind_of(tmp_path / "none.mp4")
    with wave.open(str(tmp_path / "a"), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
    assert kind_of(os.fsencode(tmp_path / "a")) == "audio"


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 300_000])
def test_one_reading_gives_the_hash_of_all_and_the_kind(size: int, tmp_path: Path) -> None:
    data = (b"RIFF\0\0\0\0WAVE" + np.random.default_rng(0).bytes(size))[:size]
    (tmp_path / "a").write_bytes(data)
    assert hash_and_kind(tmp_path / "a") == (hashlib.sha256(data).hexdigest(), content_kind(data[:4096]))
