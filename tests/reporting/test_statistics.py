"""Intervals and tests that respect speakers: against brute force, and by simulation."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from s3dnerf.reporting.statistics import (
    DRAWS,
    cluster_interval,
    holm,
    paired_difference,
    sign_flip_p,
    smallest_p,
    speakers_needed,
    with_enough_speakers,
)
from tests.margins import Between, Margin


def brute_force_p(values: list[float], speakers: list[str]) -> float:
    names = sorted(set(speakers))
    observed = abs(sum(values))
    hits = 0
    for signs in itertools.product((1, -1), repeat=len(names)):
        sign = dict(zip(names, signs))
        hits += abs(sum(sign[s] * v for v, s in zip(values, speakers))) >= observed - 1e-12
    return hits / 2 ** len(names)


@pytest.mark.parametrize("seed", range(6))
def test_exact_p_is_brute_force(seed: int) -> None:
    random = np.random.default_rng(seed)
    speakers = [str(s) for s in random.integers(0, 3 + seed, 12)]
    values = random.normal(0.4, 1, 12).tolist()
    assert sign_flip_p(values, speakers) == pytest.approx(brute_force_p(values, speakers))


def test_drawn_p_is_near_the_exact_one() -> None:
    random = np.random.default_rng(0)
    values = random.normal(0.45, 1, 16).tolist()
    speakers = [f"s{i}" for i in range(16)]
    exact = brute_force_p(values, speakers)
    drawn = sign_flip_p(values, speakers)
    assert drawn == pytest.approx(exact, abs=0.01) and drawn == sign_flip_p(values, speakers)


@pytest.mark.parametrize("speakers", range(1, 15))
def test_the_smallest_p_is_that_of_one_pattern_and_its_mirror(speakers: int) -> None:
    assert smallest_p(speakers) == 2 / 2**speakers
    values = np.random.default_rng(speakers).uniform(0.1, 9, speakers).tolist()
    assert sign_flip_p(values, [str(i) for i in range(speakers)]) == smallest_p(speakers)


@pytest.mark.parametrize(
    ("tests", "needed"), [(1, 6), (2, 7), (3, 7), (6, 8), (12, 9), (13, 10), (20, 10), (25, 10), (26, 11), (409, 14)]
)
def test_speakers_needed_are_counted_out(tests: int, needed: int) -> None:
    """``tests · 2 / 2ⁿ < 0.05`` for the first time, and Holm agrees: equal differences pass with n, not with n − 1."""
    assert speakers_needed(tests) == needed
    for n, passes in ((needed, True), (needed - 1, False)):
        p = sign_flip_p([1.0] * n, [str(i) for i in range(n)])
        assert (max(holm([p] * tests)) < 0.05) is passes


def test_where_patterns_are_drawn_a_thousand_tests_are_the_most() -> None:
    needed = speakers_needed(1000)
    assert needed is not None and needed > 14 and 1000 * smallest_p(needed) < 0.05
    assert smallest_p(40) == 1 / (1 + DRAWS) and speakers_needed(1001) is None


def test_tests_that_cannot_pass_are_not_corrected_for() -> None:
    assert with_enough_speakers([]) == [] and with_enough_speakers([5, 6]) == [False, True]
    assert with_enough_speakers([9] * 5 + [4] * 5) == [True] * 5 + [False] * 5
    # ten speakers carry 25 tests, and not 26
    assert with_enough_speakers([10] * 25) == [True] * 25 and with_enough_speakers([10] * 26) == [False] * 26
    # with those of fourteen speakers there are 30 tests, too many for ten speakers
    assert with_enough_speakers([10] * 20 + [14] * 10) == [False] * 20 + [True] * 10


def false_alarms(seed: int, folder: Path) -> dict[str, float]:
    random = np.random.default_rng(seed)
    alarms = 0
    for _ in range(400):
        person = random.normal(0, 1, 8)
        values = np.repeat(person, 3) + random.normal(0, 0.3, 24)
        alarms += sign_flip_p(values.tolist(), [f"s{i // 3}" for i in range(24)]) < 0.05
    naive = sum(
        stats.ttest_1samp(np.repeat(random.normal(0, 1, 8), 3) + random.normal(0, 0.3, 24), 0).pvalue < 0.05
        for _ in range(400)
    )
    return {"false alarms": alarms / 400, "false alarms, speakers forgotten": naive / 400}


ALARMS = Margin(
    "test_false_alarms_are_what_the_test_claims",
    false_alarms,
    {"false alarms": Between(0.02, 0.08), "false alarms, speakers forgotten": Between(low=0.15)},
    seed=11,
)


def test_false_alarms_are_what_the_test_claims(tmp_path: Path) -> None:
    """400 tables without any effect, speakers who differ, three clips each: about 5 % below 0.05."""
    ALARMS.check(ALARMS.measure(ALARMS.seed, tmp_path))


def coverage(seed: int, folder: Path) -> dict[str, float]:
    random = np.random.default_rng(seed)
    held = 0
    for _ in range(300):
        speakers, values = [], []
        for i in range(10):
            clips = 1 + i % 3
            values += (random.normal(2, 1) + random.normal(0, 0.5, clips)).tolist()
            speakers += [f"s{i}"] * clips
        interval = cluster_interval(values, speakers, resamples=400)
        held += interval.low <= 2 <= interval.high
    return {"intervals that hold the mean": held / 300}


COVERAGE = Margin("test_intervals_cover", coverage, {"intervals that hold the mean": Between(0.90, 0.98)}, seed=5)


def test_intervals_cover(tmp_path: Path) -> None:
    """300 tables of 10 speakers with unequal numbers of clips: the interval holds the true mean about 95 times in 100."""
    COVERAGE.check(COVERAGE.measure(COVERAGE.seed, tmp_path))


def test_one_speaker_has_no_interval() -> None:
    interval = cluster_interval([1.0, 3.0], ["a", "a"])
    assert (interval.mean, interval.low, interval.high, interval.speakers) == (2.0, None, None, 1)
    assert sign_flip_p([1.0, 3.0], ["a", "a"]) == 1.0
    with pytest.raises(ValueError, match="finite"):
        cluster_interval([float("nan")], ["a"])


def test_the_order_of_rows_does_not_matter() -> None:
    values, speakers = [1.0, 2.0, 4.0, 8.0], ["b", "a", "b", "c"]
    assert cluster_interval(values, speakers) == cluster_interval(values[::-1], speakers[::-1])


def test_only_common_clips_are_paired() -> None:
    speaker_of = {"x": "a", "y": "b", "z": "c"}
    found = paired_difference({"x": 1.0, "y": 2.0, "z": float("nan")}, {"x": 0.5, "y": 1.0, "w": 9.0}, speaker_of)
    assert found.clips == 2 and found.mean == pytest.approx(0.75)
    assert paired_difference({"x": float("nan")}, {"x": 1.0}, speaker_of) is None


def test_holm_is_monotone_and_bounded() -> None:
    assert holm([0.5, 0.001, 0.4]) == pytest.approx([0.8, 0.003, 0.8])
    assert holm([]) == []
