"""Both backends give the same outputs: shapes, cameras that project where they should, smoothing, masks."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.faces import camera
from s3dnerf.faces.recon.crop import crop_for
from s3dnerf.faces.recon.deep3d import Deep3DReconstructor
from s3dnerf.faces.recon.morphable import LAYOUT, MissingWeights, five_of, own_model
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.recon.types import smoothed
from s3dnerf.settings.schema import MasksSettings
from tests.faces.recon.test_fit import made
from tests.faces.tiny_models import constant_network, write_checkpoint, write_face_model

FITTED = MasksSettings(backend="fitted", network=None, morphable_model=None, smooth_frames=0.0)
SHAPES = {
    "coefficients": (12, 257),
    "world_to_camera": (12, 3, 4),
    "intrinsics": (12, 3, 3),
    "box": (4,),
    "raw_camera": (12, 9),
}


def test_fitted_outputs_have_the_contract_s_shapes_and_project_onto_the_landmarks() -> None:
    landmarks, _, _ = made(n=12)
    found = reconstructor(FITTED, "fixed").run(landmarks)
    for name, shape in SHAPES.items():
        value = getattr(found, name)
        assert value.shape == shape and value.dtype == np.float32, name
    assert found.mask.shape == (12, 256, 256) and found.mask.dtype == bool
    model, c = own_model(), found.coefficients.astype(np.float64)
    points = model.shape(c[:, LAYOUT["id"]], c[:, LAYOUT["exp"]], model.keypoints)
    pixels = camera.project(points, found.world_to_camera.astype(np.float64), found.intrinsics.astype(np.float64))
    assert np.linalg.norm(pixels - landmarks, axis=2).mean() < 1.5
    assert np.allclose(
        found.raw_camera[:, :6], np.concatenate([c[:, LAYOUT["angle"]], c[:, LAYOUT["trans"]]], axis=1), atol=1e-6
    )
    assert np.allclose(camera.intrinsics(found.raw_camera[:, 6:].astype(np.float64), 256), found.intrinsics, atol=1e-3)


@pytest.mark.slow
def test_fitting_every_third_frame_changes_little() -> None:
    landmarks, _, _ = made(n=12)
    whole = reconstructor(FITTED, "fixed").run(landmarks)
    some = reconstructor(dataclasses.replace(FITTED, fit_every=3), "fixed").run(landmarks)
    assert some.world_to_camera.shape == (12, 3, 4)
    assert np.abs(camera.pose_degrees(some.world_to_camera) - camera.pose_degrees(whole.world_to_camera)).max() < 2
    assert (some.mask ^ whole.mask).sum() / whole.mask.sum() < 0.04


@pytest.mark.slow
def test_smoothing_takes_jitter_and_leaves_the_raw_camera() -> None:
    landmarks, angles, _ = made(n=40)
    landmarks = landmarks + np.random.default_rng(0).normal(size=landmarks.shape)
    rough = reconstructor(FITTED, "fixed").run(landmarks)
    smooth = reconstructor(dataclasses.replace(FITTED, smooth_frames=1.5), "fixed").run(landmarks)

    def jitter(found) -> float:
        return float(np.abs(np.diff(camera.pose_degrees(found.world_to_camera), n=2, axis=0)).mean())

    assert jitter(smooth) < 0.4 * jitter(rough) and np.array_equal(smooth.raw_camera, rough.raw_camera)


def test_smoothing_is_symmetric() -> None:
    pulse = np.zeros((21, 1))
    pulse[10] = 1
    out = smoothed(pulse, 2.0)[:, 0]
    assert (
        np.allclose(out, out[::-1])
        and out.sum() == pytest.approx(1, abs=1e-6)
        and np.array_equal(smoothed(pulse, 0.0), pulse)
    )


@pytest.fixture
def real_files(tmp_path: Path):
    """Small files under the official names, from a network that always answers the same; its coefficients."""
    answer = np.zeros(257)
    answer[LAYOUT["angle"]], answer[LAYOUT["trans"]] = [0.1, -0.25, 0.05], [0.06, -0.04, 0.1]
    answer[80] = 0.3
    write_checkpoint(tmp_path / "epoch_20.pth", constant_network(answer))
    write_face_model(tmp_path)
    settings = MasksSettings(
        network=str(tmp_path / "epoch_20.pth"),
        morphable_model=str(tmp_path / "BFM_model_front.mat"),
        smooth_frames=0.0,
        batch=4,
    )
    return settings, answer


def test_the_real_backend_projects_what_the_network_says_as_computed_by_hand(real_files: tuple) -> None:
    settings, answer = real_files
    landmarks, _, _ = made(n=12)
    found = reconstructor(settings).run(landmarks, np.zeros((12, 256, 256, 3), np.uint8))
    for name, shape in SHAPES.items():
        assert getattr(found, name).shape == shape, name
    assert np.allclose(found.coefficients, answer, atol=1e-6)
    # by hand: row vectors, then Deep3D's crop of this very frame undone
    model = own_model()
    points = model.shape(np.zeros(80), answer[80:144], model.keypoints)
    ax, ay, az = answer[LAYOUT["angle"]]
    rx = np.array([[1, 0, 0], [0, np.cos(ax), -np.sin(ax)], [0, np.sin(ax), np.cos(ax)]])
    ry = np.array([[np.cos(ay), 0, np.sin(ay)], [0, 1, 0], [-np.sin(ay), 0, np.cos(ay)]])
    rz = np.array([[np.cos(az), -np.sin(az), 0], [np.sin(az), np.cos(az), 0], [0, 0, 1]])
    moved = points @ (rz @ ry @ rx).T + answer[LAYOUT["trans"]]
    in_crop = 1015 * moved[:, :2] / (10 - moved[:, 2:]) + 112
    crops = crop_for(five_of(landmarks), model.five_points(), 256)
    for i in (0, 7):
        scale, tx, ty = crops[i]
        by_hand = np.stack([(in_crop[:, 0] - 112) / scale + tx, 256 - ((in_crop[:, 1] - 112) / scale + ty)], axis=1)
        ours = camera.project(
            points, found.world_to_camera[i].astype(np.float64), found.intrinsics[i].astype(np.float64)
        )
        # each frame's crop became the clip's: the same picture but for the perspective of a slightly other focal length
        assert np.abs(ours - by_hand).max() < 1.0
        assert np.allclose(
            found.raw_camera[i], np.concatenate([answer[LAYOUT["angle"]], answer[LAYOUT["trans"]], crops[i]]), atol=1e-3
        )
    assert (found.intrinsics == found.intrinsics[0]).all() and found.mask.any(axis=(1, 2)).all()


def test_the_network_sees_the_aligned_crop(real_files: tuple, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, _ = real_files
    recon = Deep3DReconstructor(settings)
    landmarks, _, _ = made(n=2)
    frames = np.zeros((2, 256, 256, 3), np.uint8)
    for i in range(2):
        x, y = landmarks[i, 30].astype(int)
        frames[i, y - 3 : y + 4, x - 3 : x + 4] = [250, 120, 10]
    seen = []
    monkeypatch.setattr(
        recon.network,
        "forward",
        lambda images: (seen.append(images), recon.network.final_layers[0].bias.new_zeros(len(images), 257))[1],
    )
    recon.run(landmarks, frames)
    (images,) = seen
    assert images.shape == (2, 3, 224, 224) and 0.9 < images.max() <= 1.0
    lit = np.argwhere(images[0, 0].numpy() > 0.5).mean(axis=0)
    nose = own_model().five_points()[2]
    assert np.abs(lit - [112 - 102 * nose[1], 112 + 102 * nose[0]]).max() < 45  # about where the standard nose tip is
    assert images[0, 0].max() > images[0, 1].max() > images[0, 2].max()  # RGB


def test_missing_files_are_named_with_their_setting(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="masks.network"):
        reconstructor(MasksSettings(network=str(tmp_path / "no.pth")))
    write_checkpoint(tmp_path / "epoch_20.pth", constant_network(np.zeros(257)))
    settings = MasksSettings(
        network=str(tmp_path / "epoch_20.pth"), morphable_model=str(tmp_path / "BFM_model_front.mat")
    )
    with pytest.raises(MissingWeights, match="masks.morphable_model"):
        reconstructor(settings)
    write_face_model(tmp_path)
    (tmp_path / "similarity_Lm3D_all.mat").unlink()
    with pytest.raises(MissingWeights, match="similarity_Lm3D_all.mat"):
        reconstructor(settings)


def test_the_real_backend_needs_a_frame_for_each_landmark_set(real_files: tuple) -> None:
    with pytest.raises(ValueError, match="frame"):
        reconstructor(real_files[0]).run(made(n=3)[0])
