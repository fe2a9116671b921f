"""Every file of a raw folder is used, passed over as what it is, or named: nothing of a system's makes a clip faulty."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from s3dnerf.corpora.records import DELIBERATE
from tests.stages.running import run, settings_for, table
from tests.video.numbered import tone, write

COMPANION = bytes.fromhex("00051607000200004d6163204f53205820202020202020") + bytes(4073)
NOBODYS = {
    "clips/._RD_Ames_000.mp4": ("companion", "companion_file", COMPANION),
    "__MACOSX/clips/._RD_Ames_000.mp4": ("companion", "companion_file", COMPANION),
    "clips/.DS_Store": ("system", "system_file", b"\0\0\0\x01Bud1"),
    "clips/Thumbs.db": ("system", "system_file", b"\xd0\xcf\x11\xe0"),
    "clips/desktop.ini": ("system", "system_file", b"[.ShellClassInfo]"),
    ".Trashes/501/RD_Old_000.mp4": ("system", "system_file", None),
    "clips/@eaDir/RD_Ames_000.mp4/SYNOVIDEO.mp4": ("system", "system_file", None),
    "clips/.~lock.list.csv#": ("system", "editor_file", b"me"),
    "clips/RD_Boone_000.mp4.crdownload": ("system", "unfinished_download", None),
    "clips/RD_Boone_001.mp4.part": ("system", "unfinished_download", None),
}


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return write(tmp_path_factory.mktemp("good") / "good.mp4", 50, "25", sound=tone(2.2)).read_bytes()


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    note = os.fsencode(path.name)  # each its own content
    path.write_bytes(data + (8 + len(note)).to_bytes(4, "big") + b"free" + note if data[4:8] == b"ftyp" else data)


def test_what_is_nobody_s_is_passed_over_as_what_it_is_and_counts_as_no_fault(
    good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "raw/clips/RD_Ames_000.mp4", good)
    for path, (_, _, data) in NOBODYS.items():
        put(tmp_path / "raw" / path, good if data is None else data)
    settings = settings_for({"max_failed_fraction": 0.0}, hdtf=tmp_path / "raw")  # one fault would end the stage
    summary = run(settings, "inventory", "ingest")["hdtf"]
    assert (summary["files"], summary["clips"], summary["excluded"]) == (len(NOBODYS) + 1, 1, 0)
    files = table(settings, "ingest", "hdtf", "files").set_index("path")
    for path, (role, reason, _) in NOBODYS.items():
        row = files.loc[path]
        assert (row["status"], row["role"], row["reason"]) == ("excluded", role, reason) and row["detail"], path
    assert {reason for _, reason, _ in NOBODYS.values()} <= DELIBERATE


def test_a_real_companion_beside_a_real_video(shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not (shared / "inputs").is_dir():
        pytest.skip("needs ../shared/inputs")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    for name in ("base_1.mp4", "._base_1.mp4"):
        (tmp_path / "raw" / name).write_bytes((shared / "inputs" / name).read_bytes())
    settings = settings_for({"max_failed_fraction": 0.0}, portraits=tmp_path / "raw")
    assert run(settings, "inventory", "ingest")["portraits"]["excluded"] == 0
    assert dict(zip(*(table(settings, "ingest", "portraits", "files")[c] for c in ("path", "reason")))) == {
        "base_1.mp4": "",
        "._base_1.mp4": "companion_file",
    }


def test_videos_are_used_whatever_they_are_called(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a suffix, with one that says nothing, in capitals, as MPEG: used in every corpus that takes any name."""
    monkeypatch.chdir(tmp_path)
    for name in ("clips/RD_Ames_000", "clips/RD_Boone_000.dat", "clips/RD_Cole_000.MP4"):
        put(tmp_path / "hdtf" / name, good)
    for name in ("May.bin", "Obama"):
        put(tmp_path / "portraits" / name, good + b"\0\0\0\x08free")
    write(
        tmp_path / "portraits/Ada.mpeg",
        50,
        "25",
        sound=tone(2.2),
        codec=("-c:v", "mpeg1video"),
        audio_codec=("-c:a", "mp2"),
    )
    put(tmp_path / "portraits/photo.jpg", b"\xff\xd8\xff\xe0")
    settings = settings_for(hdtf=tmp_path / "hdtf", portraits=tmp_path / "portraits")
    run(settings, "inventory", "ingest")
    for corpus, used in (("hdtf", 3), ("portraits", 3)):
        files = table(settings, "ingest", corpus, "files")
        assert (files["status"] == "used").sum() == used, files
    assert dict(zip(files["path"], files["detail"]))["photo.jpg"] == "a picture, not a video"


def test_a_folder_that_may_not_be_opened_is_named(good: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "raw/clips/RD_Ames_000.mp4", good)
    put(tmp_path / "raw/clips/more/RD_Boone_000.mp4", good)
    scandir = os.scandir

    def refusing(path: str):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    settings = settings_for({"max_failed_fraction": 0.0}, hdtf=tmp_path / "raw")
    assert run(settings, "inventory", "ingest")["hdtf"]["clips"] == 1
    row = table(settings, "ingest", "hdtf", "files").set_index("path").loc["clips/more/"]
    assert (row["role"], row["status"], row["reason"]) == ("folder", "excluded", "unreadable_folder")
    assert "no permission" in row["detail"]
