"""The fit recovers what made the landmarks: pose to fractions of a degree, and shape where landmarks say something of
it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.faces import camera
from s3dnerf.faces.recon.contour import contour_paths, outermost, outward
from s3dnerf.faces.recon.fit import fit_landmarks
from s3dnerf.faces.recon.morphable import own_model
from tests.margins import Between, Margin

MODEL = own_model()
CROP = np.array([0.95, 128.0, 120.0])
K = camera.intrinsics(CROP, 256)


def made(n: int = 40, seed: int = 0, shape: float = 0.6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Landmarks (n, 68, 2) of a moving, talking head; its angles (n, 3) and translations (n, 3)."""
    rng = np.random.default_rng(seed)
    t = np.arange(n)[:, None]
    angles = np.radians([8, 20, 6]) * np.sin(t * [0.11, 0.09, 0.13] + rng.uniform(0, 6, 3))
    shift = 0.1 * np.sin(t * [0.07, 0.05, 0.06] + rng.uniform(0, 6, 3))
    identity = rng.normal(size=80) * shape
    expression = np.zeros((n, 64))
    expression[:, :6] = shape * np.sin(t * rng.uniform(0.2, 0.6, 6) + rng.uniform(0, 6, 6))
    points = MODEL.shape(identity, expression, MODEL.keypoints)
    return camera.project(points, camera.world_to_camera(angles, shift), K), angles, shift


def pose_errors(seed: int, folder: Path) -> dict[str, float]:
    landmarks, angles, _ = made(seed=seed)
    fit = fit_landmarks(landmarks, MODEL, 256, contour="fixed")
    off = np.degrees(fit.angles - angles)
    return {
        "median error about the median (degrees)": float(np.median(np.abs(off - np.median(off, axis=0)), axis=0).max()),
        "largest median error (degrees)": float(np.abs(np.median(off, axis=0)).max()),
        "median distance (px)": float(np.median(fit.error_px)),
    }


POSE = Margin(
    "test_pose_of_made_heads_is_recovered",
    pose_errors,
    {
        "median error about the median (degrees)": Between(high=1.5),
        "largest median error (degrees)": Between(high=4),
        "median distance (px)": Between(high=1.0),
    },
)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_pose_of_made_heads_is_recovered(seed: int, tmp_path: Path) -> None:
    POSE.check(POSE.measure(seed, tmp_path))


def test_the_mean_head_is_recovered_exactly() -> None:
    landmarks, angles, _ = made(shape=0.0)
    fit = fit_landmarks(landmarks, MODEL, 256, contour="fixed")
    # the clip's crop is not quite the one the points were made with: a principal point 5 px off is a turn of 0.3°
    assert (
        np.degrees(np.abs(fit.angles - angles)).max() < 0.6
        and fit.error_px.max() < 0.1
        and np.abs(fit.identity).max() < 0.15
    )


def test_noise_moves_pose_little_and_not_the_identity() -> None:
    landmarks, angles, _ = made(n=60)
    noise = np.random.default_rng(5).normal(size=landmarks.shape) * 1.0
    fit = fit_landmarks(landmarks + noise, MODEL, 256, contour="fixed")
    off = np.degrees(fit.angles - angles)
    assert np.median(np.abs(off - np.median(off, axis=0)), axis=0).max() < 1.8
    assert np.abs(fit.identity).max() < 4 and np.abs(fit.expression).max() < 6


def test_an_opening_mouth_is_expression_not_pitch() -> None:
    n = 30
    expression = np.zeros((n, 64))
    expression[:, 0] = 1.2 * (1 + np.sin(np.arange(n) / 2)) / 2
    points = MODEL.shape(np.zeros(80), expression, MODEL.keypoints)
    landmarks = camera.project(points, camera.world_to_camera(np.zeros((n, 3)), np.zeros((n, 3))), K)
    fit = fit_landmarks(landmarks, MODEL, 256, contour="fixed")
    assert np.degrees(np.ptp(fit.angles, axis=0)).max() < 1.0
    assert np.corrcoef(fit.expression[:, 0], expression[:, 0])[0, 1] > 0.98


def test_one_frame_and_a_short_clip_work_and_the_same_input_gives_the_same_fit() -> None:
    landmarks, _, _ = made(n=3)
    assert fit_landmarks(landmarks[:1], MODEL, 256).angles.shape == (1, 3)
    a, b = fit_landmarks(landmarks, MODEL, 256), fit_landmarks(landmarks, MODEL, 256)
    assert np.array_equal(a.angles, b.angles) and np.array_equal(a.expression, b.expression)


def test_the_scale_of_the_picture_does_not_matter() -> None:
    landmarks, _, _ = made(n=10)
    a, b = fit_landmarks(landmarks, MODEL, 256), fit_landmarks(landmarks * 0.8, MODEL, 256 * 0.8)
    assert np.degrees(np.abs(a.angles - b.angles)).max() < 0.6 and b.crop[0] == pytest.approx(a.crop[0] / 0.8, rel=1e-6)


def test_jaw_points_slide_inward_on_the_side_turned_away() -> None:
    paths = contour_paths()
    assert paths.shape == (17, 9) and paths[:, 0].tolist() == list(range(17))
    assert (np.abs(MODEL.mean[paths[:7, -1], 0]) < np.abs(MODEL.mean[paths[:7, 0], 0])).all()
    for yaw, away, towards in ((30, slice(11, 16), slice(1, 6)), (-30, slice(1, 6), slice(11, 16))):
        w2c = camera.world_to_camera(np.radians([0, yaw, 0]), np.zeros(3))
        best = outermost(camera.project(MODEL.mean[paths.ravel()], w2c, K).reshape(1, 17, 9, 2), np.zeros(1))[0]
        assert best[away].mean() > 2 and best[towards].mean() < 1


def test_outward_turns_with_the_head() -> None:
    level, rolled = outward(np.array([0.0, np.pi / 2]))
    assert np.allclose(level[8], [0, 1]) and np.allclose(level[0], [-1, 0])
    # rolled anticlockwise by a quarter, the chin points to the image's right
    assert np.allclose(rolled[8], [1, 0], atol=1e-9)
