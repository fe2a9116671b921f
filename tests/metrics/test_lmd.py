"""Landmark distances against a literal loop, and cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from s3dnerf.metrics import lmd
from s3dnerf.metrics.lmd import metric_landmarks
from tests.faces.drawn_clips import ScriptedBackend, box_at, frames_of, points_in


def literal(generated: np.ndarray, truth: np.ndarray, points: range) -> tuple[float, int, int]:
    """Frame by frame, point by point."""
    distances, failed = [], 0
    for g, t in zip(generated.tolist(), truth.tolist()):
        g, t = [g[p] for p in points], [t[p] for p in points]
        if any(math.isnan(v) for p in (*g, *t) for v in p):
            failed += 1
            continue
        centre_g = [sum(p[i] for p in g) / len(g) for i in (0, 1)]
        centre_t = [sum(p[i] for p in t) / len(t) for i in (0, 1)]
        moved = [centre_g[i] - centre_t[i] for i in (0, 1)]
        total = sum(math.hypot(a[0] - b[0] - moved[0], a[1] - b[1] - moved[1]) for a, b in zip(g, t))
        distances.append(total / len(g))
    return sum(distances) / len(distances), len(distances), failed


@pytest.mark.parametrize("frames", [1, 2, 25, 250])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_loop(frames: int, dtype: type) -> None:
    random = np.random.default_rng(frames)
    truth = random.uniform(0, 256, (frames, 68, 2)).astype(dtype)
    generated = (truth + random.normal(0, 3, truth.shape)).astype(dtype)
    if frames > 2:
        generated[3] = np.nan
        truth[[5, 3]] = np.nan
    face, mouth = lmd.measure(generated, truth)
    for measured, points in ((face, range(68)), (mouth, range(48, 68))):
        value, counted, failed = literal(generated, truth, points)
        assert measured.value == pytest.approx(value, rel=1e-9)
        assert (measured.counted, measured.failed) == (counted, failed)


def test_known_cases() -> None:
    truth = np.random.default_rng(0).uniform(0, 256, (4, 68, 2))
    assert lmd.landmark_distance(truth, truth).tolist() == [0, 0, 0, 0]
    assert np.allclose(lmd.landmark_distance(truth + [[[7.0, -2.0]]], truth), 0)  # shifted by k pixels: pose, not shape
    opened = truth.copy()
    opened[:, 57, 1] += 6.8  # one point of 68, by 6.8 px: 0.1 from the point, and 0.1 · 67/68 from the moved mean
    expected = (6.8 * 67 / 68 + 67 * 6.8 / 68) / 68
    assert np.allclose(lmd.landmark_distance(opened, truth), expected)


def test_nothing_to_compare_is_no_zero() -> None:
    lost = np.full((3, 68, 2), np.nan)
    face, mouth = lmd.measure(lost, np.zeros((3, 68, 2)))
    assert face.value is None and mouth.value is None and face.failed == 3 and face.reason == lmd.NO_FRAME


def test_mouth_opening() -> None:
    points = np.zeros((2, 68, 2))
    points[1, 66] = (3, 4)
    assert lmd.mouth_opening(points).tolist() == [0, 5]


def test_rows_are_nan_where_no_single_face_is() -> None:
    one, two = box_at(100, 120, 80), box_at(230, 120, 70)
    backend = ScriptedBackend([[one], [], [one, two], [one, box_at(230, 60, 30)]])
    found = metric_landmarks(np.stack(frames_of(4)), backend)
    assert found.shape == (4, 68, 2) and found.dtype == np.float32
    assert (
        np.isnan(found[[1, 2]]).all()
        and np.allclose(found[0], points_in(one), atol=0.01)
        and np.allclose(found[3], found[0])
    )
    assert backend.detected == [0, 1, 2, 3]  # one look a frame


def test_a_finder_s_plain_answer_is_preferred_to_its_better_one() -> None:
    class Plain(ScriptedBackend):
        def plain_landmarks(self, image: np.ndarray, box_px: tuple) -> np.ndarray:
            return points_in(box_px) + 1

    one = box_at(100, 120, 80)
    assert np.allclose(metric_landmarks(np.stack(frames_of(1)), Plain([[one]]))[0], points_in(one) + 1, atol=0.01)
