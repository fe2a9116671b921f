"""The average human face as some 130 control points, and how faces differ and move: what our morphable model is made
of.

Everything here is our own, written down from published averages of facial anthropometry (lengths between the usual
landmarks: face 135 mm wide and 180 mm high, eyes 32 and 89 mm apart at their inner and outer corners, nose 52 mm long
and 34 mm wide, mouth 52 mm wide, …) and then fitted to landmarks of real video. No value comes from a scanned face
model.

Units: 10 cm. x to the image's right for a frontal face, y up from the level of the eyes, z forward from the ears. The
tables hold the half with x ≥ 0; the other half is its mirror image. ``v`` is the height on the unrolled face, where the
lips are apart and the underside of the jaw lies below the chin, so that the unrolled face never folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# fmt: off
# landmark number (iBUG, 0-based; the image's right half and the midline) → x, y, z
LANDMARKS = {
    8: (0.00, -1.099, 0.830), 9: (0.174, -1.079, 0.740), 10: (0.332, -1.004, 0.560), 11: (0.474, -0.902, 0.370), 12:
    (0.583, -0.764, 0.210),
    13: (0.652, -0.594, 0.110), 14: (0.688, -0.410, 0.060), 15: (0.711, -0.221, 0.030), 16: (0.723, -0.030, 0.010),
    22: (0.107, 0.152, 0.945), 23: (0.216, 0.197, 0.925), 24: (0.336, 0.212, 0.870), 25: (0.452, 0.185, 0.780), 26:
    (0.535, 0.110, 0.660),
    27: (0.00, 0.021, 0.930), 28: (0.00, -0.086, 1.010), 29: (0.00, -0.191, 1.090), 30: (0.00, -0.298, 1.150),
    33: (0.00, -0.431, 1.010), 34: (0.063, -0.416, 0.975), 35: (0.123, -0.398, 0.920),
    42: (0.173, -0.017, 0.815), 43: (0.245, 0.033, 0.820), 44: (0.327, 0.033, 0.790), 45: (0.398, -0.008, 0.710),
    46: (0.330, -0.038, 0.770), 47: (0.248, -0.036, 0.800),
    51: (0.00, -0.584, 1.035), 52: (0.060, -0.568, 1.028), 53: (0.145, -0.600, 0.970), 54: (0.234, -0.650, 0.870),
    55: (0.148, -0.710, 0.950), 56: (0.065, -0.741, 0.985), 57: (0.00, -0.747, 1.000),
    62: (0.00, -0.634, 1.000), 63: (0.061, -0.629, 0.985), 64: (0.191, -0.653, 0.885), 65: (0.062, -0.655, 0.980),
    66: (0.00, -0.660, 0.995),
}
# further points that give the surface between them its shape
SURFACE = {
    "glabella": (0.00, 0.170, 0.985), "forehead": (0.00, 0.400, 0.985), "hairline": (0.00, 0.680, 0.880),
    "forehead_a": (0.200, 0.420, 0.965), "forehead_b": (0.400, 0.410, 0.860), "forehead_c": (0.570, 0.380, 0.640),
    "hairline_a": (0.220, 0.670, 0.850), "hairline_b": (0.410, 0.620, 0.730), "hairline_c": (0.560, 0.540, 0.530),
    "hairline_d": (0.660, 0.420, 0.300),
    "temple": (0.655, 0.160, 0.450), "temple_back": (0.710, 0.220, 0.130), "ear_top": (0.735, 0.120, 0.010), "ear":
    (0.740, -0.100, -0.020),
    "orbit": (0.504, -0.012, 0.640), "lid_fold": (0.270, 0.092, 0.850), "under_eye": (0.283, -0.115, 0.815),
    "nose_root": (0.087, -0.010, 0.865),
    "side_a": (0.099, -0.113, 0.910), "side_b": (0.107, -0.222, 0.960), "wing_top": (0.117, -0.293, 0.985), "wing":
    (0.164, -0.356, 0.905),
    "tip_side": (0.064, -0.318, 1.090), "malar": (0.407, -0.202, 0.780), "cheekbone": (0.592, -0.147, 0.450),
    "cheekbone_back": (0.689, -0.116, 0.180),
    "cheek_a": (0.266, -0.271, 0.850), "cheek_b": (0.399, -0.398, 0.770), "cheek_c": (0.532, -0.387, 0.540),
    "cheek_d": (0.640, -0.405, 0.270),
    "fold": (0.205, -0.463, 0.900), "philtrum": (0.00, -0.502, 1.005), "lip_side": (0.121, -0.511, 0.965),
    "cheek_e": (0.328, -0.589, 0.810), "cheek_f": (0.474, -0.611, 0.590), "cheek_g": (0.586, -0.598, 0.340),
    "below_corner": (0.250, -0.760, 0.850),
    "groove": (0.00, -0.835, 0.940), "groove_a": (0.113, -0.827, 0.915), "chin": (0.00, -0.971, 0.965), "chin_a":
    (0.105, -0.963, 0.920),
    "jaw_a": (0.253, -0.902, 0.770), "jaw_b": (0.395, -0.804, 0.600), "jaw_c": (0.521, -0.729, 0.400),
}
# the underside, beyond the jaw line: x, y, z, and v on the unrolled face
UNDERSIDE = {
    "under_0": (0.00, -1.131, 0.640, -1.261), "under_1": (0.168, -1.105, 0.560, -1.235), "under_2": (0.316, -1.036,
    0.390, -1.156),
    "under_3": (0.463, -0.920, 0.210, -1.040), "under_4": (0.568, -0.780, 0.060, -0.900), "under_5": (0.633, -0.613,
    -0.040, -0.683),
}
LIP_GAP = 0.035  # half the distance of the lips on the unrolled face
AXIS_Z = 0.10  # the face is unrolled about the vertical line through here
# landmark → the landmark it becomes in a mirror
MIRROR = np.array([
    16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 27, 28, 29, 30,
    35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60,
    67, 66, 65])
# fmt: on


@dataclass(frozen=True)
class Controls:
    """Control points of the average face: the 68 landmarks first.

    Attributes
    ----------
    names : list of str
    xyz : float64 (c, 3), units of 10 cm
    uv : float64 (c, 2), unrolled: angle about the vertical axis (radians × 0.6, so that both are lengths), height
    """

    names: list[str]
    xyz: np.ndarray
    uv: np.ndarray


def unroll(xyz: np.ndarray) -> np.ndarray:
    """(…, 3) → (…, 2): where points lie on the unrolled face."""
    return np.stack([0.6 * np.arctan2(xyz[..., 0], xyz[..., 2] - AXIS_Z), xyz[..., 1]], axis=-1)


def controls() -> Controls:
    """The average face's control points, both halves."""
    names, xyz, heights = [], [], []
    for number in range(68):
        right = number in LANDMARKS
        x, y, z = LANDMARKS[number if right else int(MIRROR[number])]
        names.append(f"lm{number}")
        xyz.append((x if right else -x, y, z))
        heights.append(y + LIP_GAP * (number in (61, 62, 63)) - LIP_GAP * (number in (65, 66, 67)))
    for table in (SURFACE, UNDERSIDE):
        for name, values in table.items():
            x, y, z = values[:3]
            for sign, side in ((1, "r"), (-1, "l")) if x > 0 else ((1, ""),):
                names.append(f"{name}.{side}" if side else name)
                xyz.append((sign * x, y, z))
                heights.append(values[3] if len(values) > 3 else y)
    points = np.array(xyz)
    uv = unroll(points)
    uv[:, 1] = heights
    return Controls(names, points, uv)


def _bump(
    points: np.ndarray, centre: tuple[float, float, float], width: tuple[float, float, float] | float
) -> np.ndarray:
    """A smooth weight (c,) that is 1 at a point and falls off; both halves where the centre is off the midline."""
    w = np.broadcast_to(np.asarray(width, float), 3)
    sides = [np.array(centre)] + ([np.array(centre) * [-1, 1, 1]] if centre[0] else [])
    return np.max([np.exp(-0.5 * (((points - c) / w) ** 2).sum(axis=1)) for c in sides], axis=0)


def identity_modes(c: Controls) -> list[np.ndarray]:
    """How faces differ: displacement fields (c, 3), each about one standard deviation."""
    p = c.xyz
    x, y, z = p.T
    side = np.sign(x) * np.minimum(np.abs(x) / 0.1, 1)
    zero = np.zeros_like(x)

    def field(dx: np.ndarray = zero, dy: np.ndarray = zero, dz: np.ndarray = zero) -> np.ndarray:
        return np.stack([dx, dy, dz], axis=1)

    low = 1 / (1 + np.exp((y + 0.55) / 0.12))  # the lower face
    high = 1 / (1 + np.exp(-(y - 0.25) / 0.10))  # the forehead
    nose = _bump(p, (0, -0.28, 1.05), (0.14, 0.20, 0.16))
    lips = _bump(p, (0, -0.655, 0.97), (0.24, 0.11, 0.20))
    eyes = _bump(p, (0.305, 0.0, 0.80), (0.17, 0.10, 0.15))
    brows = _bump(p, (0.38, 0.21, 0.88), (0.26, 0.09, 0.20))
    jaw = low * np.minimum(np.abs(x) / 0.35, 1)
    cheek = _bump(p, (0.55, -0.2, 0.55), (0.2, 0.25, 0.3))
    chin = _bump(p, (0, -1.0, 0.9), (0.25, 0.16, 0.25))
    return [
        field(dx=0.045 * x / 0.7),
        field(dy=0.055 * (y + 0.3)),
        field(dz=0.07 * (z - 0.5)),  # width, length, depth
        field(dx=0.05 * side * jaw),
        field(dy=-0.05 * low),
        field(dx=0.04 * side * cheek),
        field(dz=0.05 * cheek),
        field(dz=0.05 * chin, dy=-0.01 * chin),
        field(dy=-0.05 * chin),
        field(dx=0.04 * side * chin),
        field(dz=0.05 * nose),
        field(dx=0.06 * x / 0.15 * nose * np.exp(-np.abs(x) / 0.4)),
        field(dy=-0.04 * nose),
        field(dz=0.035 * _bump(p, (0, -0.12, 1.0), (0.1, 0.12, 0.15))),
        field(dy=0.03 * _bump(p, (0, -0.36, 1.12), 0.12)),
        field(dx=0.03 * side * eyes),
        field(dx=0.02 * np.sign(x) * np.clip((np.abs(x) - 0.305) / 0.14, -1, 1) * eyes),
        field(dy=0.025 * eyes),
        field(dy=0.015 * np.sign(y) * eyes),
        field(dy=0.03 * (np.abs(x) - 0.305) / 0.14 * eyes),
        field(dz=0.03 * eyes),
        field(dy=0.04 * brows),
        field(dz=0.03 * brows),
        field(dy=0.04 * (np.abs(x) - 0.38) / 0.2 * brows),
        field(dx=0.05 * x / 0.25 * lips),
        field(dy=0.025 * np.sign(y + 0.655) * lips),
        field(dy=0.04 * lips),
        field(dz=0.035 * lips),
        field(dz=-0.08 * high * (y - 0.2)),
        field(dy=0.10 * high),
        field(dx=0.04 * side * high),
        field(dz=-0.06 * low),
        field(dz=0.06 * np.minimum(np.abs(x) / 0.7, 1) ** 2),
    ]


def expression_modes(c: Controls) -> list[np.ndarray]:
    """How faces move: displacement fields (c, 3), each about as far as speech goes."""
    p = c.xyz
    x, y, z = p.T
    zero = np.zeros_like(x)
    names = {name: i for i, name in enumerate(c.names)}
    lower_lip = np.isin(np.arange(len(x)), [names[f"lm{i}"] for i in (55, 56, 57, 58, 59, 65, 66, 67)])
    upper_lip = np.isin(np.arange(len(x)), [names[f"lm{i}"] for i in (49, 50, 51, 52, 53, 61, 62, 63)])

    def field(dx: np.ndarray = zero, dy: np.ndarray = zero, dz: np.ndarray = zero) -> np.ndarray:
        return np.stack([dx, dy, dz], axis=1)

    # the jaw turns about an axis through the joints before the ears; upper lip and nose stay, corners follow half
    follow = np.where(lower_lip, 1.0, np.where(upper_lip, 0.03, 1 / (1 + np.exp((y + 0.74) / 0.045))))
    corner = _bump(p, (0.25, -0.652, 0.87), (0.06, 0.05, 0.10))
    follow = np.where(lower_lip | upper_lip, follow, np.maximum(follow, 0.45 * corner)) * np.clip(
        (z + 0.05) / 0.5, 0, 1
    )
    joint = np.array([0, -0.10, 0.05])
    turn = 0.16
    ry, rz = y - joint[1], z - joint[2]
    opened = (
        field(dy=(np.cos(turn) - 1) * ry - np.sin(turn) * rz, dz=np.sin(turn) * ry + (np.cos(turn) - 1) * rz)
        * follow[:, None]
    )
    lips = _bump(p, (0, -0.655, 0.97), (0.22, 0.09, 0.18))
    mouth = _bump(p, (0, -0.655, 0.93), (0.34, 0.20, 0.25))
    low = 1 / (1 + np.exp((y + 0.70) / 0.06))
    modes = [
        opened,
        field(dx=0.05 * low),
        field(dz=0.04 * low),
        field(dx=-0.35 * x * mouth, dz=0.06 * lips),
        field(dx=0.30 * x * mouth, dz=-0.03 * mouth),
        field(dy=0.03 * np.sign(y + 0.655) * lips, dz=0.04 * lips),
        field(dy=-0.02 * np.sign(y + 0.655) * lips, dz=-0.02 * lips),
        field(dy=0.04 * upper_lip),
        field(dy=-0.04 * lower_lip),
        field(dz=0.03 * lower_lip),
        field(dz=0.03 * upper_lip),
        field(dx=0.04 * lips),
        field(dy=0.03 * lips),
        field(dz=0.04 * _bump(p, (0.42, -0.5, 0.72), (0.16, 0.2, 0.2))),
        field(dy=0.03 * _bump(p, (0.13, -0.36, 0.95), (0.08, 0.08, 0.1))),
    ]
    for sign in (1, -1):
        half = 1 / (1 + np.exp(-sign * x / 0.05))
        lid_up = np.isin(np.arange(len(x)), [names[f"lm{i}"] for i in ((43, 44) if sign > 0 else (37, 38))])
        lid_low = np.isin(np.arange(len(x)), [names[f"lm{i}"] for i in ((46, 47) if sign > 0 else (40, 41))])
        modes += [
            field(dx=sign * 0.05 * corner * half, dy=0.05 * corner * half, dz=-0.02 * corner * half),
            field(dy=-0.05 * corner * half),
            field(dx=sign * 0.04 * corner * half),
            field(dy=0.05 * half * _bump(p, (0.38, 0.22, 0.88), (0.24, 0.09, 0.2))),
            field(dy=0.05 * half * _bump(p, (0.17, 0.20, 0.95), (0.10, 0.09, 0.2))),
            field(
                dx=-sign * 0.03 * half * _bump(p, (0.17, 0.20, 0.95), (0.12, 0.09, 0.2)),
                dy=-0.03 * half * _bump(p, (0.3, 0.2, 0.9), (0.2, 0.09, 0.2)),
            ),
            field(dy=-0.05 * lid_up),
            field(dy=0.025 * lid_low),
            field(dy=0.04 * half * _bump(p, (0.42, -0.22, 0.78), (0.16, 0.12, 0.2))),
        ]
    return modes
