"""A command line's log lines: plain, on stdout, once, and not lost when stdout is another."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from s3dnerf.core.logs import log_to_stdout

ROOT = Path(__file__).resolve().parents[2]


def test_lines_are_plain_and_come_once(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stdout("s3dnerf")
    log_to_stdout("s3dnerf")
    logging.getLogger("s3dnerf.training.any").info("  step 1/4: 50 %")
    logging.getLogger("s3dnerf").warning("refused")
    logging.getLogger("s3dnerf").debug("not shown")
    assert capsys.readouterr() == ("  step 1/4: 50 %\nrefused\n", "")


def test_lines_go_where_stdout_is_then() -> None:
    log_to_stdout("stages")
    with redirect_stdout(io.StringIO()) as elsewhere:
        logging.getLogger("stages.align").info("3 packs")
    assert elsewhere.getvalue() == "3 packs\n"


def test_a_level_hides_what_lies_below_it(capsys: pytest.CaptureFixture[str]) -> None:
    log_to_stdout("s3dnerf", level=logging.ERROR)
    logging.getLogger("s3dnerf.training").warning("of another process")
    logging.getLogger("s3dnerf.training").error("failed")
    assert capsys.readouterr() == ("failed\n", "")


def test_another_librarys_handler_does_not_print_them_again() -> None:
    code = """
import logging
from flows.log_setup import configure_logging
logging.basicConfig()
configure_logging()
for name in ("flows.run", "stages.align", "s3dnerf.training", "__main__"):
    logging.getLogger(name).info(name)
logging.getLogger("another").warning("another's own")
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "flows.run\nstages.align\ns3dnerf.training\n__main__\n"
    assert done.stderr == "WARNING:another:another's own\n"
