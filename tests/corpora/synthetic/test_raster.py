"""The fast rasteriser against the plain one."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.corpora.synthetic.raster import rasterize, rasterize_reference


@pytest.mark.parametrize("size,centre", [((24, 30), (15.0, 12.0)), ((31, 20), (4.5, 20.25))])
def test_values_and_depth_equal_the_reference(size: tuple[int, int], centre: tuple[float, float]) -> None:
    random = np.random.default_rng(1)
    points = np.concatenate([random.uniform(-2, 2, (40, 2)), random.uniform(6, 9, (40, 1))], 1)
    triangles = random.integers(0, 40, (25, 3)).astype(np.int32)
    triangles = triangles[[len(set(t)) == 3 for t in triangles.tolist()]]
    values = random.uniform(-3, 300, (40, 3))
    fast, depth = rasterize(points, triangles, values, 60.0, centre, size)
    plain, z = rasterize_reference(points, triangles, values, 60.0, centre, size)
    drawn = np.isfinite(z)
    assert drawn.mean() > 0.3
    same = np.abs(fast - plain).max(-1) < 0.05
    assert ((depth < 1) == drawn).mean() > 0.99  # a pixel centre on an edge may fall either way
    assert same.mean() > 0.985


def test_what_stands_in_front_hides_what_is_behind_and_depth_carries_over() -> None:
    square = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]], float)
    triangles = np.array([[0, 1, 2], [1, 3, 2]], np.int32)

    def at(z: float) -> np.ndarray:
        return np.concatenate([square, np.full((4, 1), z)], 1)

    far, depth = rasterize(at(8.0), triangles, np.full((4, 3), 5.0), 40.0, (8, 8), (16, 16))
    near, _ = rasterize(at(7.0), triangles, np.full((4, 3), 7.0), 40.0, (8, 8), (16, 16), depth.copy())
    hidden, _ = rasterize(at(9.0), triangles, np.full((4, 3), 9.0), 40.0, (8, 8), (16, 16), depth.copy())
    assert far[8, 8, 0] == pytest.approx(5, abs=1e-4) and near[8, 8, 0] == pytest.approx(7, abs=1e-4)
    assert hidden[8, 8, 0] == 0 and far[0, 0, 0] == 0
