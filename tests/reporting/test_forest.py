"""The forest plot: the shares are the paired differences over the control's mean, and the drawing shows them."""

from __future__ import annotations

import math
import re

import pytest

from s3dnerf.reporting import forest
from s3dnerf.reporting.summary import summarise
from s3dnerf.reporting.svg import LEFT, Bar, forest_plot
from tests.reporting.small_report import RECIPES, rows_of


def found_in(rows: list[dict]) -> list[forest.Share]:
    return forest.shares(rows, summarise(rows, "tiny", "s3dnerf", 200), RECIPES, "s3dnerf")[0]


def test_shares_are_the_differences_over_the_controls_mean_and_right_is_better() -> None:
    rows = rows_of(
        change=lambda method, metric, random: {"m_lmd": 1.0, "ssim": -0.1}.get(metric, 0) * (method == "still")
    )
    of = {(s.against, s.metric): s for s in found_in(rows)}
    value = {(r["clip"], r["method"], r["metric"]): r["value"] for r in rows}
    clips = sorted({r["clip"] for r in rows})
    for metric, sign in (("m_lmd", -1), ("ssim", 1)):
        ours, still = (math.fsum(value[c, m, metric] for c in clips) / len(clips) for m in ("s3dnerf", "still"))
        share = of["still picture", metric]
        assert share.better == pytest.approx(100 * sign * (ours - still) / still, abs=1e-3) and share.better > 0
        assert share.low < share.better < share.high and (share.ours, share.control) == pytest.approx((ours, still))
    worse = rows_of(change=lambda method, metric, random: 1.0 * (method == "s3dnerf" and metric == "m_lmd"))
    assert {s.metric for s in found_in(worse) if s.high < 0} >= {"m_lmd"}


def test_a_share_is_over_the_clips_that_both_have() -> None:
    rows = rows_of()
    last = max(r["clip"] for r in rows)
    for row in rows:
        if (row["clip"], row["method"], row["metric"]) == (last, "still", "m_lmd"):
            row["value"] = math.nan
        elif (row["clip"], row["metric"]) == (last, "m_lmd"):
            row["value"] = 1e6  # a clip that does not count
    share = next(s for s in found_in(rows) if (s.against, s.metric) == ("still picture", "m_lmd"))
    assert share.clips == 9 and share.ours < 10 and share.control < 10


def test_a_control_of_zero_has_no_share_and_that_is_said() -> None:
    rows = [r | {"value": 0.0} if (r["method"], r["metric"]) == ("still", "cpbd") else r for r in rows_of()]
    found, left_out = forest.shares(rows, summarise(rows, "tiny", "s3dnerf", 200), RECIPES, "s3dnerf")
    assert ("still picture", "cpbd") not in {(s.against, s.metric) for s in found}
    assert left_out == ["HDTF, still picture, CPBD ↑: the control's mean is 0.000, of which there is no share."]


def test_one_speaker_has_no_interval() -> None:
    found = found_in(rows_of(speakers=1))
    assert found and all(s.low is None and s.high is None for s in found)
    assert all(row[6] is None and row[7] is None for row in forest.table_rows(found))


def test_nothing_measured_draws_nothing() -> None:
    assert forest.plots([]) == [] and "No data" in forest_plot([("against still", [])], "t", 10.0)


def test_dots_lie_where_the_axis_says_and_what_is_beyond_it_is_an_arrow() -> None:
    bars = [
        Bar("a", 0.0, -5.0, 5.0, "0 %", None),
        Bar("b", 10.0, 8.0, 12.0, "+10 %", True),
        Bar("c", 90.0, 80.0, 99.0, "+90 %", True),
    ]
    svg = forest_plot([("against x", bars)], "title", 20.0)
    zero = float(re.search(r'class="mark" d="M([\d.]+) ', svg)[1])
    dots = [float(x) for x in re.findall(r'<circle class="dot \w+" cx="([\d.]+)"', svg)]
    ends = [tuple(map(float, e)) for e in re.findall(r'class="whisker \w+" d="M([\d.]+) [\d.]+H([\d.]+)"', svg)]
    assert len(dots) == 2 and dots[0] == zero > LEFT  # 90 lies beyond ±20: no dot
    unit = (dots[1] - zero) / 10
    assert ends[0] == pytest.approx((zero - 5 * unit, zero + 5 * unit), abs=0.11)
    assert ends[1] == pytest.approx((zero + 8 * unit, zero + 12 * unit), abs=0.11)
    assert (
        ends[2] == pytest.approx((zero + 20 * unit,) * 2, abs=0.11)
        and len(re.findall(r'<path class="dot good"', svg)) == 1
    )
    assert "+90 %" in svg and "ours better" in svg


def test_all_corpora_share_one_axis() -> None:
    rows = rows_of(speakers=4)
    other = [
        r
        | {"corpus": "mead", "clip": f"mead_{r['clip']}", "value": r["value"] * (1.5 if r["method"] == "still" else 1)}
        for r in rows
    ]
    drawn = forest.plots(found_in([*rows, *other]))
    assert [title for title, _ in drawn] == ["HDTF · clips: 4, speakers: 4", "MEAD · clips: 4, speakers: 4"]
    ticks = [re.findall(r'text-anchor="middle">([^<]+)<', svg) for _, svg in drawn]
    assert ticks[0] == ticks[1] and "0 %" in ticks[0]
