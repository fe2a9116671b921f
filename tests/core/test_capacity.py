"""The check before installation: Python, disk and memory, with fakes and with the kernel's own limits."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from s3dnerf.core import capacity
from s3dnerf.core.capacity import GB, SWITCH, memory_bytes, too_little_disk, too_small_for, unfit_python

ROOT = Path(__file__).resolve().parents[2]


def test_memory_is_the_least_of_machine_and_control_groups(tmp_path: Path) -> None:
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    membership = tmp_path / "membership"
    membership.write_text("0::/job/step\n")
    assert memory_bytes(tmp_path, membership) == whole
    (tmp_path / "job/step").mkdir(parents=True)
    (tmp_path / "job/step/memory.max").write_text("max\n")
    (tmp_path / "job/memory.max").write_text("1500000000\n")  # the limit of a group above binds
    assert memory_bytes(tmp_path, membership) == 1_500_000_000
    membership.write_text("3:memory:/docker/1\n")  # version 1, the host's path, which a container does not see
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory/memory.limit_in_bytes").write_text("700000000\n")
    assert memory_bytes(tmp_path, membership) == 700_000_000
    (tmp_path / "memory/memory.limit_in_bytes").write_text("9223372036854771712\n")  # what version 1 has for "none"
    assert memory_bytes(tmp_path, membership) == whole


def test_folders_of_one_disk_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda place: SimpleNamespace(free=5 * GB))
    there = {tmp_path: 3.0, tmp_path / "not yet/there": 1.9}
    assert too_little_disk(there, "make demo") == []
    (said,) = too_little_disk(there | {tmp_path / "c": 0.2}, "make demo")
    assert said.startswith(f"make demo needs 5.1 GB of disk in {tmp_path}, 5.0 GB are free: ") and SWITCH in said


def test_what_is_installed_needs_no_room_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda place: SimpleNamespace(free=2 * GB))
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 64 * GB)
    environment = tmp_path / ".venv"
    assert "GB of disk" in too_small_for("demo", environment, 1)[0]
    environment.mkdir()
    (environment / "installed").touch()
    assert too_small_for("demo", environment, 1) == []


def test_memory_grows_with_the_packs_at_once_and_the_way_out_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SWITCH, raising=False)
    monkeypatch.setattr(capacity.shutil, "disk_usage", lambda place: SimpleNamespace(free=1000 * GB))
    enough = capacity.needed_memory_gb("demo", 2)
    monkeypatch.setattr(capacity, "memory_bytes", lambda: enough * GB)
    assert too_small_for("demo", tmp_path, 2) == []
    (said,) = too_small_for("demo", tmp_path, 64)
    assert "GB of memory" in said and "S3DNERF_WORKERS=1" in said and SWITCH in said
    monkeypatch.setattr(capacity, "memory_bytes", lambda: 1e8)
    (said,) = too_small_for("demo", tmp_path, 1)
    assert "S3DNERF_WORKERS=1" not in said and "a machine with more" in said
    monkeypatch.setenv(SWITCH, "off")
    assert too_small_for("demo", tmp_path, 64) == []


@pytest.mark.parametrize(
    ("faked", "said"),
    [
        ({"machine": "riscv64"}, "Linux on riscv64"),
        ({"system": "Darwin", "machine": "x86_64"}, "Darwin on x86_64"),
        ({"libc_ver": ("", "")}, "another C library than glibc"),
        ({"libc_ver": ("glibc", "2.17")}, "glibc 2.17: expected 2.28"),
    ],
)
def test_a_system_without_builds_is_named(faked: dict[str, object], said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    usual = {"system": "Linux", "machine": "x86_64", "libc_ver": ("glibc", "2.36")}
    for name, value in (usual | faked).items():
        monkeypatch.setattr(platform, name, lambda value=value: value)
    (sentence,) = unfit_python()
    assert said in sentence


def test_a_python_without_builds_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert unfit_python() == []
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert "32-bit Python" in unfit_python()[0]
    monkeypatch.undo()
    usual = sysconfig.get_config_var
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: 1 if name == "Py_GIL_DISABLED" else usual(name))
    assert "free-threaded" in unfit_python()[0]


def enough_room(*words: str, limit: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    """The file as make starts it: another process, isolated, after a ``ulimit``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("S3DNERF_")}
    command = f'{limit} exec "$@"'
    script = [sys.executable, "-I", str(ROOT / "flows/enough_room.py"), *words]
    return subprocess.run(
        ["sh", "-c", command, "sh", *script], env=kept | environment, capture_output=True, text=True, cwd="/"
    )


def test_a_real_ulimit_is_seen_and_can_be_overridden(tmp_path: Path) -> None:
    (tmp_path / "installed").touch()
    done = enough_room("demo", str(tmp_path), limit="ulimit -v 1000000;")
    assert (
        done.returncode == 1 and done.stderr.startswith("make: make demo needs ") and len(done.stderr.splitlines()) == 1
    )
    assert "this process may use 1.0 GB" in done.stderr
    assert enough_room("demo", str(tmp_path), limit="ulimit -v 1000000;", S3DNERF_CAPACITY_CHECK="off").returncode == 0
    assert enough_room("lint", str(tmp_path), limit="ulimit -v 1000000;").returncode == 0


def test_a_real_small_disk_is_seen() -> None:
    """A tmpfs of 64 MB, in a mount namespace of its own where that is allowed."""
    command = (
        "mount -t tmpfs -o size=64m none /mnt && cd /mnt && "
        f'exec "{sys.executable}" -I "{ROOT}/flows/enough_room.py" demo .venv'
    )
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("needs unshare with user and mount namespaces")
    elsewhere = tempfile.gettempdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("S3DNERF_")}
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", command],
        env=kept | {"TMPDIR": elsewhere},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "GB of disk in /mnt" in done.stderr and "0.1 GB are free" in done.stderr


OLD = ("2.7", "3.6", "3.9", "3.10")


@pytest.mark.parametrize("version", OLD)
def test_an_old_python_gets_one_sentence(version: str) -> None:
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
    starts = [
        place for place in places if place and not subprocess.run([place, "-c", ""], capture_output=True).returncode
    ]
    if not starts:
        pytest.skip(f"no Python {version} here that starts")
    done = subprocess.run(
        [starts[0], str(ROOT / "flows/enough_room.py"), "demo", ".venv"], capture_output=True, text=True
    )
    assert done.returncode == 1 and done.stderr.startswith("make: ") and "expected 3.11 or newer" in done.stderr
    assert len(done.stderr.splitlines()) == 1
