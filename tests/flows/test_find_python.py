"""Which Python ``make`` installs with: fakes in a folder that is all of PATH but for the shell's own programs."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
WORKS, NO_VENV, SHIM = "works", "no venv", "shim"


def fake(folder: Path, name: str, version: str, kind: str = WORKS) -> None:
    """A command that answers the two questions of the script as such a Python would."""
    answers = {
        WORKS: f'case "$3" in *print*) echo {version};; esac',
        NO_VENV: f'case "$3" in *print*) echo {version};; *) echo "No module named ensurepip" >&2; exit 1;; esac',
        SHIM: f'echo "pyenv: {name}: command not found" >&2; exit 127',
    }
    (folder / name).write_text(f"#!/bin/sh\n{answers[kind]}\n")
    (folder / name).chmod(0o755)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder for the fakes, with spaces in its name; the shell needs no other program."""
    folder = tmp_path / "of a person"
    folder.mkdir()
    return folder


def find(place: Path) -> subprocess.CompletedProcess[str]:
    shell = shutil.which("sh") or pytest.skip("needs sh")
    script = str(ROOT / "flows/find_python.sh")
    return subprocess.run([shell, script], env={"PATH": str(place)}, capture_output=True, text=True)


def test_the_newest_that_works_is_taken(place: Path) -> None:
    fake(place, "python3.11", "3.11")
    assert find(place).stdout == f"{place}/python3.11\n"
    fake(place, "python3.12", "3.12")
    assert find(place).stdout == f"{place}/python3.12\n"
    fake(place, "python3.13", "3.13")
    assert find(place).stdout == f"{place}/python3.13\n"


@pytest.mark.parametrize("kind", [SHIM, NO_VENV])
def test_one_that_does_not_start_or_makes_no_environment_is_passed_over(place: Path, kind: str) -> None:
    fake(place, "python3.13", "3.13", kind)
    fake(place, "python3.12", "3.12")
    done = find(place)
    assert done.stdout == f"{place}/python3.12\n" and done.stderr == ""


def test_a_plain_python3_of_a_right_version_serves(place: Path) -> None:
    fake(place, "python3", "3.12")
    assert find(place).stdout == f"{place}/python3\n"


def test_with_none_one_message_says_what_was_found_and_what_to_install(place: Path) -> None:
    fake(place, "python3.13", "3.13", SHIM)
    fake(place, "python3.11", "3.11", NO_VENV)
    fake(place, "python3", "3.9")
    fake(place, "python3.14", "3.14")
    done = find(place)
    assert done.returncode == 1 and done.stdout == ""
    assert f"{place}/python3.13: does not start" in done.stderr
    assert f"{place}/python3.11: Python 3.11 without the modules venv and ensurepip" in done.stderr
    assert "apt install python3.11-venv" in done.stderr
    assert f"{place}/python3: Python 3.9, which the project is not tested with" in done.stderr
    assert f"{place}/python3.14: Python 3.14, which" in done.stderr
    for system in ("Debian", "Fedora", "macOS", "make PYTHON="):
        assert system in done.stderr
    assert done.stderr.count("make: ") == 1
    for name in ("python3.13", "python3.11", "python3", "python3.14"):
        (place / name).unlink()
    assert "Found: nothing\n" in find(place).stderr


def test_make_says_it_and_nothing_else(place: Path, tmp_path: Path) -> None:
    """The recipe stops there: no environment is begun."""
    if shutil.which("make") is None:
        pytest.skip("needs make")
    folder = tmp_path / "project"
    (folder / "flows").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "pyproject.toml", "flows/find_python.sh", "flows/enough_room.py"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("make", "sh"):
        (place / name).symlink_to(shutil.which(name) or "")
    clean = {"PATH": str(place), "HOME": str(tmp_path)}
    done = subprocess.run(["make", "setup"], cwd=folder, env=clean, capture_output=True, text=True)
    assert done.returncode == 2 and "no Python to install with" in done.stderr
    assert [line for line in done.stderr.splitlines() if line.startswith("make: ***")] and not done.stdout
    assert done.stderr.count("no Python to install with") == 1 and not (folder / ".venv").exists()


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_a_real_one(version: str, tmp_path: Path) -> None:
    places = [shutil.which(f"python{version}"), *Path.home().glob(f".pyenv/versions/{version}.*/bin/python{version}")]
    works = [
        p for p in places if p and not subprocess.run([p, "-c", "import ensurepip"], capture_output=True).returncode
    ]
    if not works:
        pytest.skip(f"no Python {version} here that works")
    (tmp_path / f"python{version}").symlink_to(works[0])
    environment = {**os.environ, "PATH": f"{tmp_path}:/bin:/usr/bin"}
    script = ["sh", str(ROOT / "flows/find_python.sh")]
    found = subprocess.run(script, env=environment, capture_output=True, text=True).stdout.strip()
    answer = subprocess.run(
        [found, "-c", "import sys; print(sys.version_info >= (3, 11))"], capture_output=True, text=True
    )
    assert answer.stdout == "True\n"
