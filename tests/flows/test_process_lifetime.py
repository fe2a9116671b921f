"""A stage dies with the process it works for, a piece of work elsewhere with its stage's lock, and both take their
children along.
"""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

from flows.process_lifetime import alive, identity

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


PROBE = """
import json, os, subprocess, sys, time
from pathlib import Path
from flows.process_lifetime import die_with, dvc_identity

owner = dvc_identity()
die_with(owner)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"])
note = {"pids": [os.getpid(), child.pid], "owner": owner, "folder": os.getcwd()}
part = Path(os.environ["NOTE"] + ".part")
part.write_text(json.dumps(note))
part.rename(os.environ["NOTE"])
time.sleep(120)
"""
REPO = "from dvc.repo import Repo\nRepo('.').reproduce()\n"
DVC = ("-m", "dvc")
WAYS = {  # how the stage is run, and whether in a folder of its own
    "python -m dvc repro": ([*DVC, "repro"], False),
    "python -X utf8 -m dvc repro": (["-X", "utf8", *DVC, "repro"], False),
    "dvc.repo.Repo": (["reproduce.py"], False),
    "dvc repro -P in a sub-folder": ([*DVC, "--cd", "sub", "repro", "-P"], False),
    "dvc exp run": ([*DVC, "exp", "run", "-S", "params.json:x=2"], False),
    "dvc exp run --temp": ([*DVC, "exp", "run", "--temp", "-S", "params.json:x=2"], True),
    "dvc queue start": ([*DVC, "queue", "start"], True),
}


@pytest.fixture(scope="module")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project in git whose one stage says who it works for, and stays."""
    folder = tmp_path_factory.mktemp("probe")
    (folder / "sub").mkdir()
    for name, text in {
        "probe.py": PROBE,
        "reproduce.py": REPO,
        "params.json": '{"x": 1}',
        "sub/text": "",
        "dvc.yaml": "stages: {one: {cmd: python probe.py, params: [{params.json: [x]}], outs: [out.txt]}}\n",
    }.items():
        (folder / name).write_text(text)
    who = ["-c", "user.name=test", "-c", "user.email=test@test.invalid"]
    for words in (["git", "init", "-q"], [sys.executable, *DVC, "init", "-q"], ["git", "add", "-A"],
                  ["git", *who, "commit", "-qm", "probe"]):  # fmt: skip
        subprocess.run(words, cwd=folder, check=True)
    return folder


@pytest.mark.parametrize("way", WAYS)
def test_a_stage_finds_whoever_runs_it_and_ends_with_it(probe: Path, tmp_path: Path, way: str) -> None:
    folder, note, (words, elsewhere) = tmp_path / "project", tmp_path / "note", WAYS[way]
    shutil.copytree(probe, folder)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC")} | {
        "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NOTE": str(note),
        **dict.fromkeys(("GIT_AUTHOR_NAME", "GIT_COMMITTER_NAME"), "test"),
        **dict.fromkeys(("GIT_AUTHOR_EMAIL", "GIT_COMMITTER_EMAIL"), "test@test.invalid"),
    }
    run = functools.partial(subprocess.Popen, cwd=folder, env=environment, stdout=subprocess.DEVNULL)
    if "queue" in words:
        assert run([sys.executable, *DVC, "exp", "run", "--queue", "-S", "params.json:x=2"]).wait(60) == 0
    process = run([sys.executable, *words], stderr=subprocess.PIPE)
    try:
        assert wait_until(note.is_file, 60), process.stderr.read() if process.poll() is not None else "still running"
        said = json.loads(note.read_text())
        owner = psutil.Process(int(said["owner"].partition("-")[0]))
        assert identity(owner) == said["owner"] and psutil.Process(said["pids"][0]) in owner.children(recursive=True)
        assert owner.pid == process.pid or "exec-run" in owner.cmdline()
        assert (Path(said["folder"]) != folder) == elsewhere and Path(said["folder"]).is_relative_to(folder)
        owner.kill()
        assert wait_until(lambda: not any(running(pid) for pid in said["pids"])), "the stage outlived its dvc"
    finally:
        for left in processes_in(folder):  # the queue's worker among them
            left.kill()
        process.wait(20)


def running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def processes_in(folder: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


@pytest.mark.parametrize("listed", ["nobody", "somebody else", "torn"])
def test_a_stage_does_nothing_where_no_ancestor_runs_it(tmp_path: Path, listed: str) -> None:
    """An orphan may have been handed to anybody; DVC's list of who runs what is asked, not the family tree alone."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    holder = {"pid": other.pid, "cmd": "dvc repro"}
    text = {
        "nobody": "{}",
        "torn": '{"write": {',
        "somebody else": json.dumps({"write": {"out": holder}, "read": {"dep": [holder]}}),
    }
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text(text[listed])
    environment = {k: v for k, v in os.environ.items() if not k.startswith("DVC")} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "flows.run", "inventory"]
    done = subprocess.run(command, cwd=tmp_path, env=environment | {"DVC_STAGE": "inventory"}, capture_output=True, text=True)  # fmt: skip
    other.kill()
    other.wait()
    assert done.returncode == 113 and "nothing done" in done.stderr


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
