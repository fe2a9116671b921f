"""No traceback reaches a person who did not ask for one, whatever kind of error it is."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from s3dnerf.core.processes import one_message

ROOT = Path(__file__).resolve().parents[2]
FAILED = subprocess.CalledProcessError(3, ["tar"], stderr=b"tar: no room\n")
ERRORS = {
    "ours": (ValueError("align.size_px: got 3"), "align.size_px: got 3"),
    "of the system": (PermissionError(13, "Permission denied", "reports/x"), "[Errno 13] Permission denied: 'reports/x'"),
    "without words": (RuntimeError(), "unexpected RuntimeError: "),
    "of a kind that nobody foresaw": (KeyError("lines"), "unexpected KeyError: 'lines'"),
    "of a command": (FAILED, "unexpected CalledProcessError: Command '['tar']' returned non-zero exit status 3.\ntar: no room"),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_an_error_is_one_message(case: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DNERF_TRACEBACK", raising=False)
    error, said = ERRORS[case]
    with pytest.raises(SystemExit) as ended, one_message("report"):
        raise error
    assert ended.value.code == 1
    assert capsys.readouterr().err == f"s3dnerf: report: {said}\n(S3DNERF_TRACEBACK=1 shows where)\n"


def test_who_asks_gets_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("S3DNERF_TRACEBACK", "1")
    with pytest.raises(KeyError), one_message("report"):
        raise KeyError("lines")


def test_a_full_disk_says_how_to_make_room(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3DNERF_TRACEBACK", raising=False)
    with pytest.raises(SystemExit), one_message("align"):
        raise OSError(28, "No space left on device", "data/x")
    assert re.search(r"data/x'\nmake room \(`s3dnerf store`", capsys.readouterr().err)


@pytest.mark.parametrize(("who", "said"), [("reader", ""), ("another pipe", "s3dnerf: report: [Errno 32] ffmpeg")])
def test_a_reader_that_is_gone_is_no_error_and_another_broken_pipe_is(who: str, said: str) -> None:
    code = "from s3dnerf.core.processes import one_message\nwith one_message('report'):\n" + (
        "    while True: print('line', flush=True)\n"
        if who == "reader"
        else "    raise BrokenPipeError(32, 'ffmpeg')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "S3DNERF_TRACEBACK"}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment | {"PYTHONPATH": str(ROOT)},
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:  # fmt: skip
        if who == "reader":
            assert program.stdout.readline() == "line\n"
            program.stdout.close()
        wrong = program.stderr.read()
    assert program.returncode == 1 and wrong.startswith(said) and bool(wrong) == bool(said)
