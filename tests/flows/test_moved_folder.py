"""A project in a folder with an odd name, and one that was moved or copied after it was used: databases and what they name."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.champion import Registry
from flows.mlflow_client import TrackingClient, tracking_uri
from flows.mlflow_files import follow_folder
from flows.process_lifetime import identity
from flows.server import healthy
from flows.sqlite_urls import sqlite_url
from s3dnerf.core.errors import SettingsError
from tests.flows.retrain.played import small_card

ROOT = Path(__file__).resolve().parents[2]
ODD = ["a folder", 'it\'s 50% "?" #1 é']


@pytest.fixture(autouse=True)
def _own_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test as a process of its own: MLflow keeps a database by its address, which may be a relative one."""
    from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore as Models
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore as Runs
    from mlflow.tracking._model_registry.registry import ModelRegistryStoreRegistry
    from mlflow.tracking._tracking_service.registry import TrackingStoreRegistry

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for registry in (ModelRegistryStoreRegistry, TrackingStoreRegistry):
        registry._get_store_with_resolved_uri.cache_clear()
    for store in (Models, Runs):
        monkeypatch.setattr(store, "_engine_map", {})


def tracked(folder: Path) -> tuple[str, str]:
    """A run with a file and a registered model, as stages and retraining leave them. Returns the run, the version."""
    model = folder / "model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "generator.safetensors").write_text("weights")
    (model / "card.json").write_text(small_card())
    registry = Registry("tiny", tracking_uri(folder))
    client = registry.tracking.client
    run = client.create_run(registry.tracking.experiment("tiny")).info.run_id
    client.log_artifact(run, str(model / "card.json"))
    return run, registry.register(model, "0" * 40, "made").version


def downloaded(client, run: str, to: Path) -> str:
    to.mkdir(exist_ok=True)
    return Path(client.download_artifacts(run, "card.json", str(to))).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", ODD)
def test_mlflows_database_and_files_lie_in_a_folder_of_any_name(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "project" / name
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    run, _ = tracked(Path())
    assert (folder / "mlflow.db").stat().st_size > 0
    assert downloaded(TrackingClient(tracking_uri()).client, run, tmp_path / "to") == small_card()
    assert list((tmp_path / "project").iterdir()) == [folder]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["second", *ODD])
@pytest.mark.parametrize("copied", [False, True], ids=["moved", "copied"])
def test_mlflows_files_follow_a_moved_or_copied_folder(
    name: str, copied: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first, 100% ours", tmp_path / name
    first.mkdir()
    run, version = tracked(first)
    shutil.copytree(first, second) if copied else first.rename(second)
    before = (first / "mlflow.db").read_bytes() if copied else b""
    monkeypatch.chdir(second)
    registry = Registry("tiny", tracking_uri())
    client = registry.tracking.client
    here = (second / "mlartifacts").as_uri()
    assert client.get_run(run).info.artifact_uri.startswith(f"{here}/")
    assert client.get_model_version("s3dnerf-tiny", version).source.startswith(f"{here}/")
    assert client.get_experiment(registry.tracking.experiment("tiny")).artifact_location == here
    assert client.get_experiment("0").artifact_location.startswith(second.as_uri())
    assert downloaded(client, run, tmp_path / "to") == small_card()
    other, _ = tracked(second)
    assert client.get_run(other).info.artifact_uri.startswith(f"{here}/") and list(
        (second / "mlartifacts").glob(f"{other}*")
    )
    if copied:
        assert not list((first / "mlartifacts").glob(f"{other}*")) and (first / "mlflow.db").read_bytes() == before
    with sqlite3.connect(second / "mlflow.db") as database:
        text = "\n".join(database.iterdump())
    assert "first, 100" not in text and first.as_uri() not in text


def small_database(path: Path, locations: list[str]) -> Path:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE experiments (artifact_location TEXT)")
        database.execute("CREATE TABLE runs (artifact_uri TEXT)")
        for location in locations:
            database.execute("INSERT INTO experiments VALUES (?)", (location,))
            database.execute("INSERT INTO runs VALUES (?)", (f"{location}/run/artifacts",))
    return path


def test_only_what_lay_in_the_projects_old_folder_is_rewritten(tmp_path: Path) -> None:
    others = [
        "s3://bucket/mlartifacts",
        "mlflow-artifacts:/3",
        "file:///elsewhere/mlruns/1",
        "file:///old/project-2/mlruns/1",
    ]
    path = small_database(tmp_path / "mlflow.db", [*others, "file:///old/project/mlartifacts", "/old/project/mlruns/0"])
    assert follow_folder(path) == 4 and follow_folder(path) == 0
    with sqlite3.connect(path) as database:
        found = [location for (location,) in database.execute("SELECT artifact_location FROM experiments")]
        runs = [uri for (uri,) in database.execute("SELECT artifact_uri FROM runs")]
    assert found == [*others, (tmp_path / "mlartifacts").as_uri(), str(tmp_path / "mlruns/0")]
    assert runs == [f"{location}/run/artifacts" for location in found]


def test_there_is_nothing_to_follow_without_a_database_or_in_an_empty_one(tmp_path: Path) -> None:
    assert follow_folder(tmp_path / "mlflow.db") == 0 and not (tmp_path / "mlflow.db").exists()
    (tmp_path / "mlflow.db").touch()  # as a killed process leaves it
    assert follow_folder(tmp_path / "mlflow.db") == 0


def test_a_question_mark_in_a_folder_seen_from_outside_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match="go there"):
        sqlite_url(tmp_path / "what?" / "mlflow.db")


@pytest.mark.slow
def test_prefects_database_lies_in_a_folder_of_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "project" / ODD[1]
    (folder / ".prefect").mkdir(parents=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows.server", "--owner", identity(psutil.Process()), "--port", str(port)]
    server = subprocess.Popen(command, cwd=folder, env=clean)
    try:
        end = time.monotonic() + 120
        while not healthy(f"http://127.0.0.1:{port}/api"):
            assert server.poll() is None and time.monotonic() < end
            time.sleep(0.1)
    finally:
        server.terminate()
        server.wait()
    with sqlite3.connect(folder / ".prefect" / "prefect.db") as database:
        assert database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'flow_run'").fetchone() == (1,)
    assert list((tmp_path / "project").iterdir()) == [folder]
