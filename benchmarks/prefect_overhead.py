"""What Prefect's record costs a stage of many packs: seconds a pack, and bytes of its database.

    python -m benchmarks.prefect_overhead [--packs 3000] [--before REVISION] [--before-packs 300]

A stage of so many packs that do nothing, each way in a fresh folder and a fresh process of this project's code: without
Prefect (``inline``), recorded with its packs in this process (``auto``, as for any small work), and recorded with a
pool of worker processes. The overhead a pack is the stage's seconds between the first pack and the last, less those
without Prefect; the database is measured when its server is gone, and its size before any run is given beside it. With
``--before`` the same for an older revision of the project, whose packs may be fewer where each takes long.

Writes benchmarks/results/prefect_overhead.json.
"""

from __future__ import annotations

import argparse
import io
import os
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write

ROOT = Path(__file__).resolve().parent.parent
TABLES = ("flow_run", "task_run", "log", "artifact", "events")
WAYS: dict[str, dict[str, str]] = {
    "inline": {"S3DNERF_RUNNER": "inline"},
    "auto": {},
    "processes": {"S3DNERF_POOL": "processes"},
}

WORK = """
def empty(job):
    return job
"""

STAGE = """
import sys, time
try:
    from flows.stage_run import run_stage
except ImportError:  # an older revision
    from flows.executor import run_stage
from s3dnerf.settings.loading import preset_settings
from stages.context import Context
from empty_work import empty

def main(context):
    jobs = list(range(int(sys.argv[1])))
    begun = time.monotonic()
    context.run(empty, jobs, [f"pack-{job:05d}" for job in jobs])
    print("seconds", time.monotonic() - begun)

if __name__ == "__main__":
    run_stage(main, Context(settings=preset_settings("tiny"), stage="lips"))
"""


def server_runs(folder: Path) -> bool:
    """Whether a server that a stage in this folder started is still there."""
    import psutil

    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                return True
        except (psutil.Error, OSError):
            continue
    return False


def run(source: Path, way: str, packs: int, folder: Path) -> dict[str, Any]:
    """One stage of so many empty packs with the code of ``source``. Returns seconds, database bytes and row counts.

    Raises CalledProcessError with what it printed when it fails.
    """
    folder.mkdir(parents=True)
    (folder / "empty_work.py").write_text(WORK)
    (folder / "stage.py").write_text(STAGE)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT", "S3DNERF", "DVC"))}
    done = subprocess.run(
        [sys.executable, "stage.py", str(packs)],
        cwd=folder,
        env=clean | WAYS[way] | {"PYTHONPATH": f"{source}{os.pathsep}{folder}"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = next(float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("seconds"))
    while server_runs(folder):
        time.sleep(0.2)
    return {"packs": packs, "seconds": round(seconds, 3)} | database(folder / ".prefect" / "prefect.db")


def database(path: Path) -> dict[str, Any]:
    """Bytes of a Prefect database, its log included, and rows of the tables that grow; empty where there is none."""
    if not path.is_file():
        return {}
    size = sum(part.stat().st_size for part in path.parent.glob("prefect.db*"))
    with sqlite3.connect(path) as connection:
        rows = {name: connection.execute(f"select count(*) from {name}").fetchone()[0] for name in TABLES}  # noqa: S608
    return {"database_bytes": size, "rows": rows}


def all_ways(source: Path, packs: int, place: Path) -> dict[str, Any]:
    """Every way, and the overhead a pack of those that record."""
    empty = run(source, "auto", 0, place / "no_packs")
    found = {way: run(source, way, packs, place / way) for way in WAYS}
    for way in ("auto", "processes"):
        extra_s = found[way]["seconds"] - found["inline"]["seconds"]
        found[way]["overhead_ms_a_pack"] = round(1000 * extra_s / packs, 2)
    return {"database_bytes_of_a_stage_without_packs": empty.get("database_bytes")} | found


def checkout(revision: str, folder: Path) -> Path:
    """The files of a revision in a folder. Raises CalledProcessError where git does not know it."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--packs", type=int, default=3000)
    parser.add_argument("--before", help="a revision to compare with, such as 2863ac4")
    parser.add_argument("--before-packs", type=int, default=300)
    args = parser.parse_args()
    words = f"--packs {args.packs}"
    with tempfile.TemporaryDirectory() as place:
        result: dict[str, Any] = {"now": all_ways(ROOT, args.packs, Path(place) / "now")}
        if args.before:
            words += f" --before {args.before} --before-packs {args.before_packs}"
            source = checkout(args.before, Path(place) / "source")
            result["before"] = {"revision": args.before} | all_ways(source, args.before_packs, Path(place) / "before")
    result = {
        **origin(f"python -m benchmarks.prefect_overhead {words}", "git", "hardware"),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        **result,
    }
    print(write("prefect_overhead", result))


if __name__ == "__main__":
    main()
