"""The masks stage: the contract's parts from aligned landmarks, and clips that are no face left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from s3dnerf.faces import camera
from s3dnerf.faces.recon.morphable import LAYOUT, own_model
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import MasksSettings
from s3dnerf.video.encoding import encode_clip
from s3dnerf.video.packs import INDEX_COLUMNS, write_pack, write_table
from stages import masks
from stages.masks import CONTOUR, masks_of
from stages.preprocessing import PackJob, Quarantine
from tests.faces.recon.test_fit import made
from tests.faces.tiny_models import constant_network, write_checkpoint, write_face_model

SETTINGS = preset_settings("sample")
PARTS = {
    "coefficients.npy": ((14, 257), np.float32),
    "world_to_camera.npy": ((14, 3, 4), np.float32),
    "intrinsics.npy": ((14, 3, 3), np.float32),
    "box.npy": ((4,), np.float32),
    "raw_camera.npy": ((14, 9), np.float32),
    "mask.npy": ((14, 256, 32), np.uint8),
}


def job_for(folder: Path, clips: dict[str, np.ndarray], settings=SETTINGS) -> PackJob:
    mp4 = encode_clip([np.full((256, 256, 3), 90, np.uint8)] * 14, 30)
    rows = write_pack(
        folder / "align" / "hdtf-0000.tar",
        {c: {"landmarks.npy": p.astype(np.float32), "mp4": mp4} for c, p in clips.items()},
    )
    write_table(folder / "align" / "index.parquet", [{"pack": "hdtf-0000", **r} for r in rows], INDEX_COLUMNS)
    return PackJob(
        "masks", "hdtf", "hdtf-0000", tuple({"clip": c} for c in clips), {"align": str(folder / "align")}, "", settings
    )


def test_parts_have_the_contract_s_shapes_and_types(tmp_path: Path) -> None:
    landmarks, _, _ = made(n=14)
    (result,) = masks.process(job_for(tmp_path, {"hdtf_a": landmarks}))
    assert result.reason == "" and set(result.parts) == set(PARTS)
    for kind, (shape, dtype) in PARTS.items():
        assert result.parts[kind].shape == shape and result.parts[kind].dtype == dtype, kind
    unpacked = np.unpackbits(result.parts["mask.npy"], axis=-1)[..., :256].astype(bool)
    assert np.array_equal(unpacked, reconstructor(SETTINGS.masks).run(landmarks.astype(np.float32)).mask)
    # what downstream will do with it: the head's points land on the landmarks
    c, model = result.parts["coefficients.npy"].astype(float), own_model()
    points = model.shape(c[:, LAYOUT["id"]], c[:, LAYOUT["exp"]], model.keypoints[17:])
    pixels = camera.project(
        points, result.parts["world_to_camera.npy"].astype(float), result.parts["intrinsics.npy"].astype(float)
    )
    assert np.linalg.norm(pixels - landmarks[:, 17:], axis=2).mean() < 2
    # and the cube that the rays are bounded by holds the mean head
    assert np.abs(model.mean - result.parts["box.npy"][:3]).max() < result.parts["box.npy"][3]


def test_landmarks_that_are_no_face_stop_here_and_spoil_no_other_clip(tmp_path: Path) -> None:
    landmarks, _, _ = made(n=14)
    nonsense = np.random.default_rng(0).uniform(20, 236, (14, 68, 2))
    results = {r.clip: r for r in masks.process(job_for(tmp_path, {"hdtf_bad": nonsense, "hdtf_good": landmarks}))}
    assert (
        results["hdtf_bad"].reason == "fit_failed"
        and "px" in results["hdtf_bad"].detail
        and results["hdtf_good"].reason == ""
    )


def test_the_same_landmarks_give_the_same_bytes() -> None:
    landmarks, _, _ = made(n=14)
    recon = reconstructor(SETTINGS.masks)
    first, second = masks_of(landmarks, None, recon), masks_of(landmarks, None, recon)
    assert all(np.array_equal(first[kind], second[kind]) for kind in first)


def test_the_real_network_gives_the_same_parts(tmp_path: Path) -> None:
    answer = np.zeros(257)
    answer[LAYOUT["angle"]] = [0.05, 0.1, 0.0]
    write_checkpoint(tmp_path / "epoch_20.pth", constant_network(answer))
    write_face_model(tmp_path)
    real = MasksSettings(network=str(tmp_path / "epoch_20.pth"), morphable_model=str(tmp_path / "BFM_model_front.mat"))
    settings = dataclasses.replace(SETTINGS, masks=real)
    assert {p.name for p in masks.SPEC.weights(settings)} == {
        "epoch_20.pth",
        "BFM_model_front.mat",
        "similarity_Lm3D_all.mat",
    }
    model = own_model()
    seen = camera.project(
        model.mean[model.keypoints],
        camera.world_to_camera(answer[LAYOUT["angle"]], np.zeros(3)),
        camera.intrinsics(np.array([1.0, 128.0, 124.0]), 256),
    )
    (result,) = masks.process(job_for(tmp_path, {"hdtf_a": np.repeat(seen[None], 14, axis=0)}, settings))
    assert result.reason == "" and np.allclose(result.parts["coefficients.npy"], answer, atol=1e-6)
    for kind, (shape, dtype) in PARTS.items():
        assert result.parts[kind].shape == shape and result.parts[kind].dtype == dtype, kind
    (result,) = masks.process(job_for(tmp_path, {"hdtf_b": np.repeat(seen[None, ::-1], 14, axis=0)}, settings))
    assert result.reason == "fit_failed"  # the network's face is not where the landmarks are


def test_an_empty_mask_is_a_failed_fit() -> None:
    class Off:
        needs_frames = False

        def run(self, landmarks, frames=None):
            found = reconstructor(SETTINGS.masks).run(landmarks)
            return dataclasses.replace(found, mask=found.mask & False)

    with pytest.raises(Quarantine) as bad:
        masks_of(made(n=14)[0], None, Off())
    assert bad.value.reason == "fit_failed" and "empty" in bad.value.detail


def test_the_contour_of_each_detector_is_known() -> None:
    from s3dnerf.faces.dlib_backend import DlibBackend
    from s3dnerf.faces.insightface_backend import InsightFaceBackend

    assert {"dlib": DlibBackend.contour, "insightface": InsightFaceBackend.contour} == CONTOUR
