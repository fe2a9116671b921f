"""Nested mappings by dotted path, and what differs between two."""

from __future__ import annotations

from s3dnerf.settings.dotted import differing, flat


def test_differences_by_dotted_path() -> None:
    assert flat({"a": {"b": {}, "c": 1}}) == {"a.c": 1}
    assert differing({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}, "d": 4}) == {"a.c": (2, 3), "d": (None, 4)}
