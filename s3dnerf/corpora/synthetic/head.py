"""A whole head ready to move: skin, eyes, mouth, ears and hair in one mesh, its atlas, its landmarks and its
shading.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from s3dnerf.corpora.synthetic import parts as make
from s3dnerf.corpora.synthetic.deform import FIELDS, displacement_fields, jaw_motion
from s3dnerf.corpora.synthetic.identity import Person
from s3dnerf.corpora.synthetic.landmarks import landmark_weights
from s3dnerf.corpora.synthetic.paint import Atlas, hairline, head_uv, paint_atlas
from s3dnerf.corpora.synthetic.surface import Q_EYE, Q_LIPS, head_grid, rest_shape, smoothstep

_JAW, _LIDS = FIELDS.index("jaw"), FIELDS.index("lids")
_HAIR_DEPTH = {
    "short": 0.075,
    "crop": 0.03,
    "side": 0.11,
    "curly": 0.17,
    "receding": 0.05,
    "bald": 0.0,
    "long": 0.10,
    "bob": 0.11,
    "bun": 0.05,
}


@dataclass(frozen=True)
class Light:
    """A lamp and its room: ``direction`` towards the lamp in the head's unturned frame (unit), strengths about 1."""

    direction: np.ndarray
    key: float = 0.75
    ambient: float = 0.42
    fill: float = 0.14
    warm: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Head:
    """One person's head.

    Attributes
    ----------
    triangles : (F, 3) int32
    texels : (V, 2) atlas coordinates of each vertex
    body : (V,) how much a vertex keeps with the body instead of the head (0–1)
    atlas : Atlas
    """

    def __init__(self, person: Person, texels_per_unit: float) -> None:
        self.person = person
        rng = np.random.default_rng([person.seed, 5])
        grid = self.grid = head_grid()
        self.atlas: Atlas = paint_atlas(person, texels_per_unit)
        shape, eyes = rest_shape(person)
        self.fields = displacement_fields(person, grid, shape, eyes).astype(np.float32)
        shape = self._hair_volume(shape, rng)
        front = int(np.argmin(np.abs(grid.p) + np.abs(grid.q - Q_LIPS) + (grid.side < 0)))
        depth = float(shape[front, 2]) - 0.045
        pieces = [
            make.cavity(depth),
            make.teeth(depth, True),
            make.teeth(depth, False),
            make.tongue(depth),
            make.eyeball(eyes[0], "left_eye"),
            make.eyeball(eyes[1], "right_eye"),
        ]
        if person.style not in ("long", "bob"):
            pieces += [make.ear(person, -1.0), make.ear(person, 1.0)]
        if person.style in ("long", "bob"):
            pieces.append(make.long_hair(person, 1.55 if person.style == "long" else 0.70, 0.13, rng))
        if person.style == "bun":
            pieces.append(make.bun(person))
        if person.glasses:
            pieces.append(make.glasses(person, eyes))
        for part in pieces:
            if part.tile in ("cavity", "teeth", "lower_teeth", "tongue"):
                _keep_behind(part, [shape, shape + self.fields[FIELDS.index("round")]], (0.0, Q_LIPS), 0.045)
            elif part.tile == "eye":
                _keep_behind(part, [shape], (0.0, Q_EYE), 0.007)
        self.pieces = pieces
        self.skin_count = len(shape)
        self.first = np.cumsum([self.skin_count] + [len(part.vertices) for part in pieces])
        self.rest = np.concatenate([shape] + [part.vertices for part in pieces]).astype(np.float32)
        self.triangles = np.concatenate(
            [grid.triangles] + [part.triangles + at for part, at in zip(pieces, self.first)]
        ).astype(np.int32)
        head_texels = self.atlas.texels("head", head_uv(grid.theta, grid.q))
        self.texels = np.concatenate([head_texels] + [self.atlas.texels(part.tile, part.uv) for part in pieces]).astype(
            np.float32
        )
        self.occlusion = np.concatenate([np.ones(self.skin_count)] + [part.shade for part in pieces]).astype(np.float32)
        self.lit = np.concatenate(
            [np.ones(self.skin_count, bool)] + [np.full(len(part.vertices), part.lit) for part in pieces]
        )
        self.body = np.concatenate(
            [smoothstep(grid.q, -0.95, -1.75)] + [self._body_share(part) for part in pieces]
        ).astype(np.float32)
        hair = np.concatenate(
            [smoothstep(hairline(person, grid.theta, grid.q), -0.02, 0.05)]
            + [np.full(len(p.vertices), p.tile == "hair") for p in pieces]
        )
        self.gloss = np.where(np.isin(np.arange(len(self.rest)), np.arange(self.skin_count)), 1.0, 0.3).astype(
            np.float32
        ) * (1 - 0.6 * hair).astype(np.float32)
        self.landmark_index, self.landmark_weight = landmark_weights(person, grid)
        self._skin_normals = _normal_operator(grid.triangles, self.skin_count)
        self._parts_normals = np.concatenate([part_normals(part) for part in pieces]).astype(np.float32)
        row = grid.first[int(np.argmin(np.abs(grid.rows - Q_EYE)))]
        self._lid_vertex = [int(row[np.argmin(np.abs(np.sin(grid.columns) * 0.7 - sign * 0.315))]) for sign in (-1, 1)]

    def _hair_volume(self, shape: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """The scalp lifted to the outside of the hair."""
        grid, person = self.grid, self.person
        thick = _HAIR_DEPTH[person.style]
        if thick == 0:
            return shape
        inside = hairline(person, grid.theta, grid.q)
        lift = thick * smoothstep(inside, -0.01, 0.22) * smoothstep(grid.q, -0.75, -0.2)
        if person.style == "curly":
            lift = lift * (
                1
                + 0.25 * np.sin(9 * grid.theta + rng.uniform(0, 6)) * np.sin(11 * grid.q)
                + 0.1 * rng.standard_normal(len(lift))
            )
        if person.style == "side":
            lift = lift * (1 + 0.5 * np.tanh(grid.p / 0.2) * smoothstep(grid.q, 0.7, 1.0))
        lift = lift + 0.01 * rng.standard_normal(len(lift)) * (inside > 0.1) * (np.abs(grid.theta) < 3.1) * (
            grid.q < 1.3
        )
        outward = shape - np.array([0.0, 0.2, -0.7])
        outward[:, 1] = np.maximum(outward[:, 1], 0.0)
        outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-9
        return shape + lift[:, None] * outward

    def _body_share(self, part: make.Part) -> np.ndarray:
        if part.hold == "hair":
            return 0.75 * smoothstep(part.vertices[:, 1], -0.2, -1.3)
        return np.zeros(len(part.vertices))

    def shape(self, amplitudes: np.ndarray, tongue: float, gaze: tuple[float, float]) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) in the head's frame and texels (V, 2) for one frame's field amplitudes (len(FIELDS),)."""
        points, texels = self.rest.copy(), self.texels.copy()
        points[: self.skin_count] += np.tensordot(amplitudes.astype(np.float32), self.fields, 1)
        for part, start, end in zip(self.pieces, self.first[:-1], self.first[1:]):
            if part.hold in ("jaw", "tongue"):
                points[start:end] += np.float32(amplitudes[_JAW]) * jaw_motion(part.vertices).astype(np.float32)
            if part.hold == "tongue":
                rise = np.clip((part.vertices[:, 2] - part.vertices[:, 2].min()) / 0.3, 0, 1) ** 2
                points[start:end, 1] += np.float32(0.075 * tongue) * rise
                points[start:end, 2] += np.float32(0.03 * tongue)
            if part.tile == "eye":
                width = self.atlas.tiles["eye"][2]
                texels[start:end] -= np.array([gaze[0], -gaze[1]], np.float32) * np.float32(width)
        return points, texels

    def shade(self, points: np.ndarray, light: Light, turn: np.ndarray) -> np.ndarray:
        """Brightness (V,) under a light fixed in the room while the head is turned by ``turn`` (3, 3)."""
        skin = _unit(self._skin_normals @ _face_normals(points[: self.skin_count], self.grid.triangles))
        normals = np.concatenate([skin, self._parts_normals])
        to_light = (turn.T @ light.direction).astype(np.float32)
        to_eye = turn.T[:, 2].astype(np.float32)
        facing = normals @ to_light
        bright = light.ambient * (0.86 + 0.14 * (normals @ turn.T[:, 1].astype(np.float32)))
        bright = bright + light.key * np.maximum(facing + 0.22, 0) / 1.22
        side = np.array([-np.sign(light.direction[0] or 1.0) * 0.8, 0.1, 0.6])
        bright = bright + light.fill * np.maximum(normals @ (turn.T @ side).astype(np.float32), 0)
        half = to_light + to_eye
        half = half / np.linalg.norm(half)
        shine = np.maximum(normals @ half, 0) ** 22
        bright = bright + 0.20 * light.key * self.gloss * shine
        bright = np.where(self.lit, bright, 0.75)
        for part, start, end in zip(self.pieces, self.first[:-1], self.first[1:]):
            if part.tile == "eye":
                lid = points[self._lid_vertex[0 if part.name == "left_eye" else 1], 1]
                below = lid - points[start:end, 1]
                bright[start:end] = (0.30 + 0.70 * bright[start:end]) * (0.52 + 0.48 * smoothstep(below, -0.005, 0.055))
            elif part.name in ("upper_teeth", "lower_teeth", "tongue"):
                open_mouth = np.clip((points[self._mouth[0], 1] - points[self._mouth[1], 1]) / 0.12, 0.25, 1)
                bright[start:end] = 0.78 * (0.55 + 0.45 * open_mouth)
        return (bright * self.occlusion).astype(np.float32)

    @property
    def _mouth(self) -> tuple[int, int]:
        return int(self.landmark_index[62, 0]), int(self.landmark_index[66, 0])

    def landmarks(self, points: np.ndarray) -> np.ndarray:
        """The 68 landmarks (68, 3) on vertices of :meth:`shape`."""
        return np.einsum("kn,knc->kc", self.landmark_weight, points[self.landmark_index].astype(np.float64))


def part_normals(part: make.Part) -> np.ndarray:
    """Outward unit normals (V, 3) of a part."""
    normals = _unit(_normal_operator(part.triangles, len(part.vertices)) @ _face_normals(part.vertices, part.triangles))
    middle = np.array([0.0, part.vertices[:, 1].mean(), -0.7]) if part.tile == "hair" else part.vertices.mean(0)
    return normals * (1 if (normals * (part.vertices - middle)).sum() >= 0 else -1)


def _keep_behind(part: make.Part, skins: list[np.ndarray], about: tuple[float, float], gap: float) -> None:
    """Push a part that belongs inside the head back until it lies behind every one of the skins (lips and lids
    closed).
    """
    for skin in skins:
        front = skin[
            (skin[:, 2] > -0.3) & (np.abs(skin[:, 0] - about[0]) < 0.65) & (np.abs(skin[:, 1] - about[1]) < 0.5)
        ]
        near = cKDTree(front[:, :2]).query(part.vertices[:, :2], k=4)[1]
        part.vertices[:, 2] = np.minimum(part.vertices[:, 2], front[near, 2].min(1) - gap)


def _face_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    a = points[triangles[:, 0]]
    return np.cross(points[triangles[:, 1]] - a, points[triangles[:, 2]] - a)


def _normal_operator(triangles: np.ndarray, count: int) -> sparse.csr_matrix:
    """Sums the normals of the triangles around each vertex."""
    rows, columns = triangles.ravel(), np.repeat(np.arange(len(triangles)), 3)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(count, len(triangles)))


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=1, keepdims=True) + 1e-12)
