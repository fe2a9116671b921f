"""The inventory: stands while the files stand, says which folder is missing, survives any name."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from stages import inventory
from stages.preprocessing import StageError
from tests.stages.running import run, settings_for, table

OLD = 1_600_000_000


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A raw folder with three old files; the working directory is beside it."""
    monkeypatch.chdir(tmp_path)
    for path, data in (("clips/b.mp4", b"bb"), ("clips/a.mp4", b"a"), ("list.txt", b"")):
        file = tmp_path / "raw" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        os.utime(file, (OLD, OLD))
    return tmp_path / "raw"


def out_bytes(settings) -> bytes:
    return (settings.data_dir / "inventory" / "files.parquet").read_bytes()


def test_rows(raw: Path) -> None:
    settings = settings_for(hdtf=raw)
    assert run(settings, "inventory") == {"files": 3, "bytes": 3, "hashed": 3}
    found = table(settings, "inventory", "files")
    assert list(found.columns) == ["corpus", "path", "size", "sha256"]
    assert found["path"].tolist() == ["clips/a.mp4", "clips/b.mp4", "list.txt"] and found["size"].tolist() == [1, 2, 0]
    assert found["sha256"][2] == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_nothing_changed_is_the_same_bytes_and_hashes_nothing(raw: Path) -> None:
    settings = settings_for(hdtf=raw)
    run(settings, "inventory")
    before = out_bytes(settings)
    assert run(settings, "inventory")["hashed"] == 0 and out_bytes(settings) == before
    os.utime(raw / "list.txt", (OLD + 5, OLD + 5))  # touched: hashed again, the table stands
    assert run(settings, "inventory")["hashed"] == 1 and out_bytes(settings) == before
    (raw / "clips/a.mp4").write_bytes(b"c")
    assert run(settings, "inventory")["hashed"] == 1 and out_bytes(settings) != before


def test_a_file_changed_just_now_is_not_trusted(raw: Path) -> None:
    """The same size within the clock's resolution: only its bytes tell."""
    settings = settings_for(hdtf=raw)
    (raw / "new.mp4").write_bytes(b"1")
    run(settings, "inventory")
    assert run(settings, "inventory")["hashed"] == 1


@pytest.mark.skipif(os.name != "posix", reason="names of any bytes")
def test_names_of_any_bytes(raw: Path) -> None:
    name = os.fsdecode(b"b\xffad \xc3\xa9.mp4")
    (raw / name).write_bytes(b"x")
    settings = settings_for(hdtf=raw)
    run(settings, "inventory")
    assert "b\\xffad é.mp4" in table(settings, "inventory", "files")["path"].tolist()
    assert inventory.path_text("plain é") == "plain é"


def test_links(raw: Path) -> None:
    (raw / "dead.mp4").symlink_to(raw / "nowhere")
    (raw / "loop").symlink_to(raw)
    (raw.parent / "elsewhere").mkdir()
    (raw.parent / "elsewhere" / "far.mp4").write_bytes(b"far")
    (raw / "linked").symlink_to(raw.parent / "elsewhere")
    settings = settings_for(hdtf=raw)
    run(settings, "inventory")
    found = dict(zip(*(table(settings, "inventory", "files")[c] for c in ("path", "sha256"))))
    assert found["dead.mp4"] == "" and found["linked/far.mp4"] and not any(path.startswith("loop") for path in found)


def test_a_missing_folder_is_one_clear_error(raw: Path) -> None:
    with pytest.raises(
        StageError,
        match=r"raw\.lrs2: nowhere: no such folder — put the corpus there, name its folder, or set it to null",
    ):
        run(settings_for(hdtf=raw, lrs2="nowhere"), "inventory")
    (raw.parent / "empty").mkdir()
    with pytest.raises(StageError, match=r"raw\.mead: empty: the folder is empty"):
        run(settings_for(hdtf=raw, mead="empty"), "inventory")
    with pytest.raises(StageError, match="dvc repro inventory"):
        run(settings_for(hdtf=raw), "ingest")
