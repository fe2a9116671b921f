"""Which frame is the portrait: open eyes first, then a closed mouth, within the first second."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.synthesis.source_frame import eye_opening, source_frame


def clip(mouth: list[float], eyes: list[float]) -> np.ndarray:
    """Landmarks (n, 68, 2): inner lips ``mouth`` pixels apart, lids ``eyes`` pixels apart, eyes 30 wide, 100 across."""
    points = np.zeros((len(mouth), 68, 2))
    for left, right, x in ((36, 39, 50.0), (42, 45, 120.0)):
        points[:, left], points[:, right] = (x, 100), (x + 30, 100)
    points[:, [37, 38, 43, 44], 1] = 100 - np.array(eyes)[:, None] / 2
    points[:, [41, 40, 47, 46], 1] = 100 + np.array(eyes)[:, None] / 2
    points[:, [37, 41], 0], points[:, [38, 40], 0] = 60, 70
    points[:, [43, 47], 0], points[:, [44, 46], 0] = 130, 140
    points[:, [65, 66, 67], 1] = 150 + np.array(mouth)[:, None]
    points[:, [61, 62, 63], 1] = 150
    return points


def test_the_paper_takes_the_first() -> None:
    assert source_frame(clip([20, 0], [10, 10]), "first") == 0


def test_the_mouth_is_least_open_where_the_eyes_are_open() -> None:
    assert np.allclose(eye_opening(clip([0], [9])), 0.3)
    assert source_frame(clip([20, 5, 12, 5], [10, 10, 10, 10]), "calm") == 1
    assert source_frame(clip([20, 5, 12, 6], [10, 2, 10, 10]), "calm") == 3, "frame 1 blinks"


def test_it_is_sought_in_the_first_second() -> None:
    mouth = [20.0] * 25 + [0.0] * 5
    mouth[24] = 10.0
    assert source_frame(clip(mouth, [10.0] * 30), "calm") == 24


def test_another_rule_is_refused() -> None:
    with pytest.raises(ValueError, match="accepted: first, calm"):
        source_frame(clip([1], [10]), "last")
