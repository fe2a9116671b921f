"""The cores that a process may use: its affinity, and the quota of its control groups."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from s3dnerf.core.cores import cpu_quota, usable_cores

ROOT = Path(__file__).resolve().parents[2]


def make_group(folder: Path, files: dict[str, str], membership: str) -> tuple[Path, Path]:
    """A folder of control groups with these files, and a process's membership in them."""
    for name, text in files.items():
        (folder / "groups" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "groups" / name).write_text(text)
    (folder / "membership").write_text(membership)
    return folder / "groups", folder / "membership"


@pytest.mark.parametrize(
    ("files", "membership", "cores"),
    [
        ({"cpu.max": "100000 100000\n"}, "0::/\n", 1.0),
        ({"cpu.max": "max 100000\n"}, "0::/\n", None),
        ({"job/step/cpu.max": "max 100000\n", "job/cpu.max": "150000 100000\n"}, "0::/job/step\n", 1.5),
        ({"job/step/cpu.max": "50000 100000\n", "job/cpu.max": "150000 100000\n"}, "0::/job/step\n", 0.5),
        ({"job/cpu.max": "100000 100000\n"}, "0::/elsewhere\n", None),
        (
            {"cpu,cpuacct/cpu.cfs_quota_us": "300000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"},
            "11:memory:/docker/1\n4:cpu,cpuacct:/docker/1\n",  # the host's path, which a container does not see
            3.0,
        ),
        (
            {"cpu/job/cpu.cfs_quota_us": "-1\n", "cpu/job/cpu.cfs_period_us": "100000\n"},
            "4:cpu,cpuacct:/job\n",
            None,
        ),
        ({}, "0::/\n", None),
        ({"cpu.max": "nonsense\n"}, "0::/\n", None),
    ],
)
def test_the_quota_of_control_groups(
    tmp_path: Path, files: dict[str, str], membership: str, cores: float | None
) -> None:
    assert cpu_quota(*make_group(tmp_path, files, membership)) == cores


def test_a_quota_below_the_affinity_counts_and_one_above_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    for number, (quota, cores) in enumerate(((150000, 2), (50000, 1), (10**9, 8))):
        groups = make_group(tmp_path / str(number), {"cpu.max": f"{quota} 100000\n"}, "0::/\n")
        assert usable_cores(*groups) == cores
    assert usable_cores(tmp_path / "none", tmp_path / "none") == 8


@pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")
def test_a_process_on_one_core_has_one_worker() -> None:
    core = str(min(os.sched_getaffinity(0)))
    script = "from flows.executor import workers; from s3dnerf.core.cores import usable_cores; print(usable_cores(), workers())"
    clean = {k: v for k, v in os.environ.items() if not k.startswith("S3DNERF")}
    done = subprocess.run(
        ["taskset", "-c", core, sys.executable, "-c", script],
        env=clean | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["1", "1"]
