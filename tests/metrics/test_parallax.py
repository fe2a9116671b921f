"""Parallax slope: of heads that turn in space, flat pictures, and what cannot be measured."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.metrics.parallax import measure

FRAMES = 50
YAW = np.radians(15) * np.sin(np.arange(FRAMES) / 6)


def head(depth: float, yaw: np.ndarray = YAW) -> np.ndarray:
    """Landmarks (n, 68, 2) of a head whose nose stands ``depth`` pixels before its jaw, turned, far from the camera."""
    points = np.random.default_rng(0).uniform(-50, 50, (68, 2))
    points[36], points[45], points[30] = (-50, -30), (50, -30), (0, 0)
    z = np.zeros(68)
    z[30] = depth
    x = points[:, 0] * np.cos(yaw)[:, None] + z * np.sin(yaw)[:, None]
    return np.stack([x, np.broadcast_to(points[:, 1], x.shape)], -1) + 128


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0, 1.5])
def test_the_slope_is_the_depth_s_share(share: float) -> None:
    assert measure(head(40 * share), head(40)).value == pytest.approx(share, abs=0.02)


def test_turning_in_the_picture_size_and_place_do_not_count() -> None:
    truth, angle = head(40), np.radians(10) * np.cos(np.arange(FRAMES) / 3)
    spin = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], -1).reshape(FRAMES, 2, 2)
    moved = 1.7 * np.einsum("nij,nkj->nki", spin, truth) + 20
    assert measure(moved, truth).value == pytest.approx(1.0)


def test_what_cannot_be_measured_says_why() -> None:
    truth = head(40)
    assert measure(truth, head(40, 0.01 * YAW)).reason == "the truth's head hardly turns"
    assert measure(np.full_like(truth, np.nan), truth).reason == "no frame has landmarks in both videos"
    lost = truth.copy()
    lost[::2] = np.nan
    found = measure(lost, truth)
    assert (found.counted, found.failed) == (25, 25) and found.value == pytest.approx(1.0)
