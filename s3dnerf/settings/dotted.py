"""Nested mappings by dotted path: settings as MLflow's parameters, and what differs between two of them."""

from __future__ import annotations

from typing import Any


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """Nested mappings by dotted path.

    >>> flat({"a": {"b": 1}, "c": [2], "d": [{"e": 3}]})
    {'a.b': 1, 'c': [2], 'd.0.e': 3}
    """
    if isinstance(value, list) and value and all(isinstance(part, dict) for part in value):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {path: value}
    return {k: v for key, part in value.items() for k, v in flat(part, f"{path}.{key}" if path else str(key)).items()}


def differing(a: Any, b: Any) -> dict[str, tuple[Any, Any]]:
    """Dotted path → both values, where two nested mappings differ (None where one has nothing)."""
    one, other = flat(a), flat(b)
    return {
        key: (one.get(key), other.get(key))
        for key in sorted(one.keys() | other.keys())
        if one.get(key) != other.get(key)
    }
