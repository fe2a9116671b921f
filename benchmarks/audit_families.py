"""One family of tests for `s3dnerf audit compare`, or one for each question: what each does to false alarms and power.

    python -m benchmarks.audit_families A B [A B …] [--pairs 200]

A and B: as for ``python -m benchmarks.audit``, whose simulated pairs of reports these are: equal systems, and the same
with M-LMD 10 % worse. Each pair's p values, those of HDTF, are corrected in three ways:

- ``one family``: Holm over all metrics at 5 %, as ``audit compare`` does;
- ``families at 5 % each``: Holm within lips, sync, identity, picture and motion (:data:`FAMILIES`), each at 5 %;
- ``families that share 5 %``: the same, each at 5 % divided by the number of families, so that all of them together
  keep 5 %.

Writes ``benchmarks/results/audit_families.json``: of each way the share of equal pairs with any verdict, the share of
pairs with the loss in which it is seen, and with how many tests ten speakers can still show anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.audit import LOSS, compared, noise_of, pairs_of_reports, simulated
from benchmarks.record import origin, write
from flows.audit import report_at
from s3dnerf.reporting.comparison import ALPHA, Row
from s3dnerf.reporting.report_files import Report
from s3dnerf.reporting.statistics import holm, smallest_p, with_enough_speakers

FAMILIES = {
    "lips": ("m_lmd", "f_lmd", "opening_deviation", "opening_correlation"),
    "sync": ("lse_c", "lse_d", "sound_correlation", "sound_correlation_best"),
    "identity": ("identity", "identity_least", "identity_deviation"),
    "picture": ("ssim", "psnr", "lpips", "cpbd", "mouth_blur"),
    "motion": ("parallax", "akd", "apd", "aed_landmarks"),
}
ONE, EACH, SHARED = "one family", "families at 5 % each", "families that share 5 %"


def family_of(metric: str) -> str:
    """The question that a metric answers. Raises KeyError for a metric of no family."""
    return next((name for name, metrics in FAMILIES.items() if metric in metrics), "") or _unknown(metric)


def _unknown(metric: str) -> str:
    raise KeyError(f"{metric}: in none of {', '.join(FAMILIES)}")


def shown(rows: Sequence[Row], way: str) -> set[str]:
    """The metrics whose difference is shown, by one way to correct.

    Parameters
    ----------
    rows : those of one corpus, with their p before correction
    way : :data:`ONE`, :data:`EACH` or :data:`SHARED`
    """
    families: dict[str, list[Row]] = {}
    for row in rows:
        if row.p is not None:
            families.setdefault("" if way == ONE else family_of(row.metric), []).append(row)
    level = ALPHA / len(families) if way == SHARED else ALPHA
    found = set()
    for family in families.values():
        able = [row for row, can in zip(family, with_enough_speakers([r.speakers for r in family], level)) if can]
        p_values = [row.p for row in able if row.p is not None]
        found |= {row.metric for row, p in zip(able, holm(p_values)) if p < level}
    return found


def most_tests(way: str, speakers: int = 10) -> int:
    """With how many tests in a family so many speakers can still show a difference."""
    level = ALPHA / len(FAMILIES) if way == SHARED else ALPHA
    return max(n for n in range(1000) if n * smallest_p(speakers) < level)


def measured(a: Report, b: Report, pairs: int) -> dict[str, dict[str, float]]:
    """Way → false alarms, power, and tests that ten speakers allow in a family."""
    noise, random = noise_of(a, b), np.random.default_rng(0)
    ours = [row for row in a.rows if row["method"] == "s3dnerf" and row["corpus"] == "hdtf"]
    theirs = {who: parts for who, parts in noise.items() if who[0] == "hdtf"}
    counts = {way: {"false_alarms": 0, "power": 0} for way in (ONE, EACH, SHARED)}
    for _ in range(pairs):
        null = compared(a, ours, simulated(ours, theirs, random, 0.0)).rows
        loss = compared(a, ours, simulated(ours, theirs, random, LOSS)).rows
        for way, count in counts.items():
            count["false_alarms"] += bool(shown(null, way))
            count["power"] += "m_lmd" in shown(loss, way)
    return {
        way: {name: round(n / pairs, 4) for name, n in count.items()} | {"tests_for_ten_speakers": most_tests(way)}
        for way, count in counts.items()
    }


def main() -> None:
    """Simulate and write the result."""
    given = pairs_of_reports("audit_families", __doc__ or "")
    words = f"{' '.join(given.reports)} --preset {given.preset} --pairs {given.pairs}"
    found: dict[str, Any] = {
        f"{a} {b}": measured(report_at(a, given.preset), report_at(b, given.preset), given.pairs)
        for a, b in zip(given.reports[::2], given.reports[1::2])
    }
    result = {
        **origin(f"python -m benchmarks.audit_families {words}", "git"),
        "pairs": given.pairs,
        "claimed_false_alarms": ALPHA,
        "families": FAMILIES,
        "reports": found,
    }
    print(write("audit_families", result))


if __name__ == "__main__":
    main()
