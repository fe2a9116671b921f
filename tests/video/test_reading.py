"""Frames by number, forward, from any place; damage is said, not smoothed over."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.video import inspection
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.media import open_media
from s3dnerf.video.reading import probe, read_frames
from tests.video.numbered import HEIGHT, WIDTH, ffmpeg, number_of, tone, write


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("reading") / "v.mp4", 240, "30", sound=tone(8))


def test_probe(video: Path) -> None:
    info = probe(video)
    assert (info.width_px, info.height_px, info.rotation, info.has_audio, info.damage) == (WIDTH, HEIGHT, 0, True, "")
    assert info.fps_hz == pytest.approx(30) and info.duration_s == pytest.approx(8) and info.ordered
    assert info.frame_times_s == pytest.approx(np.arange(240) / 30)


@pytest.mark.parametrize(
    "index", [[0], [3, 3, 3, 7], [239], list(range(100, 140)), list(range(0, 240, 17)), [61, 62, 62, 199], []]
)
def test_frames_by_number(video: Path, index: list[int]) -> None:
    assert [number_of(frame) for frame in read_frames(video, np.array(index, int))] == index


def test_crop_is_the_part_of_the_whole(video: Path) -> None:
    whole = next(read_frames(video, np.array([85])))
    for x, y, w, h in [(16, 8, 64, 40), (17, 9, 65, 41), (0, 0, 33, 21), (WIDTH - 21, HEIGHT - 21, 21, 21)]:
        part = next(read_frames(video, np.array([85]), (x, y, w, h)))
        assert part.shape == (h, w, 3)
        # chroma is blended at the border
        assert np.abs(part[4:-4, 4:-4].astype(int) - whole[y : y + h, x : x + w][4:-4, 4:-4]).max() <= 3


def test_wrong_requests_are_refused(video: Path) -> None:
    for index in ([-1], [3, 2], [[1]]):
        with pytest.raises(ValueError, match="non-decreasing"):
            list(read_frames(video, np.array(index)))
    with pytest.raises(ValueError, match="inside 192×64"):
        list(read_frames(video, np.array([0]), (0, 0, 200, 64)))
    with pytest.raises(VideoError, match="frame 240 of 240"):
        list(read_frames(video, np.array([240])))


def test_rotation_by_metadata_is_applied(video: Path, tmp_path: Path) -> None:
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", "90", "-i", video, "-c", "copy", turned)
    info = probe(turned)
    assert (info.width_px, info.height_px, info.rotation) == (HEIGHT, WIDTH, 270)
    frame = next(read_frames(turned, np.array([37])))
    assert frame.shape == (WIDTH, HEIGHT, 3)
    assert number_of(np.rot90(frame, -1)) == 37


def test_odd_sizes(tmp_path: Path) -> None:
    frames = [np.full((77, 131, 3), 10 * i, np.uint8) for i in range(8)]
    path = write(tmp_path / "odd.mp4", frames, "25", codec=("-c:v", "libx264", "-pix_fmt", "yuv444p"))
    read = list(read_frames(path, np.arange(8)))
    assert read[0].shape == (77, 131, 3) and [round(f.mean() / 10) for f in read] == list(range(8))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("missing", "missing"),
        ("empty", "zero_bytes"),
        ("text", "unreadable"),
        ("headless", "unreadable"),
        ("sound only", "no_video"),
        ("playlist", "unreadable"),
    ],
)
def test_bad_files_have_a_reason(video: Path, tmp_path: Path, kind: str, reason: str) -> None:
    path = tmp_path / "bad.mp4"
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("this is no video\n" * 500)
    elif kind == "headless":  # a download that broke off: the index stands at the end of the file
        path.write_bytes(video.read_bytes()[:-4000])
    elif kind == "sound only":
        ffmpeg("-i", video, "-vn", "-c", "copy", path)
    elif kind == "playlist":  # names another file: never followed
        path.write_text(f"ffconcat version 1.0\nfile '{video}'\n")
    with pytest.raises(VideoError) as caught:
        probe(path)
    assert caught.value.reason == reason


def test_truncated_file_gives_what_decodes_and_then_says_so(video: Path, tmp_path: Path) -> None:
    whole = tmp_path / "fast.mp4"
    ffmpeg("-i", video, "-c", "copy", "-movflags", "+faststart", whole)
    data = whole.read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(data[: len(data) * 3 // 4])
    info = probe(path)
    assert info.damage and 20 < len(info.pts) < 239 and info.declared_s == pytest.approx(8, abs=0.1)
    numbers = [number_of(frame) for frame in read_frames(path, np.arange(len(info.pts)))]
    # the last ones may lack a frame, none is at a wrong time
    assert numbers == np.rint(info.frame_times_s * 30).astype(int).tolist()


def test_destroyed_packets_leave_the_other_times_right(video: Path, tmp_path: Path) -> None:
    data = bytearray(video.read_bytes())
    start = data.index(b"mdat") + 4
    data[start + 200 : start + 1600] = bytes(1400)
    path = tmp_path / "hurt.mp4"
    path.write_bytes(data)
    info = probe(path)
    assert info.damage and 150 < len(info.pts) < 240
    numbers = [number_of(frame) for frame in read_frames(path, np.arange(len(info.pts)))]
    assert numbers == np.rint(info.frame_times_s * 30).astype(int).tolist()


def test_a_frame_that_cannot_be_decoded_is_an_error(tmp_path: Path) -> None:
    """Its packet stands in the index like the others, and holds nothing."""
    path = write(tmp_path / "v.mov", 140, "25", codec=("-c:v", "mjpeg", "-q:v", "3"))
    with open_media(str(path)) as container:
        entry = container.streams.video[0].index_entries[100]
        place, size = entry.pos, entry.size
    data = bytearray(path.read_bytes())
    data[place : place + size] = bytes(size)
    path.write_bytes(data)
    assert len(probe(path).pts) == 140
    assert [number_of(frame) for frame in read_frames(path, np.arange(80, 100))] == list(range(80, 100))
    with pytest.raises(VideoError, match="20 frames could be decoded of 50 from frame 80 on") as caught:
        list(read_frames(path, np.arange(80, 130)))
    assert caught.value.reason == "truncated"


def test_a_file_without_a_fault_is_never_decoded_whole(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inspection, "_rows_of_frames", lambda *_: pytest.fail("decoded"))
    facts, _, rows = inspection.inspect(str(video))
    assert facts["by_packets"] and len(rows) == 240


def test_a_file_is_opened_once_for_the_same_question(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = probe(video)
    monkeypatch.setattr("s3dnerf.video.probing.ask", lambda *_: pytest.fail("asked again"))
    assert probe(video) is first
