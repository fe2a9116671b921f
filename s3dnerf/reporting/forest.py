"""Where the numbers stand, in one picture: ours against each control, every metric in the same unit, with intervals.

A paired difference is given as a share of the control's mean over the same clips, its sign turned so that more is
better. The interval is the difference's own (over speakers), divided by the same mean: that mean is taken as known.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from s3dnerf.metrics.result import DOWN, NEITHER, Recipe
from s3dnerf.reporting.svg import Bar, forest_plot
from s3dnerf.reporting.tables import CORPUS_TITLES, number

METRICS = ("m_lmd", "f_lmd", "lse_c", "lse_d", "ssim", "lpips", "cpbd", "identity")
CONTROLS = (("wrong_speech", "wrong speech"), ("still", "still picture"))
MOST_REACH = 100.0  # percent at the axis' ends, at most: a control near zero would flatten all other rows
COLUMNS = (
    "corpus", "against", "metric", "ours", "control", "ours better by (%)", "low", "high", "p (Holm)", "clips",
    "speakers", "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Share:
    """One row: how much better ours is than a control.

    Attributes
    ----------
    ours, control : means over the clips that both have, in the metric's unit
    better, low, high : percent of ``control``, above 0 where ours is better; the interval is None for one speaker
    p_holm : corrected over the metrics of one comparison
    verdict : as in summary.json
    """

    corpus: str
    against: str
    metric: str
    title: str
    ours: float
    control: float
    better: float
    low: float | None
    high: float | None
    p_holm: float
    clips: int
    speakers: int
    verdict: str


def _means(rows: Sequence[dict[str, Any]], corpus: str, metric: str, methods: tuple[str, str]) -> tuple[float, ...]:
    """Each method's mean over the clips of a corpus that both have a value for."""
    value = {
        method: {
            r["clip"]: r["value"]
            for r in rows
            if (r["corpus"], r["metric"], r["method"]) == (corpus, metric, method) and math.isfinite(r["value"])
        }
        for method in methods
    }
    both = sorted(value[methods[0]].keys() & value[methods[1]].keys())
    return tuple(math.fsum(value[method][clip] for clip in both) / len(both) for method in methods)


def shares(
    rows: Sequence[dict[str, Any]], summary: dict[str, Any], recipes: Sequence[Recipe], ours: str
) -> tuple[list[Share], list[str]]:
    """The rows in the order of corpora, controls and :data:`METRICS`, and one sentence for each that cannot be a share.

    Parameters
    ----------
    rows : of ``clips.parquet``; a missing value is nan
    summary : ``summary.json`` of these rows
    recipes : the metrics' recipes; one without a direction is left out
    """
    found, left_out = [], []
    known = {r.name: r for r in recipes if r.direction != NEITHER}
    for corpus, part in summary["corpora"].items():
        for control, against in CONTROLS:
            differences = part["differences"].get(f"{ours} - {control}", {})
            for metric in METRICS:
                d = differences.get(metric, {})
                if metric not in known or d.get("mean") is None:
                    continue
                our_mean, mean = _means(rows, corpus, metric, (ours, control))
                title = f"{known[metric].title} {known[metric].arrow}"
                if mean <= 0:
                    left_out.append(
                        f"{CORPUS_TITLES[corpus]}, {against}, {title}: the control's mean is "
                        f"{number(mean, metric)}, of which there is no share."
                    )
                    continue
                scale = 100.0 / mean * (-1.0 if known[metric].direction == DOWN else 1.0)
                low, high = (None if d[end] is None else scale * d[end] for end in ("low", "high"))
                if scale < 0:
                    low, high = high, low
                found.append(
                    Share(
                        corpus,
                        against,
                        metric,
                        title,
                        our_mean,
                        mean,
                        scale * d["mean"] + 0.0,
                        low,
                        high,
                        d["p_holm"],
                        d["clips"],
                        d["speakers"],
                        d["verdict"],
                    )  # fmt: skip
                )
    return found, left_out


def percent(value: float) -> str:
    """A share with its sign.

    >>> percent(39.2), percent(-4.44), percent(0.0)
    ('+39 %', '−4.4 %', '0 %')
    """
    text = f"{value:+.0f}" if abs(value) >= 9.95 else f"{value:+.1f}"
    return ("0" if float(text) == 0 else text.replace("-", "−")) + " %"


def plots(found: Sequence[Share]) -> list[tuple[str, str]]:
    """Title and SVG of each corpus, all on one axis."""
    ends = [abs(v) for s in found for v in (s.better, s.low, s.high) if v is not None]
    reach = min(MOST_REACH, max([*ends, 1.0]))
    drawn = []
    for corpus in dict.fromkeys(s.corpus for s in found):
        mine = [s for s in found if s.corpus == corpus]
        groups = [
            (f"against {against}", [_bar(s) for s in mine if s.against == against])
            for against in dict.fromkeys(s.against for s in mine)
        ]
        clips, people = max(s.clips for s in mine), max(s.speakers for s in mine)
        title = f"{CORPUS_TITLES[corpus]} · clips: {clips}, speakers: {people}"
        label = f"{CORPUS_TITLES[corpus]}: how much better ours is than each control, in percent of the control"
        drawn.append((title, forest_plot(groups, label, reach)))
    return drawn


def _bar(share: Share) -> Bar:
    good = None if share.verdict == "no difference shown" else share.verdict == "better"
    return Bar(share.title, share.better, share.low, share.high, percent(share.better), good)


def table_rows(found: Sequence[Share]) -> list[list[Any]]:
    """The same numbers as rows under :data:`COLUMNS`."""

    def rounded(value: float | None, digits: int = 1) -> str | None:
        return None if value is None else f"{value + 0.0:.{digits}f}"

    return [
        [
            CORPUS_TITLES[s.corpus], s.against, s.title, s.ours, s.control, rounded(s.better), rounded(s.low),
            rounded(s.high), rounded(s.p_holm, 3), s.clips, s.speakers, s.verdict,
        ]
        for s in found
    ]  # fmt: skip
