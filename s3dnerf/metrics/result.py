"""What a measurement is: a recipe with a version, and a value or the reason why there is none.

Every metric is one file beside this one; its :class:`Recipe` says formula, source, unit, range and direction. A
:class:`Measured` never holds zero for "missing": its value is None and its reason says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

UP, DOWN, NEITHER = "up", "down", "none"


@dataclass(frozen=True)
class Recipe:
    """One way of computing one metric. Two reports with different versions of a recipe are not compared.

    Attributes
    ----------
    name, title, unit : as tables and records show it
    direction : ``up`` (more is better), ``down`` or ``none``
    version : changes with what is computed
    low, high : the range, infinite where open
    source : formula and source in one line
    perfect : the value of a video measured against itself (nan where that depends on the video)
    """

    name: str
    title: str
    unit: str
    direction: str
    version: str
    low: float
    high: float
    source: str
    perfect: float = math.nan

    @property
    def arrow(self) -> str:
        """``↑``, ``↓`` or nothing."""
        return {UP: "↑", DOWN: "↓"}.get(self.direction, "")

    def better(self, difference: float) -> bool | None:
        """Whether a difference (ours − other) speaks for ours; None where the metric has no direction or nothing
        differs.
        """
        if self.direction == NEITHER or difference == 0:
            return None
        return (difference > 0) == (self.direction == UP)


@dataclass(frozen=True)
class Measured:
    """One metric of one video: ``value`` or None with ``reason``; frames ``counted`` and frames left out
    (``failed``).
    """

    recipe: Recipe
    value: float | None
    counted: int = 0
    failed: int = 0
    reason: str = ""

    def __post_init__(self) -> None:
        if self.value is None and not self.reason:
            raise ValueError(f"{self.recipe.name}: no value and no reason — say why it was not measured")
        if self.value is not None and not math.isfinite(self.value):
            raise ValueError(f"{self.recipe.name}: {self.value} is not a number to report — give None and a reason")


def not_measured(recipe: Recipe, reason: str, failed: int = 0) -> Measured:
    """A metric that has no value here, with the reason."""
    return Measured(recipe, None, 0, failed, reason)


def over_frames(recipe: Recipe, values: Sequence[float] | np.ndarray, reason: str) -> Measured:
    """Mean over the frames that have a value (finite); ``reason`` is used when none has."""
    values = np.asarray(values, dtype=np.float64)
    good = np.isfinite(values)
    if not good.any():
        return not_measured(recipe, reason, failed=len(values))
    return Measured(recipe, float(values[good].mean()), int(good.sum()), int((~good).sum()))
