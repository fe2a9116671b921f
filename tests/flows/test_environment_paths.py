"""An environment that was moved or copied with its folder, or lies in a folder with an odd name, works as it did."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.environment_paths import LONGEST, first_lines, mend_commands

SCRIPT = Path(__file__).resolve().parents[2] / "flows" / "environment_paths.py"
ODD = ["a folder", 'it\'s 50% "?" #1 é', "$HOME `x`", "x" * 120]


def run(*words: str | Path, **environment: str) -> str:
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, env=os.environ | environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("name", ["plain", *ODD])
def test_a_command_starts_its_own_python_whatever_the_folder_is_called(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / ".venv" / "bin"
    folder.mkdir(parents=True)
    python = folder / "python3.11"
    python.symlink_to(sys.executable)
    others = {"shell": b"#!/bin/sh\nexit 0\n", "env": b"#!/usr/bin/env python3\n", "own": b"#!/usr/bin/python3\n",
              "binary": b"\x7fELF\x00#!/x/.venv/bin/python\n"}  # fmt: skip
    for other, text in others.items():
        (folder / other).write_bytes(text)
    body = b"import sys\nprint(sys.executable, sys.argv[1:])\n"
    for command, head in (
        ("direct", b"#!/moved/from/.venv/bin/python3.11\n"),
        ("by-shell", b"#!/bin/sh\n'''exec' \"/moved from/.venv/bin/python3.11\" \"$0\" \"$@\"\n' '''\n"),
    ):
        (folder / command).write_bytes(head + body)
        (folder / command).chmod(0o755)
    assert mend_commands(folder) == 2
    assert mend_commands(folder) == 0
    for command in ("direct", "by-shell"):
        assert run(folder / command, "a b", "$c") == f"{python} ['a b', '$c']"
    assert {other: (folder / other).read_bytes() for other in others} == others
    assert not list(folder.glob(".*"))


def test_a_first_line_too_long_for_the_kernel_goes_by_the_shell() -> None:
    python = "/" + "x" * LONGEST + "/python"
    assert first_lines(python).startswith(b"#!/bin/sh\n") and python.encode() in first_lines(python)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with an environment of its own, as `make setup` leaves it: the package installed to be edited, and a
    command. pip comes from the environment that runs the tests.
    """
    folder = tmp_path / "first"
    (folder / "flows").mkdir(parents=True)
    (folder / "flows" / "__init__.py").touch()
    (folder / "flows" / "cli.py").write_text("def main():\n    print(__file__)\n")
    (folder / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools<81"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "s3dnerf"\nversion = "1"\n[project.scripts]\ns3dnerf = "flows.cli:main"\n'
        '[tool.setuptools]\npackages = ["flows"]\n'
    )
    run(sys.executable, "-m", "venv", "--without-pip", folder / ".venv")
    packages = next((folder / ".venv" / "lib").glob("python*/site-packages"))
    (tmp_path / "installer").mkdir()
    own = Path(next(iter(importlib.util.find_spec("pip").submodule_search_locations))).parent
    for found in own.iterdir():
        if re.match(r"(pip|setuptools|pkg_resources|_distutils_hack|wheel)\b", found.name):
            (tmp_path / "installer" / found.name).symlink_to(found)
    (packages / "installer.pth").write_text(f"{tmp_path / 'installer'}\n")
    python = folder / ".venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--editable", folder,
        PIP_DISABLE_PIP_VERSION_CHECK="1", PYTHONPATH="")  # fmt: skip
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["second", "a folder", 'it\'s 50% "?" #1 é'])
@pytest.mark.parametrize("copied", [False, True], ids=["moved", "copied"])
def test_a_moved_or_copied_environment_runs_the_code_of_its_own_folder(
    name: str, copied: bool, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    place = project.parent / name
    python = place / ".venv" / "bin" / "python"
    command = place / ".venv" / "bin" / "s3dnerf"
    assert run(project / ".venv/bin/python", "-I", SCRIPT) == ""  # nothing to do where it was made
    assert run(project / ".venv/bin/s3dnerf") == str(project / "flows" / "cli.py")
    (shutil.copytree(project, place, symlinks=True) if copied else project.rename(place))
    if copied:
        assert run(command) == str(project / "flows" / "cli.py")  # what is to be mended
    said = run(python, "-I", SCRIPT)
    assert said.startswith(f"{place / '.venv'} is now of its own folder: activate, ") and "code lies" in said
    assert run(command) == str(place / "flows" / "cli.py")
    assert run("bash", "-c", 'source "$1" && s3dnerf', "bash", place / ".venv/bin/activate") == str(
        place / "flows" / "cli.py"
    )
    assert run(python, "-I", SCRIPT) == ""
    if copied:
        assert run(project / ".venv/bin/s3dnerf") == str(project / "flows" / "cli.py")
