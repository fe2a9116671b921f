"""What ``dvc metrics`` and ``dvc plots`` show: a dozen numbers in ``metrics.json``, curves and clips as small tables.

Pure functions; files by name, relative to the report's folder. A table whose training left no curve has a head alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from s3dnerf.reporting.sources import SYNC_ROLES, Sources

MOST_CLIPS = 400  # a bar each; of more, those whose names' hashes are lowest
MOST_POINTS = 300  # a plot is a few hundred pixels wide
LOSSES = ("total", "pix", "per", "adv", "sync", "deform", "discriminator")
OURS = ("m_lmd", "f_lmd", "ssim", "cpbd", "lse_c", "identity")
CONTROLS = ("wrong_speech", "still")


def flat_metrics(summary: Mapping[str, Any], cards: Mapping[str, Any], corpora: Sequence[str]) -> dict[str, float]:
    """The numbers to watch, of the first of ``corpora`` that was measured: ours, M-LMD of the controls, accuracies on
    unseen speakers, counts. What could not be measured is left out.

    Parameters
    ----------
    summary : summary.json
    cards : ``expert`` and ``judge`` → card.json
    """
    found: dict[str, float | None] = {}
    corpus = next((name for name in corpora if name in summary["corpora"]), None)
    if corpus is not None:
        part = summary["corpora"][corpus]
        means = {
            method: {metric: cell.get("mean") for metric, cell in cells.items()}
            for method, cells in part["methods"].items()
        }
        found = {metric: means.get(summary["method"], {}).get(metric) for metric in OURS}
        found |= {f"m_lmd_{control}": means.get(control, {}).get("m_lmd") for control in CONTROLS}
        found |= {"clips": part["clips"], "speakers": part["speakers"]}
    for role in SYNC_ROLES:
        accuracy = cards.get(role, {}).get("held_out", {}).get("accuracy")
        found[f"{role}_accuracy"] = None if accuracy is None else round(accuracy, 6)
    return {name: value for name, value in found.items() if value is not None}


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Tab-separated values, numbers with six digits, nothing where a value is missing."""

    def text(value: Any) -> str:
        if isinstance(value, float):
            return f"{value:.6g}" if math.isfinite(value) else ""
        return "" if value is None else str(value)

    return "".join("\t".join(map(text, row)) + "\n" for row in [head, *rows]).encode()


def thinned(rows: Sequence[Mapping[str, float]], names: Sequence[str]) -> list[list[float | None]]:
    """At most MOST_POINTS rows of step and names: the mean over each stretch of steps, at the stretch's last step."""
    kept = [row for row in rows if any(name in row for name in names)]
    points = []
    for start in range(0, len(kept), size := max(1, math.ceil(len(kept) / MOST_POINTS))):
        part = kept[start : start + size]
        values = [[row[name] for row in part if name in row] for name in names]
        points.append([part[-1]["step"], *(sum(column) / len(column) if column else None for column in values)])
    return points


def plot_files(sources: Sources) -> dict[str, bytes]:
    """File → tab-separated values: losses of the main generator, loss, accuracy and offset curve of expert and
    judge, metrics of ours by clip.
    """
    generator = sources.curves.get(sources.settings.train.variants[0], [])
    losses = [name for name in LOSSES if any(name in row for row in generator)] or list(LOSSES)
    files = {"generator.tsv": _table(["step", *losses], thinned(generator, losses))}
    for role in SYNC_ROLES:
        curve, offsets = sources.curves.get(role, []), sources.offsets.get(role) or {}
        for name, recorded in (("loss", "loss"), ("accuracy", "held_out_accuracy")):
            files[f"{role}_{name}.tsv"] = _table(["step", name], thinned(curve, [recorded]))
        shape = zip(offsets.get("offset_frames", []), offsets.get("distance", []))
        files[f"{role}_offset.tsv"] = _table(["offset_frames", "distance"], shape)
    by_clip: dict[str, dict[str, float]] = {}
    for row in sources.rows:
        if row["method"] == sources.ours:
            by_clip.setdefault(row["clip"], {})[row["metric"]] = row["value"]
    metrics = [name for name in OURS if any(math.isfinite(v.get(name, math.nan)) for v in by_clip.values())]
    shown = sorted(sorted(by_clip, key=lambda clip: hashlib.sha256(clip.encode()).digest())[:MOST_CLIPS])
    rows = [[clip, *(by_clip[clip].get(name) for name in metrics)] for clip in shown]
    files["clips.tsv"] = _table(["clip", *metrics], rows)
    return files
