"""The simulation behind what `s3dnerf audit compare` claims: its noise, its drawn speakers, and the number it looks for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import audit
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
