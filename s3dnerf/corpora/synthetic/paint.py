"""The paint on a head: one texture atlas a person, drawn on the canonical map (see ``surface``).

Skin with low-frequency colour, freckles, shadows of sockets, nostrils and folds, lips, brows hair by hair, lash lines,
stubble and beard, the hairline; and tiles for eyes, teeth, tongue, mouth cavity, ears and long hair.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.interpolate import PchipInterpolator

from s3dnerf.corpora.synthetic.identity import Person
from s3dnerf.corpora.synthetic.surface import (
    EYE_CENTRE,
    EYE_INNER,
    EYE_OUTER,
    HALF_WIDTH,
    LIP_CORNER,
    Q_CROWN,
    Q_END,
    Q_EYE,
    Q_LIPS,
    both,
    bump,
    frontal,
    lid_arch,
    lip_arch,
    lip_edges,
    smoothstep,
)


@dataclass(frozen=True)
class Atlas:
    """The painted surface of a head.

    Attributes
    ----------
    image : uint8 (H, W, 3), RGB
    tiles : name → (x0, y0, width, height) in texels
    inner_face : bool (H, W)
    """

    image: np.ndarray
    tiles: dict[str, tuple[int, int, int, int]]
    inner_face: np.ndarray

    def texels(self, tile: str, uv: np.ndarray) -> np.ndarray:
        """Atlas coordinates (N, 2) in texels of tile coordinates in [0, 1]."""
        x0, y0, width, height = self.tiles[tile]
        return np.array([x0 + 1.5, y0 + 1.5]) + np.clip(uv, 0, 1) * np.array([width - 3.0, height - 3.0])


def head_uv(theta: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Tile coordinates (N, 2) of canonical places on the head tile."""
    return np.stack([theta / (2 * np.pi) + 0.5, (Q_CROWN - q) / (Q_CROWN - Q_END)], -1)


def noise(shape: tuple[int, int], cells: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit deviation, (H, W) float32: a random grid of ``cells`` (rows, columns) enlarged."""
    rows, columns = (max(2, round(c)) for c in cells)
    grid = rng.standard_normal((rows, columns)).astype(np.float32)
    return cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC)


def hairline(person: Person, theta: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Distance from the edge of the hair in head units, positive inside the hair."""
    if person.style == "bald":
        return np.full(np.broadcast(theta, q).shape, -1.0)
    front = {
        "receding": 1.10,
        "short": 0.97,
        "crop": 0.96,
        "side": 0.95,
        "curly": 0.93,
        "long": 0.99,
        "bob": 0.97,
        "bun": 1.0,
    }[person.style]
    corner = front + (0.10 if person.style == "receding" else 0.035 if not person.female else -0.02)
    sideburn = 0.30 if person.female else 0.06
    knots = [0.0, 0.30, 0.58, 0.84, 0.98, 1.10, 1.20, 1.33, 1.45, 1.60, 1.80, 2.10, np.pi]
    line = [front, front, corner, 0.86, 0.68, 0.48, sideburn, sideburn, 0.42, 0.42, 0.20, -0.35, -0.62]
    edge = PchipInterpolator(knots, line)
    angle = np.abs(theta)
    slope = edge(angle, 1) / HALF_WIDTH
    return (q - edge(angle)) / np.sqrt(1 + slope**2)


def paint_head(person: Person, texels_per_unit: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The head tile, float32 (H, W, 3) in 0–255, and where the inner face is, bool (H, W)."""
    width, height = round(2 * np.pi * HALF_WIDTH * texels_per_unit), round((Q_CROWN - Q_END) * texels_per_unit)
    size = (height, width)
    theta = ((np.arange(width) + 0.5) / width - 0.5)[None, :] * (2 * np.pi)
    q = (Q_CROWN - (np.arange(height) + 0.5) / height * (Q_CROWN - Q_END))[:, None]
    p = frontal(theta)
    skin = np.array(person.skin, np.float32)
    tone = (
        noise(size, (7, 9), rng) * 0.018
        + noise(size, (24, 30), rng) * 0.014
        + noise(size, (height / 3, width / 3), rng) * 0.012
    )
    blotch = noise(size, (10, 14), rng) * 0.02
    image = skin * (1 + tone[..., None] + blotch[..., None] * np.array([0.0, 1.0, 0.8], np.float32))
    red = (
        0.10 * both(p, q, 0.40, -0.02, 0.14, 0.12)
        + 0.09 * bump(p, q, 0, -0.09, 0.10, 0.08)
        + 0.04 * bump(p, q, 0, -0.78, 0.15, 0.08)
    )
    image *= 1 - red[..., None].astype(np.float32) * np.array([-0.10, 0.9, 0.8], np.float32)
    image *= 1 - _shadows(person, p, q)[..., None] * np.array([0.78, 1.0, 1.06], np.float32)
    _spots(person, image, texels_per_unit, rng)
    if not person.female:
        _beard(person, image, p, q, theta, rng)
    _lips(person, image, p, q, rng)
    _brows(person, image, texels_per_unit, rng)
    _lids(person, image, p, q)
    wisps = 0.014 * noise(size, (height / 16, width / 2.5), rng) + 0.012 * noise(size, (height / 5, width / 5), rng)
    inside = smoothstep(hairline(person, theta, q) + wisps, -0.03, 0.05)[..., None].astype(np.float32)
    image = image * (1 - inside) + inside * strands(person, size, rng)
    inner = (np.abs(theta) < 1.12) & (q < 0.72 - 0.22 * (p / 0.62) ** 4) & (q > -0.955)
    return np.clip(image, 0, 255), np.broadcast_to(inner, size).copy()


def _shadows(person: Person, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Painted shade (0–1) of hollows that light alone would not show at this size."""
    nw = person.nose_width
    qn = q + person.nose_length
    shade = 0.12 * both(p, q, 0.19, 0.36, 0.06, 0.05) + 0.10 * both(p, q, 0.31, 0.40, 0.13, 0.035)
    shade += 0.10 * both(p, q, 0.27, 0.19, 0.10, 0.025) + 0.03 * both(p, q, 0.085 * nw, 0.08, 0.025, 0.14)
    shade += 0.42 * both(p, qn, 0.055 * nw, -0.158, 0.028 * nw, 0.014) + 0.20 * both(
        p, qn, 0.145 * nw, -0.115, 0.014, 0.04
    )
    shade += 0.08 * bump(p, qn, 0, -0.175, 0.11 * nw, 0.018) + 0.10 * bump(p, q, 0, -0.265, 0.018, 0.045)
    shade += 0.16 * bump(p, q, 0, -0.585, 0.11, 0.028) + 0.08 * both(
        p, q, LIP_CORNER + 0.015, Q_LIPS + 0.004, 0.018, 0.018
    )
    fold = np.abs(p) - (0.135 + 0.55 * np.clip(-0.10 - q, 0, 0.4))
    crease = smoothstep(q, -0.05, -0.14) * smoothstep(q, -0.50, -0.34)
    shade += (0.05 + 0.16 * person.wrinkles) * np.exp(-0.5 * (fold / 0.016) ** 2) * crease
    lines = np.exp(-0.5 * ((np.mod(q * 11, 1) - 0.5) / 0.09) ** 2) * bump(p, q, 0, 0.74, 0.3, 0.09)
    shade += 0.10 * person.wrinkles * lines
    under = smoothstep(q, -0.90, -1.00)
    shade += under * (0.30 - 0.27 * smoothstep(q, -1.0, -1.5))
    return np.clip(shade, 0, 0.9).astype(np.float32)


def _spots(person: Person, image: np.ndarray, k: float, rng: np.random.Generator) -> None:
    """Freckles over nose and cheeks, and a mole or two."""
    height, width = image.shape[:2]
    dark = np.zeros((height, width), np.float32)
    for _ in range(int(160 * person.freckles)):
        p, q = rng.normal(0, 0.30), rng.normal(0.02, 0.12)
        _dot(dark, p, q, rng.uniform(0.004, 0.009) * k, rng.uniform(0.08, 0.25))
    for _ in range(int(rng.integers(0, 3))):
        _dot(dark, rng.uniform(-0.5, 0.5), rng.uniform(-0.7, 0.2), 0.012 * k, 0.45)
    image *= 1 - dark[..., None] * np.array([0.7, 1.0, 1.1], np.float32)


def _texel(p: float | np.ndarray, q: float | np.ndarray, shape: tuple[int, ...]) -> tuple[float, float]:
    """Texel of a canonical place in front."""
    u, v = head_uv(np.arcsin(np.clip(p / HALF_WIDTH, -1, 1)), np.asarray(q))
    return float(u * shape[1]), float(v * shape[0])


def _dot(target: np.ndarray, p: float, q: float, radius: float, value: float) -> None:
    x, y = _texel(p, q, target.shape)
    cv2.circle(target, (round(x * 16), round(y * 16)), max(8, round(radius * 16)), value, -1, cv2.LINE_AA, 4)


def _lips(person: Person, image: np.ndarray, p: np.ndarray, q: np.ndarray, rng: np.random.Generator) -> None:
    """The red of the lips, fine vertical lines, a lighter lower lip and the dark line where they meet."""
    upper, lower = lip_edges(p, person)
    inside = np.abs(p) < LIP_CORNER
    soft = 0.012
    red = np.where(q >= Q_LIPS, smoothstep(upper - q, -soft, soft), smoothstep(q - lower, -soft, soft)) * smoothstep(
        np.abs(p), LIP_CORNER + 0.01, LIP_CORNER - 0.03
    )
    red = np.where(inside | (red > 0), red, 0.0)[..., None].astype(np.float32)
    skin = np.array(person.skin, np.float32)
    pale = float(smoothstep(skin.mean(), 90, 170))
    colour = (
        skin * (np.array([0.98, 0.66, 0.66]) * (1 - pale) + np.array([0.84, 0.52, 0.53]) * pale)
        + np.array([26, 6, 12]) * (1 - pale)
        + np.array([12, 0, 6]) * pale
    )
    colour = colour.astype(np.float32)
    lines = 1 + 0.05 * noise(image.shape[:2], (4, image.shape[1] / 2.5), rng)
    light = (
        1
        + 0.22 * bump(p, q, 0, Q_LIPS - 0.062, 0.10, 0.022)
        - 0.16 * (q > Q_LIPS)
        - 0.10 * np.exp(-0.5 * ((q - Q_LIPS) / 0.02) ** 2)
    )
    share = np.clip(red * (0.70 + 0.25 * person.lips_red), 0, 0.97)
    image *= 1 - share
    image += share * colour * (light * lines)[..., None].astype(np.float32)
    meet = (
        0.55
        * np.exp(-0.5 * ((q - Q_LIPS) / 0.0075) ** 2)
        * np.clip(lip_arch(p) + 0.25 * (np.abs(p) < LIP_CORNER + 0.015), 0, 1)
    )
    image *= 1 - meet[..., None].astype(np.float32)


def brow_line(person: Person, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(|p|, q) along a brow: t = 0 at the nose, 1 at the temple."""
    p = 0.115 + 0.430 * t
    q = 0.462 + person.brow_height + person.brow_arch * 0.088 * np.sin(np.pi * (0.06 + 0.80 * t)) - 0.045 * t**2.2
    return p, q


def _brows(person: Person, image: np.ndarray, k: float, rng: np.random.Generator) -> None:
    """Brows, hair by hair over a soft shade."""
    shade = np.zeros(image.shape[:2], np.float32)
    hairs = np.zeros(image.shape[:2], np.float32)
    for sign in (-1, 1):
        t = np.linspace(0, 1, 15)
        p, q = brow_line(person, t)
        points = [_texel(sign * a, b, shade.shape) for a, b in zip(p, q, strict=True)]
        for i in range(14):
            thick = person.brow_thickness * 0.055 * (1 - 0.6 * t[i] ** 2) * (0.75 + 0.25 * min(1.0, 5 * t[i]))
            cv2.line(shade, *_fixed(points[i], points[i + 1]), 0.5, max(1, round(thick * k)), cv2.LINE_AA, 4)
        for _ in range(int(95 * max(1.0, k / 110))):
            at = rng.random()
            a, b = brow_line(person, np.array(at))
            spread = person.brow_thickness * 0.027 * (1 - 0.55 * at**2)
            b = b + rng.uniform(-1, 1) * spread
            lean = 0.75 - 0.5 * at + rng.normal(0, 0.15)
            length = 0.045 * (1 - 0.3 * at)
            start, end = (
                _texel(sign * a, b, shade.shape),
                _texel(sign * (a + length * np.cos(lean)), b + length * np.sin(lean), shade.shape),
            )
            cv2.line(hairs, *_fixed(start, end), float(rng.uniform(0.5, 0.95)), 1, cv2.LINE_AA, 4)
    cover = np.clip(
        cv2.GaussianBlur(shade, (0, 0), 0.018 * k) * 0.75 + cv2.GaussianBlur(hairs, (0, 0), 0.5) * 0.55, 0, 0.93
    )[..., None]
    colour = np.minimum(np.array(person.hair, np.float32) * 0.72, np.array(person.skin, np.float32) * 0.62)
    image *= 1 - cover
    image += cover * colour


def _fixed(a: tuple[float, float], b: tuple[float, float]) -> tuple[tuple[int, int], tuple[int, int]]:
    """Two points in 1/16 texel."""
    return (round(a[0] * 16), round(a[1] * 16)), (round(b[0] * 16), round(b[1] * 16))


def _lids(person: Person, image: np.ndarray, p: np.ndarray, q: np.ndarray) -> None:
    """Lash lines at both lids, the fold of the upper lid, the pink of the inner corner."""
    arch = lid_arch(p)
    near = smoothstep(np.abs(p), EYE_INNER - 0.015, EYE_INNER + 0.01) * smoothstep(
        np.abs(p), EYE_OUTER + 0.03, EYE_OUTER - 0.005
    )
    lash = 0.85 * smoothstep(q - Q_EYE, 0.020 if person.female else 0.015, 0.004) * (q >= Q_EYE) * near
    lash = lash + (0.42 if person.female else 0.30) * smoothstep(Q_EYE - q, 0.014, 0.002) * (q < Q_EYE) * near
    fold = (
        np.exp(-0.5 * ((q - (Q_EYE + 0.045 + 0.030 * arch)) / 0.009) ** 2)
        * smoothstep(np.abs(p), EYE_INNER - 0.01, EYE_INNER + 0.04)
        * smoothstep(np.abs(p), EYE_OUTER + 0.035, EYE_OUTER - 0.02)
    )
    shade = np.clip(lash + 0.34 * fold, 0, 0.92)[..., None].astype(np.float32)
    image *= 1 - shade
    image += shade * np.array([34, 22, 18], np.float32)
    if person.female:
        colour = both(p, q, EYE_CENTRE, Q_EYE + 0.05, 0.12, 0.03)[..., None].astype(np.float32) * 0.16
        image *= 1 - colour * np.array([0.6, 1.0, 0.8], np.float32)


def _beard(
    person: Person, image: np.ndarray, p: np.ndarray, q: np.ndarray, theta: np.ndarray, rng: np.random.Generator
) -> None:
    """Stubble, moustache and beard where men grow them."""
    angle = np.abs(theta)
    cheek = -0.42 + 0.52 * smoothstep(angle, 0.45, 1.3)
    jaw = smoothstep(q, cheek + 0.08, cheek - 0.14) * smoothstep(q, -1.12, -0.98) * smoothstep(angle, 1.5, 1.3)
    lip = np.clip(bump(p, q, 0, -0.275, 0.20, 0.042) * 1.3, 0, 1)
    chin = np.exp(-0.5 * (p / 0.20) ** 2) * smoothstep(q, -0.60, -0.70) * smoothstep(q, -1.05, -0.95)
    # around the red of the lips
    bare = 1 - 0.95 * np.exp(-0.5 * ((p / 0.27) ** 4 + ((q - Q_LIPS - 0.01) / 0.135) ** 4))
    grain = 1 + 0.16 * noise(image.shape[:2], (image.shape[0] / 1.6, image.shape[1] / 1.6), rng)
    cover = 0.30 * person.stubble * np.maximum(jaw, lip) * grain
    if person.beard:
        cover = np.maximum(cover, 0.58 * np.clip(np.maximum(jaw, chin), 0, 1) * np.clip(grain, 0.5, 1.2))
    if person.moustache:
        cover = np.maximum(cover, 0.55 * lip * np.clip(grain, 0.5, 1.2))
    cover = np.clip(cover * bare, 0, 0.9)[..., None].astype(np.float32)
    colour = np.array(person.hair, np.float32) * (0.85 if person.beard or person.moustache else 0.5)
    image *= 1 - cover
    image += cover * colour


def strands(person: Person, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A patch of hair, float32 (H, W, 3): streaks from top to bottom, blotches where it is curly."""
    height, width = size
    if person.style == "curly":
        streak = noise(size, (height / 7, width / 7), rng) * 0.20 + noise(size, (height / 3, width / 3), rng) * 0.14
    else:
        streak = noise(size, (height / 40, width / 2.2), rng) * 0.13 + noise(size, (height / 60, width / 7), rng) * 0.10
    shine = 0.10 * noise(size, (6, 9), rng)
    hair = np.array(person.hair, np.float32)
    return np.clip(hair * (1.0 + streak + shine)[..., None] + 8 * np.clip(streak, 0, 1)[..., None], 4, 255).astype(
        np.float32
    )


def _eye_tile(person: Person, side: int, rng: np.random.Generator) -> np.ndarray:
    """An eyeball seen from the front; the tile spans 1.4 radii each way."""
    axis = ((np.arange(side) + 0.5) / side * 2 - 1) * 1.4
    x, y = np.meshgrid(axis, axis)
    r = np.hypot(x, y)
    angle = np.arctan2(y, x)
    white = np.array([232, 226, 220], np.float32)
    image = np.broadcast_to(white, (side, side, 3)) * (1 - 0.30 * smoothstep(r, 0.55, 1.25))[..., None]
    image = image - np.array([0, 24, 24], np.float32) * smoothstep(np.abs(x), 0.75, 1.3)[..., None]
    iris_r = 0.485
    rays = np.interp(angle, np.linspace(-np.pi, np.pi, 61), np.concatenate([s := rng.uniform(-1, 1, 60), s[:1]]))
    iris = np.array(person.eye, np.float32) * (1.12 + 0.16 * rays + 0.45 * smoothstep(r, 0.42, 0.22))[..., None]
    iris = iris * (1 - 0.55 * smoothstep(r, 0.38, iris_r))[..., None]
    image = image + smoothstep(r, iris_r + 0.035, iris_r - 0.035)[..., None] * (iris - image)
    image = image * (1 - 0.96 * smoothstep(r, 0.225, 0.175))[..., None]
    return np.clip(image, 0, 255).astype(np.float32)


def _teeth_tile(height: int, width: int, upper: bool) -> np.ndarray:
    """Teeth side by side, gums above (or below) them."""
    x = (np.arange(width) + 0.5) / width * 2 - 1
    v = ((np.arange(height) + 0.5) / height)[:, None]
    edges = (
        np.array([0.0, 0.21, 0.38, 0.55, 0.70, 0.84, 1.0])
        if upper
        else np.array([0.0, 0.14, 0.29, 0.46, 0.64, 0.82, 1.0])
    )
    gap = np.min(np.abs(np.abs(x)[:, None] - edges[None, :]), axis=1)
    dark = 1 - 0.45 * np.exp(-0.5 * (gap / 0.018) ** 2)
    image = np.array([236, 228, 212], np.float32) * (dark[None, :] * (0.94 + 0.06 * v))[..., None]
    gum = smoothstep(v, 0.30, 0.18) if upper else smoothstep(v, 0.70, 0.85)
    return (
        image + np.broadcast_to(gum, (height, width))[..., None] * (np.array([176, 92, 92], np.float32) - image)
    ).astype(np.float32)


def paint_atlas(person: Person, texels_per_unit: float) -> Atlas:
    """The whole atlas at a resolution of ``texels_per_unit`` (texels a head unit on the face)."""
    rng = np.random.default_rng([person.seed, 11])
    head, inner = paint_head(person, texels_per_unit, rng)
    side = max(32, round(0.62 * texels_per_unit))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side * 2 - 1
    skin = np.array(person.skin, np.float32)
    ring = np.hypot(x, y)
    ear = (
        skin
        * np.array([1.0, 0.92, 0.90], np.float32)
        * (1 - 0.38 * np.exp(-(((ring - 0.42) / 0.22) ** 2)) + 0.05 * (ring > 0.8))[..., None]
    )
    hole = 1 - 0.55 * np.exp(-((x + 0.35) ** 2 + (y - 0.1) ** 2) / 0.03)
    tiles = {
        "eye": _eye_tile(person, side, rng),
        "teeth": _teeth_tile(side // 2, side, True),
        "lower_teeth": _teeth_tile(side // 2, side, False),
        "tongue": np.array([172, 88, 88], np.float32)
        * (1 - 0.18 * np.exp(-((x / 0.10) ** 2)))[..., None]
        * (0.75 + 0.25 * (y + 1) / 2)[..., None],
        "cavity": np.broadcast_to(np.array([44, 17, 16], np.float32), (side, side, 3)),
        "ear": ear * hole[..., None],
        "hair": strands(person, (2 * side, 3 * side), rng),
        "glasses": np.broadcast_to(np.array([26, 24, 24], np.float32), (8, 8, 3)),
    }
    total = sum(t.shape[1] for t in tiles.values())
    height, width = head.shape[:2]
    strip = max(t.shape[0] for t in tiles.values())
    image = np.zeros((height + strip, max(width, total), 3), np.float32)
    image[:height, :width] = head
    inner_face = np.zeros(image.shape[:2], bool)
    inner_face[:height, :width] = inner
    rects = {"head": (0, 0, width, height)}
    at = 0
    for name, tile in tiles.items():
        rects[name] = (at, height, tile.shape[1], tile.shape[0])
        image[height : height + tile.shape[0], at : at + tile.shape[1]] = tile
        inner_face[height : height + tile.shape[0], at : at + tile.shape[1]] = name in (
            "eye",
            "teeth",
            "lower_teeth",
            "tongue",
            "cavity",
        )
        at += tile.shape[1]
    return Atlas(np.ascontiguousarray(np.clip(image, 0, 255).astype(np.uint8)), rects, inner_face)
