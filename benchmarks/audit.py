"""What `s3dnerf audit compare` claims: how often chance alone is taken for a change, and how often a 10 % loss is seen.

    python -m benchmarks.audit A B [--pairs 200]

A and B: two reports of equal test clips (folders or git revisions) whose models differ as two trainings do. Their
paired differences, speaker by speaker and centred, are the noise between trainings. Null pairs: A against A plus that
noise, which speaker lends it and its sign drawn anew. Loss: the same, with M-LMD 10 % worse. Writes
benchmarks/results/audit.json and prints it.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

from benchmarks.record import origin, write
from flows.audit import report_at
from s3dnerf.reporting.comparison import WORSE, compare
from s3dnerf.reporting.report_files import Report

LOSS = 0.10


def noise_of(a: Report, b: Report) -> dict[tuple[str, str], dict[str, float]]:
    """(corpus, speaker) → metric → centred difference B − A of our rows, speakers' means."""
    mine = {(r["clip"], r["metric"]): r for r in a.rows if r["method"] == "s3dnerf"}
    found: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in b.rows:
        other = mine.get((row["clip"], row["metric"])) if row["method"] == "s3dnerf" else None
        if other is not None and np.isfinite(row["value"]) and np.isfinite(other["value"]):
            found.setdefault((row["corpus"], row["speaker"]), {}).setdefault(row["metric"], []).append(
                row["value"] - other["value"]
            )
    means = {who: {metric: float(np.mean(v)) for metric, v in parts.items()} for who, parts in found.items()}
    centre = {
        (corpus, metric): float(np.mean([p[metric] for (c, _), p in means.items() if c == corpus and metric in p]))
        for corpus in {c for c, _ in means}
        for metric in {m for p in means.values() for m in p}
        if any(metric in p for (c, _), p in means.items() if c == corpus)
    }
    return {
        who: {metric: value - centre[who[0], metric] for metric, value in parts.items()} for who, parts in means.items()
    }


def simulated(
    a: Report, noise: dict[tuple[str, str], dict[str, float]], random: np.random.Generator, loss: float
) -> list[dict[str, Any]]:
    """Rows of a report like ``a`` whose model was trained again; M-LMD worse by ``loss`` of itself."""
    lent = {who: (sorted(noise)[random.integers(len(noise))], random.choice((-1.0, 1.0))) for who in sorted(noise)}
    rows = []
    for row in a.rows:
        who = (row["corpus"], row["speaker"])
        if row["method"] == "s3dnerf" and who in lent and np.isfinite(row["value"]):
            source, sign = lent[who]
            value = row["value"] + sign * noise[source].get(row["metric"], 0.0)
            rows.append(row | {"value": value * (1 + loss) if row["metric"] == "m_lmd" else value})
        else:
            rows.append(row)
    return rows


def main() -> None:
    """Simulate and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("a")
    parser.add_argument("b")
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args()
    a, b = report_at(given.a, given.preset), report_at(given.b, given.preset)
    noise, random = noise_of(a, b), np.random.default_rng(0)
    counts = {"null": 0, "loss seen": 0}
    for _ in range(given.pairs):
        for name, loss in (("null", 0.0), ("loss seen", LOSS)):
            other = Report("simulated", a.files)
            other.__dict__["rows"] = simulated(a, noise, random, loss)
            found = compare(a, other, resamples=50)
            counts[name] += (
                bool(found.better or found.worse)
                if not loss
                else any(r.metric == "m_lmd" and r.verdict == WORSE for r in found.rows)
            )
    spread = np.std([parts["m_lmd"] for parts in noise.values() if "m_lmd" in parts])
    result = {
        **origin(
            f"python -m benchmarks.audit {given.a} {given.b} --preset {given.preset} --pairs {given.pairs}", "git"
        ),
        "speakers": {
            c: len({who for corpus, who in noise if corpus == c}) for c in sorted({corpus for corpus, _ in noise})
        },
        "pairs": given.pairs,
        "claimed_false_alarms": 0.05,
        "false_alarms": counts["null"] / given.pairs,
        "m_lmd_noise_between_trainings_px": round(float(spread), 4),
        f"power_to_see_m_lmd_{LOSS:.0%}_worse": counts["loss seen"] / given.pairs,
    }
    print(write("audit", result))


if __name__ == "__main__":
    main()
