"""A clone that pulled its data goes on as if it had made them, and so does a killed run; ``dvc repro -f`` makes them
again. With a real DVC.

The project preprocesses three short videos, pushes to a folder as DVC remote, and is cloned.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.project import Project
from tests.stages.bad_files import make_good

QUICK = {"S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off"}
LAST = ("masks", "lips", "speech")  # with what they need: all of preprocessing
PACK_STAGES = {"resample", "align", "masks", "lips", "speech"}

pytestmark = pytest.mark.timeout(900)


def dvc(project: Project, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *words],
        cwd=project.folder,
        env=project.environment(**QUICK),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, (words, done.stdout + done.stderr)
    return done.stdout + done.stderr


def counts(said: str) -> dict[str, tuple[int, int, int]]:
    """Stage → packs, from the store, to make, as the stages that ran said."""
    found = re.findall(r"(\w+): (\d+) packs, (\d+) from the store, (\d+) to make", said)
    return {stage: (int(packs), int(kept), int(made)) for stage, packs, kept, made in found}


def add_video(project: Project) -> None:
    """A fourth person: the second one's video, its sound a little shorter, so that its bytes are its own."""
    clips = project.folder / "raw/clips"
    data = (clips / "RD_Boone_000.mp4").read_bytes()
    (clips / "WRA_Zimmer_000.mp4").write_bytes(data + b"\0\0\0\x08free")


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose preprocessing is done and pushed."""
    place = tmp_path_factory.mktemp("pushed")
    (place / "project").mkdir()
    project = Project(place / "project")
    make_good(project.folder / "raw")
    with open(project.folder / ".gitignore", "a", encoding="utf-8") as handle:
        handle.write("/raw/\n")
    project.settings(
        sample={"enabled": False},
        ingest={"pack_clips": 1, "hdtf_test_speakers": [], "hdtf_test_fraction": 0.0},
        raw={"hdtf": "raw", "lrs2": None, "mead": None, "portraits": None},
    )
    said = project.repro(*LAST, **QUICK)
    assert counts(said) == dict.fromkeys(PACK_STAGES, (3, 0, 3))
    dvc(project, "remote", "add", "-d", "folder", str(place / "remote"))
    project.commit("done")
    dvc(project, "push")
    return project


def cloned(source: Project, folder: Path) -> Project:
    """A clone with its data pulled and the raw files copied, their times new."""
    subprocess.run(["git", "clone", "-q", str(source.folder), str(folder)], check=True)
    clone = Project.__new__(Project)
    clone.folder = folder
    dvc(clone, "pull", "--allow-missing")  # the trainings were never run
    shutil.copytree(source.folder / "raw", folder / "raw")
    for video in (folder / "raw/clips").iterdir():
        os.utime(video)
    return clone


def test_one_video_added_after_a_pull_makes_one_pack(pushed: Project, tmp_path: Path) -> None:
    clone = cloned(pushed, tmp_path / "clone")
    assert not (clone.folder / ".packs").exists()
    add_video(clone)
    assert counts(clone.repro(*LAST, **QUICK)) == dict.fromkeys(PACK_STAGES, (4, 3, 1))
    # as if everything had been made here
    scratch = Project(_made(tmp_path / "scratch"))
    shutil.copytree(pushed.folder / "raw", scratch.folder / "raw")
    add_video(scratch)
    shutil.copyfile(clone.folder / "params.yaml", scratch.folder / "params.yaml")
    assert counts(scratch.repro(*LAST, **QUICK)) == dict.fromkeys(PACK_STAGES, (4, 0, 4))
    assert _outs(scratch) == _outs(clone)


def test_what_was_changed_after_a_pull_is_not_taken(pushed: Project, tmp_path: Path) -> None:
    clone = cloned(pushed, tmp_path / "clone")
    tar = clone.folder / "data/tiny/lips/hdtf" / next((clone.folder / "data/tiny/lips/hdtf").glob("*.tar")).name
    data = bytearray(tar.read_bytes())
    data[700] ^= 1
    tar.unlink()
    tar.write_bytes(data)
    add_video(clone)
    said = counts(clone.repro("lips", **QUICK))
    assert said["lips"] == (4, 2, 2) and said["align"] == (4, 3, 1)


def test_a_forced_run_goes_round_the_store(pushed: Project, tmp_path: Path) -> None:
    """``-f``, in whatever form it is given, and the environment variable; without them the store is used."""
    clone = cloned(pushed, tmp_path / "clone")
    clone.repro("lips", **QUICK)  # seeds the store, makes nothing
    assert counts(clone.repro("-f", "-s", "lips", **QUICK)) == {"lips": (3, 0, 3)}
    assert counts(clone.repro("-sf", "lips", **QUICK)) == {"lips": (3, 0, 3)}
    forced = counts(clone.repro("--force", "lips", **QUICK))
    assert forced == dict.fromkeys(("resample", "align", "lips"), (3, 0, 3))
    for environment, expected in (({}, (3, 3, 0)), ({"S3DNERF_STORE": "ignore"}, (3, 0, 3))):
        done = subprocess.run(
            [sys.executable, "-m", "flows.run", "lips"],
            cwd=clone.folder,
            env=clone.environment(**QUICK, **environment),
            capture_output=True,
            text=True,
        )
        assert counts(done.stdout + done.stderr) == {"lips": expected}


def test_a_killed_run_goes_on_to_the_bytes_of_one_that_was_left_alone(pushed: Project, tmp_path: Path) -> None:
    killed = Project(_made(tmp_path / "killed"))
    shutil.copytree(pushed.folder / "raw", killed.folder / "raw")
    shutil.copyfile(pushed.folder / "params.yaml", killed.folder / "params.yaml")
    process, end = killed.start(**QUICK), time.monotonic() + 300
    while not list((killed.folder / ".packs/align").glob("*/pack.tar")) and time.monotonic() < end:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert killed.quiet(), "a stage went on after its dvc was killed"
    assert not (killed.folder / "data/tiny/align/hdtf/index.parquet").exists(), "killed too late to mean anything"
    packs, kept, made = counts(killed.repro(*LAST, **QUICK))["align"]
    assert packs == kept + made == 3 and kept >= 1
    assert _outs(killed) == _outs(pushed)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _outs(project: Project) -> dict[str, str]:
    """Out → hash of everything preprocessed, keys included."""
    import yaml

    lock = yaml.safe_load((project.folder / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in PACK_STAGES for out in lock[stage]["outs"]}
