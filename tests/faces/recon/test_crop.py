"""The 5-point alignment, by hand: a scaled orthographic picture gives back its scale and origin."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces import camera
from s3dnerf.faces.recon.crop import crop_for, crop_matrix, pos
from s3dnerf.faces.recon.morphable import five_of
from s3dnerf.faces.warping import apply

STANDARD = np.array([[-0.3, 0.3, 0.1], [0.3, 0.3, 0.1], [0.0, -0.05, 0.5], [-0.25, -0.35, 0.2], [0.25, -0.35, 0.2]])


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.1, -0.4, 0.2)])
def test_pos_recovers_scale_and_origin(turn: tuple) -> None:
    seen = 85 * (STANDARD @ camera.rotation(np.array(turn)).T)[:, :2] + [120, 140]
    scale, origin = pos(seen, STANDARD)
    assert scale == pytest.approx(85) and np.allclose(origin, [120, 140])


def test_the_crop_makes_a_unit_102_pixels_and_puts_the_origin_in_the_middle() -> None:
    height = 300
    seen = 85 * STANDARD[:, :2] * [1, -1] + [120, height - 140]
    crop = crop_for(seen, STANDARD, height)
    assert np.allclose(crop, [102 / 85, 120, 140])
    matrix = crop_matrix(crop, height)
    assert np.allclose(apply(matrix, np.array([120.0, height - 140])), [112, 112]) and matrix[0, 0] == pytest.approx(
        102 / 85
    )


def test_the_crop_and_the_intrinsics_say_the_same() -> None:
    height, crop = 256, np.array([0.93, 131.0, 122.0])
    in_crop = np.vstack([crop_matrix(crop, height), [0, 0, 1]]) @ camera.intrinsics(crop, height)
    assert np.allclose(in_crop, [[1015, 0, 112], [0, 1015, 112], [0, 0, 1]])


def test_the_five_points_are_eye_centres_nose_and_mouth_corners() -> None:
    points = np.zeros((2, 68, 2))
    points[:, 36], points[:, 39], points[:, 42], points[:, 45] = (10, 20), (30, 20), (50, 22), (70, 22)
    points[:, 30], points[:, 48], points[:, 54] = (40, 40), (25, 60), (55, 60)
    assert np.allclose(five_of(points)[1], [[20, 20], [60, 22], [40, 40], [25, 60], [55, 60]])
