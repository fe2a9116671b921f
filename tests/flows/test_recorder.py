"""A stage's record in Prefect: what is in its database afterwards, and that nothing goes wrong where it cannot be kept.

The server is Prefect's own, started as a stage starts it.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from flows import server
from flows.prefect_api import PrefectApi, PrefectError
from flows.process_lifetime import dvc_command
from flows.recorder import LOGGERS, Recorder
from tests.flows import prefect_records as records

ROOT = Path(__file__).resolve().parents[2]
ALARMING = ("Traceback", "Error", "WARNING", "CRITICAL", "Exception")

STAGE = """
import logging, sys, time
from pathlib import Path
import pandas as pd
from flows.log_setup import configure_logging
from flows.stage_run import run_stage
from s3dnerf.settings.loading import settings_from
from stages.context import Context
from tests.flows.pieces_of_work import square

def main(context):
    logging.getLogger("stages.lips").info("lips: 3000 packs, 0 from the store, 3000 to make")
    folder = context.out("hdtf")
    folder.mkdir(parents=True, exist_ok=True)
    rows = [("b", "lips", "no_face", "frame 3"), ("a", "lips", "no_face", "frame 1"), ("c", "lips", "silent", "")]
    pd.DataFrame(rows, columns=["clip", "stage", "reason", "detail"]).to_parquet(folder / "quarantine.parquet")
    results = context.run(square, list(range(3000)), [f"pack-{i}" for i in range(3000)])
    if "fail" in sys.argv:
        raise ValueError("lips: 3 of 4 hdtf clips failed")
    if "hang" in sys.argv:
        Path("hangs").touch()
        time.sleep(300)
    return {"hdtf": {"clips": len(results), "packs": 3000, "made": 2000, "quarantined": 3}}

if __name__ == "__main__":
    configure_logging()
    part = next((word for word in sys.argv[1:] if word not in ("fail", "hang")), "")
    run_stage(main, Context(settings=settings_from({"preset": "tiny"}), stage="lips", part=part))
"""

# what a `dvc repro` is to its stages: a process called dvc that DVC's lock names and that runs one after the other
DVC = """
import json, os, subprocess, sys
from pathlib import Path
lock = Path(".dvc/tmp/rwlock")
lock.parent.mkdir(parents=True, exist_ok=True)
lock.write_text(json.dumps({"write": {"data": {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}))
for words in sys.argv[2:]:
    subprocess.run([sys.executable, "stage.py", *words.split(",")], env=os.environ | {"DVC_STAGE": "lips"})
"""


def project_in(folder: Path) -> Path:
    (folder / "stage.py").write_text(STAGE)
    (folder / "dvc").write_text(DVC)
    return folder


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "S3DNERF", "DVC"))}
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=folder,
        env=clean | {"PYTHONPATH": str(ROOT)} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def until(what: str, happened: Callable[[], bool], limit_s: float = 120.0) -> None:
    end = time.monotonic() + limit_s
    while not happened():
        assert time.monotonic() < end, f"not within {limit_s:g} s: {what}"
        time.sleep(0.05)


def quiet(folder: Path) -> bool:
    """Whether no process of ours runs in a folder."""
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                return False
        except (psutil.Error, OSError):
            continue
    return True


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a dvc ran three stages, one of which failed, and ended; its server is gone."""
    folder = project_in(tmp_path_factory.mktemp("project"))
    dvc = start(folder, "dvc", "repro", "whole", "fail,broken", "other")
    printed, alarmed = dvc.communicate(timeout=300)
    until("the end of the server", lambda: quiet(folder))
    (folder / "printed").write_text(json.dumps([printed, alarmed]))
    return folder


def test_each_stage_is_a_tagged_flow_run_of_one_parent(project: Path) -> None:
    parent, *stages = records.flow_runs(project)
    assert (parent["flow"], parent["name"], parent["parent"]) == ("dvc", "dvc repro whole fail,broken other", None)
    assert parent["tags"] == ["preset:tiny", "git:none"]
    assert (parent["state"], parent["message"]) == ("FAILED", "2 of 3 stages that ran completed")
    assert [run["flow"] for run in stages] == ["lips"] * 3 and {run["parent"] for run in stages} == {parent["id"]}
    assert [run["name"] for run in stages] == ["tiny whole", "tiny broken", "tiny other"]
    assert all(run["tags"] == ["preset:tiny", "stage:lips", "git:none"] for run in stages)
    assert [run["state"] for run in stages] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert stages[1]["message"] == "ValueError: lips: 3 of 4 hdtf clips failed"
    assert stages[0]["parameters"] == {"preset": "tiny", "part": "whole"}


def test_a_pack_is_no_task_run(project: Path) -> None:
    links = records.task_runs(project)  # those that tie a stage to its parent
    assert [link["state"] for link in links] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert (project / ".prefect" / "prefect.db").stat().st_size < 4e6  # 1.3 MB of it are Prefect's empty tables


def test_log_lines_and_artifacts_are_in_the_database(project: Path) -> None:
    lines = records.log_lines(project, "lips")
    assert lines.count("lips: 3000 packs, 0 from the store, 3000 to make") == 3
    assert "ValueError: lips: 3 of 4 hdtf clips failed" in lines
    found = records.artifacts(project, "lips")
    assert found["tiny-lips-whole-progress"] == 100
    assert json.loads(found["tiny-lips-whole-quarantine"]) == [
        {"corpus": "hdtf", "stage": "lips", "reason": "no_face", "clips": 2, "examples": "a: frame 1; b: frame 3"},
        {"corpus": "hdtf", "stage": "lips", "reason": "silent", "clips": 1, "examples": "c: "},
    ]
    numbers = found["tiny-lips-whole-numbers"]
    assert "- pieces done: 3000\n" in numbers
    assert "| | clips | packs | made | quarantined | from the store |" in numbers
    assert "| hdtf | 3000 | 3000 | 2000 | 3 | 1000 |" in numbers
    assert "tiny-lips-broken-quarantine" in found  # a stage that failed shows what it had


def test_nothing_alarming_is_printed(project: Path) -> None:
    printed, alarmed = json.loads((project / "printed").read_text())
    lines = [line for line in alarmed.splitlines() if not line.startswith(" ")]
    assert lines == ["Traceback (most recent call last):", "ValueError: lips: 3 of 4 hdtf clips failed"]  # its own
    assert not [word for word in ALARMING if word in printed], printed


def test_a_killed_dvc_leaves_no_run_that_seems_to_go_on(project: Path) -> None:
    """Its watcher was killed with it: the next dvc says how it ended."""
    before = len(records.flow_runs(project))
    (project / "hangs").unlink(missing_ok=True)
    dvc = start(project, "dvc", "repro", "hang,killed")
    until("a stage at work", lambda: (project / "hangs").exists())
    until("its progress in Prefect", lambda: "tiny-lips-killed-progress" in records.artifacts(project, "lips"))
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == project:
                process.send_signal(signal.SIGKILL)
        except (psutil.Error, OSError):
            continue
    dvc.communicate()
    parent, stage = records.flow_runs(project)[before:]
    assert (parent["state"], stage["state"]) == ("RUNNING", "RUNNING")
    start(project, "dvc", "repro", "next").communicate(timeout=300)
    until("the end of the server", lambda: quiet(project))
    parent, stage, next_parent, next_stage = records.flow_runs(project)[before:]
    assert (parent["state"], stage["state"]) == ("CRASHED", "CRASHED")
    assert stage["message"] == "its process was killed"
    assert (next_parent["state"], next_stage["state"]) == ("COMPLETED", "COMPLETED")
    assert not list((project / ".prefect").glob("server-*.json"))


class Api(BaseHTTPRequestHandler):
    """A Prefect API that answers as the test says: status codes by path, and what it was asked."""

    answers: dict[str, list[int]] = {}
    asked: list[tuple[str, dict]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append((self.path, {"authorization": self.headers.get("Authorization"), "body": body}))
        code = (self.answers.get(self.path) or [200]).pop(0)
        data = json.dumps({"id": f"id-of-{self.path.strip('/').split('/')[-1]}"}).encode()
        self.send_response(code)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_PATCH = do_POST

    def log_message(self, *words: object) -> None: ...


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    Api.answers, Api.asked = {}, []
    url = f"http://127.0.0.1:{httpd.server_port}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(server, "dvc_above", lambda: None)
    monkeypatch.setattr("flows.prefect_api.DELAY_S", 0.01)
    monkeypatch.setenv("PREFECT_API_URL", url)
    yield url
    httpd.shutdown()
    httpd.server_close()


def test_a_busy_server_is_asked_again_and_a_refusal_is_said(api: str) -> None:
    Api.answers["/logs/"] = [503, 429, 201]
    PrefectApi(api).create_logs([])
    Api.answers["/logs/"] = [422]
    with pytest.raises(PrefectError, match=r"POST http://127\S+/logs/: 422"):
        PrefectApi(api).create_logs([])
    assert len(Api.asked) == 4


@pytest.mark.parametrize(
    ("name", "value", "header"),
    [("PREFECT_API_KEY", "key", "Bearer key"), ("PREFECT_API_AUTH_STRING", "a:b", "Basic YTpi")],
)
def test_a_team_s_server_knows_who_we_are(
    api: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, header: str
) -> None:
    monkeypatch.setenv(name, value)
    PrefectApi(api).create_logs([])
    assert Api.asked[0][1]["authorization"] == header


def test_lines_and_progress_are_sent_in_batches(api: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.recorder.EVERY_S", 0.2)
    recorder = Recorder("tiny", "lips")
    recorder.begin()
    logger = logging.getLogger("stages.lips")
    monkeypatch.setattr(logger, "level", logging.INFO)
    for number in range(1000):
        logger.info(f"line {number}")
        recorder.progress("lips", number + 1, 1000)
    recorder.end("COMPLETED")
    sent = [len(asked["body"]) for path, asked in Api.asked if path == "/logs/"]
    assert sum(sent) == 1000 and len(sent) <= 8
    progress = [asked["body"]["data"] for path, asked in Api.asked if "/artifacts/" in path]
    assert progress[-1] == 100.0 and len(progress) <= 4
    assert [path for path, _ in Api.asked][-1] == "/flow_runs/id-of-flow_runs/set_state"
    assert not any(
        type(handler).__name__ == "_Lines" for name in LOGGERS for handler in logging.getLogger(name).handlers
    )


@pytest.mark.parametrize("path", ["/flows/", "/flow_runs/", "/logs/", "/flow_runs/id-of-flow_runs/set_state"])
def test_a_server_that_fails_is_said_in_one_line_and_the_stage_goes_on(
    api: str, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    Api.answers[path] = [500] * 9
    recorder = Recorder("tiny", "lips")
    recorder.begin()
    logging.getLogger("stages.lips").warning("a line")
    recorder.end("COMPLETED")
    said = [record.getMessage() for record in caplog.records if record.name == "flows.recorder"]
    assert len(said) == 1 and said[0].startswith("Prefect's record of lips is not whole, the stage is: POST ")


def test_a_server_that_does_not_start_fails_no_stage(tmp_path: Path) -> None:
    """Its database is a folder."""
    folder = project_in(tmp_path)
    (folder / ".prefect" / "prefect.db").mkdir(parents=True)
    stage = start(folder, "stage.py")
    printed, alarmed = stage.communicate(timeout=200)
    assert stage.returncode == 0 and alarmed == "", alarmed
    assert "Prefect's record of lips is not whole, the stage is: its server did not start; its log: " in printed
    until("the end of the server", lambda: quiet(folder))


def test_inline_starts_nothing_of_prefect(tmp_path: Path) -> None:
    folder = project_in(tmp_path)
    stage = start(folder, "stage.py", S3DNERF_RUNNER="inline")
    assert stage.communicate(timeout=200)[1] == "" and stage.returncode == 0
    assert not (folder / ".prefect").exists()


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["/usr/bin/python", "/venv/bin/dvc", "repro", "-f"], "repro -f"),
        (["python", "-m", "dvc", "exp", "run"], "exp run"),
        (["dvc", "repro"], "repro"),
        (["python", "script.py"], "python script.py"),
    ],
)
def test_a_parent_run_is_named_by_its_command(words: list[str], shown: str) -> None:
    assert dvc_command(words) == shown
