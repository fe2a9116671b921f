"""Borrowed motion: a driver's movement about their own usual pose, bounded, and continued without a jump."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces.camera import pose_degrees, world_to_camera
from s3dnerf.synthesis.borrowed_motion import MOST_UNITS, borrowed, neutral_of, there_and_back
from s3dnerf.synthesis.head_motion import WHOLE_DEG, borrowed_limit, poses_for

CENTRE = np.array([0.1, -0.2, 0.3])
PORTRAIT = world_to_camera(np.radians([3.0, -8.0, 2.0]), np.array([0.05, 0.1, 0.0]))


def driver(
    yaw: np.ndarray | float = 0.0, pitch: np.ndarray | float = 0.0, place: np.ndarray | float = 0.0
) -> np.ndarray:
    """Poses (M, 3, 4) of a head that turns and moves to the side."""
    yaw, pitch, place = np.broadcast_arrays(np.atleast_1d(yaw), pitch, place)
    zero = np.zeros_like(yaw)
    return world_to_camera(np.radians(np.stack([pitch, yaw, zero], -1)), np.stack([place, zero, zero], -1))


def test_a_driver_who_looks_aside_all_the_time_does_not_turn_the_portrait() -> None:
    poses = poses_for(driver(np.full(50, 35.0), -20.0, 0.8), PORTRAIT, 80, CENTRE)
    np.testing.assert_allclose(poses, np.broadcast_to(PORTRAIT, (80, 3, 4)), atol=1e-9)


def test_a_look_aside_goes_and_comes_back_to_the_portraits_own_pose() -> None:
    """Wherever the driver sits: a turn of 5° by somebody who sits turned by 30° is a turn of 5°, about the head's own
    upright axis."""
    yaw = 30.0 + np.r_[np.full(40, 4.0), np.zeros(80)]  # begins with it: the first pose is not the usual one
    poses = poses_for(driver(yaw), PORTRAIT, 120, CENTRE)
    np.testing.assert_allclose(poses[40:], np.broadcast_to(PORTRAIT, (80, 3, 4)), atol=1e-9)
    own = np.degrees(np.arccos((np.trace(PORTRAIT[:, :3].T @ poses[0, :, :3]) - 1) / 2))
    assert own == pytest.approx(4.0, abs=1e-6)
    assert (pose_degrees(poses[0]) - pose_degrees(PORTRAIT))[0] == pytest.approx(4.0, abs=0.1)
    # its axis is the head's own, which a driver's turned seat does not tilt
    nod = poses_for(driver(40.0, np.r_[np.full(40, 4.0), np.zeros(80)]), PORTRAIT, 1, CENTRE)[0]
    np.testing.assert_allclose((PORTRAIT[:, :3].T @ nod[:, :3])[:, 0], [1, 0, 0], atol=1e-9)


def test_the_neutral_pose_is_the_usual_one_whatever_a_third_of_the_frames_show() -> None:
    rng = np.random.default_rng(0)
    yaw, pitch = 20 + rng.normal(0, 0.5, 300), -10 + rng.normal(0, 0.5, 300)
    yaw[50:140], pitch[50:140] = -60.0, 30.0
    found = pose_degrees(neutral_of(driver(yaw, pitch)))
    assert abs(found[0] - 20) < 0.5 and abs(found[1] + 10) < 0.5


def test_a_driver_who_turns_far_does_not_tear_the_portrait() -> None:
    t = np.arange(200) / 25
    far = driver(50 * np.sin(t), 30 * np.sin(1.3 * t), 2 * np.sin(0.7 * t))
    for most in (3.0, 10.0, 25.0):
        degrees, ways = borrowed(far, 400, CENTRE, most)
        assert most * 0.9 < np.abs(degrees).max() <= most
        assert (np.abs(ways) <= np.array(MOST_UNITS) * most / 25).all()
    small = driver(3 * np.sin(t), 2 * np.sin(1.3 * t))
    degrees, _ = borrowed(small, 200, CENTRE, 10.0)
    assert np.ptp(degrees[:, 0]) == pytest.approx(6.0, abs=0.05)  # what fits is as it is
    assert borrowed_limit(True, 0, 0) == WHOLE_DEG and borrowed_limit(True, 4, -6) == 4
    assert borrowed_limit(True, 10, 0) == 3 and borrowed_limit(False, 40, 0) == 25


def test_a_short_driver_goes_on_without_a_jump_of_place_or_speed() -> None:
    t = np.arange(60) / 25
    poses = poses_for(driver(4 * t), PORTRAIT, 1500, CENTRE)  # turns at 4° a second all the time
    degrees = pose_degrees(poses)[:, 0]
    speed = np.diff(degrees) * 25
    assert np.abs(speed).max() < 4.3 and np.abs(np.diff(speed)).max() < 0.5  # a reversal at once would be 8
    shown = there_and_back(1500, 60)
    assert shown.min() == 0 and shown.max() == pytest.approx(59, abs=0.01)
    np.testing.assert_array_equal(shown[:44], np.arange(44))  # as it is, the first time
    for length in (1, 2, 3, 7):
        shown = there_and_back(200, length)
        assert shown.min() >= 0 and shown.max() <= length - 1 and np.abs(np.diff(shown)).max(initial=0) <= 1
