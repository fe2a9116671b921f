"""The clock and the sound together: what flashes and beeps at once does so in every clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.speech.audio import wav_bytes, wav_samples
from s3dnerf.video.packs import CorpusPacks
from s3dnerf.video.reading import read_frames
from tests.stages.running import reasons, run, settings_for, table
from tests.video.numbered import ffmpeg, tone, write

SECONDS = 60
TICK_S = 1 / 25
FLASHES = {
    "24": "24",
    "25": "25",
    "29.97": "30000/1001",
    "30": "30",
    "50": "50",
    "59.94": "60000/1001",
    "vfr": "30",
    "late picture": "30",
    "late sound": "25",
    "edit list": "30000/1001",
    "edit list between frames": "30000/1001",
    "matroska": "24000/1001",
}
# ffmpeg (whose clock this is) shows the first frame after an edit list's start at once, also when it is due up to a frame later
LARGEST_S = {"edit list between frames": 0.021 + 1001 / 30000}


def flashing(kind: str, folder: Path) -> Path:
    """A minute in which the picture is white for 0.1 s every 2 s, and a 30 ms beep begins at the first white frame's very time."""
    rate = FLASHES[kind]
    fps = eval(rate)  # noqa: S307 - a literal fraction of this file
    count = round(SECONDS * fps)
    times = np.arange(count) / fps
    if kind == "vfr":
        times = times + 0.011 * (np.arange(count) ** 2 % 3)
    elif kind == "late picture":
        times = times + 4 / 30
    lit = np.zeros(count, bool)
    starts = np.searchsorted(times, np.arange(1, SECONDS - 1, 2))
    for first in starts:
        lit[first : np.searchsorted(times, times[first] + 0.1)] = True
    dark, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    sound = np.zeros((SECONDS + 2) * 16000, np.float32)
    for at in times[starts]:
        first = round(at * 16000)
        sound[first : first + 480] = 0.8 * np.sin(2 * np.pi * 2000 * np.arange(480) / 16000)
    filters = {"vfr": "settb=1/90000,setpts='(N/30+0.011*mod(N*N,3))/TB'", "late picture": "setpts=PTS+4"}.get(kind, "null")
    frames = [white if on else dark for on in lit]
    if kind == "late sound":  # the first 0.4 s of sound are missing from the file
        silent = write(folder / "made" / "v.mp4", frames, rate)
        (folder / "made" / "a.wav").write_bytes(wav_bytes(sound[6400:]))
        path = folder / "clips" / "RD_Late_000.mp4"
        path.parent.mkdir()
        ffmpeg(
            "-i",
            silent,
            "-itsoffset",
            "0.4",
            "-i",
            folder / "made" / "a.wav",
            "-map",
            "0:v",
            "-map",
            "1:a",
            "-c:v",
            "copy",
            "-c:a",
            "aac",
            path,
        )
        return path
    name = "RD_Flash_000.mkv" if kind == "matroska" else "RD_Flash_000.mp4"
    if kind.startswith("edit list"):
        whole = write(folder / "made" / "whole.mp4", frames, rate, filters=filters, sound=sound)
        path = folder / "clips" / name
        path.parent.mkdir()
        ffmpeg("-ss", "0.77" if "between" in kind else "1.001", "-i", whole, "-c", "copy", path)
        return path
    return write(folder / "clips" / name, frames, rate, filters=filters, sound=sound)


@pytest.mark.parametrize("kind", FLASHES)
def test_flash_and_beep_stay_together(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property) -> None:
    monkeypatch.chdir(tmp_path)
    flashing(kind, tmp_path / "raw")
    settings = settings_for(hdtf=tmp_path / "raw")
    run(settings, "inventory", "ingest", "resample")
    packs = CorpusPacks(settings.data_dir / "resample" / "hdtf")
    found = []
    for record in table(settings, "ingest", "hdtf", "clips").to_dict("records"):
        index, sound = packs.read(record["clip"], "frames.npy"), wav_samples(packs.read(record["clip"], "wav"))
        assert index.dtype == np.int32 and len(sound) == 640 * len(index)
        light = np.array([frame.mean() for frame in read_frames(tmp_path / "raw" / record["video"], index)])
        white = np.flatnonzero((light > 128) & (np.roll(light, 1) <= 128))
        loud = np.flatnonzero(np.abs(sound) > 0.2)
        beeps = loud[np.flatnonzero(np.diff(loud, prepend=-16000) > 8000)] / 16000
        for tick in white[(white > 0)]:
            found.append((record["start_s"] + tick * TICK_S, beeps[np.argmin(np.abs(beeps - tick * TICK_S))] - tick * TICK_S))
    times, gaps = np.array(found).T
    record_property("mean_gap_ms", float(1000 * gaps.mean()))
    print(f"{kind}: {len(gaps)} flashes, beep − flash: mean {1000 * gaps.mean():+.2f} ms, largest {1000 * np.abs(gaps).max():.2f} ms")
    assert len(gaps) >= 20
    assert np.abs(gaps).max() <= LARGEST_S.get(kind, 0.021)  # half a tick of rounding, and a millisecond
    drift = np.polyfit(times, gaps, 1)[0] * SECONDS
    assert abs(drift) < 0.008  # over the minute; rounding alone leaves a few ms of slope


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
    return {"Good": "", "Silent": "silent", "Quiet": "silent", "Shortsound": "audio_too_short", "Sound300ms": "", "Frozen": "frames_lost"}


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
    assert run(settings, "inventory", "ingest", "resample")["hdtf"] == {"clips": 1, "packs": 1, "made": 1, "quarantined": 0}
    assert run(settings, "inventory", "ingest", "resample")["hdtf"]["made"] == 0
    louder = settings_for(hdtf=speech, resample={"silence_dbfs": -50.0})
    assert run(louder, "resample")["hdtf"]["made"] == 1


def test_one_added_video_makes_one_pack_and_equals_a_run_from_scratch(
    speech: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = tmp_path / "raw" / "clips"
    for name in ("Ames", "Boone", "Castro", "Dalton", "Ellison"):
        write(clips / f"RD_{name}_000.mp4", [np.full((32, 32, 3), len(name), np.uint8)] * 50, "25", sound=tone(2.0))
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
