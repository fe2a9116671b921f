"""From ``clips.parquet`` (clip × method × metric) to ``summary.json``: means, intervals by speaker, counts, paired
differences.

Pure functions; no times and no speeds, so that two clean runs give equal bytes.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from s3dnerf.reporting.statistics import cluster_interval, holm, paired_difference

SCHEMA = "s3dnerf-summary-1"
ALPHA = 0.05
# measures of motion, time and place, added to those that a reader looks at first: Holm's correction takes them as a
# family of their own, so that measuring more of them does not make the others harder to show
DYNAMICS = (
    "akd", "apd", "aed_landmarks", "head_dynamics", "head_angle_deviation", "lip_dynamics", "brow_dynamics", "jitter",
    "silent_lips", "sound_correlation", "sound_correlation_best", "sound_lag", "identity_least", "identity_deviation",
    "identity_over_time", "mouth_blur",
)  # fmt: skip


def _number(value: float | None) -> float | None:
    """Six decimals: enough for any metric, and no noise of the last bit."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _cell(rows: list[dict[str, Any]], resamples: int) -> dict[str, Any]:
    """One method × metric: mean, interval, counts; or None with the most frequent reason."""
    good = [r for r in rows if math.isfinite(r["value"])]
    named = Counter(r["reason"] for r in rows if r["reason"])
    reasons = sorted(named, key=lambda x: (-named[x], x))
    cell: dict[str, Any] = {
        "unit": rows[0]["unit"],
        "direction": rows[0]["direction"],
        "version": rows[0]["version"],
        "clips": len(good),
        "clips_failed": len(rows) - len(good),
        "frames": int(sum(r["counted"] for r in rows)),
        "frames_failed": int(sum(r["failed"] for r in rows)),
        "mean": None,
        "low": None,
        "high": None,
        "speakers": len({r["speaker"] for r in good}),
        "reason": reasons[0] if reasons else "",
    }
    if good:
        found = cluster_interval([r["value"] for r in good], [r["speaker"] for r in good], resamples)
        cell.update(mean=_number(found.mean), low=_number(found.low), high=_number(found.high))
    return cell


def _verdict(better: bool | None, p: float) -> str:
    if better is None or p >= ALPHA:
        return "no difference shown"
    return "better" if better else "worse"


def _difference(
    ours: dict[str, list[dict[str, Any]]], other: dict[str, list[dict[str, Any]]], resamples: int
) -> dict[str, Any]:
    """Metric → paired difference ours − other with p and Holm's p over the metrics that have a direction, those of
    :data:`DYNAMICS` apart from the others.

    Parameters
    ----------
    ours, other : metric → rows of a method
    """
    found: dict[str, Any] = {}
    for metric in sorted(ours.keys() | other.keys()):
        of_both = ours.get(metric, []), other.get(metric, [])
        directions = {r["direction"] for rows in of_both for r in rows}
        if not directions & {"up", "down"}:
            continue
        speaker_of = {r["clip"]: r["speaker"] for rows in of_both for r in rows}
        mine, theirs = ({r["clip"]: r["value"] for r in rows} for rows in of_both)
        difference = paired_difference(mine, theirs, speaker_of, resamples)
        if difference is None:
            found[metric] = {"mean": None, "reason": f"no clip has {metric} for both", "clips": 0, "speakers": 0}
            continue
        up = "up" in directions
        found[metric] = {
            "mean": _number(difference.mean),
            "low": _number(difference.low),
            "high": _number(difference.high),
            "p": _number(difference.p),
            "clips": difference.clips,
            "speakers": difference.speakers,
            "reason": "",
            "better": None if difference.mean == 0 else (difference.mean > 0) == up,
        }
    measured = [m for m in found if found[m]["mean"] is not None]
    for family in ([m for m in measured if m not in DYNAMICS], [m for m in measured if m in DYNAMICS]):
        for metric, p in zip(family, holm([found[m]["p"] for m in family])):
            found[metric]["p_holm"] = _number(p)
            found[metric]["verdict"] = _verdict(found[metric]["better"], p)
    return found


def summarise(rows: list[dict[str, Any]], preset: str, ours: str, resamples: int) -> dict[str, Any]:
    """The summary of a long table.

    Parameters
    ----------
    rows : dicts with the columns of ``clips.parquet``; a missing value is nan
    ours : the method that is compared with the controls (and with every other method)
    """
    grouped: dict[str, dict[str, dict[str, list[dict[str, Any]]]]] = {}  # corpus → method → metric → rows
    for row in rows:
        of_method = grouped.setdefault(row["corpus"], {}).setdefault(row["method"], {})
        of_method.setdefault(row["metric"], []).append(row)
    corpora: dict[str, Any] = {}
    for corpus, by_method in sorted(grouped.items()):
        methods = sorted(by_method)
        listed = [part for by_metric in by_method.values() for part in by_metric.values()]
        corpora[corpus] = {
            "clips": len({r["clip"] for part in listed for r in part}),
            "speakers": len({r["speaker"] for part in listed for r in part}),
            "methods": {
                method: {metric: _cell(part, resamples) for metric, part in sorted(by_method[method].items())}
                for method in methods
            },
            "differences": {
                f"{ours} - {other}": _difference(by_method[ours], by_method[other], resamples)
                for other in methods
                if other not in (ours, "truth")
            }
            if ours in methods
            else {},
        }
    apart = ", those of motion and time apart" if any(r["metric"] in DYNAMICS for r in rows) else ""
    return {
        "schema": SCHEMA,
        "preset": preset,
        "method": ours,
        "interval": f"95 %, bootstrap over speakers, {resamples} resamples, expanded percentile",
        "test": "sign flips of whole speakers, two-sided, exact up to 14 speakers; p_holm: Holm over the metrics of "
        f"one comparison{apart}",
        "corpora": corpora,
    }
