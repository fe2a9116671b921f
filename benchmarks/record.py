"""What every benchmark's result says of where it comes from, and the file it stands in:
``benchmarks/results/<name>.json``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def origin(command: str, *facts: str) -> dict[str, Any]:
    """``command``, ``date`` and, of ``git`` and ``hardware``, the facts asked for (:mod:`flows.provenance`)."""
    found: dict[str, Any] = {"command": command, "date": datetime.date.today().isoformat()}
    if facts:
        from flows.provenance import git_state  # here: benchmarks.model runs where flows cannot be imported
        from s3dnerf.core.machine import hardware

        known: dict[str, Callable[[], dict[str, Any]]] = {"git": git_state, "hardware": hardware}
        found |= {fact: known[fact]() for fact in facts}
    return found


def write(name: str, result: dict[str, Any]) -> str:
    """Write ``benchmarks/results/<name>.json``; returns the text."""
    text = json.dumps(result, indent=1, ensure_ascii=False)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    return text
