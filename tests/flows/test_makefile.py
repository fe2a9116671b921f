"""``make`` where people unpack things: odd folder names, no git history, somebody else's checkout, pip set up for something
else. Installation and programs are played by a Python that writes down how it was called.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from flows.environment_paths import first_lines
from flows.git_calls import BEGIN, git_text

ROOT = Path(__file__).resolve().parents[2]
ODD = 'it\'s 50% "a folder" ? #1 é'
LISTED = ("PIP_USER", "PIP_TARGET", "PIP_PREFIX", "PYTHONPATH", "PYTHONHOME", "PATH")

# played in place of every Python that make starts; `-m venv FOLDER` leaves a copy of itself in it
PLAYED = f"""{first_lines(sys.executable).decode()}import json, os, pathlib, shutil, sys
words = sys.argv[1:]
row = {{"words": words, "folder": os.getcwd(), "set": {{name: os.environ.get(name) for name in {LISTED!r}}}}}
with open(os.environ["CALLS"], "a") as calls:
    calls.write(json.dumps(row) + "\\n")
if words[:2] == ["-m", "venv"]:
    shutil.rmtree(words[-1], ignore_errors="--clear" in words)
    python = pathlib.Path(words[-1]) / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(__file__, python)
elif "-c" in words:
    exec(words[words.index("-c") + 1].replace("import dvc, flows, torch", ""))
"""


class Place:
    """A folder with a Makefile, and what make called in it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, folder.parent / "calls.jsonl"
        (folder / "flows").mkdir(parents=True)
        for name in ("Makefile", "requirements.lock", "requirements-extras.lock", "pyproject.toml"):
            shutil.copy(ROOT / name, folder / name)
        self.python = folder.parent / "played-python"
        self.python.write_text(PLAYED)
        self.python.chmod(0o755)

    def make(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "MAKE", "PIP_", "PYTHON"))}
        clean |= {"CALLS": str(self.calls), "GIT_CEILING_DIRECTORIES": str(self.folder.parent), **environment}
        command = ["make", f"PYTHON={self.python}", *words]
        return subprocess.run(command, cwd=self.folder, env=clean, capture_output=True, text=True)

    def called(self) -> list[dict]:
        text = self.calls.read_text() if self.calls.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def begin(self) -> None:
        git_text(self.folder, "init", "-q")
        git_text(self.folder, "add", "-A")
        git_text(self.folder, "-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "-qm", "begin")


@pytest.fixture(params=["plain", ODD])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    return Place(tmp_path / request.param)


def programs(place: Place) -> list[str]:
    return [" ".join(call["words"][1:3]) for call in place.called() if call["words"][0] == "-m"]


def test_the_demo_runs_whatever_the_folder_is_called(place: Place) -> None:
    place.begin()
    done = place.make("demo")
    assert done.returncode == 0, done.stdout + done.stderr
    assert programs(place) == [
        "venv --clear",
        *["pip install"] * 3,
        *["flows.cli fetch"] * 2,
        "flows.cli preset",
        "dvc repro",
        "flows.cli report",
    ]
    assert {call["folder"] for call in place.called()} == {str(place.folder)}
    assert {call["set"]["PATH"].split(":")[0] for call in place.called()} == {str(place.folder / ".venv/bin")}
    count = len(place.called())
    assert place.make("setup").returncode == 0 and "install" not in str(place.called()[count:])  # once is enough


@pytest.mark.parametrize("goal", ["demo", "train-sample", "test", "test-fast"])
@pytest.mark.parametrize("jobs", ["-j1", "-j4"])
def test_without_a_history_it_is_said_before_anything_is_installed(goal: str, jobs: str, tmp_path: Path) -> None:
    place = Place(tmp_path / "from a ZIP")
    done = place.make(jobs, goal)
    assert done.returncode == 2 and place.called() == []
    first, *rest = done.stderr.splitlines()
    assert first.startswith("make: this folder has no git history (a ZIP download?)") and BEGIN in first
    assert all(line.startswith("make: ***") for line in rest)
    git_text(place.folder, "init", "-q")  # and a history of no commits is none
    assert BEGIN in place.make(jobs, goal).stderr and place.called() == []


def test_what_needs_no_history_does_without(tmp_path: Path) -> None:
    place = Place(tmp_path / "from a ZIP")
    assert place.make("lint").returncode == 0
    assert programs(place)[-3:] == ["ruff check", "ruff format", "mypy"]


def test_a_checkout_of_another_user_gets_gits_advice(tmp_path: Path) -> None:
    place = Place(tmp_path / "theirs")
    place.begin()
    done = place.make(
        "demo", GIT_TEST_ASSUME_DIFFERENT_OWNER="1", GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1"
    )
    assert done.returncode == 2 and place.called() == []
    assert f"git config --global --add safe.directory {place.folder}" in done.stderr and BEGIN not in done.stderr


def test_what_is_set_for_other_installations_does_not_reach_pip(tmp_path: Path) -> None:
    place = Place(tmp_path / "plain")
    elsewhere = {"PIP_USER": "1", "PIP_TARGET": "/t", "PIP_PREFIX": "/p", "PYTHONPATH": "/x", "PYTHONHOME": "/h"}
    # by the shell, since Python itself could not start with such a PYTHONHOME
    place.python.write_text(
        '#!/bin/sh\nenv >> "$CALLS.env"\n[ "$2" = venv ] && mkdir -p .venv/bin && cp "$0" .venv/bin/python\ntrue\n'
    )
    assert place.make("setup", **elsewhere).returncode == 0
    seen = (tmp_path / "calls.jsonl.env").read_text().splitlines()
    assert not [line for line in seen if line.startswith(("PIP_TARGET=", "PIP_PREFIX=", "PYTHONPATH=", "PYTHONHOME="))]
    assert {line for line in seen if line.startswith("PIP_USER=")} == {"PIP_USER=0"}


def test_a_marker_beside_a_python_that_is_gone_counts_for_nothing(place: Place) -> None:
    assert place.make("setup").returncode == 0
    python = place.folder / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/nowhere/python3.11")
    place.calls.unlink()
    assert place.make("setup").returncode == 0
    assert programs(place) == ["venv --clear", *["pip install"] * 3] and (place.folder / ".venv/installed").exists()


@pytest.mark.slow
@pytest.mark.parametrize("by", ["variable", "pip.conf"])
def test_pip_set_up_for_user_installations_installs_into_the_environment(by: str, tmp_path: Path) -> None:
    """A real pip in a real environment, asked as the Makefile asks it."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    )
    (package / "backend.py").write_text(
        "import zipfile\n"
        "def build_wheel(folder, settings=None, metadata=None):\n"
        "    name = 'tiny-1-py3-none-any.whl'\n"
        "    with zipfile.ZipFile(folder + '/' + name, 'w') as wheel:\n"
        "        wheel.writestr('tiny.py', '')\n"
        "        wheel.writestr('tiny-1.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tiny\\nVersion: 1\\n')\n"
        "        wheel.writestr('tiny-1.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')\n"
        "        wheel.writestr('tiny-1.dist-info/RECORD', '')\n"
        "    return name\n"
    )
    (tmp_path / "pip.conf").write_text("[global]\nuser = true\n")
    makefile = (ROOT / "Makefile").read_text().split("\nsetup:")[0]
    (tmp_path / "Makefile").write_text(
        f"{makefile}\ntiny:\n\t$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation ./package\n"
    )
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / ".venv")], check=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON", "MAKE"))}
    setting = {"PIP_USER": "1"} if by == "variable" else {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf")}
    done = subprocess.run(["make", "tiny"], cwd=tmp_path, env=clean | setting | {"HOME": str(tmp_path / "home")},
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / ".venv").rglob("tiny.py")) and not (tmp_path / "home/.local").exists()
