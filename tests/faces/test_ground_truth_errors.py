"""The numbers of ``python -m s3dnerf.faces.ground_truth_errors``: exact on made-up cases, within the aims on real clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from s3dnerf.corpora.synthetic.truth import Truth
from s3dnerf.faces import camera, ground_truth_errors
from s3dnerf.faces.ground_truth_errors import (
    ClipParts,
    against_truth,
    deep3d_errors,
    pose_difference,
    same_frame,
    table,
)
from s3dnerf.faces.lips import lip_boxes
from s3dnerf.faces.warping import apply, warp
from s3dnerf.settings.loading import preset_settings
from tests.margins import SHARED, Between, Margin


def test_pose_difference_removes_a_constant_and_keeps_the_rest() -> None:
    rng = np.random.default_rng(0)
    theirs = rng.normal(size=(200, 3)) * [5, 3, 2]
    found = pose_difference(0.8 * theirs + [4.0, -2.0, 0.5], theirs)
    assert np.allclose(found["correlation"], 1) and np.allclose(found["gain"], 0.8)
    assert np.allclose(found["constant"], [4, -2, 0.5], atol=0.25) and (found["median"] > 0.1).all()
    exact = pose_difference(theirs + 7, theirs)
    assert np.allclose(exact["median"], 0) and np.allclose(exact["constant"], 7)


def test_same_frame_removes_one_rotation_of_the_head_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    true = camera.rotation(rng.normal(size=(50, 3)) * 0.2)
    pitched = true @ camera.rotation(np.array([0.2, 0.05, -0.1]))
    assert np.allclose(same_frame(pitched, true), true)
    noisy = pitched @ camera.rotation(rng.normal(size=(50, 3)) * 0.02)
    assert not np.allclose(same_frame(noisy, true), true, atol=1e-3)


def test_a_perfect_pipeline_has_no_error_and_a_shifted_one_has_its_shift(talking: tuple[np.ndarray, Truth]) -> None:
    _, truth = talking
    matrix = np.array([[1.2, 0, -30.0], [0, 1.2, -20.0]])
    rows, crop = np.arange(0, 25, 2), (6, 4)
    to_aligned = matrix.copy()
    to_aligned[:, 2] -= matrix[:, :2] @ crop
    points = apply(to_aligned, truth.landmarks[rows].astype(float))
    mask = np.zeros((len(rows), 256, 256), bool)
    for i, frame in enumerate(rows):
        if frame % 5 == 0:
            mask[i] = warp(truth.masks[frame // 5].astype(np.uint8) * 255, to_aligned, 256) > 127
    turned = truth.world_to_camera[rows].copy()
    turned[..., :3] = turned[..., :3] @ camera.rotation(np.array([0.1, 0, 0]))
    box, _ = lip_boxes(points, 1.4)
    errors = against_truth(ClipParts(rows, crop, points, matrix, turned, mask, box), truth, 1.4)
    assert (
        errors["landmarks"] < 1e-6
        and errors["yaw"] < 1e-6
        and errors["pitch"] < 1e-6
        and errors["mask_iou"] == 1
        and errors["lip_box"] < 1e-5
    )
    errors = against_truth(
        ClipParts(rows, crop, points + [3, 4], matrix, turned, np.roll(mask, 9, axis=2), box + 2), truth, 1.4
    )
    assert errors["landmarks"] == pytest.approx(5) and errors["lips"] == pytest.approx(5) and errors["centred"] < 1e-6
    assert 0.5 < errors["mask_iou"] < 0.95 and errors["lip_box"] == pytest.approx(2, abs=1e-4)


def against_deep3d(shared: Path) -> dict[str, float]:
    """The worse of two clips in each number."""
    rows = deep3d_errors(shared, preset_settings("mini").align, seconds=2.0, names=("EX_Obama_002", "EX_AndrewNg_001"))
    assert len(rows) == 2
    return {name: (max if bound.low < 0 else min)(row[name] for row in rows) for name, bound in DEEP3D.bounds.items()}


# dlib's landmarks and a float64 fit: torch's settings hardly touch them, OpenBLAS's may.
DEEP3D = Margin(
    "test_real_clips_agree_with_deep3dfacerecon",
    lambda seed, folder: against_deep3d(SHARED),
    {
        **{"yaw": Between(high=3), "roll": Between(high=3), "pitch": Between(high=5), "fit_px": Between(high=2)},
        **{"roll_correlation": Between(low=0.75), "pitch_correlation": Between(low=0.6)},
    },
    needs_real_data=True,
)


def test_real_clips_agree_with_deep3dfacerecon(shared: Path) -> None:
    DEEP3D.check(against_deep3d(shared))


def test_the_table_has_a_row_a_clip_and_their_mean() -> None:
    text = table([{"clip": "a", "yaw": 1.0}, {"clip": "b", "yaw": 3.0, "roll": 5.0}], ["yaw", "roll"])
    lines = text.splitlines()
    assert len(lines) == 4 and "2.000" in lines[-1] and "5.000" in lines[-1] and "–" in lines[1]


def test_the_command_needs_something_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        ground_truth_errors.main([])
    assert "--sample" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="deep3d_coeffs"):
        ground_truth_errors.main(["--deep3d", str(tmp_path)])
