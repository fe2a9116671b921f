"""How far sound and picture stand apart on the 25 Hz clock, for every kind of timing a file may have.

    python -m benchmarks.sync_of_clock [--kinds "edit list"]

Makes a minute of flashes and beeps of each kind (tests/video/flashes.py), resamples it as any clip is, and compares
flash and beep: mean, largest difference, drift over the minute; and by how much ffmpeg shows the picture before its
time, which the cut of the sound makes up for (:func:`s3dnerf.video.probing._edits`). Writes
benchmarks/results/sync_of_clock.json when all kinds were measured.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
from pathlib import Path

from benchmarks.record import origin, write
from tests.video.flashes import KINDS, apart

ALLOWED_MS = 21.0


def measure(kind: str) -> dict[str, float]:
    """One kind's differences in milliseconds; see :func:`tests.video.flashes.apart`."""
    with tempfile.TemporaryDirectory() as place, contextlib.chdir(place):
        return apart(kind, Path(place))


def main() -> None:
    """Measure, print the table, write the result. Exit status 1 when a kind is further apart than the clock's
    rounding.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kinds", default="", help="only kinds whose name contains this")
    words = parser.parse_args().kinds
    print(f"{'kind':<42} {'flashes':>7} {'mean':>7} {'largest':>8} {'drift ± error':>15}  ffmpeg early (ms)")
    table = {}
    for kind in (k for k in KINDS if words in k):
        table[kind] = row = measure(kind)
        drift = f"{row['drift_ms']:+.1f} ± {row['drift_error_ms']:.1f}"
        print(
            f"{kind:<42} {row['flashes']:>7} {row['mean_ms']:>+7.2f} {row['largest_ms']:>8.2f} {drift:>15}  "
            f"{row['ffmpeg_early_ms']:.1f}"
        )
    largest = max(row["largest_ms"] for row in table.values())
    print(f"{len(table)} kinds, largest difference {largest:.2f} ms (at most {ALLOWED_MS:g})")
    if not words:
        result = {
            **origin("python -m benchmarks.sync_of_clock", "git", "hardware"),
            "allowed_ms": ALLOWED_MS,
            "largest_ms": largest,
            "mean_of_means_ms": round(sum(row["mean_ms"] for row in table.values()) / len(table), 2),
            "kinds": table,
        }
        write("sync_of_clock", result)
    raise SystemExit(largest > ALLOWED_MS)


if __name__ == "__main__":
    main()
