"""The one writer: whole files or none, one run at a time, never over an input, and no trace but the file."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from s3dnerf.core import whole_files
from s3dnerf.core.whole_files import OutputRefused, claimed, taking_the_place_of

ROOT = Path(__file__).resolve().parents[2]
# every name that a file system takes: none of them means anything to us
NAMES = [
    "a:b",
    "?",
    "50%",
    "%d",
    "%(x)s",
    "*",
    "a\nb",
    "'\"`$x",
    "-x",
    "--out",
    " ",
    "ü",
    os.fsdecode(b"n\xe4me"),
    "ä" * 125,
    "x" * 251,
    "a.part",
]


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if not path.is_dir())


def test_the_file_stands_whole_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep/down/a.mp4"
    with claimed(target, "--out"), taking_the_place_of(target) as part:
        part.write_bytes(b"whole")
        assert part.parent == target.parent and part.name.startswith(".a.mp4.") and not target.exists()
    assert target.read_bytes() == b"whole" and left(tmp_path) == ["a.mp4"]


def test_a_run_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"before")
    with pytest.raises(KeyboardInterrupt), claimed(target, "--out"), taking_the_place_of(target) as part:
        part.write_bytes(b"half")
        raise KeyboardInterrupt
    assert target.read_bytes() == b"before" and left(tmp_path) == ["a.mp4"]
    with pytest.raises(ZeroDivisionError), claimed(tmp_path / "new/er/b.mp4", "--out"):
        raise ZeroDivisionError
    assert sorted(tmp_path.iterdir()) == [target]  # the folders that were made are gone as well


def test_two_writers_have_a_part_each(tmp_path: Path) -> None:
    with taking_the_place_of(tmp_path / "a") as one, taking_the_place_of(tmp_path / "a") as two:
        one.write_bytes(b"1")
        two.write_bytes(b"2")
        assert one != two
    assert (tmp_path / "a").read_bytes() == b"1" and left(tmp_path) == ["a"]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_written(tmp_path: Path, name: str) -> None:
    for suffix in ("", ".mp4"):
        target = tmp_path / f"{name}{suffix}"
        with claimed(target, "--out"), taking_the_place_of(target) as part:
            part.write_bytes(b"x")
        assert os.listdir(tmp_path) == [target.name]
        target.unlink()


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with (
        pytest.raises(OutputRefused, match="--out: .*xxx cannot be written: File name too long"),
        claimed(tmp_path / ("x" * 256), "--out"),
    ):
        pytest.fail("begun")


HOLD = """
import sys, time
from s3dnerf.core.whole_files import claimed
with claimed(sys.argv[1], "--out"):
    print("held", flush=True)
    time.sleep(60)
"""


def held_by_another(target: Path) -> subprocess.Popen:
    process = subprocess.Popen([sys.executable, "-c", HOLD, target], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_file_that_another_run_writes_is_refused_until_that_run_is_gone(tmp_path: Path) -> None:
    """However it ends: the lock is the kernel's, and the file that a killed run leaves is in nobody's way."""
    target = tmp_path / "a.mp4"
    (tmp_path / "same").symlink_to(tmp_path)
    other = held_by_another(target)
    try:
        for path in (target, tmp_path / "same/a.mp4"):
            with (
                pytest.raises(OutputRefused, match="another run is writing .*a.mp4 now: nothing done"),
                claimed(path, "--out"),
            ):
                pytest.fail("begun")
        with claimed(tmp_path / "b.mp4", "--out"):  # another file of the folder
            pass
    finally:
        other.send_signal(signal.SIGKILL)
        other.wait()
    with claimed(target, "--out"):
        pass
    assert left(tmp_path) == []


def test_many_runs_at_once_write_one_after_the_other_or_are_refused(tmp_path: Path) -> None:
    code = """
import os, sys, time
from s3dnerf.core.whole_files import OutputRefused, claimed, taking_the_place_of
for _ in range(40):
    try:
        with claimed(sys.argv[1], "--out"):
            mark = os.open(sys.argv[1] + ".mark", os.O_CREAT | os.O_EXCL)  # raises where two are inside
            with taking_the_place_of(sys.argv[1]) as part:
                part.write_bytes(bytes(1000))
            os.close(mark)
            os.unlink(sys.argv[1] + ".mark")
    except OutputRefused:
        pass
"""
    target = tmp_path / "a"
    runs = [subprocess.Popen([sys.executable, "-c", code, target], cwd=ROOT) for _ in range(4)]
    assert [run.wait(120) for run in runs] == [0] * 4
    assert left(tmp_path) == ["a"] and target.read_bytes() == bytes(1000)


@pytest.mark.parametrize("how", ["the same path", "another path", "a hard link", "a link", "a link's target"])
def test_an_input_is_never_written_over_under_whichever_name(tmp_path: Path, how: str) -> None:
    given = tmp_path / "me.mp4"
    given.write_bytes(b"input")
    out = {"the same path": given, "another path": tmp_path / "sub/../me.mp4"}.get(how, tmp_path / "out.mp4")
    (tmp_path / "sub").mkdir()
    if how == "a hard link":
        os.link(given, out)
    elif how == "a link":
        out.symlink_to(given)
    elif how == "a link's target":
        given, out = tmp_path / "link.mp4", given
        given.symlink_to(out)
    with (
        pytest.raises(OutputRefused, match="--out: .* is the speech .*: expected another name"),
        claimed(out, "--out", {"the speech": given}),
    ):
        pytest.fail("begun")
    assert given.read_bytes() == b"input" and not [name for name in left(tmp_path) if name.startswith(".")]


def test_a_folder_that_is_an_input_is_never_written_into(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "generator.safetensors").write_bytes(b"weights")
    os.link(model / "generator.safetensors", tmp_path / "a.mp4")
    for out, said in (
        (model / "a.mp4", "lies in the model"),
        (tmp_path / "a.mp4", "is a file of the model"),
        (model, "is the model"),
    ):
        with (
            pytest.raises(OutputRefused, match=said),
            claimed(out, "--out", {"the model": model, "nothing": None, "gone": tmp_path / "none"}),
        ):
            pytest.fail("begun")
    assert (tmp_path / "a.mp4").read_bytes() == b"weights" and os.listdir(model) == ["generator.safetensors"]


def test_what_cannot_be_written_is_found_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"")

    def refused(path: Path, said: str) -> None:
        with pytest.raises(OutputRefused, match=said), claimed(path, "--out"):
            pytest.fail("begun")

    refused(tmp_path, "is a folder: expected the name of a file")
    refused(tmp_path / "file/a.mp4", "file is no folder and cannot be made one")
    refused(Path("/proc/a.mp4"), "/proc/a.mp4 cannot be written: ")

    def full(handle: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(whole_files.os, "write", full)
    refused(tmp_path / "a.mp4", "a.mp4 cannot be written: No space left on device")
    monkeypatch.undo()
    opened = os.open

    def read_only(path, *how, **more):
        if str(path).endswith(".lock"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, *how, **more)

    monkeypatch.setattr(whole_files.os, "open", read_only)
    refused(tmp_path / "a.mp4", "a.mp4 cannot be written: Permission denied")
    assert left(tmp_path) == ["file"]


def test_a_file_of_a_killed_run_does_not_count_as_a_file_of_anybody_s(tmp_path: Path) -> None:
    from s3dnerf.video.file_kinds import passed_over

    with claimed(tmp_path / "a.mp4", "--out"), taking_the_place_of(tmp_path / "a.mp4") as part:
        part.touch()
        hidden = left(tmp_path)
        assert len(hidden) == 2 and all(passed_over(name) for name in hidden)
