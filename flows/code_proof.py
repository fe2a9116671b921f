"""``s3dnerf code keep --proven``: the same outs at preset ``tiny`` with the committed code and with the changed one.

Both run the whole graph from nothing, each in a folder of its own, and every hash in their ``dvc.lock`` is compared
(but the report's, which names its revision; its tables are compared). Equal outs prove nothing of code that did not
run, so each function that changed is watched for, and one that ``tiny`` never calls (a CUDA path, insightface, deep3d,
wav2vec2) is named: for those a person has to say ``keep`` without ``--proven``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from s3dnerf.core.yaml_text import load_yaml
from stages.code_hash import function_hashes
from stages.code_lock import Change, lock_of, read_code, read_versions

TABLES = ("summary.json", "clips.parquet", "membership.parquet")
WATCH = """
import atexit, json, os, sys

with open(os.environ["S3DNERF_WATCHED"]) as handle:
    watched = {(os.path.join(os.environ["S3DNERF_WATCHED_ROOT"], file), line) for file, line in json.load(handle)}
files, called = {file for file, _ in watched}, set()


def see(frame, event, argument):
    code = frame.f_code
    if code.co_filename in files:
        called.add((code.co_filename, code.co_firstlineno))
        called.add((code.co_filename, 0))  # the module was loaded


def write():
    if called & watched:
        with open(os.environ["S3DNERF_WATCHED"] + f".{os.getpid()}", "w") as handle:
            json.dump(sorted(called & watched), handle)


import threading

sys.setprofile(see)
threading.setprofile(see)
atexit.register(write)
"""


def changed_functions(before: Path, after: Path, files: list[str]) -> dict[tuple[str, int], str]:
    """(file, first line) → name of each function that is new or computes something else than before.

    Line 0 stands for what is outside functions: it ran when the module was loaded.
    """
    found = {}
    for file in files:
        path = after / file
        if path.suffix != ".py" or not path.is_file():
            continue
        old = function_hashes((before / file).read_text(encoding="utf-8")) if (before / file).is_file() else {}
        for name, (digest, line) in function_hashes(path.read_text(encoding="utf-8")).items():
            if name not in old or old[name][0] != digest:
                found[file, line] = name
    return found


def committed(root: Path, folder: Path) -> None:
    """The committed code of a repository, as files in a folder."""
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=root, capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)


def changed_copy(root: Path, folder: Path) -> None:
    """The code as it is on disk, tracked and new files, with a lock that takes it as it is."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=root, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in listed:
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)
    (folder / "stages" / "code.lock").write_bytes(lock_of(read_code(folder), read_versions(folder)))


def prepare(folder: Path) -> None:
    """Settings of ``tiny``, no results of before, and a git history, which DVC wants."""
    for name in ("reports", "dvc.lock", "params.yaml", "local.yaml"):
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)


def start(folder: Path, more: dict[str, str]) -> subprocess.Popen[str]:
    """``dvc repro`` of preset tiny in a folder, without servers and records."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("S3DNERF", "DVC", "PREFECT", "MLFLOW"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = clean | {"PATH": path, "S3DNERF_RUNNER": "inline", "S3DNERF_TRACKING": "off"} | more
    command = f'"{sys.executable}" -m flows.cli preset tiny && "{sys.executable}" -m dvc repro'
    return subprocess.Popen(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def hashes(folder: Path) -> dict[str, str]:
    """Out → hash of every stage but check and the report, and the report's tables."""
    import hashlib

    stages = load_yaml((folder / "dvc.lock").read_bytes())["stages"]
    outs = {o["path"]: o["md5"] for name, stage in stages.items() if name != "report" for o in stage.get("outs", [])}
    tables = (folder / "reports" / "tiny" / name for name in TABLES)
    return outs | {t.name: hashlib.sha256(t.read_bytes()).hexdigest() for t in tables if t.is_file()}


def prove(root: Path, parts: list[str], found: list[Change]) -> bool:
    """Run both, compare, and print what was shown. True when every out is equal and every changed function ran."""
    files = sorted({file for change in found if change.part in parts for file in change.files if "/" in file})
    print(f"{len(files)} changed files; preset tiny with the committed and the changed code: minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="s3dnerf-proof-") as work:
        before, after = Path(work) / "committed", Path(work) / "changed"
        before.mkdir()
        after.mkdir()
        committed(root, before)
        changed_copy(root, after)
        watched = changed_functions(before, after, files)
        (Path(work) / "watch").mkdir()
        (Path(work) / "watch" / "sitecustomize.py").write_text(WATCH)
        note = Path(work) / "watched.json"
        note.write_text(json.dumps([list(key) for key in watched]))
        watch = {"PYTHONPATH": f"{work}/watch", "S3DNERF_WATCHED": str(note), "S3DNERF_WATCHED_ROOT": str(after)}
        for folder in (before, after):
            prepare(folder)
        runs = {before: start(before, {}), after: start(after, watch if watched else {})}
        for folder, run in runs.items():
            printed, _ = run.communicate()
            if run.returncode:
                print(f"not proven: the {folder.name} code does not run at tiny:\n{printed[-3000:]}")
                return False
        old, new = hashes(before), hashes(after)
        called: set[tuple[str, int]] = set()
        for seen in Path(work).glob("watched.json.*"):
            called |= {(Path(file).relative_to(after).as_posix(), line) for file, line in json.loads(seen.read_text())}
    different = sorted(path for path in {*old, *new} if old.get(path) != new.get(path))
    if different:
        print(f"not proven: {len(different)} outs differ: {', '.join(different[:8])} — use s3dnerf code bump")
        return False
    missed = sorted(f"{file}: {name}" for (file, line), name in watched.items() if (file, line) not in called)
    print(f"{len(new)} outs are equal; {len(watched) - len(missed)} of {len(watched)} changed functions ran")
    if missed:
        print("tiny does not reach:\n  " + "\n  ".join(missed))
        print("equal outs say nothing of these; where you are sure of them: s3dnerf code keep, without --proven")
        return False
    if any(file.startswith("s3dnerf/reporting/") for file in files):
        print("the report's tables are equal; its page, which states times, was not compared: look at it")
    return True
