"""``docs/reference/metric_recipes.md``: how every metric is computed, from the docstrings and recipes of
``s3dnerf/metrics``.
"""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from types import ModuleType

import s3dnerf.metrics
from docs.generate.markdown import generated, literal, prose, table
from docs.generate.python_api import docstring, signature
from s3dnerf.evaluation.protocol import OF_LANDMARKS
from s3dnerf.metrics.identity import recipes_of
from s3dnerf.metrics.result import Recipe

NO_METRICS = {"result", "landmarks"}  # what a measurement is, and where landmarks come from
DIRECTIONS = {"up": "more is better", "down": "less is better", "none": "as the truth's"}

ABOUT = """\
Formula, source, unit, range, direction and version of each metric. What the numbers say, and what they do not, is on
the page [metrics](metrics.md). *Of itself* is the value of a video measured against itself. A version ends in the
name of the landmark finder where it is written `-FINDER`, and in the judge's where a judge is asked: reports of
different versions are not compared.
"""


def modules() -> list[ModuleType]:
    """The metrics' modules by name."""
    names = sorted(m.name for m in pkgutil.iter_modules(s3dnerf.metrics.__path__) if m.name not in NO_METRICS)
    return [importlib.import_module(f"s3dnerf.metrics.{name}") for name in names]


def recipes(module: ModuleType) -> list[Recipe]:
    """The recipes that a module defines, in their order."""
    found = [value for value in vars(module).values() if isinstance(value, Recipe)]
    found += [recipe for value in vars(module).values() if isinstance(value, tuple) for recipe in value
              if isinstance(recipe, Recipe)]  # fmt: skip
    if module.__name__.endswith(".identity"):
        found += [recipe for name in ("insightface", "dlib") for recipe in recipes_of(name)]
    return list({(recipe.name, recipe.version): recipe for recipe in found}.values())


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{'−' if value < 0 else ''}∞" if math.isinf(value) else f"{value:g}"


def _row(recipe: Recipe) -> tuple[str, ...]:
    left, right = "(" if math.isinf(recipe.low) else "[", ")" if math.isinf(recipe.high) else "]"
    version = recipe.version + "-FINDER" * (recipe.name in OF_LANDMARKS)
    return (
        literal(recipe.name),
        recipe.title,
        recipe.unit or "–",
        f"{left}{_number(recipe.low)}, {_number(recipe.high)}{right}",
        DIRECTIONS[recipe.direction],
        _number(recipe.perfect) or "–",
        literal(version),
        prose(recipe.source),
    )


def page() -> str:
    """The page."""
    lines = generated("Metric recipes", "the docstrings and recipes of `s3dnerf/metrics/`", ABOUT)
    head = ("name", "title", "unit", "range", "direction", "of itself", "version", "in one line")
    for module in modules():
        name = module.__name__.rpartition(".")[2]
        found = recipes(module)
        titles = ", ".join(dict.fromkeys(recipe.title for recipe in found))
        lines += [f"## {titles}", "", f"[s3dnerf/metrics/{name}.py](../../s3dnerf/metrics/{name}.py)", ""]
        lines += [*table(head, map(_row, found)), *docstring(module.__doc__ or "")]
        functions = [
            (held_name, held)
            for held_name, held in vars(module).items()
            if inspect.isfunction(held) and held.__module__ == module.__name__ and held_name.startswith("measure")
        ]
        for held_name, held in functions:
            lines += ["```python", signature(held_name, held), "```", "", *docstring(held.__doc__ or "")]
    return "\n".join(lines).rstrip() + "\n"
