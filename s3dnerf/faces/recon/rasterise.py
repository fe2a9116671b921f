"""The inner-face mask: the projected face surface with the mouth filled, hair and neck outside.

A mask needs the outline, not the detail: the surface is covered by a few hundred large triangles over chosen points
(the edge, the features, an even choice between), laid over the mouth as well, since an open mouth is not a hole: teeth
need supervision. Their union is drawn; which triangle is in front does not matter to a union.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import Delaunay

from s3dnerf.faces import camera
from s3dnerf.faces.recon.morphable import MorphableModel, polygon_contains

INSIDE_POINTS = 220  # vertices chosen inside the edge
EDGE_POINTS = 96  # and along it
FOREHEAD = (
    0.33  # the mask ends so far above the eyes (units of the distance from eyes to chin), so that hair stays outside …
)
TEMPLES = 0.60  # … and lower by this share at the sides
FRACTION_BITS = 4  # sub-pixel steps of the drawing: 1/16 px


def boundary_loop(triangles: np.ndarray) -> np.ndarray:
    """The longest closed edge of a triangle mesh (t, 3): its vertices in order."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    keys = np.sort(edges, axis=1)
    _, first, counts = np.unique(keys, axis=0, return_index=True, return_counts=True)
    following: dict[int, list[int]] = {}
    for a, b in edges[first[counts == 1]]:
        following.setdefault(int(a), []).append(int(b))
    best: list[int] = []
    while following:
        start = min(following)
        loop, at = [], start
        while at in following:
            ahead = following[at].pop()
            if not following[at]:
                del following[at]
            loop.append(at)
            at = ahead
        if len(loop) > len(best):
            best = loop
    return np.array(best)


def _unrolled(points: np.ndarray) -> np.ndarray:
    """(n, 3) → (n, 2): a face opened about an axis behind its ears; no fold."""
    return np.stack([0.6 * np.arctan2(points[:, 0], points[:, 2] - points[:, 2].min() + 0.1), points[:, 1]], axis=1)


def _hair_line(model: MorphableModel, x: np.ndarray) -> np.ndarray:
    """Height (…,) at which the mask ends, by the mean face, over positions x (…,) across it."""
    points = model.mean[model.keypoints]
    eyes, chin, half = points[36:48, 1].mean(), points[8, 1], np.abs(points[[0, 16], 0]).mean()
    return eyes + FOREHEAD * (eyes - chin) * (1 - TEMPLES * np.minimum(np.abs(x) / half, 1) ** 2)


@dataclass(frozen=True)
class Cover:
    """Few points on a model's surface and triangles over them, without a hole for mouth or eyes.

    Attributes
    ----------
    vertices : int (m, 3) and barycentric : float64 (m, 3)
        Each point is a mean of three vertices.
    triangles : int (t, 3)
    """

    vertices: np.ndarray
    barycentric: np.ndarray
    triangles: np.ndarray

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values (n, …) of the model's vertices at the points: (m, …)."""
        return np.einsum("mk,mk...->m...", self.barycentric, values[self.vertices])


def cover(model: MorphableModel) -> Cover:
    """The cover of a model's face: from the hair line to its edge below, the edge as smooth as the line is."""
    uv = _unrolled(model.mean)
    edge = model.mean[boundary_loop(model.triangles)]
    edge_uv = _unrolled(np.concatenate([edge, model.mean]))[: len(edge)]  # the same axis as for all vertices
    edge_uv[:, 1] = np.minimum(edge_uv[:, 1], _hair_line(model, edge[:, 0]))
    steps = np.linalg.norm(np.diff(np.concatenate([edge_uv, edge_uv[:1]]), axis=0), axis=1)
    along = np.concatenate([[0], np.cumsum(steps)])
    closed = np.concatenate([edge_uv, edge_uv[:1]])
    rim = np.stack(
        [np.interp(np.linspace(0, along[-1], EDGE_POINTS, endpoint=False), along, c) for c in closed.T], axis=1
    )
    sheet = Delaunay(uv)
    middle = rim.mean(axis=0)
    for _ in range(20):  # a point on the sheet's very edge may lie outside it by rounding
        found = sheet.find_simplex(rim)
        rim = np.where((found < 0)[:, None], middle + 0.998 * (rim - middle), rim)
        if (found >= 0).all():
            break
    transform = sheet.transform[found]
    first = np.einsum("mij,mj->mi", transform[:, :2], rim - transform[:, 2])
    inside = polygon_contains(uv, rim) & (np.min(np.linalg.norm(uv[:, None] - rim, axis=2), axis=1) > 0.02)
    chosen = [int(v) for v in model.keypoints[17:60] if inside[v]]
    distance = np.min(np.linalg.norm(uv[:, None] - np.concatenate([rim, uv[chosen]]), axis=2), axis=1)
    for _ in range(INSIDE_POINTS):  # farthest point first: an even choice
        vertex = int(np.argmax(np.where(inside, distance, -1)))
        chosen.append(vertex)
        distance = np.minimum(distance, np.linalg.norm(uv - uv[vertex], axis=1))
    inner = np.array(list(dict.fromkeys(chosen)))
    triangles = Delaunay(np.concatenate([rim, uv[inner]])).simplices
    places = np.concatenate([rim, uv[inner]])
    return Cover(
        vertices=np.concatenate([sheet.simplices[found], np.repeat(inner[:, None], 3, axis=1)]),
        barycentric=np.concatenate(
            [np.column_stack([first, 1 - first.sum(axis=1)]), np.tile([1.0, 0.0, 0.0], (len(inner), 1))]
        ),
        triangles=triangles[polygon_contains(places[triangles].mean(axis=1), rim)],
    )


def draw(pixels: np.ndarray, triangles: np.ndarray, size_px: int) -> np.ndarray:
    """Union of triangles as bool (size, size).

    Parameters
    ----------
    pixels : float (m, 2), pixel i covers [i, i + 1)
    triangles : int (t, 3)
    """
    mask = np.zeros((size_px, size_px), np.uint8)
    corners = np.round((pixels - 0.5) * (1 << FRACTION_BITS)).astype(np.int32)[triangles]  # OpenCV counts pixel centres
    for corner in corners:
        cv2.fillConvexPoly(mask, corner, 1, lineType=cv2.LINE_8, shift=FRACTION_BITS)
    return mask.astype(bool)


def draw_all(pixels: np.ndarray, triangles: np.ndarray, size_px: int) -> np.ndarray:
    """Masks bool (N, size, size) of projected vertices (N, m, 2)."""
    return np.stack([draw(frame, triangles, size_px) for frame in pixels])


class MaskPainter:
    """Draws the inner-face mask of a model from coefficients and cameras."""

    def __init__(self, model: MorphableModel, size_px: int) -> None:
        self.size_px = size_px
        chosen = cover(model)
        self.triangles = chosen.triangles
        self._mean, self._id_base, self._exp_base = (
            chosen.of(values) for values in (model.mean, model.id_base, model.exp_base)
        )

    def paint(
        self, identity: np.ndarray, expression: np.ndarray, world_to_camera: np.ndarray, intrinsics: np.ndarray
    ) -> np.ndarray:
        """Masks bool (N, size, size); identity (80,), expression (N, 64), cameras (N, 3, 4), intrinsics (3, 3) or (N,
        3, 3).
        """
        points = (
            self._mean
            + self._id_base @ identity
            + (expression @ self._exp_base.reshape(-1, expression.shape[1]).T).reshape(
                len(expression), *self._mean.shape
            )
        )
        return draw_all(camera.project(points, world_to_camera, intrinsics), self.triangles, self.size_px)
