"""Morphable face models: Deep3DFaceRecon's 257-coefficient layout, its file, and our own model in the same layout.

A shape is ``mean + id_base·α + exp_base·β`` (α 80, β 64), a texture ``mean_tex + tex_base·γ`` (80). Our own model is
built in a fraction of a second from :mod:`s3dnerf.faces.recon.anatomy`, always the same.

Reads ``BFM_model_front.mat`` (Deep3DFaceRecon's; licence-bound, by the user); writes nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.interpolate import RBFInterpolator
from scipy.spatial import Delaunay, cKDTree

from s3dnerf.core.errors import MissingWeights
from s3dnerf.faces.recon import anatomy

ID, EXP, TEX = 80, 64, 80
LAYOUT = {
    "id": slice(0, 80),
    "exp": slice(80, 144),
    "tex": slice(144, 224),
    "angle": slice(224, 227),
    "gamma": slice(227, 254),
    "trans": slice(254, 257),
}
COEFFICIENTS = 257
BFM_WHERE = (
    "Basel Face Model 2009 (faces.dmi.unibas.ch), converted by s3dnerf fetch deep3d --from FOLDER "
    "(s3dnerf fetch deep3d says the steps)"
)
BFM_LICENCE = "Basel Face Model: non-commercial, by application; never redistributed"
STANDARD_POINTS = "similarity_Lm3D_all.mat"  # Deep3DFaceRecon's, beside its model file
SPACING = 0.036  # of the vertices on the unrolled face
BOX_SPARE = 0.15  # the box holds the mean head with so much to spare


@dataclass(frozen=True)
class MorphableModel:
    """A face model of n vertices in the canonical head frame (units of 10 cm, origin in the vertices' mean).

    Attributes
    ----------
    mean : float64 (n, 3)
    id_base, exp_base : float64 (n, 3, 80), (n, 3, 64)
    mean_tex : float64 (n, 3), 0–255
    tex_base : float64 (n, 3, 80)
    triangles : int (t, 3), 0-based
    keypoints : int (68,), 0-based vertices of the 68 landmarks
    name : str
    """

    mean: np.ndarray
    id_base: np.ndarray
    exp_base: np.ndarray
    mean_tex: np.ndarray
    tex_base: np.ndarray
    triangles: np.ndarray
    keypoints: np.ndarray
    name: str

    def shape(
        self, identity: np.ndarray, expression: np.ndarray, vertices: np.ndarray | slice = slice(None)
    ) -> np.ndarray:
        """Vertices (…, n, 3) for coefficients (…, 80) and (…, 64), all of them or those asked for."""
        base_id, base_exp = self.id_base[vertices], self.exp_base[vertices]
        n = len(base_id)
        moved = identity @ base_id.reshape(3 * n, -1).T + expression @ base_exp.reshape(3 * n, -1).T
        return self.mean[vertices] + moved.reshape(*moved.shape[:-1], n, 3)

    def five_points(self) -> np.ndarray:
        """The 5 standard points (5, 3) for alignment: left eye, right eye, nose tip, mouth corners (in the image)."""
        return five_of(self.mean[self.keypoints])

    def box(self) -> np.ndarray:
        """Centre and half side (4,) of the cube that holds the mean head with 15 % to spare, canonical frame."""
        low, high = self.mean.min(axis=0), self.mean.max(axis=0)
        return np.append((low + high) / 2, (1 + BOX_SPARE) * (high - low).max() / 2)


def five_of(points: np.ndarray) -> np.ndarray:
    """68 landmarks (…, 68, d) → 5 points (…, 5, d): eye centres (of their corners), nose tip 30, mouth corners 48 and
    54.
    """
    eyes = [(points[..., a, :] + points[..., b, :]) / 2 for a, b in ((36, 39), (42, 45))]
    return np.stack([*eyes, points[..., 30, :], points[..., 48, :], points[..., 54, :]], axis=-2)


def recentred(mean: np.ndarray) -> np.ndarray:
    """Vertices (n, 3) with their mean in the origin."""
    return mean - mean.mean(axis=0)


def read_mat(path: str | Path) -> dict[str, np.ndarray]:
    """A MATLAB file's arrays by name. Raises ValueError where it is none: nothing in a file is executed."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        return loadmat(str(path))
    except (
        MatReadError,
        ValueError,
        LookupError,
        TypeError,
        NotImplementedError,
        EOFError,
    ) as error:  # which one: by where scipy fails
        raise ValueError(f"{path}: cannot be read as a MATLAB file of version 4 to 7: {error}") from error


def load_bfm(path: str | Path | None, setting: str = "masks.morphable_model") -> MorphableModel:
    """A file of BFM_model_front.mat's layout: meanshape (1, 3n), idBase (3n, 80), exBase (3n, 64), meantex, texBase,
    tri, keypoints.

    Raises MissingWeights when it is absent, ValueError naming the field when its layout is another.
    """
    if path is None or not Path(path).is_file():
        raise MissingWeights(setting, path, BFM_WHERE, BFM_LICENCE, "masks.backend: fitted uses our own model")
    data = read_mat(path)
    wanted = ("meanshape", "idBase", "exBase", "meantex", "texBase", "tri", "keypoints")
    absent = [key for key in wanted if key not in data]
    if absent:
        raise ValueError(f"{path}: no {', '.join(absent)}: expected the layout of BFM_model_front.mat")
    n = data["meanshape"].size // 3
    for key, width in (("idBase", ID), ("exBase", EXP), ("texBase", TEX)):
        if data[key].shape != (3 * n, width):
            raise ValueError(f"{path}: {key} has shape {data[key].shape}, expected {(3 * n, width)}")
    if data["keypoints"].size != 68:
        raise ValueError(f"{path}: {data['keypoints'].size} keypoints, expected 68")
    return MorphableModel(
        mean=recentred(data["meanshape"].astype(np.float64).reshape(n, 3)),
        id_base=data["idBase"].astype(np.float64).reshape(n, 3, ID),
        exp_base=data["exBase"].astype(np.float64).reshape(n, 3, EXP),
        mean_tex=data["meantex"].astype(np.float64).reshape(n, 3),
        tex_base=data["texBase"].astype(np.float64).reshape(n, 3, TEX),
        triangles=data["tri"].astype(np.int64) - 1,
        keypoints=data["keypoints"].astype(np.int64).ravel() - 1,
        name=Path(path).name,
    )


def polygon_contains(points: np.ndarray, polygon: np.ndarray) -> np.ndarray:
    """Whether points (n, 2) lie inside a polygon (m, 2), by crossings."""
    a, b = polygon, np.roll(polygon, -1, axis=0)
    crosses = (a[:, 1] > points[:, None, 1]) != (b[:, 1] > points[:, None, 1])
    with np.errstate(divide="ignore", invalid="ignore"):
        at = (b[:, 0] - a[:, 0]) * (points[:, None, 1] - a[:, 1]) / (b[:, 1] - a[:, 1]) + a[:, 0]
    return ((crosses & (points[:, None, 0] < at)).sum(axis=1) % 2).astype(bool)


def _outline(c: anatomy.Controls) -> np.ndarray:
    """The face's edge on the unrolled face, as control numbers, all the way round."""
    at = {name: i for i, name in enumerate(c.names)}
    right = [
        "under_0",
        *(f"under_{i}.r" for i in range(1, 6)),
        "ear.r",
        "ear_top.r",
        "temple_back.r",
        *(f"hairline_{k}.r" for k in "dcba"),
    ]
    left = [name[:-2] + ".l" for name in right[:0:-1]]
    return np.array([at[name] for name in [*right, "hairline", *left]])


def _points_between(polyline: np.ndarray, spacing: float) -> np.ndarray:
    """Points along a polyline (m, 2), corners included, at most ``spacing`` apart."""
    parts = [polyline[:1]]
    for a, b in zip(polyline[:-1], polyline[1:]):
        steps = max(int(np.ceil(np.linalg.norm(b - a) / spacing)), 1)
        parts.append(a + (b - a) * np.arange(1, steps + 1)[:, None] / steps)
    return np.concatenate(parts)


def _mesh(c: anatomy.Controls) -> tuple[np.ndarray, np.ndarray]:
    """Vertices on the unrolled face (n, 2), the 68 landmarks first, and triangles (t, 3); a hole between the lips."""
    edge = c.uv[_outline(c)]
    rim = _points_between(np.concatenate([edge, edge[:1]]), SPACING)[:-1]
    upper, lower = c.uv[[60, 61, 62, 63, 64]], c.uv[[60, 67, 66, 65, 64]]
    lips = np.concatenate([_points_between(line, SPACING * 0.6) for line in (upper, lower)])
    low, high = edge.min(axis=0), edge.max(axis=0)
    rows = np.arange(low[1], high[1], SPACING * np.sqrt(0.75))
    half = np.arange(0.5 * SPACING, high[0], SPACING)
    grid = np.concatenate(
        [
            np.stack(np.broadcast_arrays(line, row), axis=1)
            for i, row in enumerate(rows)
            for line in [np.concatenate([-half[::-1], half]) + (0.5 * SPACING if i % 2 else 0.0)]
        ]
    )
    mouth = np.concatenate([upper, lower[-2:0:-1]])
    grid = grid[polygon_contains(grid, edge) & ~polygon_contains(grid, mouth)]
    points = c.uv.copy()
    for extra in (lips, rim, grid):
        distance, _ = cKDTree(points).query(extra)
        points = np.concatenate([points, extra[distance > (0.02 if extra is not grid else 0.62) * SPACING]])
    triangles = Delaunay(points).simplices
    middle = points[triangles].mean(axis=1)
    a, b, d = np.moveaxis(points[triangles], 1, 0)
    area = (b - a)[:, 0] * (d - a)[:, 1] - (b - a)[:, 1] * (d - a)[:, 0]
    keep = polygon_contains(middle, edge) & ~polygon_contains(middle, mouth) & (np.abs(area) > 1e-9)
    triangles, area = triangles[keep], area[keep]
    triangles[area < 0] = triangles[area < 0][:, [0, 2, 1]]  # all turn the same way: outward normals
    return points, triangles


def _modes(c: anatomy.Controls, designed: list[np.ndarray], free: np.ndarray, count: int, rigid: bool) -> np.ndarray:
    """The ``count`` strongest modes (c, 3, count) of a covariance: designed fields and a free part, one deviation
    each.
    """
    n = len(c.xyz)
    fields = np.stack(designed).reshape(len(designed), 3 * n)
    covariance = fields.T @ fields + free
    if rigid:  # what moves, turns or grows the whole face is the camera's business, not the face's
        p = c.xyz - c.xyz.mean(axis=0)
        generators = [np.tile(axis, (n, 1)) for axis in np.eye(3)] + [np.cross(axis, p) for axis in np.eye(3)] + [p]
        q, _ = np.linalg.qr(np.stack(generators).reshape(7, -1).T)
        keep = np.eye(3 * n) - q @ q.T
        covariance = keep @ covariance @ keep
    values, vectors = np.linalg.eigh(covariance)
    order = np.argsort(values)[::-1][:count]
    vectors = vectors[:, order]
    # a sign of our own, not LAPACK's: that of the first of the largest entries. In every second mode the largest has a
    # mirror image on the face's other side, with the other sign, and which of the two is larger is left to last digits
    largest = np.abs(vectors) > 0.999 * np.abs(vectors).max(axis=0)
    vectors = vectors * np.where(vectors[largest.argmax(axis=0), np.arange(count)] < 0, -1, 1)
    return (vectors * np.sqrt(np.maximum(values[order], 0))).reshape(n, 3, count)


def _free(c: anatomy.Controls, deviation: np.ndarray, length: float, asymmetry: float) -> np.ndarray:
    """Covariance (3 c, 3 c) of smooth random displacement: ``deviation`` (c,) in 10 cm, correlated over ``length``."""

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * ((a[:, None] - b[None]) ** 2).sum(-1) / length**2)

    direct, mirrored = kernel(c.xyz, c.xyz), kernel(c.xyz, c.xyz * [-1, 1, 1])
    scale = deviation[:, None] * deviation[None]
    blocks = []
    for sign in (-1, 1, 1):
        even, odd = (direct + sign * mirrored) / 2, (direct - sign * mirrored) / 2
        blocks.append(scale * (even + asymmetry * odd))
    n = len(c.xyz)
    whole = np.zeros((n, 3, n, 3))
    for axis, block in enumerate(blocks):
        whole[:, axis, :, axis] = block
    return whole.reshape(3 * n, 3 * n)


def _texture(uv: np.ndarray, c: anatomy.Controls) -> tuple[np.ndarray, np.ndarray]:
    """Mean skin (n, 3), 0–255, with lips and brows, and 80 modes of tone and smooth variation."""
    n = len(uv)
    skin = np.tile([196.0, 150.0, 128.0], (n, 1))
    lips = np.exp(-0.5 * (((uv - [0, -0.66]) / [0.13, 0.05]) ** 2).sum(axis=1))
    brow = sum(np.exp(-0.5 * (((uv - [s * 0.27, 0.21]) / [0.12, 0.025]) ** 2).sum(axis=1)) for s in (-1, 1))
    mean = skin + lips[:, None] * [-20, -55, -40] - brow[:, None] * [80, 70, 60]
    base = np.zeros((n, 3, TEX))
    base[:, :, 0], base[:, :, 1], base[:, :, 2] = [32, 30, 28], [8, -2, -8], [2, 4, -6]
    base[:, :, 3], base[:, :, 4] = lips[:, None] * [6, -14, -8], brow[:, None] * [-20, -18, -16]
    k = 5
    for row in range(9):
        for column in range(9):
            if k < TEX and row + column:
                wave = np.cos(np.pi * row * (uv[:, 1] + 1.26) / 1.95) * np.cos(np.pi * column * (uv[:, 0] + 1.05) / 2.1)
                base[:, :, k] = wave[:, None] * np.array([8.0, 7.0, 6.0]) / (1 + row + column)
                k += 1
    return mean, base


@functools.cache
def own_model() -> MorphableModel:
    """Our own morphable model: about 3000 vertices, face from ear to ear and from hairline to below the chin."""
    c = anatomy.controls()
    uv, triangles = _mesh(c)
    on_lips = np.exp(-0.5 * (((c.xyz - [0, -0.655, 0.95]) / [0.25, 0.11, 0.2]) ** 2).sum(axis=1))
    on_brows = np.exp(-0.5 * (((np.abs(c.xyz) - [0.36, 0.2, 0.87]) / [0.25, 0.12, 0.2]) ** 2).sum(axis=1))
    identity = _modes(
        c,
        anatomy.identity_modes(c),
        _free(c, np.full(len(c.xyz), 0.030), 0.30, 0.15) + _free(c, np.full(len(c.xyz), 0.012), 0.12, 0.25),
        ID,
        rigid=True,
    )
    expression = _modes(
        c,
        anatomy.expression_modes(c),
        _free(c, 0.016 * on_lips + 0.002, 0.10, 0.5) + _free(c, 0.012 * on_brows + 0.002, 0.18, 0.5),
        EXP,
        rigid=False,
    )
    values = np.concatenate(
        [c.xyz.reshape(len(c.xyz), 3), identity.reshape(len(c.xyz), -1), expression.reshape(len(c.xyz), -1)], axis=1
    )
    spread = RBFInterpolator(c.uv, values, kernel="thin_plate_spline")(uv)
    mean, id_base, exp_base = np.split(spread, [3, 3 + 3 * ID], axis=1)
    mean_tex, tex_base = _texture(uv, c)
    return MorphableModel(
        mean=recentred(mean),
        id_base=id_base.reshape(-1, 3, ID),
        exp_base=exp_base.reshape(-1, 3, EXP),
        mean_tex=mean_tex,
        tex_base=tex_base,
        triangles=triangles.astype(np.int64),
        keypoints=np.arange(68),
        name="s3dnerf's own",
    )
