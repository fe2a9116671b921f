"""Every kind of video is read right by a number, or refused with one sentence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.video.probing import probe
from s3dnerf.video.reading import read_frames
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


SHOWN = [
    kind for kind in KINDS if kind.name.startswith(("matrix", "wide pixels", "tall pixels", "interlaced", "4:1:1"))
]


@pytest.mark.parametrize("kind", SHOWN, ids=lambda kind: kind.name)
def test_a_crop_is_the_part_of_what_is_shown(kind: Kind, tmp_path: Path) -> None:
    """However the stored picture is turned, mirrored or stretched, and wherever its colour lies."""
    path = kind.make(tmp_path)
    info = probe(path)
    whole = list(read_frames(path, np.array([2, 3])))
    right, low = info.width_px - 33, info.height_px - 21
    for x, y, w, h in [(16, 8, 40, 60), (17, 9, 41, 33), (0, 0, 31, 21), (right, low, 33, 21)]:
        parts = list(read_frames(path, np.array([2, 3]), (x, y, w, h)))
        for part, frame in zip(parts, whole, strict=True):
            assert part.shape == (h, w, 3)
            # colour is blended at the border
            inside = frame[y : y + h, x : x + w].astype(int)[4:-4, 4:-4]
            assert np.abs(part[4:-4, 4:-4].astype(int) - inside).max() <= 3
