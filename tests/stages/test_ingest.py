"""Every raw file accounted for: records of what is good, one reason for each kind of bad file, the rest untouched."""

from __future__ import annotations

import hashlib
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.corpora.records import CLIP_COLUMNS, EXCLUDED_COLUMNS, FILE_COLUMNS
from stages import ingest
from stages.preprocessing import StageError
from tests.stages.running import reasons, run, settings_for, table
from tests.video.numbered import X264, ffmpeg, stamp, tone, write

STAGES = ("inventory", "ingest")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A good clip of 3 s, 25 fps, with its index in front."""
    return write(
        tmp_path_factory.mktemp("good") / "good.mp4", 75, "25", sound=tone(3.2), extra=("-movflags", "+faststart")
    )


def put(good: Path, *paths: Path) -> None:
    """Copies of the good clip, each of its own content (a free box at the end)."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        note = os.fsencode(path)
        path.write_bytes(good.read_bytes() + (8 + len(note)).to_bytes(4, "big") + b"free" + note)


def make_bad(clips: Path, good: Path) -> dict[str, str]:
    """One file of every kind that ingest refuses; file → reason."""
    data = good.read_bytes()
    files = {
        "RD_Empty_000.mp4": "zero_bytes",
        "RD_Text_000.mp4": "unreadable",
        "RD_Picture_000.mp4": "unreadable",
        "RD_Noise_000.mp4": "unreadable",
        "RD_Headless_000.mp4": "unreadable",
        "RD_Truncated_000.mp4": "truncated",
        "RD_Soundonly_000.mp4": "no_video",
        "RD_Mute_000.mp4": "no_audio",
        "RD_Oneframe_000.mp4": "too_short",
        "RD_Short_000.mp4": "too_short",
        "RD_Playlist_000.mp4": "unreadable",
        "RD_Backwards_000.mkv": "broken_timestamps",
        "RD_Notimes_000.mp4": "broken_timestamps",
        "RD_Deadlink_000.mp4": "unreadable",
        "RD_nonumber.mp4": "not_in_layout",
        os.fsdecode(b"RD_n\xe4me_000.mp4"): "name_not_utf8",
        "RD_notes.txt": "not_in_layout",
    }
    (clips / "RD_Empty_000.mp4").write_bytes(b"")
    (clips / "RD_Text_000.mp4").write_text("<html>404</html>\n" * 300)
    ffmpeg("-f", "lavfi", "-i", "color=red:s=64x64", "-frames:v", "1", "-f", "image2", clips / "p.png")
    (clips / "p.png").rename(clips / "RD_Picture_000.mp4")
    (clips / "RD_Noise_000.mp4").write_bytes(np.random.default_rng(1).bytes(20000))
    (clips / "RD_Headless_000.mp4").write_bytes(data[len(data) // 2 :])
    (clips / "RD_Truncated_000.mp4").write_bytes(data[: len(data) // 2])
    ffmpeg("-i", good, "-vn", "-c", "copy", clips / "RD_Soundonly_000.mp4")
    ffmpeg("-i", good, "-an", "-c", "copy", clips / "RD_Mute_000.mp4")
    write(clips / "RD_Oneframe_000.mp4", 1, "25", sound=tone(1.0))
    write(clips / "RD_Short_000.mp4", 20, "25", sound=tone(1.0))
    (clips / "RD_Playlist_000.mp4").write_text(f"ffconcat version 1.0\nfile '{good}'\n")
    broken = bytearray(
        write(clips / "RD_Backwards_000.mkv", 75, "25", sound=tone(3.2), codec=("-c:v", "mjpeg")).read_bytes()
    )
    at = [found.end() for found in re.finditer(rb"\xa3[\x40-\x7f].\x81(?=..\x80\xff)", broken, re.DOTALL)][30]
    broken[at : at + 2] = (800).to_bytes(2, "big")  # the block of frame 30, due at 1200 ms, says 800
    (clips / "RD_Backwards_000.mkv").write_bytes(broken)
    # frames predicted from later ones, and only their decoding times are left
    (clips / "RD_Notimes_000.mp4").write_bytes(data.replace(b"ctts", b"free"))
    (clips / "RD_Deadlink_000.mp4").symlink_to("nowhere")
    for name in ("RD_nonumber.mp4", os.fsdecode(b"RD_n\xe4me_000.mp4")):
        put(good, clips / name)
    (clips / "RD_notes.txt").write_text("mine")
    return files


def make_unusual(clips: Path, good: Path) -> dict[str, tuple[int, int, int]]:
    """Files that look odd and are good: file → width, height, seconds."""
    ffmpeg("-display_rotation", "90", "-i", good, "-c", "copy", clips / "RD_Turned_000.mp4")
    write(
        clips / "RD_Odd_000.mp4",
        [np.full((77, 131, 3), i, np.uint8) for i in range(50)],
        "25",
        sound=tone(2),
        codec=(*X264[:-1], "yuv444p"),
    )
    write(
        clips / "RD_Large_000.mp4",
        [np.full((2160, 3840, 3), 99, np.uint8)] * 6,
        "5",
        sound=tone(1.4),
        codec=("-c:v", "mpeg4"),
    )
    write(clips / "RD_Slow_000.mp4", 30, "12", sound=tone(2.6))
    write(clips / "RD_Wrongname_000.avi", 50, "25", sound=tone(2.2), extra=("-f", "matroska"))
    write(
        clips / "RD_Mpeg_000.mpg",
        50,
        "25",
        sound=tone(2.2),
        codec=(
            "-c:v",
            "mpeg1video",
        ),
        audio_codec=("-c:a", "mp2"),
    )
    put(good, clips / "deep" / "er" / "RD_Deep_000.mp4", clips / "RD_ü space_000.mp4")
    return {
        "RD_Turned_000.mp4": (64, 192, 3),
        "RD_Odd_000.mp4": (131, 77, 2),
        "RD_Large_000.mp4": (3840, 2160, 1),
        "RD_Slow_000.mp4": (192, 64, 2),
        "RD_Wrongname_000.avi": (192, 64, 2),
        "RD_Mpeg_000.mpg": (192, 64, 2),
        "deep/er/RD_Deep_000.mp4": (192, 64, 3),
        "RD_ü space_000.mp4": (192, 64, 3),
    }


@pytest.mark.slow
def test_every_kind_of_bad_file_has_its_reason(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clips = tmp_path / "raw" / "clips"
    put(good, clips / "RD_Good_000.mp4")
    bad, unusual = make_bad(clips, good), make_unusual(clips, good)
    settings = settings_for(hdtf=tmp_path / "raw")
    run(settings, *STAGES)
    files = table(settings, "ingest", "hdtf", "files").set_index("path")
    assert len(files) == 1 + len(bad) + len(unusual) == len(table(settings, "inventory", "files"))
    assert {path: reason for path, reason in files["reason"].items() if reason} == {
        "clips/" + name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"): reason
        for name, reason in bad.items()
    }
    assert (files["detail"][files["status"] == "excluded"] != "").all()
    clip_rows = table(settings, "ingest", "hdtf", "clips")
    assert clip_rows["clip"].str.fullmatch("[A-Za-z0-9_-]+").all() and clip_rows["clip"].is_unique
    rows = clip_rows.set_index("video")
    assert len(rows) == 1 + len(unusual)
    for name, (w, h, seconds) in unusual.items():
        row = rows.loc[f"clips/{name}"]
        assert (row["width_px"], row["height_px"]) == (w, h) and row["duration_s"] == pytest.approx(seconds, abs=0.6), (
            name
        )
    assert len(reasons(settings, "hdtf")) == len(bad) - 1  # notes.txt is no clip


def test_bad_files_leave_the_others_untouched(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, *(tmp_path / "raw" / "clips" / f"RD_Good{c}_000.mp4" for c in "ABC"))
    settings = settings_for(hdtf=tmp_path / "raw")
    run(settings, *STAGES)
    before = table(settings, "ingest", "hdtf", "clips")
    make_bad(tmp_path / "raw" / "clips", good)
    run(settings, *STAGES)
    assert table(settings, "ingest", "hdtf", "clips").equals(before)


def test_records_of_whole_videos(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "raw"
    write(root / "videos" / "Ames0.mp4", [stamp(i) for i in range(360)], "30000/1001", sound=tone(12.2))
    put(good, root / "videos" / "Boone.mp4")
    lists = root / "HDTF_dataset"
    lists.mkdir()
    (lists / "WDA_annotion_time.txt").write_text(
        "Ames0.mp4 00:01-00:09 00:10-00:59\nBoone.mp4 00:00-00:02 00:30-00:40\nGone.mp4 00:00-00:10\n"
    )
    (lists / "WDA_crop_wh.txt").write_text(
        "Ames0_0.mp4 8 96 0 96\nAmes0_1.mp4 0 300 0 300\nBoone_0.mp4 4 50 4 50\nBoone_1.mp4 4 50 4 50\nGone_0.mp4 0 9 0 9\n"
    )
    (lists / "WDA_resolution.txt").write_text("Ames0.mp4 96\nBoone.mp4 64\n")
    settings = settings_for({"clip_s": 4.0, "hdtf_test_speakers": ["Boone"]}, hdtf=root)
    run(settings, *STAGES)
    clips = table(settings, "ingest", "hdtf", "clips").set_index("clip")
    assert list(clips.reset_index().columns) == list(CLIP_COLUMNS)
    first = clips.loc["hdtf_WDA_Ames0_000-00"]
    assert (first["start_s"], first["end_s"], first["speaker"], first["split"], first["audio"]) == (
        1.0,
        5.0,
        "Ames",
        "train",
        "",
    )
    assert (first["crop_x"], first["crop_y"], first["crop_w"], first["crop_h"]) == (
        5,
        0,
        64,
        64,
    )  # annotated at 96 lines, held at 64
    assert first["video_sha256"] == hashlib.sha256((root / "videos/Ames0.mp4").read_bytes()).hexdigest() and first[
        "fps_hz"
    ] == pytest.approx(29.97, abs=1e-3)
    assert sorted(clips.index) == ["hdtf_WDA_Ames0_000-00", "hdtf_WDA_Ames0_000-01", "hdtf_WDA_Boone_000"]
    assert clips.loc["hdtf_WDA_Boone_000", "split"] == "test"
    assert reasons(settings, "hdtf") == {
        "hdtf_WDA_Ames0_001": "crop_outside",
        "hdtf_WDA_Boone_001": "interval_outside",
        "hdtf_WDA_Gone_000": "not_held",
    }


def test_unused_corpora_have_empty_tables(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, tmp_path / "raw" / "May.mp4")
    settings = settings_for(portraits=tmp_path / "raw")
    assert run(settings, *STAGES)["lrs2"] == {"files": 0, "clips": 0, "excluded": 0, "packs": 0}
    assert table(settings, "ingest", "portraits", "clips")["split"].tolist() == ["test"]
    for name, columns in (("clips", CLIP_COLUMNS), ("files", FILE_COLUMNS), ("excluded", EXCLUDED_COLUMNS)):
        empty = table(settings, "ingest", "mead", name)
        assert not len(empty) and list(empty.columns) == list(columns)


def test_mead_without_its_sound(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    person = tmp_path / "raw" / "M003"
    for number in ("001", "002", "003"):
        write(person / f"video/front/sad/level_1/{number}.mp4", [stamp(int(number))] * 60, "30")
    (person / "audio/sad/level_1").mkdir(parents=True)
    ffmpeg("-i", good, "-vn", "-c", "copy", person / "audio/sad/level_1/001.m4a")
    (person / "audio/sad/level_1/002.m4a").write_bytes(b"")
    settings = settings_for(mead=tmp_path / "raw")
    run(settings, *STAGES)
    row = table(settings, "ingest", "mead", "clips").iloc[0]
    assert (
        row["clip"] == "mead_M003_front_sad_1_001"
        and row["audio"] == "M003/audio/sad/level_1/001.m4a"
        and len(row["audio_sha256"]) == 64
    )
    assert reasons(settings, "mead") == {
        "mead_M003_front_sad_1_002": "audio_empty",
        "mead_M003_front_sad_1_003": "audio_missing",
    }


def test_too_many_faults_stop_the_stage_with_the_table(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    clips = tmp_path / "raw" / "clips"
    put(good, clips / "RD_Good_000.mp4")
    (clips / "RD_Empty_000.mp4").write_bytes(b"")
    settings = settings_for({"max_failed_fraction": 0.4}, hdtf=tmp_path / "raw")
    with pytest.raises(
        StageError, match=r"(?s)1 of 2 hdtf clips failed.*max_failed_fraction = 0\.4.*1  zero_bytes.*hdtf_RD_Empty_000"
    ):
        run(settings, *STAGES)
    (clips / "RD_Empty_000.mp4").rename(clips / "RD_Empty.txt")  # left out by its place, not by a fault
    assert run(settings, *STAGES)["hdtf"]["clips"] == 1


def test_a_person_in_two_splits_stops_the_stage(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, tmp_path / "hdtf/clips/EX_May_000.mp4", tmp_path / "own/May_1.mp4")
    with pytest.raises(StageError, match="May: test in portraits, train in hdtf"):
        run(settings_for(hdtf=tmp_path / "hdtf", portraits=tmp_path / "own"), *STAGES)
    held = settings_for({"hdtf_test_speakers": ["May"]}, hdtf=tmp_path / "hdtf", portraits=tmp_path / "own")
    assert run(held, *STAGES)["hdtf"]["clips"] == 1


def test_the_same_video_under_two_names_in_two_splits_stops_the_stage(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, tmp_path / "hdtf/clips/EX_May_000.mp4")
    (tmp_path / "own").mkdir()
    # portraits call this person EX_May
    (tmp_path / "own/EX_May_000.mp4").symlink_to(tmp_path / "hdtf/clips/EX_May_000.mp4")
    (tmp_path / "own/nothing.mp4").write_bytes(b"")
    (tmp_path / "hdtf/clips/EX_Nothing_000.mp4").write_bytes(b"")  # all empty files are alike
    known = {"max_failed_fraction": 1.0}
    with pytest.raises(StageError, match="train as hdtf/clips/EX_May_000.mp4, test as portraits/EX_May_000.mp4"):
        run(settings_for(known, hdtf=tmp_path / "hdtf", portraits=tmp_path / "own"), *STAGES)
    held = settings_for(known | {"hdtf_test_speakers": ["May"]}, hdtf=tmp_path / "hdtf", portraits=tmp_path / "own")
    assert run(held, *STAGES)["portraits"]["clips"] == 1


def test_at_most_so_many_training_clips_of_a_video(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, tmp_path / "hdtf/clips/EX_May_000.mp4", tmp_path / "hdtf/clips/EX_Obama_000.mp4")
    settings = settings_for(
        {"clip_s": 1.0, "max_train_clips_per_video": 1, "hdtf_test_speakers": ["May"]}, hdtf=tmp_path / "hdtf"
    )
    run(settings, *STAGES)
    assert sorted(table(settings, "ingest", "hdtf", "clips")["clip"]) == [
        "hdtf_EX_May_000-00",
        "hdtf_EX_May_000-01",
        "hdtf_EX_May_000-02",
        "hdtf_EX_Obama_000-01",
    ]
    assert set(reasons(settings, "hdtf").values()) == {"over_limit"}


def test_videos_are_opened_once_by_content(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, tmp_path / "hdtf/clips/EX_May_000.mp4", tmp_path / "hdtf/clips/EX_Obama_000.mp4")
    settings = settings_for(hdtf=tmp_path / "hdtf")
    opened: list[str] = []
    probe = ingest.probe
    monkeypatch.setattr(ingest, "probe", lambda path: opened.append(Path(path).name) or probe(path))
    run(settings, *STAGES)
    before = (settings.data_dir / "ingest/hdtf/clips.parquet").read_bytes()
    put(good, tmp_path / "hdtf/clips/EX_Reagan_000.mp4")
    run(settings, *STAGES)
    assert opened == ["EX_May_000.mp4", "EX_Obama_000.mp4", "EX_Reagan_000.mp4"]
    (tmp_path / "hdtf/clips/EX_Reagan_000.mp4").unlink()
    run(settings, *STAGES)
    assert (settings.data_dir / "ingest/hdtf/clips.parquet").read_bytes() == before


def test_a_run_that_was_killed_opens_no_video_twice(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = ["EX_Ford_000.mp4", "EX_May_000.mp4", "EX_Obama_000.mp4"]
    for number, name in enumerate(names):
        put(good, tmp_path / "hdtf/clips" / name)
        with open(tmp_path / "hdtf/clips" / name, "ab") as handle:  # a box that players skip: bytes of its own
            handle.write(struct.pack(">I4sQ", 16, b"free", number))
    for limit in ("PROBE_FILES_MIN", "PROBE_FILES_MAX", "KEEP_EVERY_JOBS"):
        monkeypatch.setattr(ingest, limit, 1)
    opened: list[str] = []
    probe, settings = ingest.probe, settings_for(hdtf=tmp_path / "hdtf")

    def killed(path: str):
        if len(opened) == 2:
            raise KeyboardInterrupt
        opened.append(Path(path).name)
        return probe(path)

    monkeypatch.setattr(ingest, "probe", killed)
    with pytest.raises(KeyboardInterrupt):
        run(settings, *STAGES)
    monkeypatch.setattr(ingest, "probe", lambda path: opened.append(Path(path).name) or probe(path))
    run(settings, *STAGES)
    assert opened == names
    assert sorted(table(settings, "ingest", "hdtf", "clips")["video"]) == [f"clips/{name}" for name in names]


def test_a_folder_without_a_usable_clip_says_why(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(good, tmp_path / "flat" / "RD_Radio1_000.mp4")  # not below clips/
    with pytest.raises(
        StageError,
        match=r"(?s)no clip in 1 files of raw\.hdtf.*1  not_in_layout, for example RD_Radio1_000\.mp4: not below clips/",
    ):
        run(settings_for(hdtf=tmp_path / "flat"), *STAGES)
