"""Faults in the middle of preprocessing: a kill -9, a full disk. Nothing half-written is taken for done, and the next
run ends with the same bytes.

Each stage runs as a process of its own, ``python -m flows.run <stage>``, in a project folder of a few short clips. A
small ``sitecustomize`` in that process strikes at its n-th rename or flush: just after a temporary file was written,
before it has its name. And a disk that is really full: the project on a tmpfs of a few pages too little.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.preprocessed import STAGES, half_written, hashes, make_project, run_stage, taken_for_done, undone

STRIKE = """
import errno, os, signal

what, _, at = os.environ["STRIKE"].partition(":")
left, replace, fsync = [int(at)], os.replace, os.fsync


def counted():
    left[0] -= 1
    return left[0] == 0


def dying(*names, **more):
    if what == "kill" and counted():
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(*names, **more)


def full(handle):
    if what == "full" and counted():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    return fsync(handle)


os.replace, os.fsync = dying, full
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("faults") / "project")
    (folder / "strike").mkdir()
    (folder / "strike" / "sitecustomize.py").write_text(STRIKE)
    return folder


@pytest.fixture
def project(done: Path, tmp_path: Path, stage: str) -> Path:
    """A copy in which ``stage`` and what follows are still to do."""
    return undone(done, tmp_path / "project", stage)


def struck(folder: Path, stage: str, strike: str):
    """A stage's run that is struck: ``kill:3`` or ``full:2``."""
    return run_stage(folder, stage, folder / "strike", STRIKE=strike)


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_its_middle_and_run_again_a_stage_ends_with_the_same_bytes(
    project: Path, done: Path, stage: str
) -> None:
    entries = project / ".packs" / stage
    strikes = [("kill:1", 0)]
    if stage not in ("inventory", "ingest"):  # while the second pack is written, and then while the out is filled
        strikes = [("kill:5", 1), ("kill:7", 3)]  # a pack is three renames: its tar, its result, the entry
    for strike, whole in strikes:
        killed = struck(project, stage, strike)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert half_written(project) and not taken_for_done(project, stage)
        # what is done is kept; the pack in hand is not taken for whole
        assert len([path for path in entries.glob("*/manifest.json") if not path.parent.name.startswith(".")]) == whole
    again = run_stage(project, stage)
    assert again.returncode == 0, again.stderr
    assert hashes(project, stage) == hashes(done, stage)
    if whole:
        assert f"{stage}: 3 packs, {whole} from the store, {3 - whole} to make" in again.stdout


@pytest.mark.parametrize(("stage", "at"), [("inventory", 1), ("ingest", 3), ("resample", 2), ("resample", 11)])
def test_a_full_disk_is_one_clear_message_and_leaves_nothing_behind(
    project: Path, done: Path, stage: str, at: int
) -> None:
    failed = struck(project, stage, f"full:{at}")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert (
        f"s3dnerf: {stage}: " in failed.stderr
        and "No space left on device" in failed.stderr
        and "s3dnerf store" in failed.stderr
    )
    assert not half_written(project) and not [
        name for name in taken_for_done(project, stage) if "hdtf" in name or stage == "inventory"
    ]
    assert run_stage(project, stage).returncode == 0
    assert hashes(project, stage) == hashes(done, stage)


class SmallDisk:
    """A file system in memory whose size is set as it is needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        told = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)], capture_output=True, text=True
        )
        if told.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {told.stderr.strip()}")

    def leave_free(self, pages: int | None) -> None:
        """So many pages of 4096 bytes from now on; None: plenty."""
        state = os.statvfs(self.folder)
        size = "1g" if pages is None else (state.f_blocks - state.f_bfree) * state.f_frsize + pages * 4096
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)

    def used_pages(self) -> int:
        state = os.statvfs(self.folder)
        return (state.f_blocks - state.f_bfree) * state.f_frsize // 4096

    def gone(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    if os.geteuid() or shutil.which("mount") is None or sys.platform != "linux":
        pytest.skip("only root on Linux can mount a tmpfs")
    disk = SmallDisk(tmp_path / "disk")
    try:
        yield disk
    finally:
        disk.gone()


@pytest.mark.parametrize("stage", ["inventory", "ingest", "align", "speech"])
def test_on_a_disk_that_is_really_full_a_stage_says_so_and_goes_on_when_there_is_room(
    small_disk: SmallDisk, done: Path, stage: str
) -> None:
    """The disk has a twentieth, a half and nineteen twentieths of what the stage writes, one run after the other."""
    project = undone(done, small_disk.folder / "project", stage)
    before = small_disk.used_pages()
    assert run_stage(project, stage).returncode == 0
    needed = small_disk.used_pages() - before
    shutil.rmtree(project)
    undone(done, project, stage)
    for share in (0.05, 0.5, 0.95):
        small_disk.leave_free(int(needed * share) - (small_disk.used_pages() - before))
        full = run_stage(project, stage)
        assert full.returncode == 1 and "Traceback" not in full.stderr, (share, full.stderr)
        assert (
            f"s3dnerf: {stage}: [Errno 28] No space left on device: '" in full.stderr
            and "make room (`s3dnerf store`" in full.stderr
        )
        assert not half_written(project)
        corpora_done = [
            path
            for path in taken_for_done(project, stage)
            if Path(path).read_bytes() != _undisturbed(project, done, path)
        ]
        assert not corpora_done, f"{corpora_done} would be taken for done"
        small_disk.leave_free(None)
    assert run_stage(project, stage).returncode == 0
    assert hashes(project, stage) == hashes(done, stage)


def _undisturbed(project: Path, done: Path, path: str) -> bytes:
    return (done / Path(path).relative_to(project)).read_bytes()


@pytest.mark.parametrize("stage", ["masks"])
def test_a_changed_byte_in_an_out_stops_the_stage_that_reads_it(project: Path, done: Path, stage: str) -> None:
    (victim, *_) = sorted((project / "data/tiny/align/hdtf").glob("*.tar"))
    data = bytearray(victim.read_bytes())
    data[data.find(b"landmarks.npy") + 2000] ^= 1
    victim.write_bytes(bytes(data))
    stopped = run_stage(project, stage)
    assert stopped.returncode == 1 and "changed bytes — make it again: dvc repro align" in stopped.stderr
    assert not taken_for_done(project, stage)
    assert run_stage(project, "align").returncode == 0 and run_stage(project, stage).returncode == 0
    assert hashes(project, "align") == hashes(done, "align") and hashes(project, stage) == hashes(done, stage)
