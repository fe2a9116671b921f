"""Statistics that respect who speaks: intervals and tests clustered by speaker, deterministic.

Clips of one speaker are alike, so speakers are resampled, never clips. Everything is a pure function of its numbers
(resampling uses a fixed seed), so equal tables give equal bytes.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

SEED = 20240914
EXACT_UP_TO = 14  # speakers; 2^14 sign patterns are enumerated, beyond that they are drawn
DRAWS = 20_000


@dataclass(frozen=True)
class Interval:
    """Mean over clips, with a 95 % interval over speakers; ``low`` and ``high`` are None below two speakers."""

    mean: float
    low: float | None
    high: float | None
    clips: int
    speakers: int


@dataclass(frozen=True)
class Difference:
    """Paired difference a − b over the clips that both have, with the interval and the p of a sign-flip test over
    speakers.
    """

    mean: float
    low: float | None
    high: float | None
    p: float
    clips: int
    speakers: int


def _clusters(values: Sequence[float], speakers: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of each speaker, speakers sorted by name."""
    names = sorted(set(speakers))
    where = {name: i for i, name in enumerate(names)}
    sums, counts = np.zeros(len(names)), np.zeros(len(names))
    for value, speaker in zip(values, speakers):
        sums[where[speaker]] += value
        counts[where[speaker]] += 1
    return sums, counts


def cluster_interval(
    values: Sequence[float], speakers: Sequence[str], resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Mean over clips and its bootstrap interval over speakers.

    Parameters
    ----------
    values : (n,), finite, one a clip
    speakers : (n,), who speaks in each
    resamples : bootstrap resamples, each of as many speakers as there are, with replacement

    Notes
    -----
    A plain percentile interval is too narrow for few clusters; the percentiles are widened so that they would match
    Student's t for a mean (Hesterberg 2015, "expanded percentile"). Raises ValueError for no values or a value that is
    not finite.

    Examples
    --------
    >>> cluster_interval([1.0, 1.0, 1.0], ["a", "b", "c"])
    Interval(mean=1.0, low=1.0, high=1.0, clips=3, speakers=3)
    """
    if not len(values) or not np.isfinite(values).all():
        raise ValueError("cluster_interval: at least one value, all finite")
    sums, counts = _clusters(values, speakers)
    n, mean = len(sums), float(sums.sum() / counts.sum())
    if n < 2:
        return Interval(mean, None, None, len(values), n)
    drawn = drawn_speakers(n, resamples)
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = expanded_percentiles(means, n, level)
    return Interval(mean, low, high, len(values), n)


def drawn_speakers(speakers: int, resamples: int) -> np.ndarray:
    """Numbers of the speakers of each bootstrap resample, (resamples, speakers), equal ones on every call."""
    return np.random.default_rng(SEED).integers(0, speakers, (resamples, speakers))


def expanded_percentiles(values: np.ndarray, speakers: int, level: float = 0.95) -> tuple[float, float]:
    """Ends of the interval of resampled ``values``, percentiles widened for so many speakers (two and more)."""
    from scipy.stats import norm, t

    tail = float(norm.cdf(-math.sqrt(speakers / (speakers - 1)) * t.ppf(1 - (1 - level) / 2, speakers - 1)))
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def sign_flip_p(values: Sequence[float], speakers: Sequence[str]) -> float:
    """Two-sided p of "the mean difference is zero": the signs of whole speakers are flipped.

    Exact up to 14 speakers (all 2^n patterns, the observed one among them); beyond, 20,000 drawn patterns and the
    observed one.

    Examples
    --------
    >>> sign_flip_p([1.0, 2.0, 3.0], ["a", "b", "c"])
    0.25
    """
    sums, counts = _clusters(values, speakers)
    n = len(sums)
    observed = abs(sums.sum())
    slack = 1e-12 * max(1.0, float(np.abs(sums).sum()))
    if n <= EXACT_UP_TO:
        # two-sided: a pattern and its mirror are one
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=max(n - 1, 0))))
        totals = np.abs(sums[0] + signs @ sums[1:]) if n > 1 else np.array([observed])
        return float(np.mean(totals >= observed - slack))
    return float((1 + np.sum(np.abs(_drawn_signs(n) @ sums) >= observed - slack)) / (1 + DRAWS))


@functools.lru_cache(maxsize=2)
def _drawn_signs(speakers: int) -> np.ndarray:
    """The drawn patterns, (DRAWS, speakers) of ±1: equal ones for all tests with so many speakers."""
    return np.random.default_rng(SEED).integers(0, 2, (DRAWS, speakers)) * 2.0 - 1.0


def paired_difference(
    ours: dict[str, float], theirs: dict[str, float], speaker_of: dict[str, str], resamples: int = 2000
) -> Difference | None:
    """a − b over the clips that both have a value for (clip → value); None when there is no such clip."""
    clips = sorted(c for c in set(ours) & set(theirs) if math.isfinite(ours[c]) and math.isfinite(theirs[c]))
    if not clips:
        return None
    values, speakers = [ours[c] - theirs[c] for c in clips], [speaker_of[c] for c in clips]
    interval = cluster_interval(values, speakers, resamples)
    return Difference(
        interval.mean, interval.low, interval.high, sign_flip_p(values, speakers), len(clips), interval.speakers
    )


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


@functools.cache
def smallest_p(speakers: int) -> float:
    """The smallest p that :func:`sign_flip_p` can give for so many speakers: where all differ by as much, one way.

    Examples
    --------
    >>> smallest_p(5), smallest_p(6)
    (0.0625, 0.03125)
    """
    return sign_flip_p([1.0] * speakers, [str(i) for i in range(speakers)])


def speakers_needed(tests: int, level: float = 0.05) -> int | None:
    """The fewest speakers with whom the smallest of ``tests`` p values can lie below ``level`` after Holm's correction.

    None where no number of speakers is enough: beyond 14 speakers :func:`sign_flip_p` draws 20,000 patterns, so that no
    p is below 1/20,001.

    Examples
    --------
    >>> speakers_needed(1), speakers_needed(12), speakers_needed(20)
    (6, 9, 10)
    """
    if tests / (1 + DRAWS) >= level:
        return None
    return next(n for n in itertools.count(1) if tests * smallest_p(n) < level)


def with_enough_speakers(speakers: Sequence[int], level: float = 0.05) -> list[bool]:
    """Which of several tests can fall below ``level`` after Holm's correction over those that can.

    Parameters
    ----------
    speakers : of each test, the number of its speakers

    Notes
    -----
    Tarone (1990): a test that cannot be significant however large the difference is need not be corrected for. The
    number of speakers alone decides, before any value is seen, so that Holm over the tests that are left keeps its
    level.

    Examples
    --------
    Twelve tests with ten speakers each and twelve with four: the latter are left out, and cost the former nothing.

    >>> found = with_enough_speakers([10] * 12 + [4] * 12)
    >>> found == [True] * 12 + [False] * 12
    True
    """
    smallest = [smallest_p(n) for n in speakers]
    for corrected in range(1, len(smallest) + 1):
        found = [corrected * p < level for p in smallest]
        if sum(found) <= corrected:
            return found
    return []
