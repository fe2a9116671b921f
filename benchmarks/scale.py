"""150,000 simulated clip records and their raw files through inventory, ingest, planning, the pack store, the index and
DVC.

    python -m benchmarks.scale [--clips 150000] [--folder DIR] [--probe 4000]

What is real: the stages' own code from the raw files to the index, each step in a process of its own
(benchmarks/scale_steps.py), raw files that ffmpeg opens (benchmarks/scale_raw.py), whole `dvc` commands
(benchmarks/scale_dvc.py). What stands in: a pack stage's work on a clip, which gives small parts of the right kinds;
and of the videos that ingest opens, every file is opened only where there are no more than ``--probe`` (0.01 s each):
otherwise so many of them, the others get the same facts, and the time for all is projected. One process at a time
except where two are said. Every file was just written, so nothing is read from a cold disk.

Beside each step stands the machine's load average (1 minute) at its end: on a busy machine CPU seconds say more than
wall seconds.

DIR (default: a temporary folder, removed afterwards) needs about 80 kB a clip. Writes benchmarks/results/scale.json.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from benchmarks.scale_dvc import PARTS, files_below
from benchmarks.scale_raw import make_raw
from s3dnerf.video.packs import write_atomic

ROOT = Path(__file__).resolve().parent.parent
# longer than the inventory distrusts the times of files that were just written
SETTLE_S = 2.5
FIRST = ("inventory", "probe", "ingest", "packs")
AGAIN = ("inventory", "ingest", "planning", "index", "training")
ADDED = ("add", "inventory", "ingest", "packs")


def child(module: str, *words: str) -> dict[str, Any]:
    """What a measuring process printed last. Raises RuntimeError with what it said when it fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{module} {' '.join(words)} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, clips: int, opened: int, dvc: tuple[str, ...] = PARTS) -> dict[str, Any]:
    """All steps at one size in ``folder``. Returns what each measured.

    What is measured stands in ``measured.json`` there at once; started again in the same folder, it goes on after the
    last whole step.
    """
    store = folder / "measured.json"
    done: dict[str, Any] = json.loads(store.read_text()) if store.is_file() else {}
    words = ("--folder", str(folder), "--clips", str(clips))

    def step(name: str, work: Callable[[], dict[str, Any]]) -> None:
        if name not in done:
            print(f"{datetime.datetime.now():%H:%M:%S} {name}", file=sys.stderr, flush=True)
            done[name] = work()
            done[name]["load"] = os.getloadavg()[0]
            write_atomic(store, json.dumps(done).encode())

    step("raw files", lambda: raw_files(folder / "raw", clips))
    for phase, steps in (("first", FIRST), ("again", AGAIN), ("one added", ADDED)):
        for name in steps:
            step(
                f"{phase}: {name}",
                functools.partial(child, "benchmarks.scale_steps", name, *words, "--probe", str(opened)),
            )
    step(
        "files",
        lambda: {name: dict(zip(("files", "bytes"), files_below(folder / name))) for name in ("data", ".packs")},
    )
    for part in dvc:
        step(f"DVC, {part}", functools.partial(child, "benchmarks.scale_dvc", part, *words))
    return done


def raw_files(root: Path, clips: int) -> dict[str, Any]:
    """Make the raw files."""
    begun = time.perf_counter()
    made = make_raw(root, clips)
    seconds = time.perf_counter() - begun
    time.sleep(SETTLE_S)
    count, size = files_below(root)
    return {"seconds": seconds, "files": count, "bytes": size, **made}


def rounded(value: Any) -> Any:
    """Numbers to three significant places after the point, everything below a mapping as well."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return round(value, 3 if abs(value) < 10 else 1) if isinstance(value, float) else value


def projected(done: dict[str, Any]) -> dict[str, float]:
    """What follows from the CPU time measured, on processors that nobody else uses."""
    opening, index = done["first: probe"], done["again: index"]
    whole_s = (
        sum(index["whole_ms"][upstream] - index["pack_ms"][upstream] for upstream in index["opened_by"].values()) / 1000
    )
    found = {
        "minutes_to_open_all_videos_on_two_cores": opening["cpu_ms_a_file"] * opening["videos"] / 2 / 60_000,
        "cpu_hours_saved_by_opening_one_pack_of_an_index": whole_s * done["first: ingest"]["packs"] / 3600,
    }
    if "DVC, large files" in done:
        large = done["DVC, large files"]
        costs = large["commands"]
        hashing_s = costs["commit"]["cpu_s"] - costs["status"]["cpu_s"]
        found["dvc_commit_mb_a_cpu_second"] = large["bytes"] / 1e6 / hashing_s
        found["dvc_commit_cpu_minutes_for_1_tb"] = 1e12 / large["bytes"] * hashing_s / 60
    return found


def row(name: str, found: dict[str, Any], note: str = "") -> str:
    """One line of the table: wall seconds, CPU seconds, peak memory."""
    return (
        f"{name:<64}{found['seconds']:9.2f} s {found['cpu_s']:9.2f} s CPU {found['peak_mb']:7.0f} MB  {note}".rstrip()
    )


def table(result: dict[str, Any]) -> str:
    """The result for a person."""
    skipped = ("seconds", "cpu_s", "peak_mb", "load", "seconds_a_stage", "made_a_stage", "quarantined", "excluded")
    lines = []
    for name, found in result.items():
        if "commands" in found:
            size = f"{found['files']} files, {found['bytes'] / 1e6:.0f} MB"
            lines += [row(f"{name}: {command}", cost, size) for command, cost in found["commands"].items()]
        elif "cpu_s" in found and not name.endswith(": add"):
            note = ", ".join(f"{key} {rounded(value)}" for key, value in found.items() if key not in skipped)
            lines.append(row(name, found, note))
    return "\n".join(lines)


def main() -> None:
    """Measure, write the result, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, default=150_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--probe", type=int, default=4000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = (args.folder or Path(place)).resolve()
        measured = measure(folder, args.clips, args.probe)
    result = {
        **origin(f"python -m benchmarks.scale --clips {args.clips} --probe {args.probe}", "git", "hardware"),
        "projected": projected(measured),
        "measured": measured,
    }
    write("scale", rounded(result))
    print(table(measured))
    print("\n".join(f"{name}: {rounded(value)}" for name, value in result["projected"].items()))


if __name__ == "__main__":
    main()
