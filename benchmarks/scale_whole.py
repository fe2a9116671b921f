"""HDTF, LRS2 and MEAD whole, simulated, through every stage that plans or accounts over all records, with the store.

    nice python -m benchmarks.scale_whole [--share 1.0] [--smaller 0.125] [--folder DIR]

Measured twice in one run, at ``--smaller`` and at ``--share`` of the corpora, so that a step whose time grows faster
than its records is seen: ``growth`` is CPU seconds per record at the larger size over those at the smaller one. Each
step is a process of its own (benchmarks/scale_whole_steps.py), with its CPU seconds and its peak memory.

What is simulated: the raw files (copies of four small videos and one sound, each with bytes of its own); what ffprobe
would say of all but ``--probe`` videos, which are opened; what a pack stage makes of a clip (small parts of the right
kinds); other methods' videos (a few bytes each); the rows of ``evaluate`` (drawn numbers); no network is trained. What
is real: the stages' own code from the raw files to the report and its audit, the packs' files, indexes and store
entries. Pictures of people are left out of the report, as the preset ``paper`` leaves them out; the choice of clips for
the contact sheets is measured, drawing them is not.

DIR (default: a temporary folder, removed afterwards) needs about 14 GB. Writes benchmarks/results/scale_whole.json.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from benchmarks.scale import child, rounded, row

STEPS = (
    "raw files", "inventory", "probe", "ingest", "packs", "packs again", "planning", "fingerprints",
    "evaluate plan", "evaluate rows", "sheets", "report", "audit", "audit without the table", "store survey",
)  # fmt: skip
INDICATIVE = "other people's work shared the two cores: CPU seconds say more than wall seconds, and neither is exact"
SIMULATED = (
    "raw files (numbered copies), facts of most videos, parts of clips, other methods' videos, evaluate's rows; no "
    "network was trained, no picture drawn"
)
# too short at the smaller size to divide by
SHORTEST_S = 0.2


def measure(folder: Path, share: float, opened: int) -> dict[str, Any]:
    """All steps at one size in ``folder``. Returns what each measured."""
    done: dict[str, Any] = {}
    for name in STEPS:
        print(f"{datetime.datetime.now():%H:%M:%S} {share:g} {name}", file=sys.stderr, flush=True)
        words = (name, "--folder", str(folder), "--share", str(share), "--probe", str(opened))
        done[name] = child("benchmarks.scale_whole_steps", *words) | {"load": os.getloadavg()[0]}
        print(json.dumps(done[name]), file=sys.stderr, flush=True)  # not lost where a later step fails
    return done


def growth(smaller: dict[str, Any], larger: dict[str, Any]) -> dict[str, float]:
    """Step → CPU seconds per row of the membership table at the larger size, over those at the smaller one; of
    ``evaluate``'s steps per test clip, and of the report and its audit per measurement.

    1 is linear. A step that took less than :data:`SHORTEST_S` at the smaller size is left out: what it costs to begin
    would be divided by.
    """

    def times(step: str, count: str) -> float:
        return larger[step][count] / smaller[step][count]

    more = dict.fromkeys(STEPS, times("report", "rows"))
    more |= dict.fromkeys(("evaluate plan", "evaluate rows"), times("evaluate rows", "clips"))
    more |= dict.fromkeys(("report", "audit", "audit without the table"), times("evaluate rows", "table_rows"))
    return {name: times(name, "cpu_s") / more[name] for name in STEPS if smaller[name]["cpu_s"] >= SHORTEST_S}


def main() -> None:
    """Measure, write the result, print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--smaller", type=float, default=0.125)
    parser.add_argument("--probe", type=int, default=120)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    measured = {}
    for share in (args.smaller, args.share):
        with tempfile.TemporaryDirectory(dir=args.folder) as place:
            measured[f"{share:g}"] = measure(Path(place), share, args.probe)
    smaller, larger = measured.values()
    grown = growth(smaller, larger)
    command = f"nice python -m benchmarks.scale_whole --share {args.share:g} --smaller {args.smaller:g}"
    result = {
        **origin(command, "git", "hardware"),
        "indicative": INDICATIVE,
        "simulated": SIMULATED,
        "growth": grown,
        "measured": measured,
    }
    write("scale_whole", rounded(result))
    for name in STEPS:
        print(row(name, larger[name], f"growth {grown[name]:.2f}" if name in grown else ""))


if __name__ == "__main__":
    main()
