"""What a test measures of something that learned, and the bounds that it asserts: shared by the test and its benchmark.

A trained network's numbers are others on every kind of processor, as they are with every seed. So a test of learning
is a :class:`Margin`: a function from a seed to named numbers, and a bound for each. The test checks one seed;
``python -m benchmarks.margins`` measures the same function over seeds and processor settings and says how near any of
it came to a bound.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"  # real clips beside the project, not part of it


@dataclass(frozen=True)
class Between:
    """Where a number must lie: ``[low, high]``, in the number's own unit."""

    low: float = -math.inf
    high: float = math.inf

    def room(self, value: float) -> float:
        """Distance to the nearer bound; negative: outside. A value that is no number is outside by everything."""
        return min(value - self.low, self.high - value) if math.isfinite(value) else -math.inf

    def __str__(self) -> str:
        if self.low == -math.inf or self.high == math.inf:
            return f"at most {self.high:g}" if self.low == -math.inf else f"at least {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


@dataclass(frozen=True)
class Margin:
    """One test's measurement and what it asserts.

    Attributes
    ----------
    test : name of the test function, in the module that holds this
    measure : (seed, an empty folder) → name of a number → number; on one kind of processor a seed always gives the same
    bounds : name of a number → where it must lie
    seed : the seed that the test checks
    needs_real_data : ``measure`` reads ``../shared`` and knows no seeds
    """

    test: str
    measure: Callable[[int, Path], Mapping[str, float]]
    bounds: Mapping[str, Between]
    seed: int = 0
    needs_real_data: bool = False

    def check(self, measured: Mapping[str, float]) -> None:
        """Assert that every number lies within its bounds, and that every bound has its number."""
        assert set(measured) == set(self.bounds), f"measured {sorted(measured)}, bounds for {sorted(self.bounds)}"
        out = [
            f"{name} is {v:g}, must be {self.bounds[name]}"
            for name, v in measured.items()
            if self.bounds[name].room(v) < 0
        ]
        assert not out, "; ".join(out)
