"""Copies of this repository's code in folders of their own, and what ``dvc repro`` made in them, for comparing two.

``s3dnerf code keep --proven`` and the benchmarks that run whole graphs use them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from flows.git_calls import GitError, git, git_text
from flows.provenance import outs_of, read_lock
from s3dnerf.video.packs import file_sha256

RESULTS = ("reports", "dvc.lock", "params.yaml", "local.yaml")
# of the report, what equal runs make equal: its page, revision and times differ
TABLES = ("summary.json", "clips.parquet", "membership.parquet")
SWITCHES = ("S3DNERF", "DVC", "PREFECT", "MLFLOW")


def copy_revision(root: Path, folder: Path, revision: str = "HEAD") -> None:
    """The code of a git revision, as files in a folder."""
    archive = git(root, "archive", revision)
    if archive.returncode:
        raise GitError(f"git archive {revision}: {archive.stderr.decode(errors='replace').strip()}")
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)


def copy_working_tree(root: Path, folder: Path) -> None:
    """The code as it is on disk, tracked files and new ones, as files in a folder."""
    for name in git_text(root, "ls-files", "-z", "-co", "--exclude-standard").split("\0"):
        if name and (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)


def without_results(folder: Path) -> None:
    """Remove from a copy what an earlier run left in git: settings, lock, reports; and begin a git history, which DVC
    wants.
    """
    for name in RESULTS:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    git_text(folder, "init", "-q")


def clean_environment(**more: str) -> dict[str, str]:
    """This environment without our switches and without this run's servers, its Python's commands first in the path."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SWITCHES)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return kept | {"PATH": path} | more


def graph_hashes(folder: Path, preset: str = "tiny") -> dict[str, str]:
    """Out → DVC's hash of every stage but the report, and the sha256 of the report's tables."""
    made = outs_of(read_lock(folder / "dvc.lock"))
    outs = {path: md5 for stage, paths in made.items() if stage != "report" for path, md5 in paths.items()}
    return outs | {name: file_sha256(folder / "reports" / preset / name) for name in TABLES}
