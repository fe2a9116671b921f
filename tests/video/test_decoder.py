"""The decoder's process: used again, ended with its owner, and told apart when it ends on its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from s3dnerf.core.errors import PassingFault
from s3dnerf.video import decoder, media
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.probing import probe
from tests.fake_ffmpeg import fake_ffmpeg
from tests.video.numbered import write


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    decoder.close_decoders()
    yield
    decoder.close_decoders()


@pytest.fixture
def videos(tmp_path: Path) -> list[Path]:
    return [write(tmp_path / f"{n}.mp4", 5 + n, "25") for n in range(3)]


def children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "serve()" in " ".join(child.cmdline())]


def test_one_process_reads_one_file_after_the_other(videos: list[Path]) -> None:
    assert [len(probe(path).pts) for path in videos[:2]] == [5, 6]
    (first,) = children()
    assert len(probe(videos[2]).pts) == 7 and children() == [first]


def test_a_process_that_was_killed_in_between_is_replaced(videos: list[Path]) -> None:
    probe(videos[0])
    (first,) = children()
    os.kill(first, signal.SIGKILL)
    psutil.Process(first).wait(10)
    assert len(probe(videos[1]).pts) == 6


def test_a_file_that_takes_the_decoder_down_twice_is_at_fault(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = fake_ffmpeg(tmp_path, monkeypatch, "crashes", "probe", times=2)
    with pytest.raises(VideoError, match=r"0\.mp4: takes the decoder down \(SIGSEGV\)") as caught:
        probe(videos[0])
    assert caught.value.reason == "crashes_decoder" and count.read_text() == "2"


def test_a_crash_that_does_not_come_again_is_the_machines(
    videos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_ffmpeg(tmp_path, monkeypatch, "crashes", "probe", times=1)
    with pytest.raises(PassingFault, match="SIGSEGV"):
        probe(videos[0])
    assert len(probe(videos[0]).pts) == 5


def test_it_ends_with_its_owner(videos: list[Path]) -> None:
    """Killed with -9, the owner cannot end it."""
    code = f"from s3dnerf.video.probing import probe; probe({str(videos[0])!r}); print('read', flush=True); import time; time.sleep(60)"
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None and owner.stdout.readline() == b"read\n"
    (child,) = psutil.Process(owner.pid).children()
    owner.kill()
    owner.wait()
    owner.stdout.close()
    until = time.monotonic() + 20
    while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until
        time.sleep(0.05)


def test_relative_names_are_found_from_where_the_caller_stands(
    videos: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    probe(videos[0])  # a decoder that was started elsewhere
    monkeypatch.chdir(tmp_path)
    assert len(probe("1.mp4").pts) == 6
    with pytest.raises(VideoError, match=r"^none\.mp4: no such file"):
        probe("none.mp4")


def test_what_follows_names_or_draws_text_is_not_among_the_formats() -> None:
    used = set(media.readable_formats())
    refused = media.FOLLOWING | media.PICTURES | media.SUBTITLES | media.HEADLESS
    assert not used & refused and not {name for name in used if name.endswith("_pipe")}
    assert {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "mpeg", "mpegts", "dv", "mxf", "asf"} <= used
    assert {"aiff", "caf", "au", "w64", "amr", "ac3", "wv", "tta", "mp3", "flac", "ogg", "wav"} <= used
    for device in ("lavfi", "x11grab", "alsa", "video4linux2,v4l2", "fbdev"):
        assert device not in used
