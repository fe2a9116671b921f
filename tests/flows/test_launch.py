"""Trainings on several processes: torchrun's workers really form a group, a failure is told, and kill -9 of the
launcher leaves none behind.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.launch import command_line
from s3dnerf.core.errors import SettingsError

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import sys, time
from pathlib import Path
from s3dnerf.training.distributed import joined
with joined("cpu") as world:
    Path(sys.argv[1], f"rank{world.rank}").write_text(f"{world.size}\\n")
    if sys.argv[2] == "fail":
        raise SystemExit(3)
    if sys.argv[2] == "wait":
        import os
        Path(sys.argv[1], f"pid{world.rank}").write_text(f"{os.getpid()}\\n")
        time.sleep(60)
"""


def launcher(folder: Path, what: str) -> subprocess.Popen:
    (folder / "small_training.py").write_text(MODULE)
    code = f"from flows.launch import launch; launch('small_training', [{str(folder)!r}, {what!r}], 2)"
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{folder}"}
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
    )


def test_two_processes_are_one_group(tmp_path: Path) -> None:
    process = launcher(tmp_path, "run")
    _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    assert sorted(p.name for p in tmp_path.glob("rank*")) == ["rank0", "rank1"]
    assert {p.read_text() for p in tmp_path.glob("rank*")} == {"2\n"}


def test_a_failed_training_is_told(tmp_path: Path) -> None:
    process = launcher(tmp_path, "fail")
    _, said = process.communicate(timeout=120)
    assert process.returncode != 0 and "small_training ended with status" in said


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel ends children with their parent on Linux")
def test_kill_9_of_the_launcher_leaves_no_worker(tmp_path: Path) -> None:
    process = launcher(tmp_path, "wait")
    end = time.monotonic() + 120
    while len([p for p in tmp_path.glob("pid*") if p.read_text().endswith("\n")]) < 2:
        assert time.monotonic() < end and process.poll() is None
        time.sleep(0.1)
    workers = [psutil.Process(int(p.read_text())) for p in tmp_path.glob("pid*")]
    process.kill()
    process.wait()
    gone, left = psutil.wait_procs(workers, timeout=20)
    assert not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]


def test_without_a_template_torchrun_starts_several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DNERF_LAUNCH", raising=False)
    assert command_line("m", ["--job", "f"], 1) == [sys.executable, "-m", "m", "--job", "f"]
    line = command_line("m", ["--job", "f"], 3)
    assert line[1:6] == ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
    assert line[6:] == ["-m", "m", "--job", "f"]


def test_a_template_is_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DNERF_LAUNCH", "srun -n {processes} --export='A B' {python} --id={job} {command}")
    one, other = (command_line("m", ["--job", "a folder/f"], 8) for _ in range(2))
    assert one[:5] == ["srun", "-n", "8", "--export=A B", sys.executable]
    assert one[6:] == ["-m", "m", "--job", "a folder/f"]
    assert one[5].startswith("--id=s3dnerf-") and one[5] != other[5]


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("srun {comand}", r"unknown \{comand\} — accepted: \{command\}, \{python\}"),
        ("srun {python}", r"\{command\} is missing"),
        ("srun 'open {command}", "No closing quotation"),
        ("srun {command", "expected a command line with"),
    ],
)
def test_a_template_that_cannot_be_filled_in_is_refused(
    monkeypatch: pytest.MonkeyPatch, template: str, said: str
) -> None:
    monkeypatch.setenv("S3DNERF_LAUNCH", template)
    with pytest.raises(SettingsError, match=said):
        command_line("m", [], 1)


def test_a_launcher_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DNERF_LAUNCH", "no_such_srun {command}")
    process = launcher(tmp_path, "run")
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "no_such_srun: cannot be started (No such file or directory)" in said
