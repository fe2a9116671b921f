"""What the page does with a portrait and speech, without a browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from flows.page.folder import Visits
from flows.page.studio import Refused, Stopped, Studio, Wish
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.synthesis.talking_head import TalkingHead
from s3dnerf.video.probing import probe

VOICE_S = 2000 / 16000


@pytest.fixture(scope="module")
def head(kit: Path) -> TalkingHead:
    return TalkingHead.load(kit / "model", device="cpu")


@pytest.fixture
def studio(head: TalkingHead, tmp_path: Path) -> Studio:
    return Studio(head, Visits(tmp_path, 3600), most_s=0.5)


@pytest.fixture
def given(kit: Path, tmp_path: Path) -> Callable[[str], str]:
    """The path of something uploaded."""

    def path(name: str) -> str:
        (tmp_path / "abc").mkdir(exist_ok=True)
        return str(shutil.copy(kit / name, tmp_path / "abc" / name))

    return path


def nothing(done: int, count: int) -> None:
    pass


def test_a_video_is_made_and_each_frame_is_reported(studio: Studio, given: Callable[[str], str]) -> None:
    seen: list[tuple[int, int]] = []
    video, said = studio.render(
        "anna", given("face.png"), given("voice.wav"), Wish(crop=True), lambda *at: seen.append(at)
    )
    assert said == "Done: the face alone, 4 frames, 0.2 seconds."
    assert seen == [(done, 4) for done in range(5)]
    assert (probe(video).width_px, probe(video).has_audio, len(probe(video).pts)) == (256, True, 4)
    studio.visits.close("anna")
    assert not video.exists() and list(studio.visits.folder.iterdir()) == []


def test_speech_is_measured_and_refused_by_its_length_without_reading_it_all(
    studio: Studio, given: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from s3dnerf.speech import audio

    assert studio.listen("anna", given("voice.wav")) == pytest.approx(VOICE_S)
    for name, samples in {"just": 8000, "over": 8001}.items():
        (tmp_path / f"{name}.wav").write_bytes(wav_bytes(np.full(samples, 0.1, np.float32)))
    assert studio.listen("anna", str(tmp_path / "just.wav")) == 0.5
    read, lengths = audio.read_sound, []
    monkeypatch.setattr(
        audio, "read_sound", lambda *args, **named: (lengths.append(named["end_s"]), read(*args, **named))[1]
    )
    with pytest.raises(Refused, match=r"^the speech is longer than 0\.5 seconds, the most that is accepted here$"):
        studio.listen("anna", str(tmp_path / "over.wav"))
    assert lengths == [1.5]
    with pytest.raises(Refused, match="^the speech is longer"):
        studio.render("anna", given("face.png"), str(tmp_path / "over.wav"), Wish(), nothing)


@pytest.mark.parametrize(
    ("portrait", "speech", "wish", "message"),
    [
        ("wall.png", "voice.wav", Wish(), "^no face was found in the picture of"),
        ("two.png", "voice.wav", Wish(), "^the photo shows several faces: choose the one"),
        ("face.png", "silence.wav", Wish(), "^speech: silent throughout"),
        ("face.png", "text.wav", Wish(), "^text.wav: not a readable video or sound file"),
        ("voice.wav", "voice.wav", Wish(), "^voice.wav: not a picture in a format"),
        ("face.png", "voice.wav", Wish(yaw_deg=61), "^yaw 61 pitch 0 — accepted"),
        ("face.png", "voice.wav", Wish(motion="/etc/passwd/x"), "^motion: got /etc/passwd/x — accepted"),
    ],
)
def test_what_cannot_be_used_is_a_sentence_without_the_servers_folders(
    studio: Studio, given: Callable[[str], str], portrait: str, speech: str, wish: Wish, message: str
) -> None:
    with pytest.raises(Refused, match=message) as refused:
        studio.render("anna", given(portrait), given(speech), wish, nothing)
    assert str(studio.visits.folder) not in str(refused.value)


def test_a_file_that_is_gone_is_asked_for_again(studio: Studio, given: Callable[[str], str]) -> None:
    portrait, speech = given("face.png"), given("voice.wav")
    Path(portrait).unlink()
    with pytest.raises(Refused, match="^the photo is no longer on the server"):
        studio.render("anna", portrait, speech, Wish(), nothing)
    assert "The photo is no longer on the server" in studio.look("anna", portrait, "only").html
    Path(speech).unlink()
    with pytest.raises(Refused, match="^the recording is no longer on the server"):
        studio.listen("anna", speech)


@pytest.mark.parametrize("after", [1, 4])
def test_who_leaves_gets_no_video(studio: Studio, given: Callable[[str], str], after: int) -> None:
    def leave(done: int, count: int) -> None:
        if done == after:  # in the middle, and when the last frame is made
            studio.visits.close("anna")

    with pytest.raises(Stopped):
        studio.render("anna", given("face.png"), given("voice.wav"), Wish(), leave)
    assert [path for path in studio.visits.folder.rglob("*") if path.suffix in (".mp4", ".part")] == []


def test_a_fault_of_ours_is_logged_and_not_shown(
    studio: Studio, given: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(studio.head, "animate", lambda *args, **named: 1 / 0)
    with pytest.raises(Refused, match="^something went wrong on the server, and its log says what"):
        studio.render("anna", given("face.png"), given("voice.wav"), Wish(), nothing)
    assert "ZeroDivisionError" in caplog.text
