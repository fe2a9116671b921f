"""What the page keeps: one private folder, whose files go with their visitor, with time, and with the server."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from flows.page.folder import PREFIX, Visits, own_folder, remove_abandoned

HOLD = "from flows.page.folder import own_folder\nwith own_folder() as folder:\n    print(folder, flush=True); input()"


@pytest.fixture
def parent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The system's folder for temporary files."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_the_folder_is_private_holds_all_temporary_files_and_goes(parent: Path) -> None:
    with own_folder() as folder:
        assert folder.parent == parent and folder.stat().st_mode & 0o777 == 0o700
        assert os.environ["TMPDIR"] == str(folder)
        with tempfile.NamedTemporaryFile(delete=False) as left:
            assert Path(left.name).parent == folder
    assert list(parent.iterdir()) == [] and os.environ["TMPDIR"] == str(parent)
    assert tempfile.gettempdir() == str(parent)


def test_what_a_killed_server_left_is_removed_and_a_running_ones_is_not(parent: Path) -> None:
    servers = [
        subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        killed, running = (Path(server.stdout.readline().strip()) for server in servers)
        (killed / "files").mkdir()
        (killed / "files" / "face.png").write_bytes(b"x")
        servers[0].kill()
        servers[0].wait()
        assert killed.is_dir()
        assert remove_abandoned(parent) == 1
        assert running.is_dir() and not killed.exists()
    finally:
        for server in servers:
            server.kill()
            server.communicate()


def test_nothing_but_such_folders_is_removed(parent: Path) -> None:
    elsewhere = parent / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "lock").touch()
    (parent / f"{PREFIX}link").symlink_to(elsewhere)
    (parent / f"{PREFIX}file").touch()
    (parent / f"{PREFIX}new").mkdir()  # another server is making it
    old = parent / f"{PREFIX}old"
    old.mkdir()
    os.utime(old, (0, 0))
    assert remove_abandoned(parent) == 1
    assert sorted(path.name for path in parent.iterdir()) == [
        "elsewhere", f"{PREFIX}file", f"{PREFIX}link", f"{PREFIX}new",
    ]  # fmt: skip


def upload(folder: Path, name: str) -> Path:
    path = folder / name / "a.png"
    path.parent.mkdir()
    path.write_bytes(b"x" * 10)
    return path


def test_files_go_with_the_last_visitor_who_has_them(tmp_path: Path) -> None:
    visits = Visits(tmp_path, 3600)
    shared, own = upload(tmp_path, "shared"), upload(tmp_path, "own")
    visits.hold("anna", shared)
    visits.hold("anna", own)
    visits.hold("bert", shared)
    assert visits.held_bytes() >= 20
    visits.close("anna")
    assert shared.is_file() and not own.parent.exists()
    visits.close("bert")
    assert list(tmp_path.iterdir()) == []
    visits.close("bert")  # twice is no error


def test_a_file_elsewhere_is_never_removed(tmp_path: Path) -> None:
    folder, other = tmp_path / "files", tmp_path / "other.png"
    folder.mkdir()
    other.touch()
    visits = Visits(folder, 3600)
    visits.hold("anna", folder / ".." / "other.png")
    visits.close("anna")
    assert other.is_file()


def test_files_go_with_time_and_new_ones_stay(tmp_path: Path) -> None:
    visits = Visits(tmp_path, keep_s=100)
    old, new = upload(tmp_path, "old"), upload(tmp_path, "new")
    half = tmp_path / "tmp123"  # of an upload that broke off
    half.touch()
    for path in (old, half):
        os.utime(path, (path.stat().st_mtime - 200,) * 2)
    visits.sweep()
    assert new.is_file() and sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_who_leaves_or_stops_is_not_rendered_for(tmp_path: Path) -> None:
    visits = Visits(tmp_path, 3600)
    first, second = visits.begin("anna"), visits.begin("bert")
    visits.stop("anna")
    visits.stop("nobody")
    assert first.is_set() and not second.is_set()
    assert not visits.begin("anna").is_set()  # stopped once, wanted again
    visits.close("bert")
    assert second.is_set()
    again = visits.begin("anna")
    visits.end()
    assert again.is_set() and visits.begin("carl").is_set()


def test_videos_have_names_that_nobody_guesses(tmp_path: Path) -> None:
    visits = Visits(tmp_path, 3600)
    one, two = visits.new_video("anna"), visits.new_video("anna")
    assert one != two and len(one.parent.name) == 32 and one.parent.stat().st_mode & 0o777 == 0o700
    visits.drop("anna", one)
    assert not one.parent.exists() and two.parent.is_dir()
