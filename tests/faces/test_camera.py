"""Deep3DFaceRecon's projection, written out by hand, and ours through the OpenCV camera give the same pixels."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces import camera


def by_the_book(points: np.ndarray, angles: np.ndarray, t: np.ndarray) -> np.ndarray:
    """Deep3DFaceRecon's own steps, row vectors: v' = v·(Rz·Ry·Rx)ᵀ + t, z = 10 − z', 1015·x/z + 112, y counted upward
    in its 224 crop.
    """
    x, y, z = angles
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    moved = points @ (rz @ ry @ rx).T + t
    depth = 10 - moved[:, 2]
    return np.stack([1015 * moved[:, 0] / depth + 112, 1015 * moved[:, 1] / depth + 112], axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_the_whole_way_to_the_aligned_frame_is_deep3d_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points, angles, t = rng.normal(size=(30, 3)), rng.normal(size=3) * 0.4, rng.normal(size=3) * 0.3
    crop, height = np.array([rng.uniform(0.5, 1.5), rng.uniform(90, 160), rng.uniform(90, 160)]), 256
    in_crop = by_the_book(points, angles, t)
    wanted = np.stack(
        [(in_crop[:, 0] - 112) / crop[0] + crop[1], height - ((in_crop[:, 1] - 112) / crop[0] + crop[2])], axis=1
    )
    assert np.allclose(
        camera.project(points, camera.world_to_camera(angles, t), camera.intrinsics(crop, height)), wanted
    )


def test_one_point_by_hand() -> None:
    # yaw 90° takes a point one unit before the face to one unit at the image's right: 1015 · 1 / 10 pixels from the
    # centre
    pixel = camera.project(
        np.array([[0.0, 0, 1]]),
        camera.world_to_camera(np.array([0, np.pi / 2, 0]), np.zeros(3)),
        camera.intrinsics(np.array([1.0, 112, 112]), 224),
    )
    assert np.allclose(pixel, [[112 + 101.5, 112]])
    # a unit up is up in the picture: y grows downward
    pixel = camera.project(
        np.array([[0.0, 1, 0]]),
        camera.world_to_camera(np.zeros(3), np.zeros(3)),
        camera.intrinsics(np.array([1.0, 112, 112]), 224),
    )
    assert np.allclose(pixel, [[112, 112 - 101.5]])


def test_signs_of_yaw_pitch_and_roll() -> None:
    nose, top = np.array([[0.0, 0, 1]]), np.array([[0.0, 1, 0]])
    k = camera.intrinsics(np.array([1.0, 112, 112]), 224)

    def seen(point: np.ndarray, **degrees: float) -> np.ndarray:
        angles = np.radians([degrees.get("pitch", 0), degrees.get("yaw", 0), degrees.get("roll", 0)])
        w2c = camera.world_to_camera(angles, np.zeros(3))
        assert np.allclose(
            camera.pose_degrees(w2c), [degrees.get("yaw", 0), degrees.get("pitch", 0), degrees.get("roll", 0)]
        )
        return camera.project(point, w2c, k)[0]

    assert seen(nose, yaw=20)[0] > 112 and seen(nose, pitch=20)[1] > 112 and seen(top, roll=20)[0] < 112


def test_there_and_back() -> None:
    rng = np.random.default_rng(0)
    angles, t = rng.uniform(-1, 1, (7, 3)), rng.normal(size=(7, 3))
    w2c = camera.world_to_camera(angles, t)
    assert np.allclose(w2c[..., :3] @ np.swapaxes(w2c[..., :3], 1, 2), np.eye(3)) and np.allclose(
        np.linalg.det(w2c[..., :3]), 1
    )
    back = camera.pose_of(w2c)
    assert np.allclose(back[0], angles) and np.allclose(back[1], t)


def test_the_focal_length_is_1015_over_the_crop_s_scale_and_its_centre_counts_downward() -> None:
    k = camera.intrinsics(np.array([[0.8, 120, 130], [1.0, 112, 112]]), 256)
    assert k[0] == pytest.approx(np.array([[1015 / 0.8, 0, 120], [0, 1015 / 0.8, 256 - 130], [0, 0, 1]]))
    assert k[1] == pytest.approx(np.array([[1015, 0, 112], [0, 1015, 256 - 112], [0, 0, 1]]))


def test_other_intrinsics_show_the_head_in_the_same_place_and_size() -> None:
    rng = np.random.default_rng(3)
    centre = np.array([0.0, -0.05, 0.1])
    points = centre + rng.uniform(-0.7, 0.7, (40, 3)) * [1, 1, 0.4]
    w2c = camera.world_to_camera(np.array([0.1, -0.3, 0.05]), np.array([0.1, 0.05, -0.2]))
    old, new = camera.intrinsics(np.array([0.95, 120, 128]), 256), camera.intrinsics(np.array([1.0, 126, 124]), 256)
    a, b = camera.project(points, w2c, old), camera.project(points, camera.with_intrinsics(w2c, old, new, centre), new)
    assert np.allclose(
        camera.project(centre[None], w2c, old),
        camera.project(centre[None], camera.with_intrinsics(w2c, old, new, centre), new),
    )
    assert np.abs(a - b).max() < 1.0 and np.abs(a - camera.project(points, w2c, new)).max() > 5
