"""A stage dies with the process it works for, a piece of work elsewhere with its stage's lock, and both take their
children along.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from flows.process_lifetime import alive, dvc_above, identity

ROOT = Path(__file__).resolve().parents[2]


def wait_until(condition, timeout_s: float = 20.0) -> bool:
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_identity_is_a_process_not_a_number() -> None:
    me = psutil.Process()
    assert alive(identity(me))
    assert not alive(f"{me.pid}-1")
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child_identity = f"{child.pid}-{int(psutil.Process(child.pid).create_time() * 100)}"
    child.wait()
    assert not alive(child_identity)


HOLDER = "import sys, time\nfrom filelock import FileLock\nwith FileLock(sys.argv[1]):\n    time.sleep(60)\n"


@pytest.mark.slow
@pytest.mark.parametrize("watched", ["process", "lock"])
def test_a_process_and_its_children_end_with_their_owner(tmp_path: Path, watched: str) -> None:
    lock = str(tmp_path / "stage.lock")
    owner = subprocess.Popen([sys.executable, "-c", HOLDER, lock])
    assert wait_until(lambda: Path(lock).is_file() and _held(lock))
    watch = f"die_with({identity(psutil.Process(owner.pid))!r})" if watched == "process" else f"end_when_free({lock!r})"
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import subprocess, sys, time\nfrom pathlib import Path\nfrom flows.process_lifetime import die_with, end_when_free\n"
        f"{watch}\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"Path({str(tmp_path / 'child')!r}).write_text(str(child.pid) + '\\n')\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(worker)], cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    note = tmp_path / "child"
    assert wait_until(lambda: note.is_file() and note.read_text().endswith("\n"))
    child = psutil.Process(int(note.read_text()))
    time.sleep(1.5)  # more than a look at the lock: it goes on while its owner does
    assert process.poll() is None and alive(identity(child))
    owner.kill()
    owner.wait()
    assert process.wait(timeout=20) == 113
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def _held(lock: str) -> bool:
    try:
        FileLock(lock).acquire(timeout=0).lock.release()
    except TimeoutError:
        return True
    return False


def test_the_dvc_above_is_found_by_its_command(tmp_path: Path) -> None:
    script = tmp_path / "dvc"
    script.write_text(
        f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'from flows.process_lifetime import dvc_above; print(dvc_above().pid)'], "
        f"capture_output=True, text=True, cwd={str(ROOT)!r}).stdout)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert int(said) == process.pid
    assert dvc_above() is None or "pytest" not in dvc_above().name()


def test_a_stage_whose_dvc_was_killed_before_it_could_look_does_nothing(tmp_path: Path) -> None:
    """dvc names the stage in its environment; the process that comes up when dvc is gone already would else pass for
    one started by hand.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC")} | {
        "PYTHONPATH": str(ROOT),
        "DVC_STAGE": "inventory",
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.run", "inventory"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 113 and "the dvc that started this ended meanwhile: nothing done" in done.stderr
    assert not list(tmp_path.iterdir())
