"""Faults in the middle of preprocessing: a kill -9, a full disk. Nothing half-written is taken for done, and the next run ends with the same bytes.

Each stage runs as a process of its own, ``python -m flows.run <stage>``, in a project folder of a few short clips. A small
``sitecustomize`` in that process strikes at its n-th rename or flush: just after a temporary file was written, before it has its name.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from s3dnerf.config import RawSettings, as_dict, preset_settings
from s3dnerf.video.packs import file_sha256
from tests.stages.bad_files import make_good
from tests.stages.running import run

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("inventory", "ingest", "resample", "align", "masks", "lips", "speech")
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
    """A project whose preprocessing nobody disturbed: three people, a pack each."""
    folder = tmp_path_factory.mktemp("faults") / "project"
    make_good(folder / "raw")
    tiny = preset_settings("tiny")
    ingest = dataclasses.replace(tiny.ingest, hdtf_test_speakers=(), pack_clips=1)
    settings = dataclasses.replace(tiny, raw=RawSettings("raw", None, None, None), ingest=ingest)
    (folder / "params.yaml").write_text(yaml.safe_dump(as_dict(settings)))
    (folder / "strike").mkdir()
    (folder / "strike" / "sitecustomize.py").write_text(STRIKE)
    before = Path.cwd()
    os.chdir(folder)
    try:
        run(settings, *STAGES)
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def project(done: Path, tmp_path: Path, stage: str) -> Path:
    """A copy of it in which ``stage`` and what follows are still to do."""
    folder = tmp_path / "project"
    shutil.copytree(done, folder, symlinks=True)
    for later in STAGES[STAGES.index(stage) :]:
        shutil.rmtree(folder / "data/tiny" / later)
        shutil.rmtree(folder / ".packs" / later, ignore_errors=True)
    return folder


def flows_run(folder: Path, stage: str, strike: str = "") -> subprocess.CompletedProcess:
    quiet = {k: v for k, v in os.environ.items() if not k.startswith(("S3DNERF", "PREFECT"))}
    path = os.pathsep.join([*([str(folder / "strike")] if strike else []), str(ROOT)])
    quiet |= {"PYTHONPATH": path, "S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off", "PYTHONDONTWRITEBYTECODE": "1", "STRIKE": strike}
    return subprocess.run([sys.executable, "-m", "flows.run", stage], cwd=folder, env=quiet, capture_output=True, text=True)


def hashes(folder: Path, stage: str) -> dict[str, str]:
    out = folder / "data/tiny" / stage
    return {str(path.relative_to(out)): file_sha256(path) for path in sorted(out.rglob("*")) if path.is_file()}


def half_written(folder: Path) -> list[Path]:
    return [path for place in ("data", ".packs") for path in (folder / place).rglob("*.part")]


def taken_for_done(folder: Path, stage: str) -> list[str]:
    """What says that a stage is done: the table that its followers open first."""
    return sorted(
        str(path)
        for path in (folder / "data/tiny" / stage).rglob({"inventory": "files", "ingest": "excluded"}.get(stage, "index") + ".parquet")
    )


@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_its_middle_and_run_again_a_stage_ends_with_the_same_bytes(project: Path, done: Path, stage: str) -> None:
    entries = project / ".packs" / stage
    strikes = [("kill:1", 0)]
    if stage not in ("inventory", "ingest"):  # while the second pack is written, and then while the out is filled
        strikes = [("kill:3", 1), ("kill:5", 3)]
    for strike, whole in strikes:
        killed = flows_run(project, stage, strike)
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        assert half_written(project) and not taken_for_done(project, stage)
        assert len(list(entries.glob("*/result.json"))) == whole  # what is done is kept; the pack in hand is not taken for whole
    again = flows_run(project, stage)
    assert again.returncode == 0, again.stderr
    assert hashes(project, stage) == hashes(done, stage)
    if whole:
        assert f"{stage}: 3 packs, {whole} from the store, {3 - whole} to make" in again.stdout


@pytest.mark.parametrize(("stage", "at"), [("inventory", 1), ("ingest", 3), ("resample", 2), ("resample", 7)])
def test_a_full_disk_is_one_clear_message_and_leaves_nothing_behind(project: Path, done: Path, stage: str, at: int) -> None:
    failed = flows_run(project, stage, f"full:{at}")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert f"s3dnerf: {stage}: " in failed.stderr and "No space left on device" in failed.stderr and "s3dnerf store" in failed.stderr
    assert not half_written(project) and not [name for name in taken_for_done(project, stage) if "hdtf" in name or stage == "inventory"]
    assert flows_run(project, stage).returncode == 0
    assert hashes(project, stage) == hashes(done, stage)


@pytest.mark.parametrize("stage", ["masks"])
def test_a_changed_byte_in_an_out_stops_the_stage_that_reads_it(project: Path, done: Path, stage: str) -> None:
    (victim, *_) = sorted((project / "data/tiny/align/hdtf").glob("*.tar"))
    data = bytearray(victim.read_bytes())
    data[data.find(b"landmarks.npy") + 2000] ^= 1
    victim.write_bytes(bytes(data))
    stopped = flows_run(project, stage)
    assert stopped.returncode == 1 and "changed bytes — make it again: dvc repro align" in stopped.stderr
    assert not taken_for_done(project, stage)
    assert flows_run(project, "align").returncode == 0 and flows_run(project, stage).returncode == 0
    assert hashes(project, "align") == hashes(done, "align") and hashes(project, stage) == hashes(done, stage)
