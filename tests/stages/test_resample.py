"""The clock and the sound together: what flashes and beeps at once does so in every clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.speech.audio import wav_bytes, wav_samples
from s3dnerf.video.packs import CorpusPacks
from tests.stages.running import reasons, run, settings_for
from tests.video.flashes import KINDS, apart, set_edits
from tests.video.numbered import tone, write


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_flash_and_beep_stay_together(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = apart(kind, tmp_path)
    assert found["flashes"] >= 100
    assert found["largest_ms"] <= 21.0  # half a tick of rounding, and a millisecond
    # over the minute; rounding alone leaves a slope of 3.8 ms, one standard deviation
    assert abs(found["drift_ms"]) < 12.0


def test_several_pieces_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "raw" / "clips" / "RD_Pieces_000.mp4", 300, "30000/1001", sound=tone(10))
    set_edits(path, [(0.0, 3.0), (5.01, 4.0)])
    settings = settings_for(hdtf=tmp_path / "raw")
    run(settings, "inventory", "ingest", "resample")
    assert reasons(settings, "hdtf") == {"hdtf_RD_Pieces_000": "broken_timestamps"}


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one good clip, to make bad ones of."""
    folder = tmp_path_factory.mktemp("good")
    write(folder / "clips" / "RD_Good_000.mp4", 75, "25", sound=tone(3.2))
    return folder


def bad_folder(root: Path, good: Path) -> dict[str, str]:
    """Clips that only reading the sound and the frames finds out, beside a good one; name → expected reason ('' good)."""
    clips = root / "clips"
    clips.mkdir(parents=True)
    data = good.read_bytes()
    (clips / "RD_Good_000.mp4").write_bytes(data)
    write(clips / "RD_Silent_000.mp4", 75, "25", sound=np.zeros(48000, np.float32))
    write(clips / "RD_Quiet_000.mp4", 75, "25", sound=tone(3.0) * 1e-4)
    write(clips / "RD_Shortsound_000.mp4", 75, "25", sound=tone(2.0))
    write(clips / "RD_Sound300ms_000.mp4", 75, "25", sound=tone(2.7))
    write(clips / "RD_Frozen_000.mp4", 75, "25", sound=tone(4.0), filters="setpts='(N/25+gte(N,30)*0.8)/TB'")
    return {
        "Good": "",
        "Silent": "silent",
        "Quiet": "silent",
        "Shortsound": "audio_too_short",
        "Sound300ms": "",
        "Frozen": "frames_lost",
    }


def test_bad_clips_stop_alone(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = bad_folder(tmp_path / "raw", speech / "clips" / "RD_Good_000.mp4")
    settings = settings_for(hdtf=tmp_path / "raw")
    run(settings, "inventory", "ingest", "resample")
    found = reasons(settings, "hdtf")
    packs = CorpusPacks(settings.data_dir / "resample" / "hdtf")
    for name, reason in expected.items():
        clip = f"hdtf_RD_{name}_000"
        assert found.get(clip, "") == reason, clip
        assert (clip in packs) == (not reason)
    assert len(found) == sum(map(bool, expected.values()))
    padded = wav_samples(packs.read("hdtf_RD_Sound300ms_000", "wav"))
    assert len(padded) == 75 * 640 and not padded[-3200:].any() and padded[:16000].any()


def test_separate_sound_is_on_the_same_clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    person = tmp_path / "raw" / "M003"
    write(person / "video/front/angry/level_1/001.mp4", 90, "30")
    (person / "audio/angry/level_1").mkdir(parents=True)
    beep = np.zeros(46400, np.float32)
    beep[16000:20000] = 0.5
    (person / "audio/angry/level_1/001.wav").write_bytes(wav_bytes(beep))
    settings = settings_for(mead=tmp_path / "raw")
    run(settings, "inventory", "ingest", "resample")
    packs = CorpusPacks(settings.data_dir / "resample" / "mead")
    sound = wav_samples(packs.read("mead_M003_front_angry_1_001", "wav"))
    assert len(sound) == 640 * len(packs.read("mead_M003_front_angry_1_001", "frames.npy")) == 640 * 75
    assert np.argmax(sound > 0.25) == 16000


def test_unchanged_sources_come_from_the_store(speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = settings_for(hdtf=speech)
    assert run(settings, "inventory", "ingest", "resample")["hdtf"] == {
        "clips": 1,
        "packs": 1,
        "made": 1,
        "quarantined": 0,
    }
    assert run(settings, "inventory", "ingest", "resample")["hdtf"]["made"] == 0
    louder = settings_for(hdtf=speech, resample={"silence_dbfs": -50.0})
    assert run(louder, "resample")["hdtf"]["made"] == 1


@pytest.mark.slow
def test_one_added_video_makes_one_pack_and_equals_a_run_from_scratch(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "raw" / "clips"
    for grey, name in enumerate(
        ("Ames", "Boone", "Castro", "Dalton", "Ellison")
    ):  # of their own bytes each, or they are one person
        write(clips / f"RD_{name}_000.mp4", [np.full((32, 32, 3), 40 * grey, np.uint8)] * 50, "25", sound=tone(2.0))
    settings = settings_for({"pack_clips": 2}, hdtf=tmp_path / "raw")

    def out(folder: Path) -> dict[str, bytes]:
        monkeypatch.chdir(folder)
        summary.update(run(settings, "inventory", "ingest", "resample")["hdtf"])
        return {path.name: path.read_bytes() for path in sorted((settings.data_dir / "resample" / "hdtf").iterdir())}

    summary: dict[str, int] = {}
    for folder in ("first", "scratch"):
        (tmp_path / folder).mkdir()
    before = out(tmp_path / "first")
    assert summary["packs"] == summary["made"] >= 3
    write(clips / "RD_Fudge_000.mp4", 50, "25", sound=tone(2.0))
    after = out(tmp_path / "first")
    assert 1 <= summary["made"] <= 2 and after != before  # its own pack, or the two into which a full one is split
    assert sum(after.get(name) != data for name, data in before.items() if name.endswith(".tar")) <= 1
    assert out(tmp_path / "scratch") == after and summary["made"] == summary["packs"]
