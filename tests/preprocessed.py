"""A small project whose preprocessing nobody disturbed: three people, a pack each. What is done to a copy of it must
end with the same bytes.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.settings.schema import RawSettings
from s3dnerf.video.packs import file_sha256
from tests.stages.bad_files import make_good
from tests.stages.running import run

ROOT = Path(__file__).resolve().parent.parent
STAGES = ("inventory", "ingest", "resample", "align", "masks", "lips", "speech")


def make_project(folder: Path) -> Path:
    """The project, preprocessed to its end in this process."""
    make_good(folder / "raw")
    tiny = preset_settings("tiny")
    ingest = dataclasses.replace(tiny.ingest, hdtf_test_speakers=(), pack_clips=1)
    settings = dataclasses.replace(tiny, raw=RawSettings("raw", None, None, None), ingest=ingest)
    (folder / "params.yaml").write_text(yaml.safe_dump(as_dict(settings)))
    before = Path.cwd()
    os.chdir(folder)
    try:
        run(settings, *STAGES)
    finally:
        os.chdir(before)
    return folder


def undone(done: Path, folder: Path, stage: str) -> Path:
    """A copy of ``done`` in which ``stage`` and what follows are still to do."""
    shutil.copytree(done, folder, symlinks=True)
    for later in STAGES[STAGES.index(stage) :]:
        shutil.rmtree(folder / "data/tiny" / later)
        shutil.rmtree(folder / ".packs" / later, ignore_errors=True)
    return folder


def start_stage(folder: Path, stage: str, *paths: Path, **environment: str) -> subprocess.Popen[str]:
    """``python -m flows.run <stage>`` in a project; inline where ``environment`` says nothing else. ``paths`` come
    first in its import path.
    """
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("S3DNERF", "PREFECT"))}
    clean |= {"PYTHONPATH": os.pathsep.join(map(str, (*paths, ROOT)))}
    clean |= {"S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off"} | environment
    command = [sys.executable, "-m", "flows.run", stage]
    return subprocess.Popen(command, cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def run_stage(folder: Path, stage: str, *paths: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """:func:`start_stage`, to its end."""
    process = start_stage(folder, stage, *paths, **environment)
    said, failed = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, said, failed)


def hashes(folder: Path, stage: str) -> dict[str, str]:
    """sha256 of every file of a stage's out."""
    out = folder / "data/tiny" / stage
    return {str(path.relative_to(out)): file_sha256(path) for path in sorted(out.rglob("*")) if path.is_file()}


def half_written(folder: Path) -> list[Path]:
    """Temporary files in outs and store."""
    return [path for place in ("data", ".packs") for path in (folder / place).rglob("*.part")]


def taken_for_done(folder: Path, stage: str) -> list[str]:
    """What says that a stage is done: the table that its followers open first."""
    last = {"inventory": "files", "ingest": "excluded"}.get(stage, "index") + ".parquet"
    return sorted(str(path) for path in (folder / "data/tiny" / stage).rglob(last))
