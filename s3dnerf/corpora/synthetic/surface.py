"""The head as a sculpture: a grid of rows and columns around the skull, cut open at the lips and the eyelids.

Every vertex has a fixed place on a canonical map: column angle ``theta`` (0 in front, ±π behind; frontal offset
``p = 0.70 sin theta``) and row label ``q`` (height in head units in front: eyes 0.30, lips −0.42, chin −0.93, then
down the neck). Textures, landmarks and deformations are drawn on the canonical map; a person's shape only decides
where a place of the map lies in space. Along the lip line and the lid lines the vertices are doubled, an upper and a
lower copy, so that mouth and eyes really open.

Frame: x to the right of a frontal picture, y up, z out of the face; 1 unit = 10 cm.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from s3dnerf.corpora.synthetic.identity import Person

HALF_WIDTH = 0.70
Q_EYE, Q_LIPS, Q_CROWN, Q_END = 0.30, -0.42, 1.36, -2.0
EYE_INNER, EYE_OUTER, EYE_CENTRE = 0.165, 0.445, 0.305
LIP_CORNER = EYE_INNER + 0.3 * (EYE_OUTER - EYE_INNER)  # a column of the grid: 0.249

# label q: y and z in front, half width and its z, y at the side, z and y behind
# fmt: off
_PROFILE = np.array([
    # q      y_f    z_f    w     z_w    y_s    z_b    y_b
    [1.36,  1.360, -0.70, 0.00, -0.70, 1.360, -0.70, 1.360],
    [1.345, 1.350, -0.52, 0.20, -0.70, 1.350, -0.92, 1.350],
    [1.30,  1.310, -0.30, 0.36, -0.70, 1.300, -1.15, 1.290],
    [1.22,  1.225, -0.12, 0.48, -0.71, 1.215, -1.32, 1.190],
    [1.10,  1.100,  0.02, 0.57, -0.72, 1.090, -1.45, 1.060],
    [0.95,  0.950,  0.12, 0.635, -0.72, 0.940, -1.56, 0.900],
    [0.75,  0.750,  0.19, 0.68, -0.71, 0.745, -1.66, 0.700],
    [0.50,  0.500,  0.235, 0.70, -0.70, 0.510, -1.70, 0.480],
    [0.30,  0.300,  0.225, 0.70, -0.69, 0.325, -1.69, 0.310],
    [0.10,  0.100,  0.235, 0.695, -0.67, 0.140, -1.64, 0.120],
    [-0.05, -0.05,  0.250, 0.685, -0.64, 0.005, -1.57, -0.03],
    [-0.20, -0.20,  0.260, 0.665, -0.60, -0.12, -1.47, -0.17],
    [-0.42, -0.42,  0.255, 0.625, -0.53, -0.30, -1.32, -0.36],
    [-0.60, -0.60,  0.215, 0.585, -0.48, -0.43, -1.24, -0.50],
    [-0.75, -0.75,  0.215, 0.545, -0.45, -0.52, -1.19, -0.60],
    [-0.86, -0.86,  0.185, 0.505, -0.44, -0.585, -1.17, -0.68],
    [-0.93, -0.925, 0.110, 0.475, -0.45, -0.64, -1.16, -0.73],
    [-1.00, -0.955, 0.000, 0.455, -0.48, -0.70, -1.16, -0.79],
    [-1.10, -0.965, -0.16, 0.435, -0.55, -0.80, -1.15, -0.88],
    [-1.22, -0.990, -0.29, 0.455, -0.64, -0.92, -1.15, -0.99],
    [-1.40, -1.110, -0.36, 0.475, -0.72, -1.10, -1.16, -1.13],
    [-1.70, -1.400, -0.38, 0.510, -0.75, -1.40, -1.18, -1.42],
    [-2.00, -1.760, -0.34, 0.600, -0.76, -1.72, -1.24, -1.74],
])
# fmt: on


def bump(p: np.ndarray, q: np.ndarray, cp: float, cq: float, sp: float, sq: float) -> np.ndarray:
    """A Gaussian bump of height 1 at (cp, cq)."""
    return np.exp(-0.5 * (((p - cp) / sp) ** 2 + ((q - cq) / sq) ** 2))


def both(p: np.ndarray, q: np.ndarray, cp: float, cq: float, sp: float, sq: float) -> np.ndarray:
    """Two mirrored bumps at (±cp, cq)."""
    return bump(p, q, cp, cq, sp, sq) + bump(p, q, -cp, cq, sp, sq)


def smoothstep(x: np.ndarray, low: float | np.ndarray, high: float | np.ndarray) -> np.ndarray:
    """0 below ``low``, 1 above ``high`` (or the reverse where low > high), smooth between."""
    t = np.clip((x - low) / (high - low), 0.0, 1.0)
    return t * t * (3 - 2 * t)


def lip_arch(p: np.ndarray, corner: float = LIP_CORNER) -> np.ndarray:
    """1 in the middle of the mouth, 0 at its corners and beyond."""
    return np.sqrt(np.clip(1 - (p / corner) ** 2, 0.0, 1.0))


def lid_arch(p: np.ndarray) -> np.ndarray:
    """1 in the middle of either eye, 0 at its corners and beyond."""
    t = (np.abs(p) - EYE_CENTRE) / (0.5 * (EYE_OUTER - EYE_INNER))
    return np.clip(1 - t * t, 0.0, 1.0)


def lip_edges(p: np.ndarray, person: Person) -> tuple[np.ndarray, np.ndarray]:
    """q of the outer edge of the upper and of the lower lip at frontal offset ``p``."""
    inside = np.clip(1 - (p / LIP_CORNER) ** 2, 0.0, 1.0)
    bow = -0.016 * np.exp(-0.5 * (p / 0.035) ** 2)
    upper = Q_LIPS + person.lip_upper * (0.088 * inside**0.75 + bow)
    lower = Q_LIPS - person.lip_lower * 0.108 * inside**0.6
    return upper, lower


@dataclass(frozen=True)
class Grid:
    """Topology shared by all heads.

    Attributes
    ----------
    theta, q : (V,) canonical place of each vertex
    side : (V,) +1 on an upper copy of a slit, −1 on a lower copy, 0 elsewhere
    triangles : (F, 3) int32
    rows, columns : label of each row and angle of each column
    first : (R, C) vertex at a grid point (its upper copy), second : its lower copy
    """

    theta: np.ndarray
    q: np.ndarray
    side: np.ndarray
    triangles: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    first: np.ndarray
    second: np.ndarray

    @property
    def p(self) -> np.ndarray:
        """Frontal offset; beyond the ears it goes on growing past ±0.70, so that left and right stay apart."""
        return frontal(self.theta)


def frontal(theta: np.ndarray) -> np.ndarray:
    """Frontal offset p of a column angle."""
    beyond = np.clip(np.abs(theta) - np.pi / 2, 0.0, None)
    return HALF_WIDTH * (np.sin(np.clip(theta, -np.pi / 2, np.pi / 2)) + np.sign(theta) * beyond)


@lru_cache(maxsize=1)
def head_grid() -> Grid:
    """The grid of every head: dense at the eyes and the mouth, coarse behind."""
    front = np.concatenate(
        [np.linspace(0, EYE_INNER, 6), np.linspace(EYE_INNER, EYE_OUTER, 11)[1:], np.linspace(EYE_OUTER, 0.63, 6)[1:]]
    )
    angles = np.arcsin(front / HALF_WIDTH)
    angles = np.concatenate([angles, np.linspace(angles[-1], np.pi, 14)[1:]])
    columns = np.concatenate([-angles[:0:-1], angles])
    rows = np.concatenate(
        [
            [1.36, 1.345, 1.30, 1.22, 1.13, 1.04, 0.95, 0.86, 0.78, 0.71, 0.65],
            np.arange(0.60, 0.0, -0.025),
            np.arange(0.0, -0.26, -0.0217),
            np.arange(-0.27, -0.62, -0.025),
            [
                -0.65,
                -0.70,
                -0.75,
                -0.80,
                -0.84,
                -0.88,
                -0.91,
                -0.94,
                -0.98,
                -1.03,
                -1.10,
                -1.17,
                -1.25,
                -1.34,
                -1.45,
                -1.6,
                -1.8,
                -2.0,
            ],
        ]
    )
    rows[np.argmin(np.abs(rows - Q_EYE))] = Q_EYE
    rows[np.argmin(np.abs(rows - Q_LIPS))] = Q_LIPS
    count_r, count_c = len(rows), len(columns)
    first = np.arange(count_r * count_c).reshape(count_r, count_c)
    second = first.copy()
    q, theta = (a.ravel() for a in np.meshgrid(rows, columns, indexing="ij"))
    side = np.zeros(len(q))
    p = frontal(columns)
    eps = 1e-6
    lips = np.abs(p) < LIP_CORNER - eps
    lids = (np.abs(p) > EYE_INNER + eps) & (np.abs(p) < EYE_OUTER - eps)
    extra_q: list[float] = []
    extra_theta: list[float] = []
    for label, where in ((Q_EYE, lids), (Q_LIPS, lips)):
        row = int(np.argmin(np.abs(rows - label)))
        for column in np.flatnonzero(where):
            side[first[row, column]] = 1
            second[row, column] = len(q) + len(extra_q)
            extra_q.append(label)
            extra_theta.append(columns[column])
    q, theta = np.concatenate([q, extra_q]), np.concatenate([theta, extra_theta])
    side = np.concatenate([side, -np.ones(len(extra_q))])
    upper, lower = second[:-1], first[1:]  # a cell hangs from the lower copy of its upper row
    a, b, c, d = upper[:, :-1], upper[:, 1:], lower[:, :-1], lower[:, 1:]
    triangles = np.concatenate([np.stack([a, c, b], -1).reshape(-1, 3), np.stack([b, c, d], -1).reshape(-1, 3)]).astype(
        np.int32
    )
    return Grid(theta, q, side, triangles, rows, columns, first, second)


def head_rows(person: Person, q: np.ndarray) -> np.ndarray:
    """The person's profile at row labels ``q``: columns y_f, z_f, w, z_w, y_s, z_b, y_b."""
    profile = PchipInterpolator(-_PROFILE[:, 0], _PROFILE[:, 1:], axis=0)(-np.clip(q, Q_END, Q_CROWN))
    y_f, z_f, w, z_w, y_s, z_b, y_b = profile.T
    lower = smoothstep(q, -0.1, -0.6) * smoothstep(q, -1.5, -1.05)
    width = (
        person.width
        * (1 + (person.jaw_width - 1) * lower)
        * (1 + (person.forehead - 1) * smoothstep(q, 0.4, 0.9) * 0.6)
    )
    stretch = np.where(q < Q_EYE, person.length, 1.0)

    def lengthen(y: np.ndarray) -> np.ndarray:
        below = np.minimum(y - Q_EYE, 0.0)
        return y + below * (stretch - 1) + np.clip(below / 1.2, -1, 0) * person.chin

    return np.stack([lengthen(y_f), z_f, w * width, z_w, lengthen(y_s), z_b, lengthen(y_b)], -1)


def place(person: Person, theta: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The smooth head without features, (N, 3), at canonical places."""
    y_f, z_f, w, z_w, y_s, z_b, y_b = head_rows(person, q).T
    cos, sin = np.cos(theta), np.sin(theta)
    ahead = np.clip(cos, 0, None)
    chin = smoothstep(q, -0.55, -0.85) * smoothstep(q, -1.3, -1.0)
    # along the jaw the rows climb early towards the ears: the chin is narrower than the skull
    z = z_w + np.where(cos >= 0, z_f - z_w, z_w - z_b) * cos
    x = w * sin
    climb = np.where(cos >= 0, (1 - ahead) ** (1.0 - 0.25 * chin), 1.0)
    y = y_f + (y_s - y_f) * climb + np.where(cos < 0, (y_b - y_s) * cos**2, 0.0)
    return np.stack([x, y, z], -1)


_NOSE_Q = np.array(
    [0.56, 0.45, 0.36, 0.28, 0.20, 0.12, 0.04, -0.02, -0.065, -0.10, -0.135, -0.165, -0.19, -0.22, -0.26]
)
_NOSE_H = np.array(
    [0.0, 0.010, 0.030, 0.065, 0.112, 0.168, 0.232, 0.285, 0.312, 0.292, 0.215, 0.115, 0.045, 0.012, 0.0]
)
_NOSE_S = np.array(
    [0.09, 0.070, 0.052, 0.048, 0.050, 0.056, 0.064, 0.072, 0.080, 0.082, 0.080, 0.076, 0.07, 0.07, 0.07]
)


def features(person: Person, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """What stands out of the smooth head: height along z of nose, brows, sockets, cheeks, lips and chin."""
    shift = person.nose_length * smoothstep(q, 0.35, -0.05) * smoothstep(q, -0.32, -0.12)
    qn = q + shift
    order = slice(None, None, -1)
    height = np.interp(qn, _NOSE_Q[order], _NOSE_H[order]) * person.nose_height
    sigma = np.interp(qn, _NOSE_Q[order], _NOSE_S[order]) * person.nose_width
    z = height * np.exp(-(np.abs(p / (1.25 * sigma)) ** 2.4))
    z += person.nose_hump * bump(p, q, 0, 0.17, 0.05, 0.06)
    z += 0.115 * both(p, qn, 0.108 * person.nose_width, -0.095, 0.036 * person.nose_width, 0.045)
    z += -0.085 * both(p, q, 0.29, 0.30, 0.135, 0.095) - 0.045 * both(p, q, 0.15, 0.30, 0.05, 0.07)
    z += 0.045 * person.brow_ridge * both(p, q, 0.27, 0.47 + person.brow_height, 0.19, 0.05)
    z += 0.045 * person.cheekbones * both(p, q, 0.43, 0.06, 0.14, 0.11) + person.cheeks * both(
        p, q, 0.42, -0.28, 0.15, 0.2
    )
    z += -0.022 * both(p, q, 0.47, -0.33, 0.1, 0.16)
    z += 0.055 * bump(p, q, 0, -0.40, 0.21, 0.16)  # the teeth's arch behind the lips
    upper, lower = lip_edges(p, person)
    arch = lip_arch(p)
    forward = person.lip_forward
    z += (
        0.062
        * forward
        * person.lip_upper**0.5
        * arch
        * np.exp(-0.5 * ((q - (0.42 * upper + 0.58 * Q_LIPS)) / 0.036) ** 2)
    )
    z += (
        0.074
        * forward
        * person.lip_lower**0.5
        * arch
        * np.exp(-0.5 * ((q - (0.5 * lower + 0.5 * Q_LIPS)) / 0.042) ** 2)
    )
    z += -0.045 * arch * np.exp(-0.5 * ((q - Q_LIPS) / 0.014) ** 2)
    z += -0.016 * both(p, q, LIP_CORNER + 0.012, Q_LIPS, 0.03, 0.04)
    z += -0.014 * bump(p, q, 0, -0.265, 0.022, 0.05)  # philtrum
    z += -0.040 * bump(p, q, 0, -0.605, 0.15, 0.045) + 0.075 * bump(p, q, 0, -0.775, 0.135, 0.085)
    fold = np.abs(p) - (0.135 + 0.55 * np.clip(-0.10 - q, 0, 0.4))
    crease = smoothstep(q, -0.05, -0.14) * smoothstep(q, -0.50, -0.34)
    z += -(0.010 + 0.014 * person.wrinkles) * np.exp(-0.5 * (fold / 0.022) ** 2) * crease
    z += -0.03 * both(p, q, 0.60, 0.55, 0.12, 0.2)  # temples
    return z


def lid_line(p: np.ndarray, person: Person) -> np.ndarray:
    """Height of the closed lids' meeting line above the eyes' row, and the tilt of the eye's axis."""
    tilt = person.eye_tilt * (np.abs(p) - EYE_CENTRE) / 0.14
    return -0.030 * lid_arch(p) * person.eye_size + np.where((np.abs(p) > 0.1) & (np.abs(p) < 0.55), tilt, 0.0)


@dataclass(frozen=True)
class Eye:
    """One eyeball: centre in head units and radius of its round front."""

    centre: np.ndarray
    radius: float


def rest_shape(person: Person) -> tuple[np.ndarray, tuple[Eye, Eye]]:
    """Vertices (V, 3) of the silent head, lips and lids closed, and the two eyeballs (image left, image right)."""
    grid = head_grid()
    p, q = grid.p, grid.q
    ahead = smoothstep(np.cos(grid.theta), 0.15, 0.45)
    shape = place(person, grid.theta, q)
    shape[:, 2] += features(person, p, q) * ahead
    # a curved lip line, fuller in the middle, and the lid line
    near_lips = np.exp(-0.5 * ((q - Q_LIPS) / 0.07) ** 2) * ahead
    shape[:, 1] += near_lips * (0.012 * np.exp(-0.5 * (p / 0.04) ** 2) * -1 + 0.010 * lip_arch(p) - 0.004)
    near_eyes = np.exp(-0.5 * ((q - Q_EYE) / 0.055) ** 2)
    shape[:, 1] += near_eyes * lid_line(p, person)
    # widths of mouth, nose and eyes
    mouth = np.exp(-0.5 * ((q - Q_LIPS) / 0.16) ** 2) * np.exp(-0.5 * (p / 0.35) ** 2)
    eyes = np.exp(-0.5 * ((q - Q_EYE) / 0.16) ** 2) * ahead
    shape[:, 0] *= 1 + (person.mouth_width - 1) * mouth
    shape[:, 0] += (
        eyes
        * np.sign(p)
        * EYE_CENTRE
        * (person.eye_spacing - 1)
        * smoothstep(np.abs(p), 0.02, 0.16)
        * smoothstep(np.abs(p), 0.68, 0.5)
    )
    shape[:, 0] += eyes * np.sign(p) * (np.abs(p) - EYE_CENTRE) * (person.eye_size - 1) * lid_reach(p)
    shape[:, 0] += person.asymmetry * bump(p, q, 0, -0.1, 0.25, 0.35) * ahead
    shape[:, 1] += person.asymmetry * np.tanh(p / 0.2) * np.exp(-0.5 * ((q + 0.42) / 0.2) ** 2) * ahead
    eyeballs = []
    for sign in (-1.0, 1.0):
        near = np.argmin((p - sign * EYE_CENTRE) ** 2 + (q - 0.30) ** 2 + (grid.side < 0))
        radius = 0.122 * person.eye_size
        x = sign * EYE_CENTRE * person.eye_spacing
        y = Q_EYE + 0.008
        eyeballs.append(Eye(np.array([x, y, shape[near, 2] - radius + 0.012]), radius))
    for eye in eyeballs:
        shape[:, 2] = np.maximum(shape[:, 2], lid_depth(eye, shape, p, q))
    return shape, (eyeballs[0], eyeballs[1])


def lid_reach(p: np.ndarray) -> np.ndarray:
    """1 over an eye, falling to 0 at the nose and the temple."""
    return smoothstep(np.abs(p), 0.06, 0.16) * smoothstep(np.abs(p), 0.60, 0.47)


def lid_depth(eye: Eye, shape: np.ndarray, p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """z of a skin 1.5 mm thick over the eyeball, −∞ where the ball does not reach."""
    radius = eye.radius + 0.016
    away = (shape[:, 0] - eye.centre[0]) ** 2 + (shape[:, 1] - eye.centre[1]) ** 2
    with np.errstate(invalid="ignore"):
        z = eye.centre[2] + np.sqrt(radius**2 - away)
    close = (np.abs(p - np.sign(eye.centre[0]) * EYE_CENTRE) < 0.25) & (np.abs(q - Q_EYE) < 0.25)
    return np.where((away < radius**2) & close, z, -np.inf)
