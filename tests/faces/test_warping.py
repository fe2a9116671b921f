"""Cuts land where the matrix says, to a fraction of a pixel, and shrinking does not alias."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from s3dnerf.faces.warping import apply, grey_warp, invert, similarity_scale, warp


def blob(size: int, centre: tuple[float, float], sigma: float) -> np.ndarray:
    y, x = np.mgrid[:size, :size] + 0.5
    return (255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))).astype(np.uint8)


def centroid(image: np.ndarray) -> np.ndarray:
    weight = image.astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]] + 0.5
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("scale", [0.11, 0.4, 0.9, 1.0, 1.7])
def test_a_blob_lands_where_the_matrix_says(scale: float) -> None:
    source = (211.3, 187.8)
    matrix = np.array([[scale, 0, 64 - scale * source[0] + 3.4], [0, scale, 64 - scale * source[1] - 2.2]])
    cut = warp(blob(420, source, 5 / scale if scale < 1 else 5.0), matrix, 128)
    assert np.abs(centroid(cut) - apply(matrix, np.array(source))).max() < 0.12


def test_a_whole_shift_is_a_slice() -> None:
    image = np.random.default_rng(0).integers(0, 255, (50, 60, 3), dtype=np.uint8)
    assert np.array_equal(warp(image, np.array([[1.0, 0, -7], [0, 1.0, -9]]), 32), image[9:41, 7:39])


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = (np.indices((512, 512)).sum(axis=0) % 2 * 255).astype(np.uint8)
    small = warp(board, np.array([[0.125, 0, 0], [0, 0.125, 0]]), 64)
    assert np.abs(small.astype(int) - 127).max() <= 2


@pytest.mark.parametrize("scale", [0.2, 0.3, 0.4, 0.55, 0.7])
def test_shrinking_is_near_the_mean_of_many_samples(scale: float) -> None:
    noise = np.random.default_rng(0).normal(size=(512, 512)).astype(np.float32)
    image = np.clip(128 + 300 * cv2.GaussianBlur(noise, (0, 0), 2.0), 0, 255).astype(np.uint8)
    matrix = np.array([[scale, 0, 3.3 - 20 * scale], [0, scale, 7.8 - 30 * scale]])
    fine = np.column_stack([4 * matrix[:, :2], 4 * matrix[:, 2] + 4 * matrix[:, :2] @ [0.5, 0.5] - 0.5])
    many = cv2.warpAffine(image, fine, (352, 352), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    wanted = cv2.resize(many, (88, 88), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(warp(image, matrix, 88) - wanted)[4:-4, 4:-4].mean() < 0.06 * image.std()


@pytest.mark.parametrize(
    "matrix", [np.array([[0.4, 0.02, -30.3], [-0.02, 0.4, -20.7]]), np.array([[1.3, 0, 20.0], [0, 1.3, -150.0]])]
)
def test_grey_cuts_are_the_grey_of_cuts(matrix: np.ndarray) -> None:
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 255, (300, 260, 3), dtype=np.uint8), (0, 0), 3)
    grey = cv2.cvtColor(warp(image, matrix, 96), cv2.COLOR_RGB2GRAY)
    assert np.abs(grey_warp(image, matrix, 96).astype(int) - grey).max() <= 2


def test_beyond_the_picture_its_edge_goes_on() -> None:
    image = np.full((20, 20, 3), 50, np.uint8)
    image[:, -1] = 200
    cut = warp(image, np.eye(2, 3), 40)
    assert (cut[:20, 20:] == 200).all() and (cut[:20, :18] == 50).all()


def test_a_picture_wholly_outside_gives_its_nearest_edge() -> None:
    image = np.full((20, 20), 7, np.uint8)
    assert (warp(image, np.array([[1.0, 0, 500], [0, 1.0, 500]]), 16) == 7).all()


def test_invert_undoes_apply_and_the_scale_is_the_matrix_s() -> None:
    matrix = np.array([[0.6, 0, 12.0], [0, 0.6, -4.0]])
    points = np.random.default_rng(1).normal(size=(5, 2)) * 100
    assert np.allclose(apply(invert(matrix), apply(matrix, points)), points)
    assert similarity_scale(matrix) == pytest.approx(0.6)
