"""AKD, lip and eyebrow dynamics and jitter: literal formulas, size and turn of the face, noise against motion."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest

from s3dnerf.metrics import keypoints
from s3dnerf.metrics.face_dynamics import LIPS, measure
from s3dnerf.metrics.head_pose import RIGID
from s3dnerf.metrics.lmd import landmark_distance

FRAMES = 30


def face(seed: int = 0) -> np.ndarray:
    """A face (FRAMES, 68, 2) that stands still; its eyes' outer corners are 100 pixels apart on a level line."""
    points = np.random.default_rng(seed).uniform(60, 200, (1, 68, 2))
    points[:, 36:42], points[:, 42:48] = (60, 100), (140, 100)
    points[:, 36], points[:, 45] = (50, 100), (150, 100)
    points[:, 17:27, 1] = 80
    return np.tile(points, (FRAMES, 1, 1))


def turned(points: np.ndarray, degrees: float, scale: float) -> np.ndarray:
    a = math.radians(degrees)
    return scale * points @ np.array([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]]) + 20


def test_akd_by_the_literal_formula_counts_place_where_f_lmd_does_not() -> None:
    random = np.random.default_rng(0)
    ours, truth = random.normal(128, 40, (2, 5, 68, 2))
    truth[2] = np.nan
    frames = [sum(math.hypot(*(ours[f, p] - truth[f, p])) for p in range(68)) / 68 for f in range(5) if f != 2]
    found = keypoints.measure(ours, truth)
    assert found.value == pytest.approx(sum(frames) / 4) and (found.counted, found.failed) == (4, 1)
    aside = truth + (6.0, 8.0)
    assert keypoints.measure(aside, truth).value == pytest.approx(10)
    assert np.nanmean(landmark_distance(aside, truth)) == pytest.approx(0, abs=1e-9)


def test_lips_by_the_literal_formula() -> None:
    points = face()
    points[:, LIPS] += np.random.default_rng(1).normal(0, 2, (FRAMES, 20, 2))
    spreads = []
    for a, b in combinations(range(48, 68), 2):
        apart = [math.dist(p[a], p[b]) / math.dist(p[36], p[45]) for p in points]
        middle = sum(apart) / FRAMES
        spreads.append(math.sqrt(sum((d - middle) ** 2 for d in apart) / (FRAMES - 1)))
    lips, brows, _ = measure(points)
    assert lips.value == pytest.approx(100 * sum(spreads) / len(spreads)) and brows.value == pytest.approx(0)


def test_brows_are_measured_across_the_eyes_and_against_their_distance() -> None:
    points, wave = face(), 6 * np.sin(np.arange(FRAMES))
    points[:, 17:27, 1] -= wave[:, None]
    eyes = np.linalg.norm(points[0, 42:48].mean(axis=0) - points[0, 36:42].mean(axis=0))
    assert measure(points)[1].value == pytest.approx(100 * wave.std() / eyes)
    sideways = face()
    sideways[:, 17:27, 0] += wave[:, None]
    assert measure(sideways)[1].value == pytest.approx(0, abs=1e-9)


def test_neither_size_nor_place_nor_turn_counts() -> None:
    points = face() + np.random.default_rng(2).normal(0, 1, (FRAMES, 68, 2))
    for one, other in zip(measure(points), measure(turned(points, 25, 1.7))):
        assert one.value == pytest.approx(other.value)


def test_jitter_sees_trembling_and_not_motion() -> None:
    gliding = face() + np.arange(FRAMES)[:, None, None] * (1.5, -0.5)
    assert measure(gliding)[2].value == pytest.approx(0, abs=1e-9)
    random = np.random.default_rng(3)
    shapes = [measure(face() + s * random.normal(0, 1, (FRAMES, 68, 2)))[2].value for s in (0.5, 1.0)]
    # of independent noise: √6 s in each direction, so √6 · √(π/2) s in length, in per cent of 100 pixels
    assert shapes == pytest.approx([math.sqrt(3 * math.pi) * s for s in (0.5, 1.0)], rel=0.1)
    nodding = gliding.copy()
    nodding[20:26, RIGID] += 8 * random.normal(0, 1, (6, 1, 2))  # restless for a quarter of the time
    assert measure(nodding)[2].value == pytest.approx(0, abs=1e-9)


def test_what_cannot_be_measured_says_why() -> None:
    points = face()
    lips, _, jitter = measure(points, every=3)
    assert "one frame in 3" in jitter.reason and lips.value == pytest.approx(0)
    gaps = points.copy()
    gaps[::2] = np.nan
    lips, brows, jitter = measure(gaps)
    assert (lips.counted, lips.failed) == (15, 15) and brows.value == pytest.approx(0)
    assert jitter.reason == "no three neighbouring frames with landmarks"
    assert {m.reason for m in measure(np.full_like(points, np.nan))} == {"no frame has landmarks"}
    assert {m.reason for m in measure(points[:4])} == {"4 frames with landmarks: expected 10"}
