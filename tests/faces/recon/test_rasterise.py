"""The mask is the face: mouth filled, hair and neck outside, the same as a plain reference says."""

from __future__ import annotations

import numpy as np

from s3dnerf.faces import camera
from s3dnerf.faces.recon.morphable import own_model
from s3dnerf.faces.recon.rasterise import MaskPainter, boundary_loop, cover, draw

MODEL = own_model()
K = camera.intrinsics(np.array([1.0, 128.0, 128.0]), 256)


def mask_at(
    yaw: float = 0.0, pitch: float = 0.0, expression: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    expression = np.zeros((1, 64)) if expression is None else expression[None]
    w2c = camera.world_to_camera(np.radians([[pitch, yaw, 0.0]]), np.zeros((1, 3)))
    pixels = camera.project(MODEL.shape(np.zeros(80), expression, MODEL.keypoints), w2c, K)[0]
    return MaskPainter(MODEL, 256).paint(np.zeros(80), expression, w2c, K)[0], pixels


def by_pixel(points: np.ndarray, triangles: np.ndarray, size: int) -> np.ndarray:
    """A plain reference: is a pixel's centre in some triangle?"""
    y, x = np.mgrid[:size, :size] + 0.5
    mask = np.zeros((size, size), bool)
    for a, b, c in points[triangles]:
        side = [(q[0] - p[0]) * (y - p[1]) - (q[1] - p[1]) * (x - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        mask |= (side[0] >= 0) & (side[1] >= 0) & (side[2] >= 0) | (side[0] <= 0) & (side[1] <= 0) & (side[2] <= 0)
    return mask


def test_drawing_agrees_with_a_plain_reference_but_for_the_edge() -> None:
    rng = np.random.default_rng(0)
    points, triangles = rng.uniform(4, 60, (12, 2)), rng.integers(0, 12, (7, 3))
    drawn, reference = draw(points, triangles, 64), by_pixel(points, triangles, 64)
    grown = np.zeros((68, 68), bool)
    for dy in range(5):
        for dx in range(5):
            grown[dy : dy + 64, dx : dx + 64] |= reference
    assert not (reference & ~drawn).any() and not (drawn & ~grown[2:-2, 2:-2]).any() and reference.sum() > 200


def test_an_open_mouth_is_no_hole() -> None:
    opened = np.zeros(64)
    opened[0] = 1.5
    for expression in (opened, -opened):
        mask, pixels = mask_at(expression=expression)
        middle = pixels[[62, 66]].mean(axis=0).astype(int)
        assert mask[middle[1] - 2 : middle[1] + 3, middle[0] - 5 : middle[0] + 6].all()
    filled = mask_at()[0]
    outline = np.flatnonzero(filled.any(axis=1))
    assert all(np.ptp(np.flatnonzero(filled[row])) + 1 == filled[row].sum() for row in outline)  # no row has a gap


def test_the_mask_holds_the_face_and_leaves_out_hair_and_neck() -> None:
    for yaw in (-35, 0, 35):
        mask, pixels = mask_at(yaw)
        inner = pixels[17:].astype(int)
        assert mask[inner[:, 1], inner[:, 0]].all()
        eyes, chin = pixels[36:48, 1].mean(), pixels[8, 1]
        rows = np.flatnonzero(mask.any(axis=1))
        assert eyes - 0.5 * (chin - eyes) < rows[0] < eyes - 0.25 * (chin - eyes)  # forehead, not the hair
        assert abs(rows[-1] - chin) < 8


def test_a_turned_head_s_mask_has_its_nose_beyond_the_far_cheek() -> None:
    mask, pixels = mask_at(75)
    nose = pixels[30].astype(int)
    assert mask[nose[1], nose[0] - 1]


def test_the_cover_is_small_and_reaches_the_edge() -> None:
    chosen = cover(MODEL)
    points = chosen.of(MODEL.mean)
    assert len(points) < 400 and chosen.triangles.max() < len(points) and np.allclose(chosen.barycentric.sum(axis=1), 1)
    assert (
        points[:, 1].max() < MODEL.mean[:, 1].max() - 0.15 and abs(points[:, 1].min() - MODEL.mean[:, 1].min()) < 0.02
    )
    assert np.abs(np.ptp(points[:, 0]) - np.ptp(MODEL.mean[:, 0])) < 0.03


def test_boundary_of_a_sheet_with_a_hole_is_its_outline() -> None:
    n = 5
    at = np.arange(n * n).reshape(n, n)
    quads = [
        (at[i, j], at[i, j + 1], at[i + 1, j + 1], at[i + 1, j])
        for i in range(n - 1)
        for j in range(n - 1)
        if (i, j) != (1, 1)
    ]
    triangles = np.array([t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))])
    assert sorted(boundary_loop(triangles)) == sorted({*at[0], *at[-1], *at[:, 0], *at[:, -1]})
