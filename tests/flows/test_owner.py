"""A stage dies with the process it works for, and takes its children along."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from flows.owner import alive, dvc_above, identity

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


def test_a_process_and_its_children_end_with_their_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import subprocess, sys, time\nfrom pathlib import Path\nfrom flows.owner import die_with\n"
        f"die_with({identity(psutil.Process(owner.pid))!r})\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"Path({str(tmp_path / 'child')!r}).write_text(str(child.pid) + '\\n')\ntime.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, str(worker)], cwd=ROOT, env={"PYTHONPATH": str(ROOT), "PATH": ""})
    note = tmp_path / "child"
    assert wait_until(lambda: note.is_file() and note.read_text().endswith("\n"))
    child = psutil.Process(int(note.read_text()))
    owner.kill()
    owner.wait()
    assert process.wait(timeout=20) == 113
    assert wait_until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def test_the_dvc_above_is_found_by_its_command(tmp_path: Path) -> None:
    script = tmp_path / "dvc"
    script.write_text(
        f"import subprocess, sys\nprint(subprocess.run([sys.executable, '-c', 'from flows.owner import dvc_above; print(dvc_above().pid)'], "
        f"capture_output=True, text=True, cwd={str(ROOT)!r}).stdout)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    said, _ = process.communicate(timeout=60)
    assert int(said) == process.pid
    assert dvc_above() is None or "pytest" not in dvc_above().name()
