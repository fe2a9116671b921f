"""What a call of the registered model does with what it is given, with a talking head that only counts."""

from __future__ import annotations

import base64
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from flows.pyfunc_model import TalkingHeadModel, contents
from s3dnerf.core.errors import SettingsError


class Counting:
    """A talking head whose video is what it was given; ``most``: how many calls were at work at once."""

    def __init__(self) -> None:
        self.at_work, self.most, self.options = 0, 0, list[dict[str, Any]]()

    def animate(self, portrait: Path, speech: Path, **options: Any) -> SimpleNamespace:
        self.at_work += 1
        self.most = max(self.most, self.at_work)
        self.options.append(options)
        time.sleep(0.02)

        def write(path: Path) -> int:
            path.write_bytes(portrait.read_bytes() + speech.read_bytes())
            self.at_work -= 1
            return 7

        return SimpleNamespace(write=write, note="track 2")


@pytest.fixture
def model() -> TalkingHeadModel:
    made = TalkingHeadModel()
    made.head, made.one_at_a_time = Counting(), threading.Lock()  # type: ignore[assignment]
    return made


def test_a_row_is_a_video_and_the_options_reach_every_one(model: TalkingHeadModel) -> None:
    rows = pd.DataFrame({"speech": [b"A", b"B"], "portrait": [b"1", base64.b64encode(b"2").decode()], "more": [0, 0]})
    made = model.predict(None, rows, {"crop": True, "motion": "still"})
    assert made.to_dict("list") == {"video": [b"1A", b"2B"], "frames": [7, 7], "note": ["track 2"] * 2}
    assert model.head.options == [{"crop": True, "motion": "still"}] * 2
    nothing = model.predict(None, rows[:0])
    assert list(nothing.columns) == ["video", "frames", "note"] and nothing.empty


def test_a_server_s_threads_wait_for_each_other(model: TalkingHeadModel) -> None:
    row = pd.DataFrame([{"portrait": b"1", "speech": b"A"}])
    threads = [threading.Thread(target=model.predict, args=(None, row)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(model.head.options), model.head.most) == (4, 1)


def test_contents_are_bytes_or_base64_and_no_path() -> None:
    lines = base64.encodebytes(b"x" * 100).decode()
    assert "\n" in lines and contents("speech", lines) == contents("speech", bytearray(b"x" * 100)) == b"x" * 100
    for wrong in ("/home/me/me.jpg", "me.jpg", "abc", None, 3.5):
        with pytest.raises(
            SettingsError,
            match="portrait: got (the text .*|a NoneType|a float) — expected a file's contents: bytes, or base64",
        ):
            contents("portrait", wrong)


def test_a_motion_is_a_name_and_no_file_of_the_server(model: TalkingHeadModel, tmp_path: Path) -> None:
    (tmp_path / "dance.mp4").touch()
    row = pd.DataFrame([{"portrait": b"1", "speech": b"A"}])
    with pytest.raises(SettingsError, match="motion: got .*dance.mp4 — accepted: still, gentle"):
        model.predict(None, row, {"motion": str(tmp_path / "dance.mp4")})
    assert model.head.options == []
