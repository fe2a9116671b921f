"""Seconds and peak memory of a make target in a fresh clone of HEAD, installation included.

    python -m benchmarks.demo [--target demo]

Memory is the sum of proportional set sizes of the whole process tree, looked at every two seconds. Writes
benchmarks/results/<target>.json.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.record import origin, write

ROOT = Path(__file__).resolve().parent.parent
LOOK_EVERY_S = 2.0


def memory_bytes(folder: Path) -> int:
    """Proportional set size of every process that works in ``folder``."""
    total = 0
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                total += process.memory_full_info().pss
        except (psutil.Error, OSError):
            continue
    return total


def main() -> None:
    """Measure and write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", default="demo", choices=("setup", "demo", "test"))
    target = parser.parse_args().target
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "clone"
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        begun, peak = time.monotonic(), 0
        work = subprocess.Popen(["make", target], cwd=folder, stdout=subprocess.DEVNULL)
        while work.poll() is None:
            peak = max(peak, memory_bytes(folder))
            time.sleep(LOOK_EVERY_S)
        seconds = time.monotonic() - begun
    if work.returncode:
        raise SystemExit(f"make {target} ended with status {work.returncode}")
    result = {
        **origin(f"python -m benchmarks.demo --target {target}", "git", "hardware"),
        "seconds": round(seconds, 1),
        "peak_memory_gb": round(peak / 1e9, 2),
    }
    print(write(target, result))


if __name__ == "__main__":
    main()
