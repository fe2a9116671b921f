"""From ``clips.parquet`` (clip × method × metric) to ``summary.json``: means, intervals by speaker, counts, paired
differences.

Pure functions; no times and no speeds, so that two clean runs give equal bytes.
"""

from __future__ import annotations

import math
from typing import Any

from s3dnerf.reporting.statistics import cluster_interval, holm, paired_difference

SCHEMA = "s3dnerf-summary-1"
ALPHA = 0.05
# measures of motion, time and place, added to those that a reader looks at first: Holm's correction takes them as a
# family of their own, so that measuring more of them does not make the others harder to show
DYNAMICS = (
    "akd", "apd", "head_dynamics", "head_angle_deviation", "lip_dynamics", "brow_dynamics", "jitter", "silent_lips",
    "sound_correlation", "sound_correlation_best", "sound_lag", "identity_least", "identity_deviation",
    "identity_over_time", "mouth_blur",
)  # fmt: skip


def _number(value: float | None) -> float | None:
    """Six decimals: enough for any metric, and no noise of the last bit."""
    return None if value is None or not math.isfinite(value) else round(value, 6)


def _cell(rows: list[dict[str, Any]], resamples: int) -> dict[str, Any]:
    """One method × metric: mean, interval, counts; or None with the most frequent reason."""
    good = [r for r in rows if math.isfinite(r["value"])]
    reasons = sorted(
        {r["reason"] for r in rows if r["reason"]}, key=lambda x: (-sum(r["reason"] == x for r in rows), x)
    )
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


def _difference(rows: list[dict[str, Any]], ours: str, other: str, resamples: int) -> dict[str, Any]:
    """Metric → paired difference ours − other with p and Holm's p over the metrics that have a direction, those of
    :data:`DYNAMICS` apart from the others.
    """
    speaker_of = {r["clip"]: r["speaker"] for r in rows}
    metrics = sorted({r["metric"] for r in rows if r["direction"] in ("up", "down")})
    found: dict[str, Any] = {}
    for metric in metrics:
        of_metric = [r for r in rows if r["metric"] == metric]
        value = {m: {r["clip"]: r["value"] for r in of_metric if r["method"] == m} for m in (ours, other)}
        difference = paired_difference(value[ours], value[other], speaker_of, resamples)
        if difference is None:
            found[metric] = {"mean": None, "reason": f"no clip has {metric} for both", "clips": 0, "speakers": 0}
            continue
        up = of_metric[0]["direction"] == "up"
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
    measured = [m for m in metrics if found[m]["mean"] is not None]
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
    corpora: dict[str, Any] = {}
    for corpus in sorted({r["corpus"] for r in rows}):
        of_corpus = [r for r in rows if r["corpus"] == corpus]
        methods = sorted({r["method"] for r in of_corpus})
        corpora[corpus] = {
            "clips": len({r["clip"] for r in of_corpus}),
            "speakers": len({r["speaker"] for r in of_corpus}),
            "methods": {
                method: {
                    metric: _cell([r for r in of_corpus if r["method"] == method and r["metric"] == metric], resamples)
                    for metric in sorted({r["metric"] for r in of_corpus if r["method"] == method})
                }
                for method in methods
            },
            "differences": {
                f"{ours} - {other}": _difference(
                    [r for r in of_corpus if r["method"] in (ours, other)], ours, other, resamples
                )
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
