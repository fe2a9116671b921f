"""A repository to retrain in, whose ``dvc`` is played."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from flows.champion import Registry
from flows.retrain import worktree
from tests.flows.retrain.played import Played, git
from tests.reporting.small_report import SETTINGS


@pytest.fixture
def dvc(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(worktree, "dvc", played)
    monkeypatch.setattr(worktree, "stage", played.stage)
    monkeypatch.setattr(worktree, "has_remote", lambda place, repository: True)
    monkeypatch.setattr(worktree, "share_cache", lambda place, repository: None)
    for name in ("MLFLOW_TRACKING_URI", "S3DNERF_RETRAIN_BRANCH", "S3DNERF_RETRAIN_REFERENCE"):
        monkeypatch.delenv(name, raising=False)
    return played


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database, made once: its migrations take seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    Registry("tiny", f"sqlite:///{path}").champion()
    return path


@pytest.fixture
def repository(tmp_path: Path, database: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "params.yaml").write_text(yaml.safe_dump(SETTINGS))
    (folder / ".gitignore").write_text("/data/\n/.locks/\n/.worktrees/\n/mlflow.db*\n/mlartifacts/\n")
    shutil.copyfile(database, folder / "mlflow.db")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder
