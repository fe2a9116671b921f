"""A process that is asked to end: one line, its status, nothing half made, nobody left."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.signals import ASKED, as_in_a_terminal

ROOT = Path(__file__).resolve().parents[2]
# a signal that comes just before a sleep begins is noticed at its end: so none is long
WORK = """
import subprocess, sys, time
from s3dnerf.core.processes import one_message
from s3dnerf.core.whole_files import claimed, taking_the_place_of
with one_message("work"):
    with claimed("deep/a.mp4", "--out"), taking_the_place_of("deep/a.mp4") as part:
        part.write_bytes(b"half")
        children = [subprocess.Popen(["sh", "-c", "{ignores}sleep 61 & wait"]), subprocess.Popen(["sleep", "62"])]
        print("ready", flush=True)
        [time.sleep(0.1) for _ in range(600)]
"""


def begun(folder: Path, code: str, ignored: tuple[int, ...] = ()) -> subprocess.Popen:
    """A Python process that has printed ``ready``. It gets the signals that a terminal's would: pytest may itself run
    where they are ignored.
    """

    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "S3DNERF_RUNNER": "inline"},
        preexec_fn=functools.partial(as_in_a_terminal, ignored),
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.stderr.read()
    return process


def all_gone(children: list[psutil.Process]) -> bool:
    return not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def left(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*")]


@pytest.mark.parametrize("number", ASKED)
def test_one_line_the_signal_s_status_nothing_half_made_and_no_child(number: int, tmp_path: Path) -> None:
    process = begun(tmp_path, WORK.format(ignores=""))
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2 and len(left(tmp_path)) == 3  # the folder, the lock, the part
    process.send_signal(number)
    said, wrong = process.communicate(timeout=60)
    assert (process.returncode, said, wrong) == (128 + number, "", "s3dnerf: work: stopped\n")
    assert left(tmp_path) == [] and all_gone(children)


def test_an_impatient_person_changes_nothing_and_a_stubborn_child_ends_all_the_same(tmp_path: Path) -> None:
    process = begun(tmp_path, WORK.format(ignores="trap '' TERM; "))
    children = psutil.Process(process.pid).children(recursive=True)
    for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
    said, wrong = process.communicate(timeout=60)
    assert (
        (process.returncode, wrong) == (130, "s3dnerf: work: stopped\n") and left(tmp_path) == [] and all_gone(children)
    )


@pytest.mark.parametrize("error", ["OSError", "ImportError"])
def test_what_fails_because_it_was_stopped_is_a_stop(error: str, tmp_path: Path) -> None:
    """A child that the terminal's Ctrl-C reached as well dies, and whoever reads from it may say so first; an
    import that is broken off says that it failed."""
    code = WORK.format(ignores="").replace(
        "        [time.sleep(0.1) for _ in range(600)]",
        "        try:\n            [time.sleep(0.1) for _ in range(600)]\n"
        f"        except KeyboardInterrupt:\n            raise {error}('broken off') from None",
    )
    process = begun(tmp_path, code)
    process.send_signal(signal.SIGINT)
    assert (process.communicate(timeout=60)[1], process.returncode) == ("s3dnerf: work: stopped\n", 130)


def test_a_stop_that_says_more_is_passed_on(tmp_path: Path) -> None:
    code = "from s3dnerf.core.processes import one_message\nprint('ready', flush=True)\nwith one_message('train'):\n    raise KeyboardInterrupt('stopped at step 2 of 4; start again to go on')"
    process = begun(tmp_path, code)
    assert process.communicate(timeout=60)[1] == "s3dnerf: train: stopped at step 2 of 4; start again to go on\n"
    assert process.returncode == 130


def test_a_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """``nohup``: closing the terminal ends nothing."""
    code = """
import os, signal, sys
from s3dnerf.core.processes import one_message
print("ready", flush=True)
with one_message("work"):
    os.kill(os.getpid(), signal.SIGHUP)
    print("went on", file=sys.stderr)
"""
    process = begun(tmp_path, code, ignored=(signal.SIGHUP,))
    assert process.communicate(timeout=60)[1] == "went on\n" and process.returncode == 0


def test_the_handlers_are_those_from_before_afterwards(tmp_path: Path) -> None:
    from s3dnerf.core.processes import one_message

    before = [signal.getsignal(number) for number in ASKED]
    with one_message("work"):
        pass
    with pytest.raises(SystemExit), one_message("work"):
        raise ValueError("wrong")
    assert [signal.getsignal(number) for number in ASKED] == before


STAGE = """
import sys, time
import stages.inventory
from flows import run

def main(context):
    (context.out("x").parent).mkdir(parents=True, exist_ok=True)
    print("ready", flush=True)
    [time.sleep(0.1) for _ in range(600)]

stages.inventory.main = main
sys.argv = ["flows.run", "inventory"]
run.main()
"""
COMMAND = """
import sys, time
from flows import cli

def report() -> int:
    print("ready", flush=True)
    [time.sleep(0.1) for _ in range(600)]
    return 0

cli.report = report
sys.argv = ["s3dnerf", "report"]
cli.main()
"""
GRAPH = """
import subprocess, sys
from flows import cli, side_by_side

begin = subprocess.Popen
def dvc(command, **more):
    child = "import subprocess, sys, time; p = subprocess.Popen(['sleep', '63']); print('ready', flush=True); time.sleep(60)"
    return begin([sys.executable, "-c", child], **more)

side_by_side.subprocess.Popen = dvc
sys.argv = ["s3dnerf", "run"]
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("name", "code"), [("inventory", STAGE), ("report", COMMAND), ("run", GRAPH)])
def test_stages_and_commands_end_alike(
    name: str, code: str, number: int, tmp_path: Path, preset_file: Callable[[Path], None]
) -> None:
    preset_file(tmp_path)
    process = begun(tmp_path, code)
    children = psutil.Process(process.pid).children(recursive=True)
    assert bool(children) == (name == "run")
    process.send_signal(number)
    _, wrong = process.communicate(timeout=60)
    assert (wrong, process.returncode) == (f"s3dnerf: {name}: stopped\n", 128 + number)
    assert all_gone(children) and not list(tmp_path.rglob("*.part*"))


@pytest.fixture
def preset_file() -> Callable[[Path], None]:
    import yaml

    from s3dnerf.settings.loading import as_dict, preset_settings

    return lambda folder: (folder / "params.yaml").write_text(yaml.safe_dump(as_dict(preset_settings("tiny")))) and None
