"""The simulation behind what `s3dnerf audit compare` claims: its noise, its drawn speakers, and the number it looks for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks import audit
from benchmarks.audit_families import EACH, FAMILIES, ONE, SHARED, most_tests, shown
from flows.retrain.judging import gateable
from s3dnerf.reporting.comparison import Row
from s3dnerf.reporting.report_files import Report
from tests.reporting.small_report import SPREAD, make_report, rows_of


def pair(noise: float) -> tuple[Report, Report]:
    """Two reports of ten speakers whose models differ by noise, in units of the speakers' own spread."""

    def drawn(method: str, metric: str, random: np.random.Generator) -> float:
        return noise * SPREAD[metric] * random.standard_normal() if method == "s3dnerf" else 0.0

    return make_report("a", rows_of()), make_report("b", rows_of(seed=1, change=drawn))


def test_noise_is_each_speakers_centred_difference() -> None:
    a, b = pair(0.5)
    noise = audit.noise_of(a, b)
    assert len(noise) == 10 and {who for who, _ in noise} == {"hdtf"}
    for metric in ("m_lmd", "ssim"):
        assert sum(of[metric] for of in noise.values()) == pytest.approx(0, abs=1e-9)
    value = {(r["speaker"], report.name): r["value"] for report in (a, b) for r in report.rows
             if r["method"] == "s3dnerf" and r["metric"] == "m_lmd"}  # fmt: skip
    apart = [noise["hdtf", who]["m_lmd"] - (value[who, "b"] - value[who, "a"]) for who in ("P00", "P07")]
    assert apart[0] == pytest.approx(apart[1]), "what all speakers share is taken out, and nothing else"


def test_drawn_speakers_are_told_apart_and_keep_their_noise() -> None:
    a, b = pair(0.5)
    noise = audit.noise_of(a, b)
    rows, theirs = audit.drawn_speakers(a.rows, noise, "hdtf", 25, np.random.default_rng(0))
    speakers = {row["speaker"] for row in rows}
    assert len(speakers) == len(theirs) == 25 and len({row["clip"] for row in rows}) == 25
    assert all(theirs["hdtf", who] == noise["hdtf", who.split("-")[0]] for who in speakers)
    worse = audit.simulated(rows, theirs, np.random.default_rng(1), 0.1)
    same = audit.simulated(rows, theirs, np.random.default_rng(1), 0.0)
    ratio = {row["metric"]: row["value"] / one["value"] for row, one in zip(worse, same)}
    assert ratio["m_lmd"] == pytest.approx(1.1) and ratio["ssim"] == 1


def test_the_fewest_speakers_are_found_between_two_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    """With next to no noise as many as five tests need after Holm, eight; where noise is large, none of those tried."""
    monkeypatch.setattr(audit, "SPEAKERS", (5, 10))
    a, b = pair(0.01)
    found, enough = audit.by_speakers(a, audit.noise_of(a, b), "hdtf", pairs=4)
    assert enough == 8 and list(found) == [5, 7, 8, 10]
    assert [found[n]["power"] for n in found] == [0, 0, 1, 1]
    a, b = pair(20)
    assert audit.by_speakers(a, audit.noise_of(a, b), "hdtf", pairs=4)[1] is None


def test_every_metric_with_a_direction_is_in_one_family_of_the_benchmark() -> None:
    named = [metric for metrics in FAMILIES.values() for metric in metrics]
    assert sorted(named) == sorted(set(gateable())) and len(named) == len(set(named))


def test_families_that_each_have_five_per_cent_show_more_than_one_family() -> None:
    """Five metrics of five questions with p = 0.03 each: in a family of its own each is shown, in one family, and where
    the five share 5 %, none is."""
    metrics = [of[0] for of in FAMILIES.values()]
    rows = [Row("hdtf", "s3dnerf", m, "", 1.0, 1.1, 0.1, 0.0, 0.2, 0.03, None, 12, 12, "") for m in metrics]
    assert shown(rows, EACH) == set(metrics) and not shown(rows, ONE) and not shown(rows, SHARED)
    sure = [replace(row, p=0.0005) for row in rows]
    assert shown(sure, ONE) == shown(sure, SHARED) == set(metrics)
    assert (most_tests(ONE), most_tests(SHARED)) == (25, 5)
