"""The MLflow tracker on a real database: what it mirrors, how runs belong together, and that a stage goes on where MLflow
is out of reach.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from flows import mlflow_runs
from flows.git_calls import git_text
from flows.mlflow_client import MlflowError, TrackingClient, tracking_uri
from flows.mlflow_runs import PROCESS, end_forgotten, process_tag
from flows.provenance import git_state
from flows.tracking import MlflowTracker, system_metrics_wanted, wanted
from s3dnerf.core.errors import SettingsError
from s3dnerf.settings.loading import preset_settings

ROOT = Path(__file__).resolve().parents[2]
DATASETS = {"data/tiny/align/hdtf": "0123456789abcdef0123456789abcdef.dir", "data/tiny/ingest/hdtf": "b.dir"}
NO_GIT = {"revision": None, "dirty": None}
SETTINGS = preset_settings("tiny")
# a stage that begins its run and works on until it is killed
KILLED = """
import time
from flows.tracking import MlflowTracker
from s3dnerf.settings.loading import preset_settings
with MlflowTracker(preset_settings("tiny"), "train_s3dnerf", "full", {"revision": None, "dirty": None}, {}) as tracker:
    print(tracker.run_id, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's address on which nobody listens, asked once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database, made once: its migrations take seconds."""
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    TrackingClient(f"sqlite:///{path}")
    return path


@pytest.fixture
def client(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """MLflow's client of a project of this test alone, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copyfile(database, tmp_path / "mlflow.db")
    return TrackingClient(tracking_uri()).client


def test_settings_data_curves_and_files_are_mirrored(client: Any, tmp_path: Path) -> None:
    (tmp_path / "curves.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (tmp_path / "card.json").write_text("{}")
    corpus = tmp_path / "data/tiny/ingest/hdtf"
    corpus.mkdir(parents=True)
    pd.DataFrame({"clip": ["a", "b", "c"]}).to_parquet(corpus / "clips.parquet")
    with MlflowTracker(SETTINGS, "train_s3dnerf", "full", NO_GIT, DATASETS) as tracker:
        tracker.follow(tmp_path / "curves.jsonl")
        tracker.artifact(tmp_path / "card.json")
        tracker.metrics({"ssim": 0.5}, 2)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED" and run.data.params["train.steps"] == "4"
    assert [(m.step, m.value) for m in client.get_metric_history(tracker.run_id, "loss")] == [(1, 2.0), (2, 1.0)]
    assert run.data.metrics["ssim"] == 0.5 and [a.path for a in client.list_artifacts(tracker.run_id)] == ["card.json"]
    used = {
        i.dataset.name: (i.dataset.digest, json.loads(i.dataset.source), i.tags[0].value)
        for i in run.inputs.dataset_inputs
    }
    for path, digest in DATASETS.items():
        assert used[path.removeprefix("data/tiny/")] == (digest, {"path": path, "md5": digest}, "training")
    profiles = {i.dataset.name: i.dataset.profile for i in run.inputs.dataset_inputs}
    assert json.loads(profiles["ingest/hdtf"]) == {"num_rows": 3} and profiles["align/hdtf"] is None
    assert run.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())


def test_tags_lead_back_to_git_and_dvc(client: Any, tmp_path: Path) -> None:
    with MlflowTracker(SETTINGS, "report", "", git_state(), {}) as without:
        pass
    assert not {k for k in client.get_run(without.run_id).data.tags if "git" in k or "dvc" in k}
    git_text(tmp_path, "init", "-q", "-b", "work")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    git_text(tmp_path, "add", "dvc.yaml")
    git_text(tmp_path, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "begin")
    (tmp_path / "dvc.yaml").write_text("stages:\n")
    with MlflowTracker(SETTINGS, "report", "", git_state(), {}) as tracker:
        pass
    tags = client.get_run(tracker.run_id).data.tags
    assert tags["mlflow.source.git.commit"] == git_text(tmp_path, "rev-parse", "HEAD")
    assert (tags["mlflow.source.git.branch"], tags["mlflow.source.git.dirty"]) == ("work", "true")
    assert tags["dvc.lock_sha256"] == hashlib.sha256(b"schema: '2.0'\n").hexdigest()
    assert (tags["preset"], tags["stage"], tags["part"]) == ("tiny", "report", "")
    git_text(tmp_path, "checkout", "-q", "--detach")
    with MlflowTracker(SETTINGS, "report", "", git_state(), {}) as detached:
        pass
    assert "mlflow.source.git.branch" not in client.get_run(detached.run_id).data.tags


def test_the_stages_of_a_dvc_repro_are_below_one_run_that_ends_as_they_do(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def below(owner: psutil.Process, fault: BaseException | None = None) -> tuple[str, str, str]:
        """A stage of a dvc: its parent, its own state and the parent's after it, which was RUNNING meanwhile."""
        monkeypatch.setattr(mlflow_runs, "dvc_above", lambda: owner)
        try:
            with MlflowTracker(SETTINGS, "evaluate", "", NO_GIT, {}) as tracker:
                parent = client.get_run(tracker.run_id).data.tags["mlflow.parentRunId"]
                during.append(client.get_run(parent).info.status)
                if fault is not None:
                    raise fault
        except (ValueError, KeyboardInterrupt):
            pass
        return parent, client.get_run(tracker.run_id).info.status, client.get_run(parent).info.status

    during: list[str] = []
    with subprocess.Popen(["sleep", "60"]) as first, subprocess.Popen(["sleep", "61"]) as second:
        try:
            dvcs = [psutil.Process(process.pid) for process in (first, second)]
            parent, *states = below(dvcs[0])
            assert states == ["FINISHED", "FINISHED"]
            assert below(dvcs[0]) == (parent, "FINISHED", "FINISHED") and during == ["RUNNING", "RUNNING"]
            other, *states = below(dvcs[1], KeyboardInterrupt())
            assert other != parent and states == ["KILLED", "KILLED"]
            assert below(dvcs[0], ValueError("a fault")) == (parent, "FAILED", "FAILED")
            assert below(dvcs[0]) == (parent, "FINISHED", "FAILED")  # with dvc's --keep-going
        finally:
            first.kill()
            second.kill()
    run = client.get_run(parent)
    assert run.info.run_name == "dvc sleep 60" and run.data.tags["preset"] == "tiny"
    monkeypatch.setattr(mlflow_runs, "dvc_above", lambda: None)
    with MlflowTracker(SETTINGS, "evaluate", "", NO_GIT, {}) as alone:
        assert "mlflow.parentRunId" not in client.get_run(alone.run_id).data.tags


def test_runs_of_a_killed_repro_are_marked_by_the_next_stage_and_no_others(client: Any, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", KILLED], env=environment, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout is not None
        killed = stage.stdout.readline().strip()
        os.kill(stage.pid, signal.SIGKILL)
    assert client.get_run(killed).info.status == "RUNNING"
    experiment = client.get_run(killed).info.experiment_id
    others = {
        name: client.create_run(experiment, tags=tags).info.run_id
        for name, tags in {
            "of this process": {PROCESS: process_tag()},
            "of another machine": {PROCESS: f"elsewhere {process_tag().split()[1]}0"},
            "somebody's own": {},
        }.items()
    }
    with MlflowTracker(SETTINGS, "train_sync", "judge", NO_GIT, {}):
        pass
    run = client.get_run(killed)
    assert run.info.status == "KILLED" and run.info.end_time > run.info.start_time
    assert {name: client.get_run(run_id).info.status for name, run_id in others.items()} == dict.fromkeys(
        others, "RUNNING"
    )
    assert end_forgotten(TrackingClient(tracking_uri()), experiment) == 0


def test_a_training_says_what_the_machine_does_meanwhile(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    with MlflowTracker(SETTINGS, "train_s3dnerf", "full", NO_GIT, {}, machine=True) as tracker:
        end = time.monotonic() + 20
        while not client.get_run(tracker.run_id).data.metrics and time.monotonic() < end:
            time.sleep(0.1)
    found = client.get_run(tracker.run_id)
    assert 0 < found.data.metrics["system/system_memory_usage_percentage"] <= 100
    assert "system/cpu_utilization_percentage" in found.data.metrics and found.info.status == "FINISHED"
    with MlflowTracker(SETTINGS, "train_s3dnerf", "full", NO_GIT, {}) as without:
        time.sleep(0.3)
    assert client.get_run(without.run_id).data.metrics == {}


def test_the_switches_accept_two_values_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, asked, on in (
        ("S3DNERF_TRACKING", wanted, "mlflow"),
        ("S3DNERF_SYSTEM_METRICS", system_metrics_wanted, "on"),
    ):
        monkeypatch.delenv(name, raising=False)
        assert asked()
        for value in (on, "off"):
            monkeypatch.setenv(name, value)
            assert asked() == (value == on)
        monkeypatch.setenv(name, "yes")
        with pytest.raises(SettingsError, match=f"{name}: got 'yes' — accepted: {on}, off"):
            asked()


def test_a_stage_goes_on_where_the_server_is_out_of_reach(
    dead_server: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "curves.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    with MlflowTracker(SETTINGS, "train_sync", "judge", NO_GIT, DATASETS, machine=True) as tracker:
        tracker.follow(tmp_path / "curves.jsonl")
        tracker.artifact(tmp_path / "curves.jsonl")
    assert [line.startswith("MLflow did not take a record") for line in caplog.messages] == [True]


def test_the_store_says_what_failed(dead_server: None) -> None:
    with pytest.raises(MlflowError, match="MLflow: "):
        TrackingClient(tracking_uri()).experiment("tiny")
