"""Retraining: real git, a real lock, a real MLflow registry; only ``dvc repro`` is played, by a function that leaves
what it would leave.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import numpy as np
import pytest
import yaml
from filelock import FileLock
from mlflow.exceptions import MlflowException
from mlflow.protos import databricks_pb2

from flows import retrain
from flows.champion import PromotionUnclear, Registry
from flows.mlflow_client import TrackingClient
from flows.retrain import (
    BUSY,
    FAILED,
    KEPT,
    NOTHING_NEW,
    PROMOTED,
    RetrainError,
    exit_status,
    margins_of,
    no_worse,
    retrain_once,
)
from s3dnerf.core.errors import SettingsError
from s3dnerf.reporting.comparison import compare
from s3dnerf.settings.loading import settings_from
from tests.reporting.small_report import SETTINGS, make_report, rows_of

DIRECTIONS = {"m_lmd": "down", "f_lmd": "down", "ssim": "up"}


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def worse(metric: str, by: float):
    return rows_of(change=lambda method, name, random: by if (method, name) == ("s3dnerf", metric) else 0.0)


class Played:
    """What ``dvc`` does in a worktree: leaves a report of ``rows``, weights and a lock; or fails."""

    def __init__(self) -> None:
        self.rows, self.weights, self.fails, self.calls = rows_of(), b"first", "", list[str]()

    def __call__(self, place: Path, repository: Path, *words: str) -> None:
        self.calls.append(words[0])
        if words[0] == self.fails:
            raise RetrainError(f"dvc {words[0]} failed: align: 3 of 4 hdtf clips failed")
        if words[0] == "repro":
            model = place / "data/tiny/train_s3dnerf/full"
            model.mkdir(parents=True, exist_ok=True)
            (model / "generator.safetensors").write_bytes(self.weights)
            (model / "card.json").write_text("{}")
            (place / "dvc.lock").write_text(f"schema: '2.0'\nstages: {{}}\n# {self.weights.decode()}\n")
            folder = place / "reports/tiny"
            folder.mkdir(parents=True, exist_ok=True)
            for name, data in make_report("made", self.rows).files.items():
                (folder / name).write_bytes(data)


@pytest.fixture
def dvc(monkeypatch: pytest.MonkeyPatch) -> Played:
    played = Played()
    monkeypatch.setattr(retrain, "dvc", played)
    monkeypatch.setattr(retrain, "has_remote", lambda place, repository: True)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return played


@pytest.fixture(scope="module")
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
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def champion(repository: Path):
    return Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}").champion()


def state(repository: Path) -> tuple[str, str, str]:
    return (
        git(repository, "rev-parse", "HEAD"),
        git(repository, "status", "--porcelain"),
        git(repository, "branch", "--show-current"),
    )


def test_the_first_is_promoted_a_better_one_too_and_a_worse_one_is_kept_out(repository: Path, dvc: Played) -> None:
    before = state(repository)
    first = retrain_once(repository)
    assert (first.status, dvc.calls) == (PROMOTED, ["pull", "repro", "push"]) and champion(repository).version == "1"
    assert champion(repository).report_commit == first.commit == git(repository, "rev-parse", first.branch)

    dvc.rows, dvc.weights = worse("m_lmd", -0.2), b"second"
    assert retrain_once(repository).status == PROMOTED and champion(repository).version == "2"

    dvc.rows, dvc.weights = worse("m_lmd", 0.2), b"third"
    third = retrain_once(repository)
    assert third.status == KEPT and any("m_lmd on hdtf" in line and "NOT shown" in line for line in third.lines)
    assert champion(repository).version == "2" and state(repository) == before
    kept = git(repository, "ls-tree", "-r", "--name-only", third.branch)
    assert "reports/tiny/report.json" in kept and "/comparison.html" in kept and "/outcome.md" in kept
    with_weights = Path(
        str(
            Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}")
            .tracking.client.get_model_version("s3dnerf-tiny", "3")
            .source
        )
    )
    assert (repository / "mlartifacts").as_uri() in str(with_weights).replace(":/", ":///")


def test_equal_weights_are_nothing_new(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    branches = git(repository, "branch", "--list", "retrain/*")
    again = retrain_once(repository)
    assert (
        again.status == NOTHING_NEW
        and "version 1" in again.lines[0]
        and git(repository, "branch", "--list", "retrain/*") == branches
    )


def test_what_was_kept_out_is_not_judged_every_night_again(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    dvc.rows, dvc.weights = worse("m_lmd", 0.1), b"second"
    assert retrain_once(repository).status == KEPT
    branches = git(repository, "branch", "--list", "retrain/*")
    again = retrain_once(repository)
    assert (
        again.status == NOTHING_NEW
        and "version 2" in again.lines[0]
        and git(repository, "branch", "--list", "retrain/*") == branches
    )
    assert retrain_once(repository, {"m_lmd": 0.3}).status == PROMOTED  # other margins are another question
    assert champion(repository).version == "3"


@pytest.mark.parametrize("at", ["pull", "repro", "push"])
def test_a_failure_anywhere_leaves_the_champion_and_the_working_copy(repository: Path, dvc: Played, at: str) -> None:
    retrain_once(repository)
    before, dvc.weights, dvc.fails = state(repository), b"second", at
    outcome = retrain_once(repository)
    assert outcome.status == FAILED and exit_status(outcome) == 1 and "3 of 4 hdtf clips failed" in outcome.lines[0]
    assert champion(repository).version == "1" and state(repository) == before
    dvc.fails = ""
    assert retrain_once(repository).status == PROMOTED and champion(repository).version == "2"


def test_a_registry_that_fails_at_the_last_act_leaves_the_champion(
    repository: Path, dvc: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain_once(repository)
    dvc.weights = b"second"

    def gone(self: Registry, version: object) -> None:
        raise OSError("the server is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Registry, "promote", gone)
        assert retrain_once(repository).status == FAILED
    assert champion(repository).version == "1"
    assert (
        retrain_once(repository).status == PROMOTED
        and champion(repository).generator_sha256 == sha256(b"second").hexdigest()
    )


class _Client:
    """An MLflow client of which one method fails as a server with a fault does."""

    def __init__(self, real: object, method: str, code: int) -> None:
        self._real, self._method, self._code = real, method, code

    def __getattr__(self, name: str):
        if name == self._method:

            def fails(*words: object, **more: object) -> None:
                raise MlflowException("the database is out of reach", error_code=self._code)

            return fails
        return getattr(self._real, name)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("get_registered_model", databricks_pb2.INVALID_PARAMETER_VALUE),
        ("get_model_version", databricks_pb2.RESOURCE_DOES_NOT_EXIST),
        ("create_run", databricks_pb2.INTERNAL_ERROR),
        ("create_model_version", databricks_pb2.INTERNAL_ERROR),
        ("set_registered_model_alias", databricks_pb2.TEMPORARILY_UNAVAILABLE),
    ],
)
def test_an_odd_error_of_the_registry_promotes_nothing(
    repository: Path, dvc: Played, monkeypatch: pytest.MonkeyPatch, method: str, code: int
) -> None:
    retrain_once(repository)
    dvc.weights, dvc.rows = b"second", worse("m_lmd", -0.2)
    original = TrackingClient.__init__

    def begin(self: TrackingClient, uri: str) -> None:
        original(self, uri)
        self.client = _Client(self.client, method, code)

    with monkeypatch.context() as patch:
        patch.setattr(TrackingClient, "__init__", begin)
        outcome = retrain_once(repository)
    assert outcome.status == FAILED and "the database is out of reach" in outcome.lines[0]
    assert champion(repository).version == "1"


def test_an_answer_lost_at_the_last_act_is_asked_for_again_or_said(
    repository: Path, dvc: Played, monkeypatch: pytest.MonkeyPatch
) -> None:
    retrain_once(repository)
    registry = Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}")
    second = registry.register(
        retrain.model_folder(repository / retrain.PLACE, settings_from(SETTINGS)), "b" * 40, "second"
    )
    real = registry.tracking.client.set_registered_model_alias

    def done_and_lost(*words: str) -> None:
        real(*words)
        raise MlflowException("connection reset")

    monkeypatch.setattr(registry.tracking.client, "set_registered_model_alias", done_and_lost)
    registry.promote(second)
    assert champion(repository) == second
    registry.tracking.client = _Client(registry.tracking.client, "get_registered_model", databricks_pb2.INTERNAL_ERROR)
    with pytest.raises(PromotionUnclear, match="version 2 of s3dnerf-tiny became the champion is not known"):
        registry.promote(second)


def test_an_alias_given_by_hand_to_a_foreign_version_is_said(repository: Path, dvc: Played) -> None:
    client = Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}").tracking.client
    client.create_registered_model("s3dnerf-tiny")
    client.create_model_version("s3dnerf-tiny", "/somewhere")
    client.set_registered_model_alias("s3dnerf-tiny", "champion", "1")
    outcome = retrain_once(repository)
    assert (
        outcome.status == FAILED
        and "version 1 carries the alias champion and no tag 'report_commit'" in outcome.lines[0]
    )


def test_a_model_without_the_alias_has_no_champion(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    Registry("tiny", f"sqlite:///{repository / 'mlflow.db'}").tracking.client.delete_registered_model_alias(
        "s3dnerf-tiny", "champion"
    )
    assert champion(repository) is None


def test_what_a_killed_run_left_in_the_worktree_is_cleaned(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    place = repository / retrain.PLACE
    (place / "params.yaml").write_text("half writ")
    (place / "stray.txt").write_text("x")
    dvc.weights = b"second"
    assert retrain_once(repository).status == PROMOTED
    assert not (place / "stray.txt").exists() and "stray" not in git(repository, "ls-tree", "-r", "--name-only", "HEAD")
    assert (place / "data").is_dir()  # what git ignores stays: only what is new is made again


def test_what_a_failed_run_left_in_an_out_does_not_stop_the_next_one_from_fetching(tmp_path: Path) -> None:
    """With the real dvc: a half-made out, of which no cache knows, stands where the remote's is to be put."""
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n  one:\n    cmd: mkdir -p data && echo good > data/a\n    outs: [data]\n"
    )
    git(tmp_path, "init", "-q")
    for words in (["init", "-q"], ["remote", "add", "-d", "store", str(tmp_path / "remote")], ["repro"], ["push"]):
        retrain.dvc(tmp_path, tmp_path, *words)
    (tmp_path / "data/a").write_text("half made")
    shutil.rmtree(tmp_path / ".dvc/cache")
    with pytest.raises(RetrainError, match="unsaved"):
        retrain.dvc(tmp_path, tmp_path, *(word for word in retrain.PULL if word != "--force"))
    retrain.dvc(tmp_path, tmp_path, *retrain.PULL)
    assert (tmp_path / "data/a").read_text() == "good\n"


def test_two_at_once_are_one(repository: Path, dvc: Played) -> None:
    (repository / ".locks").mkdir()
    with FileLock(repository / retrain.LOCK):
        outcome = retrain_once(repository)
    assert outcome.status == BUSY and exit_status(outcome) == 3 and dvc.calls == []


def test_a_report_that_cannot_be_compared_is_not_promoted(repository: Path, dvc: Played) -> None:
    retrain_once(repository)
    dvc.weights, dvc.rows = b"second", [r | {"version": "ssim-9"} if r["metric"] == "ssim" else r for r in rows_of()]
    original = make_report

    def other_version(name: str, rows: list, **more):
        metrics = [
            {"name": m, "version": v, "direction": DIRECTIONS.get(m, "up")}
            for m, v in {(r["metric"], r["version"]) for r in rows}
        ]
        return original(name, rows, metrics=metrics, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.flows.test_retrain.make_report", other_version)
        outcome = retrain_once(repository)
    assert outcome.status == KEPT and "not comparable" in outcome.lines[0] and champion(repository).version == "1"


def test_people_are_told_and_a_webhook_that_fails_changes_nothing(repository: Path, dvc: Played) -> None:
    heard: list[dict] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        retrain_once(repository, webhook=f"http://127.0.0.1:{server.server_port}/")
    finally:
        server.shutdown()
    assert heard[0]["status"] == PROMOTED and heard[0]["preset"] == "tiny"
    dvc.weights, said = b"second", list[str]()
    assert retrain_once(repository, webhook="http://127.0.0.1:9/", say=said.append).status == PROMOTED
    assert any("webhook was not told" in line for line in said)


def test_raw_folders_are_seen_from_the_worktree(repository: Path, dvc: Played) -> None:
    settings = SETTINGS | {
        "raw": SETTINGS["raw"] | {"hdtf": "raw/HDTF"},
        "sample": SETTINGS["sample"] | {"enabled": False},
    }
    (repository / "params.yaml").write_text(yaml.safe_dump(settings))
    git(repository, "commit", "-qam", "raw")
    (repository / "raw/HDTF").mkdir(parents=True)
    (repository / "raw/HDTF/new.mp4").write_bytes(b"x")
    retrain_once(repository)
    assert (repository / retrain.PLACE / "raw/HDTF/new.mp4").read_bytes() == b"x"


def test_no_worse_means_the_bad_end_of_the_interval() -> None:
    def judged(noise: float, by: float) -> bool:
        def change(method: str, metric: str, random: np.random.Generator) -> float:
            return by + noise * random.standard_normal() if (method, metric) == ("s3dnerf", "m_lmd") else 0.0

        found = compare(make_report("a", rows_of()), make_report("b", rows_of(change=change)))
        return no_worse(found, "s3dnerf", {"m_lmd": 0.05}, DIRECTIONS)[0]

    assert judged(0.0, 0.0) and judged(0.01, -0.1) and judged(0.0, 0.06)  # 5 % of 1.4 px is 0.07
    assert not judged(0.0, 0.08) and not judged(0.5, 0.0)  # worse; and too noisy to say
    rows = [r for r in rows_of() if r["metric"] != "m_lmd"]
    found = compare(make_report("a", rows), make_report("b", rows))
    assert no_worse(found, "s3dnerf", {"m_lmd": 0.05}, DIRECTIONS) == (
        False,
        ["m_lmd: not measured on a clip that both have: NOT shown to be no worse"],
    )


def test_a_challenger_that_lost_test_clips_is_not_promoted(repository: Path, dvc: Played) -> None:
    rows = rows_of(20)
    dvc.rows = [*rows, *({**r, "corpus": "mead", "clip": f"mead_{r['speaker']}"} for r in rows)]
    retrain_once(repository)
    for weights, kept, said in (
        (b"second", [r for r in dvc.rows if r["corpus"] == "hdtf"], "20 of the champion's 20 test clips on mead"),
        (b"third", [r for r in dvc.rows if r["speaker"] > "P02"], "3 of the champion's 20 test clips on hdtf"),
    ):
        dvc.weights, dvc.rows, all_rows = weights, kept, dvc.rows
        outcome = retrain_once(repository)
        assert outcome.status == KEPT and any(said in line and "NOT shown" in line for line in outcome.lines)
        dvc.rows = all_rows
    dvc.weights, dvc.rows = b"fourth", [r for r in dvc.rows if r["speaker"] > "P01"]
    tolerated = retrain_once(repository)
    assert tolerated.status == PROMOTED and any(
        "2 of the champion's 20" in line and "tolerated" in line for line in tolerated.lines
    )


def test_a_schedule_that_nobody_would_keep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server Prefect's own throw-away one only warns, and schedules nothing."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    command = [sys.executable, "-m", "flows.cli", "retrain", "--cron", "0 2 * * *"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "PREFECT_API_URL" in done.stderr, done.stderr


def test_margins_from_the_command_line() -> None:
    assert margins_of(()) is None and margins_of(("m_lmd=0.1", "ssim=0")) == {"m_lmd": 0.1, "ssim": 0.0}
    for wrong in ("m_lmd", "m_lmd=x", "m_lmd=-1"):
        with pytest.raises(SettingsError, match="accepted"):
            margins_of((wrong,))
    with pytest.raises(SettingsError, match="accepted: metrics"):
        retrain_once(Path("."), {"beauty": 0.1})
    assert np.isfinite(list(retrain.MARGINS.values())).all()


def test_a_torn_rwlock_is_removed_and_a_whole_one_stays(tmp_path: Path) -> None:
    path = tmp_path / ".dvc" / "tmp" / "rwlock"
    retrain.mend_rwlock(tmp_path)  # none yet
    path.parent.mkdir(parents=True)
    for text, kept in (('{"a": {"read": []}}', True), ("", False), ('{"a": {"re', False)):
        path.write_text(text)
        retrain.mend_rwlock(tmp_path)
        assert path.is_file() == kept
