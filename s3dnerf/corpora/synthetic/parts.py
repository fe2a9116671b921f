"""What the head carries besides its skin: eyeballs, teeth, tongue, mouth cavity, ears, long hair; and the torso it sits
on.

Each part is a small grid of vertices with a tile of the texture atlas. ``hold`` says what it moves with: the skull,
the jaw, the tongue, or (long hair, downwards) the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from s3dnerf.corpora.synthetic.identity import Person
from s3dnerf.corpora.synthetic.surface import Q_LIPS, Eye, head_rows, smoothstep


@dataclass
class Part:
    """A textured grid: vertices (V, 3), tile coordinates (V, 2) in [0, 1], triangles (F, 3), shade factor (V,)."""

    name: str
    tile: str
    vertices: np.ndarray
    uv: np.ndarray
    triangles: np.ndarray
    shade: np.ndarray
    hold: str = "skull"
    lit: bool = True


def grid_triangles(rows: int, columns: int) -> np.ndarray:
    """Triangles (F, 3) of a grid of vertices in row-major order."""
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = index[:-1, :-1].ravel(), index[:-1, 1:].ravel(), index[1:, :-1].ravel(), index[1:, 1:].ravel()
    return np.concatenate([np.stack([a, c, b], -1), np.stack([b, c, d], -1)]).astype(np.int32)


def _mesh(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    a, b = np.meshgrid(rows, columns, indexing="ij")
    uv = np.stack(
        [np.interp(b, [columns.min(), columns.max()], [0, 1]), np.interp(a, [rows.min(), rows.max()], [0, 1])], -1
    )
    return a.ravel(), b.ravel(), uv.reshape(-1, 2), grid_triangles(len(rows), len(columns))


def eyeball(eye: Eye, name: str) -> Part:
    """The front of an eyeball, widened sideways so that it fills the corners of the lids."""
    elevation, azimuth, uv, triangles = _mesh(np.linspace(-1.25, 1.25, 13), np.linspace(-1.3, 1.3, 15))
    x, y, z = np.sin(azimuth) * np.cos(elevation), -np.sin(elevation), np.cos(azimuth) * np.cos(elevation)
    wide = 1 + 0.35 * np.abs(x) ** 3
    vertices = eye.centre + eye.radius * np.stack([x * wide, y, z], -1)
    uv = 0.5 + 0.5 * np.stack([x * wide / 1.4, -y / 1.4], -1)
    return Part(name, "eye", vertices, uv, triangles, np.ones(len(x)))


def teeth(depth: float, upper: bool) -> Part:
    """One row of teeth on a parabola.

    Parameters
    ----------
    depth : z of the front teeth
    upper : the upper row, or the lower one
    """
    t, x, uv, triangles = _mesh(np.linspace(0, 1, 4), np.linspace(-0.19, 0.19, 19))
    z = depth - 3.4 * x**2 - (0.0 if upper else 0.04)
    y = Q_LIPS + (0.105 - 0.115 * t if upper else -0.035 - 0.11 * t)
    shade = 1.0 - 0.75 * smoothstep(np.abs(x), 0.07, 0.21)
    return Part(
        "upper_teeth" if upper else "lower_teeth",
        "teeth" if upper else "lower_teeth",
        np.stack([x, y, z], -1),
        uv,
        triangles,
        shade * (1.0 if upper else 0.8),
        hold="skull" if upper else "jaw",
    )


def tongue(depth: float) -> Part:
    """A dome behind the lower teeth."""
    t, x, uv, triangles = _mesh(np.linspace(0, 1, 9), np.linspace(-0.155, 0.155, 11))
    top = Q_LIPS - 0.055 - 1.6 * x**2
    z = depth - 0.10 - 0.30 * (1 - t) - 1.5 * x**2 * t
    y = top - 0.03 * (1 - t) - 0.12 * t**4
    return Part("tongue", "tongue", np.stack([x, y, z], -1), uv, triangles, 0.55 + 0.35 * t, hold="tongue")


def cavity(depth: float) -> Part:
    """A dark bowl behind the lips."""
    a, b, uv, triangles = _mesh(np.linspace(-1, 1, 9), np.linspace(-1, 1, 11))
    ring = np.maximum(np.hypot(a, b), 1e-9)
    a, b = a * np.maximum(abs(a), abs(b)) / ring, b * np.maximum(abs(a), abs(b)) / ring  # the square made round
    bowl = a**2 + b**2
    vertices = np.stack([0.24 * b, Q_LIPS - 0.08 - 0.24 * a, depth - 0.30 + 0.10 * bowl], -1)
    return Part("cavity", "cavity", vertices, uv, triangles, np.ones(len(a)), lit=False)


def ear(person: Person, sign: float) -> Part:
    """One ear: a tilted oval dish with a raised rim.

    Parameters
    ----------
    sign : −1 for the left of a frontal picture, 1 for the right
    """
    ring, turn, _, triangles = _mesh(np.linspace(0, 1, 7), np.linspace(0, 2 * np.pi, 19))
    along, up = ring * np.cos(turn), ring * np.sin(turn)
    oval = 1 - 0.18 * np.clip(-up, 0, 1)  # narrower at the lobe
    height, depth = 0.175 * person.ears, 0.105 * person.ears
    rim = (
        0.028 * np.exp(-(((ring - 0.85) / 0.12) ** 2))
        - 0.03 * np.exp(-(((ring - 0.35) / 0.25) ** 2))
        - 0.02 * (ring > 0.99)
    )
    row = head_rows(person, np.array([0.08]))[0]
    flare = np.deg2rad(32)
    back = np.array([sign * np.sin(flare), 0.0, -np.cos(flare)])
    out = np.array([sign * np.cos(flare), 0.0, np.sin(flare)])
    base = np.array([sign * (row[2] - 0.008), 0.13, row[3] + 0.02])
    vertices = (
        base
        + (depth * along * oval + 0.055)[:, None] * back
        + (height * up)[:, None] * np.array([0, 1.0, 0])
        + rim[:, None] * out
    )
    uv = 0.5 + 0.49 * np.stack([along, -up], -1)
    return Part(f"ear{sign:+.0f}", "ear", vertices, uv, triangles, 0.92 - 0.35 * np.exp(-(((ring - 0.3) / 0.25) ** 2)))


def long_hair(person: Person, length: float, thickness: float, rng: np.random.Generator) -> Part:
    """Hair that hangs behind the face and over the ears, down to ``length`` below the eyes' level; it ends on the
    body.
    """
    rows, columns = 22, 57
    t, share, uv, triangles = _mesh(np.linspace(0, 1, rows), np.linspace(-1, 1, columns))
    y = 1.0 - t * (1.0 + length)
    edge = np.interp(t, [0, 0.12, 0.3, 0.55, 1.0], np.deg2rad([38, 56, 72, 70, 60]))  # where the front locks hang
    angle = np.pi + share * (np.pi - edge) * (1 + 0.02 * np.sin(12 * t + 2 * np.sign(share)))
    row = head_rows(person, np.clip(y, -0.10, 1.0))
    half, z_w, z_b, z_f = row[:, 2], row[:, 3], row[:, 5], row[:, 1]
    full = thickness * np.interp(t, [0, 0.15, 0.5, 1.0], [0.25, 0.85, 1.2, 1.25])
    wave = (
        0.022 * np.sin(8 * t + 5 * share + rng.uniform(0, 6)) * t
        + 0.015 * rng.standard_normal(columns)[np.tile(np.arange(columns), rows)]
    )
    x = (half + full + wave) * np.sin(angle) * (1 + 0.10 * smoothstep(t, 0.3, 1.0))
    ahead = np.clip(np.cos(angle), 0, None)
    front = z_w + (z_f - z_w) * ahead + full * 0.6
    z = np.where(np.cos(angle) > 0, np.minimum(front, z_w + 0.55), z_w + (z_w - z_b + full) * np.cos(angle))
    ragged = rng.uniform(-0.07, 0.07, columns)[np.tile(np.arange(columns), rows)] * t**4
    return Part(
        "long_hair",
        "hair",
        np.stack([x, y + ragged, z], -1),
        uv,
        triangles,
        np.interp(t, [0, 0.4, 1], [1.0, 0.95, 0.80]),
        hold="hair",
    )


def torso(person: Person) -> Part:
    """Shoulders and chest with a neckline, in the body's frame (the head's at rest)."""
    wide = 1.0 if person.female else 1.10
    s, x, uv, triangles = _mesh(np.linspace(0, 1, 30), np.linspace(-3.2, 3.2, 65))
    reach = np.abs(x) / (2.05 * wide)
    top = -1.06 - 0.42 * np.clip(reach, 0, 1) ** 1.1 - 2.6 * np.clip(reach - 0.72, 0, None) ** 2.2
    y = top - 2.4 * s
    swell = 1 - np.exp(-((s * 2.4 / 0.27) ** 1.25))
    z = -0.92 + (0.80 + 0.10 * np.cos(np.pi * np.clip(x / 1.6, -1, 1))) * swell - 0.16 * np.clip(reach, 0, 1.2) ** 2
    crease = 0.02 * np.sin(7 * x + 4 * s) * smoothstep(s, 0.2, 0.8)
    return Part("torso", "clothes", np.stack([x, y, z + crease], -1), uv, triangles, np.ones(len(x)), hold="body")


def bun(person: Person) -> Part:
    """A knot of hair on the back of the crown."""
    a, b, uv, triangles = _mesh(np.linspace(0.02, np.pi - 0.02, 11), np.linspace(0, 2 * np.pi, 19))
    ball = np.stack([np.sin(a) * np.cos(b), np.cos(a), np.sin(a) * np.sin(b)], -1)
    return Part(
        "bun", "hair", np.array([0.0, 1.36, -1.0]) + np.array([0.26, 0.22, 0.26]) * ball, uv, triangles, np.ones(len(a))
    )


def glasses(person: Person, eyes: tuple[Eye, Eye]) -> Part:
    """Thin dark frames: two rims, a bridge and two temples, as flat ribbons."""
    vertices: list[np.ndarray] = []
    triangles: list[np.ndarray] = []
    for eye in eyes:
        sign = np.sign(eye.centre[0])
        turn = np.linspace(0, 2 * np.pi, 33)
        ring = np.stack(
            [
                np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** 0.75,
                np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** 0.75,
            ],
            -1,
        )
        band = np.concatenate([ring, 1.07 * ring])
        x = eye.centre[0] + 0.205 * band[:, 0]
        y = eye.centre[1] - 0.015 + 0.155 * band[:, 1]
        z = np.full_like(x, eye.centre[2] + eye.radius + 0.13) - 0.25 * np.clip(np.abs(x) - 0.3, 0, None)
        triangles.append(grid_triangles(2, len(turn)) + sum(len(v) for v in vertices))
        vertices.append(np.stack([x, y, z], -1))
        start = np.array([eye.centre[0] + sign * 0.21, eye.centre[1] + 0.03, eye.centre[2] + eye.radius + 0.10])
        end = np.array([sign * (0.74 * person.width), eye.centre[1] - 0.02, -0.55])
        triangles.append(grid_triangles(2, 2) + sum(len(v) for v in vertices))
        vertices.append(
            np.stack([start + [0, 0.012, 0], end + [0, 0.012, 0], start - [0, 0.012, 0], end - [0, 0.012, 0]])
        )
    x = np.linspace(eyes[0].centre[0] + 0.20, eyes[1].centre[0] - 0.20, 7)
    z = np.full(7, eyes[0].centre[2] + eyes[0].radius + 0.13) + 0.02
    y = eyes[0].centre[1] + 0.035 + 0.02 * np.cos(np.linspace(-1.5, 1.5, 7))
    triangles.append(grid_triangles(2, 7) + sum(len(v) for v in vertices))
    vertices.append(np.concatenate([np.stack([x, y + 0.009, z], -1), np.stack([x, y - 0.009, z], -1)]))
    points = np.concatenate(vertices)
    return Part(
        "glasses",
        "glasses",
        points,
        np.full((len(points), 2), 0.5),
        np.concatenate(triangles).astype(np.int32),
        np.full(len(points), 0.9),
    )
