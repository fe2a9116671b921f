"""The MLflow tracker on a real database: what it mirrors, and that a stage goes on where MLflow is out of reach."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from flows.mlflow_client import MlflowError, TrackingClient, tracking_uri
from flows.tracking import MlflowTracker
from s3dnerf.settings.loading import preset_settings

DATASETS = {"data/tiny/align/hdtf": "0123456789abcdef0123456789abcdef.dir", "data/tiny/ingest/hdtf": "b.dir"}


@pytest.fixture
def dead_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server's address on which nobody listens, asked once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")


def test_settings_data_curves_and_files_are_mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "curves.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (tmp_path / "card.json").write_text("{}")
    with MlflowTracker(preset_settings("tiny"), "train_s3dnerf", "full", "abc", DATASETS) as tracker:
        tracker.follow(tmp_path / "curves.jsonl")
        tracker.artifact(tmp_path / "card.json")
        tracker.metrics({"ssim": 0.5}, 2)
    client = TrackingClient(tracking_uri()).client
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED" and run.data.params["train.steps"] == "4" and run.data.tags["git"] == "abc"
    assert [(m.step, m.value) for m in client.get_metric_history(tracker.run_id, "loss")] == [(1, 2.0), (2, 1.0)]
    assert run.data.metrics["ssim"] == 0.5 and [a.path for a in client.list_artifacts(tracker.run_id)] == ["card.json"]
    used = {
        i.dataset.name: (i.dataset.digest, json.loads(i.dataset.source), i.tags[0].value)
        for i in run.inputs.dataset_inputs
    }
    for path, digest in DATASETS.items():
        assert used[path.removeprefix("data/tiny/")] == (digest, {"path": path, "md5": digest}, "training")
    assert run.info.artifact_uri.startswith((tmp_path / "mlartifacts").as_uri())


def test_a_stage_goes_on_where_the_server_is_out_of_reach(
    dead_server: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "curves.jsonl").write_text('{"step": 1, "loss": 2.0}\n')
    with MlflowTracker(preset_settings("tiny"), "train_sync", "judge", None, DATASETS) as tracker:
        tracker.follow(tmp_path / "curves.jsonl")
        tracker.artifact(tmp_path / "curves.jsonl")
    assert [line.startswith("MLflow did not take a record") for line in caplog.messages] == [True]


def test_the_store_says_what_failed(dead_server: None) -> None:
    with pytest.raises(MlflowError, match="MLflow: "):
        TrackingClient(tracking_uri()).experiment("tiny")
