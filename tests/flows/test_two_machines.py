"""A training over two machines, each with a torchrun agent of its own, by ``S3DNERF_LAUNCH``: here two agents that meet
over the loopback interface.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.launch import launch
from s3dnerf.settings.loading import preset_settings
from s3dnerf.training.curves import read_curves
from s3dnerf.training.distributed import World
from s3dnerf.training.train_s3dnerf import Job, train
from tests.small_corpus import make_training_data
from tests.training.generator_job import files_of, generator_job

ROOT = Path(__file__).resolve().parents[2]
# in place of srun: an agent a machine; it ends with the first that fails, and takes the other along
AGENTS = """
import subprocess, sys, time
from s3dnerf.core.processes import die_with_parent
endpoint, job, *command = sys.argv[1:]
agents = [
    subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1", "--rdzv-backend", "c10d",
         "--rdzv-endpoint", endpoint, "--rdzv-id", job, "--local-addr", "127.0.0.1", *command],
        preexec_fn=die_with_parent,
    )
    for _ in range(2)
]
while any(agent.poll() is None for agent in agents):
    if any(agent.poll() for agent in agents):
        break
    time.sleep(0.1)
for agent in agents:
    if agent.poll() is None:
        agent.terminate()
sys.exit(max(abs(agent.wait()) for agent in agents))
"""
pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def template(folder: Path) -> str:
    """``S3DNERF_LAUNCH`` that starts two agents."""
    script = folder / "agents.py"
    script.write_text(AGENTS)
    return f"{{python}} '{script}' 127.0.0.1:{free_port()} {{job}} {{command}}"


@pytest.fixture
def jobs(tmp_path: Path) -> dict[str, Job]:
    """The same training for one process, and twice for two."""
    settings = preset_settings("tiny")
    make_training_data(settings, tmp_path / "data")
    given = {"batch": 2, "steps": 4, "checkpoint_every": 1, "strip_every": 4}
    return {
        name: generator_job(settings, tmp_path / "data", tmp_path / name, processes=n, **given)
        for name, n in (("alone", 1), ("whole", 2), ("killed", 2))
    }


def words(job: Job, folder: Path) -> list[str]:
    path = folder / f"{Path(job.work).parent.name}.json"
    path.write_text(job.to_json())
    return ["--job", str(path)]


def test_two_machines_take_the_steps_of_one_and_go_on_to_the_same_bytes(
    jobs: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    train(jobs["alone"], World())
    monkeypatch.setenv("S3DNERF_LAUNCH", template(tmp_path))
    launch(train.__module__, words(jobs["whole"], tmp_path), 2)
    one, two = (read_curves(Path(jobs[name].out) / "curves.jsonl") for name in ("alone", "whole"))
    for name in ("pix", "per", "sync", "adv", "discriminator", "gradient_norm"):
        assert two[0][name] == pytest.approx(one[0][name], rel=1e-4), name

    monkeypatch.setenv("S3DNERF_LAUNCH", template(tmp_path))
    code = f"from flows.launch import launch; launch({train.__module__!r}, {words(jobs['killed'], tmp_path)!r}, 2)"
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL, env=os.environ)
    checkpoint, end = Path(jobs["killed"].work) / "checkpoint.pt", time.monotonic() + 120
    while not checkpoint.exists():
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.05)
    ranks = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.wait()
    _, left = psutil.wait_procs(ranks, timeout=30)
    assert len(ranks) >= 5 and not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]
    monkeypatch.setenv("S3DNERF_LAUNCH", template(tmp_path))
    launch(train.__module__, words(jobs["killed"], tmp_path), 2)
    assert files_of(Path(jobs["whole"].out)) == files_of(Path(jobs["killed"].out))


def test_another_number_of_processes_than_the_settings_say_is_refused(
    jobs: dict[str, Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("S3DNERF_LAUNCH", "{python} {command}")
    with pytest.raises(RuntimeError, match="ended with status 1"):
        launch(train.__module__, words(jobs["whole"], tmp_path), 2)
    assert not Path(jobs["whole"].work, "checkpoint.pt").exists()
