"""One video through yt-dlp: whole, resumed, merged, of the annotated height; and what each answer of a site means."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import yt_dlp

from flows import video_source
from flows.download import DownloadError
from flows.video_source import Unreachable, VideoFailed, VideoGone, VideoSource, Wanted, judged
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.video.probing import probe
from tests.flows.file_server import FileServer, file_server
from tests.flows.small_videos import SECONDS, serve_apart, video_bytes


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with file_server() as running:
        running.files["/a.mp4"] = video_bytes(72)
        yield running


@pytest.fixture
def source(tmp_path: Path) -> Iterator[VideoSource]:
    made = VideoSource(tmp_path / "100% of $HOME", retries=1, pause_s=0)
    yield made
    made.close()


def test_a_whole_file(server: FileServer, source: VideoSource) -> None:
    got = source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    assert got.path == source.work / "RD_A.mp4" and got.path.read_bytes() == video_bytes(72)
    assert (got.height_px, got.size_bytes) == (72, len(video_bytes(72)))
    assert [path.name for path in source.work.iterdir()] == ["RD_A.mp4"]


def test_a_cut_connection_goes_on_where_it_ended_in_this_run_and_the_next(
    server: FileServer, source: VideoSource
) -> None:
    everything = 10**9
    server.cut["/a.mp4"] = [everything, 5000, 4000]  # the first is yt-dlp's look at what lies there
    with pytest.raises(Unreachable, match="RD_A: .*bytes read.*Giving up after 1 retries"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    kept = (source.work / "RD_A.mp4.part").read_bytes()
    assert 5000 <= len(kept) < len(video_bytes(72)) and video_bytes(72).startswith(kept)
    assert not (source.work / "RD_A.mp4").exists(), "half a video is not there under its name"
    server.asked.clear()
    got = source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    assert server.asked[-1] == ("/a.mp4", f"bytes={len(kept)}-") and got.path.read_bytes() == video_bytes(72)


@pytest.mark.parametrize(
    ("status", "means"),
    [(404, VideoGone), (410, VideoGone), (451, VideoGone), (403, VideoFailed), (429, Unreachable), (503, Unreachable)],
)
def test_what_a_status_means(status: int, means: type[S3DNeRFError], server: FileServer, source: VideoSource) -> None:
    server.status["/a.mp4"] = status
    with pytest.raises(means, match=f"RD_A: .*HTTP Error {status}"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))


def test_nobody_listens(source: VideoSource) -> None:
    with file_server() as gone:
        url = f"{gone.url}/a.mp4"
    with pytest.raises(Unreachable, match="Connection refused"):
        source.fetch("RD_A", url, Wanted(72))


def test_what_is_no_video_is_removed(server: FileServer, source: VideoSource) -> None:
    server.files["/a.mp4"] = b"x" * 5000
    with pytest.raises(VideoFailed, match="RD_A: what came is no video: .*: removed"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    server.files["/a.mp4"] = b"<html><body>moved</body></html>"
    with pytest.raises(VideoFailed, match="Unsupported URL"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    assert list(source.work.iterdir()) == []


def test_a_part_of_a_video_is_not_taken_for_the_whole(server: FileServer, source: VideoSource) -> None:
    server.files["/a.mp4"] = video_bytes(72)[: len(video_bytes(72)) // 2]
    with pytest.raises(VideoFailed, match=rf"RD_A: \d of {SECONDS} s came, expected all of it: removed"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    assert list(source.work.iterdir()) == []


def test_picture_and_sound_that_come_apart_are_merged(server: FileServer, source: VideoSource) -> None:
    url = serve_apart(server, "b", (36, 72, 108))
    got = source.fetch("WDA_B", url, Wanted(72))
    found = probe(got.path)
    assert got.path.name == "WDA_B.mp4" and (found.height_px, found.has_audio) == (72, True)
    assert found.duration_s == pytest.approx(SECONDS, abs=0.05)
    asked = {path for path, _ in server.asked}
    assert asked == {"/b.mpd", "/b-72.mp4", "/b-sound.m4a"}, "no other stream was downloaded"
    assert [path.name for path in source.work.iterdir()] == ["WDA_B.mp4"]


def test_no_room_is_seen_before_the_bytes_come(
    server: FileServer, source: VideoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(video_source.shutil, "disk_usage", lambda path: SimpleNamespace(free=100))
    with pytest.raises(DownloadError, match="more needed for this video: make room and run the command again"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))
    assert not (source.work / "RD_A.mp4").exists()


def test_a_disk_that_is_full_while_it_is_written(
    server: FileServer, source: VideoSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Full(io.BytesIO):
        def write(self, data: bytes) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        yt_dlp.downloader.common.FileDownloader, "sanitize_open", lambda self, name, mode: (Full(), name)
    )
    with pytest.raises(DownloadError, match=r"HOME: the disk is full: make room and run the command again"):
        source.fetch("RD_A", f"{server.url}/a.mp4", Wanted(72))


def stream(name: str, height: int, **more: object) -> dict[str, object]:
    facts = {
        "format_id": name,
        "url": f"https://video.example/{name}",
        "ext": "mp4",
        "vcodec": "avc1",
        "acodec": "none",
    }
    return facts | ({"height": height, "width": height * 16 // 9} if height else {}) | more


APART = [
    stream("sound", 0, vcodec="none", acodec="mp4a"),
    stream("board", 1080, vcodec="none", acodec="none", ext="mhtml"),
    stream("360", 360),
    stream("720", 720, tbr=1000),
    stream("720-better", 720, tbr=2000),
    stream("1080", 1080),
]
TOGETHER = [stream(str(height), height, acodec="mp4a") for height in (360, 720, 1080)]


@pytest.mark.parametrize(
    ("streams", "wanted", "taken"),
    [
        (APART, Wanted(720), "720-better+sound"),
        (APART, Wanted(1080), "1080+sound"),
        (APART, Wanted(700), "720-better+sound"),
        (APART, Wanted(2160), "1080+sound"),
        (APART, Wanted(0, 877, 473), "720-better+sound"),
        (APART, Wanted(0), "1080+sound"),
        (TOGETHER, Wanted(720), "720"),
        (TOGETHER, Wanted(480), "720"),
        ([stream("only", 0, acodec="mp4a")], Wanted(720), "only"),
    ],
)
def test_the_stream_of_the_annotated_height(
    streams: list[dict], wanted: Wanted, taken: str, source: VideoSource
) -> None:
    source._wanted = wanted
    page = {"id": "x", "title": "x", "extractor": "made up", "formats": [dict(one) for one in streams]}
    assert source._ydl.process_ie_result(page, download=False)["format_id"] == taken


def test_a_picture_without_sound_is_not_taken(source: VideoSource) -> None:
    source._wanted = Wanted(720)
    page = {"id": "x", "title": "x", "extractor": "made up", "formats": [stream("720", 720)]}
    with pytest.raises(yt_dlp.utils.YoutubeDLError, match="format is not available") as raised:
        source._ydl.process_ie_result(page, download=False)
    assert isinstance(judged("RD_A", raised.value, True, source.work), VideoFailed), "that is no verdict on the video"


@pytest.mark.parametrize(
    ("said", "means"),
    [
        ("Private video. Sign in if you've been granted access to this video", "private"),
        ("Video unavailable. This video is no longer available because the account has been terminated", "gone"),
        ("This video has been removed by the uploader", "gone"),
        ("Video unavailable", "gone"),
        ("Sign in to confirm your age. This video may be inappropriate for some users", "needs_sign_in"),
        ("Join this channel to get access to members-only content", "needs_sign_in"),
        ("The uploader has not made this video available in your country", "region_blocked"),
        ("Sign in to confirm you’re not a bot. Use --cookies", Unreachable),
        ("Video unavailable. This content isn't available, try again later. The current session", Unreachable),
        ("YouTube is requiring a captcha challenge before playback", Unreachable),
        ("Requested format is not available", VideoFailed),
        ("Premieres in 3 hours", VideoFailed),
    ],
)
def test_what_a_site_says(said: str, means: str | type[S3DNeRFError], source: VideoSource) -> None:
    found = judged_through_yt_dlp(source, yt_dlp.utils.ExtractorError(said, expected=True))
    if isinstance(means, str):
        assert isinstance(found, VideoGone) and found.reason == means
    else:
        assert isinstance(found, means)
    unforeseen = judged_through_yt_dlp(source, yt_dlp.utils.ExtractorError(said, expected=False))
    assert not isinstance(unforeseen, VideoGone), "a fault of yt-dlp's own is no verdict"


def test_a_broken_extractor_is_a_failure_of_this_video(source: VideoSource) -> None:
    found = judged_through_yt_dlp(source, TypeError("'NoneType' object is not subscriptable"))
    assert isinstance(found, VideoFailed) and "RD_A: TypeError: 'NoneType' object" in str(found)


def test_a_region_that_is_blocked(source: VideoSource) -> None:
    error = yt_dlp.utils.GeoRestrictedError("Not here", countries=["DE"])
    found = judged_through_yt_dlp(source, error)
    assert isinstance(found, VideoGone) and found.reason == "region_blocked" and "Germany" in str(found)


def judged_through_yt_dlp(source: VideoSource, error: Exception) -> S3DNeRFError:
    """What becomes of an extractor's error that yt-dlp has wrapped as it does."""

    class PageIE(yt_dlp.extractor.common.InfoExtractor):
        _VALID_URL = r"made-up:.*"

        def _real_extract(self, url: str) -> dict:
            raise error

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source._ydl, "_ies", {})
        source._ydl.add_info_extractor(PageIE())
        with pytest.raises(S3DNeRFError) as raised:
            source.fetch("RD_A", "made-up:1", Wanted(72))
    return raised.value


def test_without_yt_dlp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "yt_dlp", None)
    with pytest.raises(DownloadError, match=r"pip install 's3dnerf\[fetch\]'"):
        VideoSource(tmp_path)


def test_what_a_killed_run_had_finished_is_not_downloaded_again(server: FileServer, source: VideoSource) -> None:
    """Killed before the whole file was moved away; or between the picture and the sound."""
    url = serve_apart(server, "b", (72,))
    whole = source.fetch("WDA_B", url, Wanted(72)).path.read_bytes()
    server.asked.clear()
    assert source.fetch("WDA_B", url, Wanted(72)).path.read_bytes() == whole
    assert [path for path, _ in server.asked] == ["/b.mpd"]
    (source.work / "WDA_B.mp4").unlink()
    server.cut["/b-sound.m4a"] = [2000, 2000]
    with pytest.raises(Unreachable):
        source.fetch("WDA_B", url, Wanted(72))
    server.asked.clear()
    assert probe(source.fetch("WDA_B", url, Wanted(72)).path).has_audio
    assert [path for path, _ in server.asked] == ["/b.mpd", "/b-sound.m4a"], "the picture was there"
    assert [path.name for path in source.work.iterdir()] == ["WDA_B.mp4"]
