"""The Prefect flow of retraining: real tasks on a real server, and what a schedule needs."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from flows.process_lifetime import identity
from flows.server import healthy
from tests.flows import prefect_records as records
from tests.flows.retrain.played import champion

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from pathlib import Path

import flows.deployment as deployment
from flows.retrain import worktree
from prefect.blocks.system import Secret
from pydantic import SecretStr
from tests.flows.retrain.played import Played, worse

dvc = Played()
worktree.dvc, worktree.has_remote = dvc, lambda place, repository: True
worktree.share_cache = lambda place, repository: None
deployment.RETRY_DELAY_S = 0
repository = sys.argv[1]


def night(fails="", times=10**6, **changes):
    dvc.calls, dvc.fails, dvc.times = [], fails, times
    vars(dvc).update(changes)
    state = deployment.retrain(repository, hours=1, return_state=True)
    print("night", state.name, ",".join(dvc.calls), flush=True)


if __name__ == "__main__":
    night("pull", times=2)
    night("pull", weights=b"second")
    night(weights=b"second", rows=worse("m_lmd", 0.2))
    night()
    print("secret", deployment.webhook_address("other"))
    Secret(value=SecretStr("http://127.0.0.1:9/token")).save("s3dnerf-retrain-webhook")
    print("secret", deployment.webhook_address(deployment.SECRET), deployment.webhook_address("other"))
    with worktree.alone(Path(repository)):
        night()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A server as a team has one, and the folder of its database."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    owner = identity(psutil.Process())
    command = [sys.executable, "-m", "flows.server", "--owner", owner, "--port", str(port)]
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT")}
    (folder / ".prefect").mkdir()
    process = subprocess.Popen(command, cwd=folder, env=clean | {"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    url, end = f"http://127.0.0.1:{port}/api", time.monotonic() + 120
    while not healthy(url):
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.1)
    yield url, folder
    process.terminate()
    process.wait()


def run(folder: Path, url: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "S3DNERF", "MLFLOW"))}
    clean |= {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": url} | environment
    return subprocess.run([sys.executable, *words], cwd=folder, env=clean, capture_output=True, text=True, timeout=500)


def test_the_flow_is_of_real_tasks_with_retries_and_ends_as_the_retraining_did(
    server: tuple[str, Path], repository: Path, tmp_path: Path
) -> None:
    url, folder = server
    (tmp_path / "script.py").write_text(SCRIPT)
    done = run(tmp_path, url, "script.py", str(repository), S3DNERF_WEBHOOK="http://127.0.0.1:9/environment")
    assert done.returncode == 0, done.stderr
    said = [line.split(" ", 1)[1] for line in done.stdout.splitlines() if line.startswith(("night", "secret"))]
    assert said == [
        "Promoted pull,pull,pull,repro,push",  # the third try of the pull did it
        "Failed pull,pull,pull",
        "Kept pull,repro,push",
        "Nothing new pull,repro",
        "http://127.0.0.1:9/environment",
        "http://127.0.0.1:9/token http://127.0.0.1:9/environment",
        "Busy ",
    ]
    assert champion(repository).version == "1"
    runs = [run for run in records.flow_runs(folder) if run["flow"] == "retrain"]
    assert [run["state"] for run in runs] == ["COMPLETED", "FAILED", "COMPLETED", "COMPLETED", "CANCELLED"]
    assert "the champion is as it was" in runs[1]["message"]
    named = {"repository", "margins", "hours", "webhook_secret", "branch", "reference", "rescore"}
    assert named == set(runs[0]["parameters"])  # and no address
    tasks = [(task["name"].rsplit("-", 1)[0], task["state"]) for task in records.task_runs(folder)]
    whole = ["prepare", "pull", "repro", "compare", "commit", "push", "publish", "promote"]
    expected = [(name, "COMPLETED") for name in whole] + [("prepare", "COMPLETED"), ("pull", "FAILED")]
    expected += [(name, "COMPLETED") for name in [*whole, *whole[:4]]]
    assert tasks == expected
    lines = records.log_lines(folder, "retrain")
    assert any(line.startswith("dvc repro of ") for line in lines)
    assert "retraining of tiny: promoted" in lines and "retraining of tiny: kept" in lines
    assert records.artifacts(folder, "retrain")["retrain"].startswith("# Retraining of the repository: busy")
    assert not any("127.0.0.1:9/token" in line for line in lines)


def test_a_schedule_that_nobody_would_keep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a server Prefect's own throw-away one only warns, and schedules nothing."""
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    (tmp_path / "params.yaml").touch()
    command = [sys.executable, "-m", "flows.cli", "retrain", "--cron", "0 2 * * *"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and "PREFECT_API_URL" in done.stderr, done.stderr
