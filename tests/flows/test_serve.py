"""The page in a real browser, against a server in a process of its own with the generator in the package."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dnerf.speech.audio import wav_bytes
from tests.signals import as_in_a_terminal

ROOT = Path(__file__).resolve().parents[2]
WEIGHTS = ROOT / "weights" / "whisper_tiny_en.safetensors"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS = {
    "chromium (apt-get install chromium)": CHROMIUM is not None,
    "gradio (pip install 's3dnerf[serve]')": importlib.util.find_spec("gradio") is not None,
    "playwright (pip install 's3dnerf[dev]')": importlib.util.find_spec("playwright") is not None,
    "weights/whisper_tiny_en.safetensors (s3dnerf fetch whisper)": WEIGHTS.is_file(),
}
MISSING = [what for what, there in NEEDS.items() if not there]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
# the command, with every address that the server or its libraries connect to or look up written into a file
AUDITED = """
import os, sys
log = open(os.environ["ASKED"], "a", buffering=1)
def note(event, given):
    if event == "socket.connect": print(given[1], file=log)
    if event == "socket.getaddrinfo": print(given[:2], file=log)
sys.addaudithook(note)
from flows.cli import main
main()
"""
PATIENCE_MS = 60_000


@dataclass
class Server:
    url: str
    process: subprocess.Popen[str]
    folder: Path  # for temporary files
    asked: Path  # addresses that the server connected to

    def files(self) -> list[Path]:
        """Uploads and videos that lie on the server."""
        return [path for path in self.folder.glob("s3dnerf-page-*/files/**/*") if path.is_file()]


def until(true: Callable[[], Any], seconds: float = 15.0) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


@pytest.fixture(scope="module")
def things(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What visitors bring."""
    from PIL import Image
    from skimage.data import astronaut

    root, face = tmp_path_factory.mktemp("things"), astronaut()
    pictures = {"face": face, "two": np.concatenate([face, face[:, ::-1]], axis=1), "wall": np.full_like(face, 90)}
    for name, picture in pictures.items():
        Image.fromarray(picture).save(root / f"{name}.png")
    seconds = np.arange(16000 * 30) / 16000
    voice = np.sin(2 * np.pi * 150 * seconds) * (0.3 + 0.2 * np.sin(2 * np.pi * 4 * seconds))
    for name, length in {"voice": 0.6, "speech": 2.0, "lecture": 30.0}.items():
        (root / f"{name}.wav").write_bytes(wav_bytes(voice[: round(16000 * length)].astype(np.float32)))
    (root / "silence.wav").write_bytes(wav_bytes(np.zeros(8000, np.float32)))
    for name in ("text.png", "text.wav"):
        (root / name).write_text("this is text")
    with open(root / "huge.png", "wb") as huge:
        huge.truncate(2 << 30)  # takes no room
    import av

    with av.open(root / "hour.mkv", "w") as film:  # an hour of video with sound
        picture, sound = film.add_stream("libx264", rate=1), film.add_stream("pcm_s16le", rate=4000)
        picture.width = picture.height = 32
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))
        block = av.AudioFrame.from_ndarray(np.full((1, 4000 * 60), 3000, np.int16), "s16", "mono")
        block.sample_rate = 4000
        for second in range(0, 3600, 60):
            frame.pts, block.pts = second, second * 4000
            film.mux(picture.encode(frame))
            film.mux(sound.encode(block))
        film.mux(picture.encode())
        film.mux(sound.encode())
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "tmp").mkdir()
    env = {**os.environ, "TMPDIR": str(folder / "tmp"), "ASKED": str(folder / "asked"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", AUDITED, "serve", "--port", str(port), "--max-seconds", "40"]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=open(folder / "err", "w"),
        text=True,
        preexec_fn=as_in_a_terminal,
    )
    try:
        line = next((line for line in process.stdout if "the page:" in line), "")
        assert line == f"the page: http://127.0.0.1:{port} (Ctrl-C ends it and deletes its files)\n", (
            folder / "err"
        ).read_text()
        yield Server(f"http://127.0.0.1:{port}/", process, folder / "tmp", folder / "asked")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Visitor:
    """Somebody who has the page open in a browser of their own."""

    def __init__(self, browser: Any, server: Server, width: int = 1280) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900})
        self.page, self.outside = self.context.new_page(), list[str]()
        self.page.on("request", lambda r: self.outside.append(r.url) if not r.url.startswith(server.url) else None)
        self.page.goto(server.url)
        self.page.wait_for_selector("#make")
        self.page.wait_for_function("document.querySelectorAll('input[type=file]').length === 2")

    def give(self, where: str, path: Path) -> None:
        """Drop a file, in the place of an earlier one."""
        clear = self.page.locator(f"#{where} button[aria-label='Remove Image'], #{where} button[aria-label='Clear']")
        if clear.count():
            clear.first.click()
        self.page.set_input_files(f"#{where} input[type=file]", path, timeout=PATIENCE_MS)

    def sees(self, where: str, text: str) -> str:
        """Wait until a part of the page says something; all that it says."""
        self.page.locator(f"#{where}", has_text=re.compile(text)).wait_for(timeout=PATIENCE_MS)
        return self.page.inner_text(f"#{where}")

    def make(self) -> None:
        self.page.click("#make")

    def leave(self) -> None:
        self.context.close()


@pytest.fixture
def visitor(browser: Any, server: Server) -> Iterator[Callable[..., Visitor]]:
    visitors: list[Visitor] = []

    def open_page(width: int = 1280) -> Visitor:
        visitors.append(Visitor(browser, server, width))
        return visitors[-1]

    yield open_page
    for one in visitors:
        one.leave()
        assert [url for url in one.outside if not url.startswith(("data:", "blob:"))] == []


def test_a_photo_and_speech_become_a_video_that_plays_and_is_gone_afterwards(
    visitor: Callable[..., Visitor], server: Server, things: Path, tmp_path: Path
) -> None:
    import av

    one = visitor(width=390)
    assert "The video is synthetic" in one.page.inner_text("main") and "who have agreed" in one.page.inner_text("main")
    one.give("portrait", things / "face.png")
    one.sees("seen", "The face was found")
    loaded = "[...document.querySelectorAll('#seen img')].map((i) => [i.naturalWidth, i.alt.length > 20])"
    one.page.wait_for_function("document.querySelectorAll('#seen img').length === 2")
    assert one.page.evaluate(loaded) == [[512, True], [512, True]]
    one.give("speech", things / "voice.wav")
    one.sees("heard", r"0\.6 seconds of speech")
    one.page.get_by_label("Write SYNTHETIC into the picture").check()
    one.make()
    assert "the whole picture, 15 frames, 0.6 seconds" in one.sees("status", "Done")
    one.page.wait_for_function("document.querySelector('#video video').readyState >= 2")
    assert one.page.evaluate("document.querySelector('#video video').duration") == pytest.approx(0.6, abs=0.05)
    assert one.page.evaluate("document.documentElement.scrollWidth <= innerWidth")  # nothing sticks out of a phone
    unnamed = (
        "[...document.querySelectorAll('video, audio, img')].filter((e) => !(e.alt || e.ariaLabel) && e.alt !== '')"
    )
    assert one.page.evaluate(f"{unnamed}.length") == 0
    with one.page.expect_download() as given:
        one.page.click("text=Download the video")
    given.value.save_as(tmp_path / "a.mp4")
    with av.open(tmp_path / "a.mp4") as film:
        assert "synthetic" in film.metadata["comment"].lower()
        assert sum(1 for _ in film.decode(video=0)) == 15
    with av.open(tmp_path / "a.mp4") as film:
        heard = np.concatenate([frame.to_ndarray().ravel() for frame in film.decode(audio=0)])
    assert np.abs(heard).max() > 0.1
    assert len(server.files()) == 3 and next(server.folder.iterdir()).stat().st_mode & 0o777 == 0o700
    one.leave()
    assert until(lambda: not server.files()), server.files()


def test_two_at_once_wait_for_each_other_and_keep_their_own(
    visitor: Callable[..., Visitor], server: Server, things: Path
) -> None:
    first, second = visitor(), visitor()
    for one in (first, second):
        one.give("portrait", things / "face.png")
        one.give("speech", things / "speech.wav")
    for one in (first, second):
        one.sees("seen", "The face was found")
        one.sees("heard", "2.0 seconds")
    first.make()
    first.sees("video", "/50 frames")
    second.make()
    second.sees("video", "queue: 1/1")
    first.sees("status", "Done: the whole picture, 50 frames")
    first.leave()
    second.sees("status", "Done: the whole picture, 50 frames")  # from the files that both had given
    second.page.wait_for_function("document.querySelector('#video video').readyState >= 2")
    second.leave()
    assert until(lambda: not server.files()), server.files()


def test_what_cannot_be_used_is_said_in_a_sentence(
    visitor: Callable[..., Visitor], server: Server, things: Path
) -> None:
    one = visitor()
    one.make()
    one.sees("status", r"^\s*Choose a photo and speech first\.")
    one.give("portrait", things / "text.png")
    one.sees("seen", r"^\s*text\.png: not a picture in a format that is read here \(.*\) but a text\.")
    one.give("portrait", things / "wall.png")
    one.sees("seen", r"^\s*No face was found in the picture of 512×512 px; take one that shows a single uncovered face")
    one.give("portrait", things / "two.png")
    one.sees("seen", r"^\s*2 faces of similar size were found: choose the one that is to speak\.")
    one.give("speech", things / "text.wav")
    one.sees("heard", r"^\s*text\.wav: not a readable video or sound file: .*\.")
    one.give("speech", things / "hour.mkv")
    one.sees("heard", r"^\s*The speech is longer than 40 seconds, the most that is accepted here\.")
    one.make()
    one.sees("status", "The speech is longer than 40 seconds")
    one.give("speech", things / "silence.wav")
    one.sees("heard", r"^\s*Speech: silent throughout .*: expected a voice\.")
    one.give("speech", things / "voice.wav")
    one.sees("heard", "0.6 seconds")
    one.make()
    one.sees("status", r"^\s*The photo shows several faces: choose the one that is to speak\.")
    one.page.get_by_label("2 (right)").check()
    one.sees("seen", "Number 2 of 2, counted from the left, is used.")
    one.page.get_by_label("The face alone, 256×256").check()
    one.make()
    one.sees("status", "Done: the face alone, 15 frames")
    before = server.files()
    one.give("portrait", things / "huge.png")
    one.page.locator(".toast-body", has_text="exceed the maximum allowed size of 64.0 Mb").wait_for()
    assert server.files() == before


def test_stopped_or_left_it_renders_no_further(visitor: Callable[..., Visitor], server: Server, things: Path) -> None:
    one, other = visitor(), visitor()
    for visit in (one, other):
        visit.give("portrait", things / "face.png")
        visit.give("speech", things / "lecture.wav")
        visit.sees("heard", "30.0 seconds")
        visit.make()
        visit.sees("video", "frames" if visit is one else "queue")
    one.page.click("#stop")
    one.sees("status", "Stopped.")
    assert one.page.is_enabled("#make") and not one.page.is_visible("#stop")
    other.sees("video", "/750 frames")  # its turn has come
    other.leave()
    one.give("speech", things / "voice.wav")
    one.sees("heard", "0.6 seconds")
    one.make()
    one.sees("status", "Done: the whole picture, 15 frames")
    one.leave()
    assert until(lambda: not server.files()), server.files()


def test_a_large_request_is_refused_before_it_is_sent(server: Server) -> None:
    head = "POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    port = int(server.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(f"{head}Content-Length: {2 << 30}\r\n\r\n".encode())
        assert line.recv(4096).startswith(b"HTTP/1.1 413")
    with socket.create_connection(("127.0.0.1", port), timeout=10) as line:
        line.sendall(b"GET /gradio_api/file=/etc/hostname HTTP/1.1\r\nHost: a\r\n\r\n")
        assert line.recv(4096).startswith(b"HTTP/1.1 403")


def test_the_server_asks_nobody_else(server: Server) -> None:
    asked = server.asked.read_text().splitlines()
    assert asked and all(re.search(r"127\.0\.0\.1|localhost", line) for line in asked), asked


def test_ctrl_c_in_the_middle_leaves_nothing(visitor: Callable[..., Visitor], server: Server, things: Path) -> None:
    one = visitor()
    one.give("portrait", things / "face.png")
    one.give("speech", things / "lecture.wav")
    one.sees("heard", "30.0 seconds")
    one.make()
    one.sees("video", "/750 frames")
    assert len(server.files()) >= 2
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(timeout=20) == 130
    assert list(server.folder.iterdir()) == []
