"""The table of the kinds of video and sound that are read right, each by a number, or refused with one sentence.

    python -m benchmarks.kinds

Makes a small file of each kind (:mod:`tests.video.kinds`, :mod:`tests.speech.kinds`; the tests there hold the bounds)
and reads it as every part of the project does. For video the number is the mean absolute difference of the frames from
the made ones in levels of 255, for sound one less the correlation with the made speech. Prints the table and writes
benchmarks/results/kinds.json.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.record import origin, write
from tests.speech import kinds as sound
from tests.video import kinds as video


def rows() -> list[dict[str, Any]]:
    """One row a kind: medium, kind, error and bound, or reason and message, and what the reader noted."""
    found = []
    for medium, module in (("video", video), ("sound", sound)):
        for kind in module.KINDS:
            with tempfile.TemporaryDirectory() as folder:
                got = module.outcome(kind, Path(folder))
                notes = ", ".join(got.notes) if medium == "video" else got.note
                row = {"medium": medium, "kind": kind.name, "right": got.reason == kind.reason}
                if got.reason:
                    row |= {"refused": got.reason, "message": got.message.replace(f"{folder}/", "")}
                else:
                    row["right"] = row["right"] and got.error <= kind.bound
                    row |= {"error": round(got.error, 6), "bound": kind.bound, "notes": notes}
            found.append(row)
    return found


def main() -> None:
    """Print the table and write the result."""
    table = rows()
    for row in table:
        number = f"{row['error']:9.5f} ≤ {row['bound']:<6g}" if "error" in row else f"{'refused':>18}"
        word = row.get("notes") or row.get("message", "")
        print(f"{'' if row['right'] else 'WRONG '}{row['medium']:<6} {row['kind']:<52} {number} {word}")
    wrong = sum(not row["right"] for row in table)
    print(f"{len(table)} kinds, {wrong} wrong")
    finite = [row for row in table if math.isfinite(row.get("error", math.nan))]
    result = {"kinds": len(table), "read": len(finite), "refused": len(table) - len(finite), "wrong": wrong}
    print(write("kinds", {**origin("python -m benchmarks.kinds", "git", "hardware"), **result, "table": table}))


if __name__ == "__main__":
    main()
