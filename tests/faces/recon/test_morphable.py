"""Our own face model is a face; files of BFM_model_front.mat's layout come back as they were."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from s3dnerf.faces.recon import anatomy, morphable
from s3dnerf.faces.recon.morphable import LAYOUT, MissingWeights, load_bfm, own_model
from s3dnerf.faces.recon.rasterise import boundary_loop
from tests.faces.tiny_models import write_bfm

MODEL = own_model()
POINTS = MODEL.mean[MODEL.keypoints]


def test_the_layout_has_257_coefficients_side_by_side() -> None:
    covered = np.concatenate([np.arange(257)[part] for part in LAYOUT.values()])
    assert covered.tolist() == list(range(257))
    assert [part.stop - part.start for part in LAYOUT.values()] == [80, 64, 80, 3, 27, 3]


def test_proportions_are_those_of_published_anthropometry() -> None:
    """Adult averages in units of 10 cm: face 1.35 wide, eyes 0.32 and 0.90 apart, nose 0.34 wide, mouth 0.51 wide, eyes
    to chin 1.1.
    """

    def between(a: int, b: int) -> float:
        return float(np.linalg.norm(POINTS[a] - POINTS[b]))

    for (a, b), size in {(1, 15): 1.40, (39, 42): 0.33, (36, 45): 0.84, (31, 35): 0.27, (48, 54): 0.49}.items():
        assert between(a, b) == pytest.approx(size, rel=0.12), (a, b)
    assert POINTS[36:48, 1].mean() - POINTS[8, 1] == pytest.approx(1.1, rel=0.08)
    assert MODEL.mean[:, 1].max() - MODEL.mean[:, 1].min() == pytest.approx(1.85, rel=0.1)


def test_the_mean_face_is_symmetric_centred_and_looks_forward() -> None:
    assert np.allclose(MODEL.mean.mean(axis=0), 0, atol=1e-12)
    assert np.allclose(POINTS[anatomy.MIRROR] * [-1, 1, 1], POINTS, atol=1e-3)
    # nose before eyes and mouth before ears
    assert POINTS[30, 2] > POINTS[[36, 45, 48, 54], 2].max() > POINTS[[0, 16], 2].max()
    assert POINTS[0, 0] < 0 < POINTS[16, 0] and POINTS[8, 1] < POINTS[57, 1] < POINTS[30, 1] < POINTS[19, 1]


def test_the_surface_is_one_sheet_facing_outward_with_a_mouth() -> None:
    a, b, c = np.moveaxis(MODEL.mean[MODEL.triangles], 1, 0)
    normals = np.cross(b - a, c - a)
    front = a[:, 2] > 0.1
    assert (normals[front, 2] > -0.2 * np.linalg.norm(normals[front], axis=1)).mean() > 0.99
    assert 2000 < len(MODEL.mean) < 4000 and len(np.unique(MODEL.triangles)) == len(MODEL.mean)
    edges = np.sort(MODEL.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    loops = int((counts == 1).sum())
    # the outline, and a hole between the lips
    assert counts.max() == 2 and loops > len(boundary_loop(MODEL.triangles)) > 50


def test_no_identity_mode_moves_turns_or_grows_the_whole_face() -> None:
    p = POINTS - POINTS.mean(axis=0)
    for k in range(80):
        field = MODEL.id_base[MODEL.keypoints][:, :, k]
        moved = p + field
        spread = np.sqrt((moved - moved.mean(axis=0)).var() / p.var())
        assert abs(field.mean(axis=0)).max() < 0.02 and spread == pytest.approx(1, abs=0.05)


def test_the_first_expression_opens_the_mouth_and_leaves_the_eyes_alone() -> None:
    opened = np.zeros((2, 64))
    opened[1, 0] = 1.0
    closed, wide = MODEL.shape(np.zeros(80), opened, MODEL.keypoints)
    gap = abs(np.linalg.norm(wide[62] - wide[66]) - np.linalg.norm(closed[62] - closed[66]))
    assert gap > 0.1 and np.abs(wide[36:48] - closed[36:48]).max() < 0.02


def test_it_is_built_the_same_each_time() -> None:
    again = own_model.__wrapped__()
    assert np.array_equal(again.mean, MODEL.mean) and np.array_equal(again.triangles, MODEL.triangles)
    assert np.array_equal(again.id_base, MODEL.id_base) and np.array_equal(again.exp_base, MODEL.exp_base)


def test_last_digits_do_not_turn_a_mode_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processors, other last digits: a mode and its coefficients must keep their sign."""
    model, free, random = own_model(), morphable._free, np.random.default_rng(0)

    def other_digits(*given: object) -> np.ndarray:
        covariance = free(*given)
        noise = random.standard_normal(covariance.shape)
        return covariance * (1 + 1e-13 * (noise + noise.T))

    monkeypatch.setattr(morphable, "_free", other_digits)
    again = own_model.__wrapped__()
    for name in ("id_base", "exp_base"):
        before, after = (getattr(m, name).reshape(-1, getattr(m, name).shape[-1]) for m in (model, again))
        along = (before * after).sum(axis=0) / np.sqrt((before**2).sum(axis=0) * (after**2).sum(axis=0))
        assert not np.array_equal(before, after) and along.min() > 0.99, (name, np.flatnonzero(along < 0.99))


def test_the_box_holds_the_mean_head_with_15_percent_to_spare() -> None:
    box = MODEL.box()
    reach = np.abs(MODEL.mean - box[:3]).max()
    assert reach * 1.15 == pytest.approx(box[3])


def test_a_file_of_the_official_layout_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "BFM_model_front.mat"
    write_bfm(path, MODEL)
    held = loadmat(str(path))
    n = len(MODEL.mean)
    assert (
        held["meanshape"].shape == (1, 3 * n)
        and held["idBase"].shape == (3 * n, 80)
        and held["exBase"].shape == (3 * n, 64)
    )
    assert held["tri"].min() == 1 and held["keypoints"].shape == (1, 68)
    back = load_bfm(path)
    assert (
        np.allclose(back.mean, MODEL.mean)
        and np.array_equal(back.triangles, MODEL.triangles)
        and np.array_equal(back.keypoints, MODEL.keypoints)
    )
    rng = np.random.default_rng(0)
    alpha, beta = rng.normal(size=80), rng.normal(size=64)
    by_hand = (held["meanshape"].ravel() + held["idBase"] @ alpha + held["exBase"] @ beta).reshape(n, 3)
    assert np.allclose(back.shape(alpha, beta), by_hand - held["meanshape"].reshape(n, 3).mean(axis=0))


def test_a_missing_or_different_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights, match="masks.morphable_model") as error:
        load_bfm(tmp_path / "BFM_model_front.mat")
    assert (
        "Basel Face Model" in str(error.value)
        and "non-commercial" in str(error.value)
        and "masks.backend: fitted" in str(error.value)
    )
    savemat(str(tmp_path / "other.mat"), {"meanshape": np.zeros((1, 9))})
    with pytest.raises(ValueError, match="idBase"):
        load_bfm(tmp_path / "other.mat")
