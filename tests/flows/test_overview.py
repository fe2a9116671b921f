"""`s3dnerf --help` names every command once; `--version` says what git says in a checkout."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import docstring_parser
import pytest

from flows import overview
from flows.cli import commands
from flows.overview import COMMANDS
from tests.project import ROOT


def s3dnerf(*words: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "flows.cli", *words], cwd=ROOT, capture_output=True, text=True)


def test_help_names_each_command_once_and_fits_a_screen() -> None:
    said = s3dnerf("--help")
    assert said.returncode == 0 and not said.stderr
    named = [name for group in COMMANDS.values() for name in group]
    assert sorted(named) == sorted(commands())
    assert all(len(line) <= 100 for line in said.stdout.splitlines()) and len(said.stdout.splitlines()) <= 40
    bare = s3dnerf()
    assert (bare.returncode, bare.stdout) == (2, said.stdout)


def test_version_of_a_checkout_is_gits() -> None:
    commit = subprocess.run(["git", "rev-parse", "--short=7", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    said = s3dnerf("--version")
    assert said.returncode == 0 and said.stdout.startswith("s3dnerf ")
    tagged = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout
    assert f"g{commit.strip()}" in said.stdout or "v" in tagged


def test_version_without_git_is_the_packages(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(overview, "CHECKOUT", tmp_path)
    monkeypatch.setattr(overview.importlib.metadata, "version", lambda name: f"9.9 of {name}")
    assert overview.version() == "9.9 of s3dnerf"


@pytest.mark.parametrize("fault", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 20)])
def test_version_where_git_fails(monkeypatch, tmp_path: Path, fault: Exception) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(overview, "CHECKOUT", tmp_path)
    monkeypatch.setattr(overview.subprocess, "run", lambda *given, **named: (_ for _ in ()).throw(fault))
    monkeypatch.setattr(overview.importlib.metadata, "version", lambda name: "1.2")
    assert overview.version() == "1.2"


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_option_of_a_command_has_its_own_line_of_help(name: str) -> None:
    command = commands()[name]
    parameters = list(inspect.signature(command).parameters)
    documented = {found.arg_name: found.description or "" for found in docstring_parser.parse(command.__doc__).params}
    assert sorted(documented) == sorted(parameters)
    assert all(len(text) > 7 for text in documented.values()), documented
