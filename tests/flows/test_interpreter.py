"""A Python that is not the project's says so; the project's own hides no import error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows import interpreter

ROOT = Path(__file__).resolve().parents[2]


def test_another_python_says_what_to_do_and_shows_no_traceback() -> None:
    done = subprocess.run(
        [sys.executable, "-S", "-m", "flows.run", "inventory"], cwd=ROOT, env={}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "has no filelock, numpy, pandas, psutil, ruamel: it is not the project's environment — " in done.stderr
    assert "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def test_it_says_how_to_come_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(interpreter, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(interpreter, "VENV", tmp_path / "absent")
    with pytest.raises(SystemExit):
        interpreter.check()
    assert "make it first: make " in capsys.readouterr().err
    monkeypatch.setattr(interpreter, "VENV", tmp_path)
    with pytest.raises(SystemExit):
        interpreter.check()
    assert "activate it first: . .venv/bin/activate" in capsys.readouterr().err


def test_installed_code_is_no_project_and_asks_for_no_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(interpreter, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(interpreter, "VENV", tmp_path / "absent")
    monkeypatch.setattr(interpreter, "CODE", tmp_path)
    interpreter.check()
    (tmp_path / "dvc.yaml").touch()
    with pytest.raises(SystemExit):
        interpreter.check()


def test_a_package_missing_in_the_environment_itself_is_an_import_error_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(interpreter, "NEEDED", ("no_such_package",))
    monkeypatch.setattr(interpreter, "VENV", Path(sys.prefix))
    interpreter.check()
