"""Every kind of video is read right by a number, or refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video.kinds import KINDS, Kind, outcome


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_read_right_or_refused(kind: Kind, tmp_path: Path) -> None:
    found = outcome(kind, tmp_path)
    assert found.reason == kind.reason, found
    if kind.reason:
        assert str(tmp_path) in found.message and "\n" not in found.message
    else:
        assert found.error <= kind.bound, found
        assert ", ".join(found.notes) == kind.note, found
