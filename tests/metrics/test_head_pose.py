"""Head pose from landmarks: against the angles that drew them, OpenCV's solver and Deep3DFaceRecon; APD and motion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.faces.camera import intrinsics, pose_of, project, rotation, world_to_camera
from s3dnerf.faces.recon.anatomy import LANDMARKS, MIRROR
from s3dnerf.metrics import head_pose
from s3dnerf.metrics.head_pose import HEAD, RIGID, angles_deg, measure, measure_motion


def seen(angles: np.ndarray, scale: float = 100.0) -> np.ndarray:
    """Landmarks (n, 68, 2) of the average head at yaw, pitch, roll in degrees, without perspective."""
    turned = HEAD @ np.swapaxes(rotation(np.radians(angles[:, [1, 0, 2]])), 1, 2)
    points = np.zeros((len(angles), 68, 2))
    points[:, RIGID] = 128 + scale * turned[..., :2] * [1, -1]
    return points


ANGLES = np.random.default_rng(0).uniform(-30, 30, (40, 3))


def test_the_head_is_that_of_the_anatomy() -> None:
    for number, point in zip(RIGID, HEAD):
        x, y, z = LANDMARKS[number if number in LANDMARKS else int(MIRROR[number])]
        assert tuple(point) == (x if number in LANDMARKS else -x, y, z)


@pytest.mark.parametrize("scale", [20.0, 130.0])
def test_angles_are_found_again_at_any_size(scale: float) -> None:
    assert np.allclose(angles_deg(seen(ANGLES, scale)), ANGLES, atol=1e-8)


def test_perspective_and_another_solver() -> None:
    """Seen by a camera, a metre away, the angles are those that OpenCV's solver finds with the camera known, to 3°."""
    import cv2

    yaw, pitch, roll = (ANGLES / 2).T
    cameras = world_to_camera(np.radians(np.stack([pitch, yaw, roll], axis=1)), np.zeros((40, 3)))
    k = intrinsics(np.array([224 / 256, 128.0, 128.0]), 256)
    points = np.zeros((40, 68, 2))
    points[:, RIGID] = project(HEAD, cameras, k)
    solved = []
    for frame in points[:, RIGID]:
        _, vector, shift = cv2.solvePnP(HEAD, np.ascontiguousarray(frame), k, None, flags=cv2.SOLVEPNP_EPNP)
        turned, _ = cv2.Rodrigues(vector)
        solved.append(np.degrees(pose_of(np.column_stack([turned, shift]))[0])[[1, 0, 2]])
    assert np.allclose(solved, ANGLES / 2, atol=1e-3)
    assert np.abs(angles_deg(points) - solved).max() < 3


def test_heads_turn_as_deep3dfacerecon_says(shared: Path) -> None:
    """Real footage, landmarks alone: the angles follow those of the network that papers take (correlation 0.90 to
    0.99 here)."""
    from scipy.io import loadmat

    from s3dnerf.faces.dlib_backend import DlibBackend
    from s3dnerf.metrics.lmd import metric_landmarks
    from s3dnerf.video.reading import read_frames

    clip = shared / "corpora/HDTF/clips/EX_Obama_002.mp4"
    coefficients = loadmat(str(shared / "weights/deep3d_coeffs/EX_Obama_002.mat"))["coeff"]
    numbers = np.arange(0, len(coefficients), 30)  # one a second
    frames = np.stack(list(read_frames(clip, numbers)))[:, ::2, ::2]
    ours = angles_deg(metric_landmarks(np.ascontiguousarray(frames), DlibBackend()))
    theirs = np.degrees(coefficients[numbers, 224:227])[:, [1, 0, 2]]
    for axis in range(3):
        assert np.corrcoef(ours[:, axis], theirs[:, axis])[0, 1] > 0.8


def test_apd_is_the_mean_of_three_angles() -> None:
    apart = np.array([3.0, -6.0, 9.0])
    points, truth = seen(ANGLES / 2 + apart), seen(ANGLES / 2)
    truth[:4] = np.nan
    found = measure(points, truth)
    assert found.value == pytest.approx(6.0) and (found.counted, found.failed) == (36, 4)
    assert measure(points[:3], truth[:3]).reason == "no frame has landmarks in both videos"
    behind = seen(np.array([[0.0, 0.0, 179.0]])), seen(np.array([[0.0, 0.0, -179.0]]))
    assert measure(*behind).value == pytest.approx(2 / 3)  # 2° apart across the half turn, not 358


def test_motion_by_the_literal_formula() -> None:
    points = seen(ANGLES)
    points += np.random.default_rng(1).uniform(-9, 9, (40, 1, 2))
    dynamics, deviation = measure_motion(points)
    spreads, steps, places = [], [], []
    for axis in range(3):
        angle = [float(a[axis]) for a in ANGLES]
        spreads.append(np.std(angle))
        steps.append(np.var([b - a for a, b in zip(angle, angle[1:])]))
    for axis in range(2):
        places.append(np.var([(p[:, axis].min() + p[:, axis].max()) / 2 for p in points]))
    assert deviation.value == pytest.approx(np.mean(spreads))
    assert dynamics.value == pytest.approx(np.sqrt(np.mean(spreads) * np.mean(steps) + np.mean(places)))


def test_what_cannot_be_measured_says_why() -> None:
    points = seen(ANGLES)
    assert [m.value for m in measure_motion(points[:1].repeat(12, axis=0))] == pytest.approx([0, 0], abs=1e-9)
    dynamics, deviation = measure_motion(points, every=2)
    assert deviation.value is not None and "one frame in 2" in dynamics.reason
    points[::2] = np.nan
    dynamics, deviation = measure_motion(points)
    assert deviation.counted == 20 and dynamics.reason == "no three neighbouring frames with landmarks"
    points[5:] = np.nan
    assert {m.reason for m in measure_motion(points)} == {f"2 frames with landmarks: expected {head_pose.LEAST_FRAMES}"}
