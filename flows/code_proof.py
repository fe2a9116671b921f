"""``s3dnerf code keep --proven``: the same outs at preset ``tiny`` with the committed code and with the changed one.

Both run the whole graph from nothing, each in a folder of its own, and every hash in their ``dvc.lock`` is compared
(but the report's, which names its revision; its tables are compared). Equal outs prove nothing of code that did not
run, so each function that changed is watched for, and one that ``tiny`` never calls (a CUDA path, insightface, deep3d,
wav2vec2) is named: for those a person has to say ``keep`` without ``--proven``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from flows.code_copies import clean_environment, copy_revision, copy_working_tree, graph_hashes, without_results
from stages.code_hash import function_hashes
from stages.code_lock import LOCK, Change, lock_of, read_code, read_versions

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


def start(folder: Path, more: dict[str, str]) -> subprocess.Popen[str]:
    """``dvc repro`` of preset tiny in a folder, without servers and records."""
    environment = clean_environment(S3DNERF_RUNNER="inline", S3DNERF_TRACKING="off", **more)
    command = f'"{sys.executable}" -m flows.cli preset tiny && "{sys.executable}" -m dvc repro'
    return subprocess.Popen(
        command, shell=True, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def prove(root: Path, parts: list[str], found: list[Change]) -> bool:
    """Run both, compare, and print what was shown. True when every out is equal and every changed function ran."""
    files = sorted({file for change in found if change.part in parts for file in change.files if "/" in file})
    print(f"{len(files)} changed files; preset tiny with the committed and the changed code: minutes", flush=True)
    with tempfile.TemporaryDirectory(prefix="s3dnerf-proof-") as work:
        before, after = Path(work) / "committed", Path(work) / "changed"
        before.mkdir()
        after.mkdir()
        copy_revision(root, before)
        copy_working_tree(root, after)
        (after / LOCK).write_bytes(lock_of(read_code(after), read_versions(after)))  # as if it had been kept
        watched = changed_functions(before, after, files)
        (Path(work) / "watch").mkdir()
        (Path(work) / "watch" / "sitecustomize.py").write_text(WATCH)
        note = Path(work) / "watched.json"
        note.write_text(json.dumps([list(key) for key in watched]))
        watch = {"PYTHONPATH": f"{work}/watch", "S3DNERF_WATCHED": str(note), "S3DNERF_WATCHED_ROOT": str(after)}
        for folder in (before, after):
            without_results(folder)
        runs = {before: start(before, {}), after: start(after, watch if watched else {})}
        for folder, run in runs.items():
            printed, _ = run.communicate()
            if run.returncode:
                print(f"not proven: the {folder.name} code does not run at tiny:\n{printed[-3000:]}")
                return False
        old, new = graph_hashes(before), graph_hashes(after)
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
