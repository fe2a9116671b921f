"""File names as text for people: whatever bytes a name has, it can be printed and stays on one line."""

from __future__ import annotations

from pathlib import Path


def shown(name: str | Path) -> str:
    """A name (or a line that holds one) as text that every table and terminal can hold: bytes that are not UTF-8 as
    ``\\xff``, a line's end as ``\\n``.

    >>> shown("a\\nb"), shown("\\udcff"), shown("ä")
    ('a\\\\nb', '\\\\xff', 'ä')
    """
    text = str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
