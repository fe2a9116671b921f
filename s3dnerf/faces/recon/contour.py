"""Which vertex a jaw landmark sits on: the visible silhouette slides over the cheek as the head turns.

For each of the 17 jaw landmarks a path of vertices is laid over our own model, from the anatomical jaw line inward over
the cheek. In a given pose the landmark sits on the path's outermost vertex in the picture: on the side turned away that
is some way inward, on the side turned to the camera it is the path's end, the jaw line itself.
"""

from __future__ import annotations

import functools

import numpy as np
from scipy.spatial import cKDTree

from s3dnerf.faces.recon import anatomy
from s3dnerf.faces.recon.morphable import own_model

PATH = 9  # vertices a path
# how far a path goes to the midline, jaw points 0–7
INWARD = np.array([0.75, 0.72, 0.68, 0.62, 0.55, 0.42, 0.25, 0.12])


@functools.cache
def contour_paths() -> np.ndarray:
    """Vertices int (17, 9) of our own model that each jaw landmark may sit on, the anatomical one first."""
    c = anatomy.controls()
    model = own_model()
    vertex_uv = anatomy.unroll(model.mean + (c.xyz[27] - model.mean[27]))
    tree = cKDTree(vertex_uv)
    paths = []
    for i in range(17):
        j = min(i, 16 - i)
        start = c.uv[i]
        if j == 8:
            end = start + [0, 0.06]
        else:
            end = np.array([start[0] * (1 - INWARD[j]), start[1] + 0.10 * (j >= 5)])
        line = start + (end - start) * np.linspace(0, 1, PATH)[:, None]
        found = tree.query(line)[1]
        found[0] = i
        paths.append(found)
    return np.array(paths)


def outward(roll: np.ndarray) -> np.ndarray:
    """Unit vectors (N, 17, 2), y down: which way is out of the face at each jaw landmark, for head rolls (N,) in
    radians.
    """
    angle = np.linspace(np.pi, 0.0, 17)  # ear … chin … ear
    base = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    base[:5], base[12:] = [-1, 0.0], [1, 0.0]
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.stack([c * base[:, 0] + s * base[:, 1], -s * base[:, 0] + c * base[:, 1]], axis=-1)


def outermost(pixels: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """The outermost vertex of each path: int (N, 17) positions in the paths, for their pixels (N, 17, p, 2)."""
    return np.einsum("njpk,njk->njp", pixels, outward(roll)).argmax(axis=-1)
