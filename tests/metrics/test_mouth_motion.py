"""Opening deviation and correlation: closed forms, size and place of the face, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.metrics.mouth_motion import measure, opening

FRAMES = 50
PHASE = np.arange(FRAMES) / 4


def face(far: np.ndarray | float, seed: int = 0) -> np.ndarray:
    """A face (n, 68, 2) whose inner lips are ``far`` pixels apart; its eyes' outer corners are 100 apart."""
    points = np.tile(np.random.default_rng(seed).uniform(60, 200, (1, 68, 2)), (FRAMES, 1, 1))
    points[:, 36], points[:, 45] = (50, 100), (150, 100)
    points[:, [61, 62, 63]] = points[:, [67, 66, 65]]
    points[:, [61, 62, 63], 1] -= np.broadcast_to(far, FRAMES)[:, None]
    return points


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("late", [0.0, np.pi / 3, np.pi])
def test_deviation_and_correlation_are_those_of_the_opening(share: float, late: float) -> None:
    whole = np.linspace(0, 8 * np.pi, FRAMES, endpoint=False)  # whole turns: the correlation is the cosine of the delay
    deviation, correlation = measure(face(20 + 10 * share * np.sin(whole - late)), face(20 + 10 * np.sin(whole)))
    assert deviation.value == pytest.approx(min(share, 1 / share))
    assert correlation.value == pytest.approx(np.cos(late), abs=1e-9)
    assert deviation.counted == correlation.counted == FRAMES


def test_neither_size_nor_place_counts() -> None:
    truth, ours = face(20 + 10 * np.sin(PHASE)), face(20 + 5 * np.sin(PHASE + 0.5), seed=1)
    moved = 2.5 * ours + np.random.default_rng(2).uniform(-40, 40, (FRAMES, 1, 2))
    assert np.allclose(opening(ours), (20 + 5 * np.sin(PHASE + 0.5)) / 100)
    for one, other in zip(measure(ours, truth), measure(moved, truth)):
        assert one.value == pytest.approx(other.value)


def test_frames_without_landmarks_are_left_out_and_counted() -> None:
    truth, ours = face(20 + 10 * np.sin(PHASE)), face(20 + 5 * np.sin(PHASE))
    truth[:7], ours[40:] = np.nan, np.nan
    deviation, _ = measure(ours, truth)
    assert (deviation.counted, deviation.failed) == (33, 17) and deviation.value == pytest.approx(0.5)


def test_what_cannot_be_measured_says_why() -> None:
    moving, still = face(20 + 10 * np.sin(PHASE)), face(20.0)
    deviation, correlation = measure(still, moving)
    assert deviation.value == pytest.approx(0.0, abs=1e-9)
    assert correlation.value is None and "one mouth does not move" in correlation.reason
    assert all(m.value is None and m.reason == "neither mouth moves" for m in measure(still, still))
    lost = moving.copy()
    lost[5:] = np.nan
    assert all("5 frames with landmarks in both" in m.reason for m in measure(lost, moving))
    assert all(
        m.reason == "no frame has landmarks in both videos" for m in measure(np.full_like(moving, np.nan), moving)
    )
