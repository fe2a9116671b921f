"""The inventory: stands while the files stand, says which folder is missing, survives any name."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from stages import inventory
from stages.preprocessing import StageError
from stages.raw_files import inventory_cache
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
    assert list(found.columns) == ["corpus", "path", "size", "sha256", "kind"]
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


KILLED = """
import time
from pathlib import Path
from stages import inventory
from tests.stages.running import run, settings_for
look = inventory._look
def slowly(path):
    time.sleep(0.05)
    return look(path)
inventory._look, inventory.KEEP_EVERY_S, inventory.PIECE_FILES, inventory.ROUND_PIECES = slowly, 0.0, 1, 2
run(settings_for(hdtf=Path("raw")), "inventory")
"""


def test_a_killed_run_is_gone_on_with_to_the_same_bytes(raw: Path) -> None:
    for number in range(60):
        (raw / f"{number}.txt").write_text(f"{number}")
        os.utime(raw / f"{number}.txt", (OLD, OLD))
    settings, total = settings_for(hdtf=raw), 63
    path = inventory_cache(settings.preset)
    root = Path(__file__).resolve().parents[2]
    process = subprocess.Popen([sys.executable, "-c", KILLED], env={**os.environ, "PYTHONPATH": str(root)})
    end = time.monotonic() + 60
    while not path.exists() or len(pd.read_parquet(io.BytesIO(path.read_bytes()))) < 10:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.02)
    process.kill()
    process.wait()
    kept = len(pd.read_parquet(path))
    assert 10 <= kept < total and not (settings.data_dir / "inventory" / "files.parquet").exists()
    assert run(settings, "inventory") == {"files": total, "bytes": 3 + 110, "hashed": total - kept}
    resumed = out_bytes(settings)
    path.unlink()
    assert run(settings, "inventory")["hashed"] == total and out_bytes(settings) == resumed


def test_files_are_hashed_in_pieces_of_many_or_of_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "PIECE_FILES", 3)
    monkeypatch.setattr(inventory, "PIECE_BYTES", 100)
    rows = [{"size": size} for size in (1, 1, 1, 1, 99, 5, 200)]
    assert [[row["size"] for row in piece] for piece in inventory._pieces(rows)] == [[1, 1, 1], [1, 99], [5, 200]]


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


def test_what_the_first_bytes_say_stands_beside_the_hash_and_is_kept_with_it(raw: Path) -> None:
    (raw / "clips/b.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    os.utime(raw / "clips/b.mp4", (OLD, OLD))
    settings = settings_for(hdtf=raw)
    for _ in range(2):  # looked at, and from the cache
        run(settings, "inventory")
        found = table(settings, "inventory", "files")
        assert dict(zip(found["path"], found["kind"])) == {
            "clips/a.mp4": "text",
            "clips/b.mp4": "media",
            "list.txt": "",
        }
    cache = raw.parent / ".packs/inventory" / f"{settings.preset}.parquet"
    pd.read_parquet(cache).drop(columns="kind").to_parquet(cache, index=False)
    before = out_bytes(settings)  # a cache of an earlier version is made again
    assert run(settings, "inventory")["hashed"] == 3 and out_bytes(settings) == before
    out = settings.data_dir / "inventory" / "files.parquet"
    pd.read_parquet(out).drop(columns="kind").to_parquet(out, index=False)
    with pytest.raises(StageError, match="of an earlier version of this program — make it again: dvc repro inventory"):
        run(settings, "ingest")


class Locked:
    """Lets nobody open some folders, and nobody see what lies in others, as the system does for everybody but root."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *folders: Path) -> None:
        self.folders, self.scandir = {str(folder) for folder in folders}, os.scandir
        monkeypatch.setattr(os, "scandir", self)

    def __call__(self, path: str):
        if str(path) in self.folders:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return self.scandir(path)


def test_a_folder_that_may_not_be_opened_is_named_and_the_others_are_used(
    raw: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("locked", ".Trashes"):
        (raw / name).mkdir()
        (raw / name / "x.mp4").write_bytes(b"x")
    Locked(monkeypatch, raw / "locked", raw / ".Trashes")
    settings = settings_for(hdtf=raw)
    assert run(settings, "inventory")["files"] == 5
    rows = table(settings, "inventory", "files").set_index("path")
    assert rows.loc["locked/", "kind"] == "folder" and rows.loc["locked/", "sha256"] == ""
    said = [m for m in caplog.messages if "may not be opened" in m]
    assert said == ["inventory: raw.hdtf: locked/: this folder may not be opened (no permission)"]
    Locked(monkeypatch, raw)
    with pytest.raises(StageError, match=r"raw\.hdtf: .*: the folder may not be opened — allow this user to read it"):
        run(settings, "inventory")


def test_a_folder_whose_names_may_be_read_and_nothing_else(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = inventory._state

    def seen(entry: os.DirEntry[str]) -> os.stat_result | None:
        return None if entry.name == "a.mp4" else state(entry)

    monkeypatch.setattr(inventory, "_state", seen)
    settings = settings_for(hdtf=raw)
    run(settings, "inventory")
    rows = table(settings, "inventory", "files").set_index("path")
    assert rows.loc["clips/a.mp4", "sha256"] == "" and rows.loc["clips/b.mp4", "sha256"]


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may open everything")
def test_real_permissions(raw: Path) -> None:
    (raw / "locked").mkdir(mode=0o000)
    (raw / "named").mkdir()
    (raw / "named/x.mp4").write_bytes(b"x")
    (raw / "named").chmod(0o444)
    try:
        assert {path for path, _ in inventory.walk(str(raw))} >= {"locked/", "named/x.mp4", "clips/a.mp4"}
    finally:
        (raw / "locked").chmod(0o755)
        (raw / "named").chmod(0o755)


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
