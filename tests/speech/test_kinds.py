"""Every kind of sound is heard right by a number, or refused with one sentence; what names other files is not followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.speech.kinds import KINDS, MOST_LAG_MS, Kind, outcome


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_heard_right_or_refused(kind: Kind, tmp_path: Path) -> None:
    found = outcome(kind, tmp_path)
    assert found.reason == kind.reason, found
    if kind.reason:
        assert str(tmp_path) in found.message and "\n" not in found.message
    else:
        assert found.error <= kind.bound and abs(found.lag_ms - kind.late_ms) <= MOST_LAG_MS, found
        assert kind.level * 0.9 < found.level < kind.level * 1.1 and kind.note in found.note, found
