"""Flicker: closed forms, its two regions apart from each other, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.metrics.flicker import measure, regions

POINTS = np.tile(np.random.default_rng(0).uniform((40, 50), (90, 100), (1, 68, 2)), (6, 1, 1))


def video(levels: np.ndarray) -> np.ndarray:
    """Grey frames (n, 128, 128, 3) of these levels."""
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 128, 128, 3)).astype(np.uint8).copy()


def test_steady_motion_is_no_flicker_and_a_jump_counts_twice() -> None:
    assert [m.value for m in measure(video(np.arange(6) * 20), POINTS)] == [0, 0]
    assert [m.value for m in measure(video(np.arange(6) % 2 * 20), POINTS)] == [40, 40]
    once = np.array([10, 10, 40, 10, 10, 10])  # 30, 60, 30, 0
    assert measure(video(once), POINTS)[0].value == pytest.approx(30)


@pytest.mark.parametrize("where", [0, 1])
def test_each_region_is_measured_by_itself(where: int) -> None:
    region = regions(POINTS, 128, 128)[where]
    frames = video(np.full(6, 100))
    frames[::2, region] = 120
    found = [m.value for m in measure(frames, POINTS)]
    assert found[where] == pytest.approx(40) and found[1 - where] == 0


def test_the_regions_do_not_meet_and_leave_hair_and_shoulders_out() -> None:
    face, background = regions(POINTS, 128, 128)
    assert face.any() and background.any() and not (face & background).any()
    assert not background[101:].any() and not background[30:50, 40:90].any()  # below the chin, above the brows
    assert background[:20].all() and background[50, 0] and background[50, 127]


def test_what_cannot_be_measured_says_why() -> None:
    frames = video(np.zeros(6))
    assert {m.reason for m in measure(frames[:2], POINTS)} == {"2 frames: expected 3"}
    assert {m.reason for m in measure(frames, np.full_like(POINTS, np.nan))} == {
        "no frame has landmarks in both videos"
    }
    everywhere = np.random.default_rng(0).uniform(0, 128, (6, 68, 2))
    assert measure(frames, everywhere)[1].reason == "the face fills the picture"
