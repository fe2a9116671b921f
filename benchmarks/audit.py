"""What `s3dnerf audit compare` claims: how often chance alone is taken for a change, and how often a 10 % loss is seen.

    python -m benchmarks.audit A B [A B …] [--pairs 200]

A and B: two reports of equal test clips (folders or git revisions). Their paired differences, speaker by speaker and
centred, are the noise between two models: of one recipe, or of two. Null pairs: A against A plus that noise, which
speaker lends it and its sign drawn anew. Loss: the same, with M-LMD 10 % worse. By number of speakers: HDTF alone, its
speakers drawn with replacement; then the fewest with whom the loss is seen in 80 % of pairs, sought between two of
these numbers. Writes benchmarks/results/audit.json, an entry for each A and B, and prints it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.record import origin, write
from flows.audit import report_at
from s3dnerf.reporting.comparison import WORSE, Comparison, compare
from s3dnerf.reporting.report_files import Report
from s3dnerf.reporting.statistics import speakers_needed

LOSS = 0.10
POWER = 0.80
SPEAKERS = (5, 10, 20, 40)
Noise = dict[tuple[str, str], dict[str, float]]


def noise_of(a: Report, b: Report) -> Noise:
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
    rows: Sequence[dict[str, Any]], noise: Noise, random: np.random.Generator, loss: float
) -> list[dict[str, Any]]:
    """Rows like these of a model that was trained again; M-LMD worse by ``loss`` of itself.

    ``noise``: of each speaker of ``rows`` who gets some; any of them may lend it.
    """
    lent = {who: (sorted(noise)[random.integers(len(noise))], random.choice((-1.0, 1.0))) for who in sorted(noise)}
    found = []
    for row in rows:
        who = (row["corpus"], row["speaker"])
        if row["method"] == "s3dnerf" and who in lent and np.isfinite(row["value"]):
            source, sign = lent[who]
            value = row["value"] + sign * noise[source].get(row["metric"], 0.0)
            found.append(row | {"value": value * (1 + loss) if row["metric"] == "m_lmd" else value})
        else:
            found.append(row)
    return found


def drawn_speakers(
    rows: Sequence[dict[str, Any]], noise: Noise, corpus: str, speakers: int, random: np.random.Generator
) -> tuple[list[dict[str, Any]], Noise]:
    """Our rows and the noise of so many speakers of a corpus, drawn with replacement and named apart."""
    of: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["method"] == "s3dnerf" and (row["corpus"], row["speaker"]) in noise and row["corpus"] == corpus:
            of.setdefault(row["speaker"], []).append(row)
    names = sorted(of)
    drawn = [names[i] for i in random.integers(len(names), size=speakers)]
    found = [
        row | {"speaker": f"{name}-{i}", "clip": f"{row['clip']}-{i}"}
        for i, name in enumerate(drawn)
        for row in of[name]
    ]
    return found, {(corpus, f"{name}-{i}"): noise[corpus, name] for i, name in enumerate(drawn)}


def compared(a: Report, rows: list[dict[str, Any]], other: list[dict[str, Any]]) -> Comparison:
    """Rows compared as if each were those of report ``a``, whose files are read once."""
    one, two = Report("simulated A", a.files, a.find), Report("simulated B", a.files, a.find)
    for report, held in ((one, rows), (two, other)):
        report.__dict__ |= {"rows": held, "document": a.document, "membership": a.membership}
    return compare(one, two, resamples=50)


def seen(found: Comparison, corpus: str = "") -> bool:
    """Whether M-LMD is called worse, on ``corpus`` or on any."""
    return any(r.metric == "m_lmd" and r.verdict == WORSE and r.corpus.startswith(corpus) for r in found.rows)


def rates(a: Report, noise: Noise, corpus: str, speakers: int, pairs: int) -> dict[str, float]:
    """Share of null pairs with any verdict, and of pairs with the loss where it is seen, with so many speakers."""
    random, counts = np.random.default_rng(speakers), {"false_alarms": 0, "power": 0}
    for _ in range(pairs):
        rows, theirs = drawn_speakers(a.rows, noise, corpus, speakers, random)
        null = compared(a, rows, simulated(rows, theirs, random, 0.0))
        counts["false_alarms"] += bool(null.better or null.worse)
        counts["power"] += seen(compared(a, rows, simulated(rows, theirs, random, LOSS)))
    return {name: round(count / pairs, 4) for name, count in counts.items()}


def by_speakers(a: Report, noise: Noise, corpus: str, pairs: int) -> tuple[dict[int, dict[str, float]], int | None]:
    """Rates by number of speakers, and the fewest with whom the loss is seen in :data:`POWER` of pairs.

    The fewest is found by halving between the last number that is too small and the first that is enough; None where
    the largest of :data:`SPEAKERS` is too small.
    """
    found = {n: rates(a, noise, corpus, n, pairs) for n in SPEAKERS}
    enough = next((n for n in SPEAKERS if found[n]["power"] >= POWER), None)
    if enough is None:
        return found, None
    few = max((n for n in SPEAKERS if n < enough), default=0)
    while enough - few > 1:
        middle = (few + enough) // 2
        found[middle] = rates(a, noise, corpus, middle, pairs)
        few, enough = (few, middle) if found[middle]["power"] >= POWER else (middle, enough)
    return dict(sorted(found.items())), enough


def measured(a: Report, b: Report, pairs: int) -> dict[str, Any]:
    """False alarms and power with the speakers of ``a``, and by number of HDTF's speakers."""
    noise, random = noise_of(a, b), np.random.default_rng(0)
    ours = [row for row in a.rows if row["method"] == "s3dnerf"]
    counts, tests = {"null": 0, "loss seen": 0}, 0
    for _ in range(pairs):
        null = compared(a, ours, simulated(ours, noise, random, 0.0))
        counts["null"] += bool(null.better or null.worse)
        tests = max(tests, sum(r.p is not None for r in null.rows))
        counts["loss seen"] += seen(compared(a, ours, simulated(ours, noise, random, LOSS)))
    found, enough = by_speakers(a, noise, "hdtf", pairs)
    of_corpus = {c: [parts for (name, _), parts in noise.items() if name == c] for c in sorted({c for c, _ in noise})}
    return {
        "speakers": {corpus: len(people) for corpus, people in of_corpus.items()},
        "tests": tests,
        "speakers_needed_for_any_verdict": speakers_needed(tests),
        "false_alarms": counts["null"] / pairs,
        "m_lmd_px": round(float(np.mean([row["value"] for row in ours if row["metric"] == "m_lmd"])), 4),
        "m_lmd_noise_px": {
            corpus: round(float(np.std([parts["m_lmd"] for parts in people if "m_lmd" in parts])), 4)
            for corpus, people in of_corpus.items()
        },
        f"power_to_see_m_lmd_{LOSS:.0%}_worse": counts["loss seen"] / pairs,
        "hdtf_by_speakers": {str(n): found[n] for n in found},
        f"hdtf_speakers_for_{POWER:.0%}_power": enough,
    }


def pairs_of_reports(module: str, about: str) -> argparse.Namespace:
    """What was typed after a benchmark's name: pairs of reports, their preset, how many pairs to simulate."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{module}", description=about.splitlines()[0])
    parser.add_argument("reports", nargs="+", metavar="A B")
    parser.add_argument("--preset", default="sample")
    parser.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args()
    if len(given.reports) % 2:
        parser.error(f"reports: got {len(given.reports)} — accepted: an even number, A and B of each pair")
    return given


def main() -> None:
    """Simulate and write the result."""
    given = pairs_of_reports("audit", __doc__ or "")
    result = {
        **origin(
            f"python -m benchmarks.audit {' '.join(given.reports)} --preset {given.preset} --pairs {given.pairs}", "git"
        ),
        "pairs": given.pairs,
        "claimed_false_alarms": 0.05,
        "reports": {
            f"{a} {b}": measured(report_at(a, given.preset), report_at(b, given.preset), given.pairs)
            for a, b in zip(given.reports[::2], given.reports[1::2])
        },
    }
    print(write("audit", result))


if __name__ == "__main__":
    main()
