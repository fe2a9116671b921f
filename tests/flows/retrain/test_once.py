"""One retraining: real git, a real lock, a real MLflow registry; only ``dvc`` is played."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from filelock import FileLock

from flows.champion import Registry
from flows.retrain import worktree
from flows.retrain.once import retrain_once
from flows.retrain.outcome import BUSY, FAILED, KEPT, NOTHING_NEW, PROMOTED, exit_status
from tests.flows.retrain.played import Played, champion, git, state, worse
from tests.reporting.small_report import rows_of


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


def test_two_at_once_are_one(repository: Path, dvc: Played) -> None:
    (repository / ".locks").mkdir()
    with FileLock(repository / worktree.LOCK):
        outcome = retrain_once(repository)
    assert outcome.status == BUSY and exit_status(outcome) == 3 and dvc.calls == []


def test_a_webhook_is_notified_and_one_that_fails_changes_nothing(
    repository: Path, dvc: Played, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[dict] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
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
    assert received[0]["status"] == PROMOTED and received[0]["preset"] == "tiny"
    dvc.weights = b"second"
    assert retrain_once(repository, webhook="http://127.0.0.1:9/token").status == PROMOTED
    assert retrain_once(repository, webhook="no address").status == NOTHING_NEW
    assert caplog.text.count("the webhook did not take it") == 2 and "token" not in caplog.text


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
