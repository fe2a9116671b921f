"""How the head moves: one displacement field an expression channel, added with its weight.

``field_amplitudes`` turns articulator curves into amplitudes such that the lips truly meet on p, b and m.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.corpora.synthetic.identity import Person
from s3dnerf.corpora.synthetic.surface import (
    LIP_CORNER,
    Q_EYE,
    Q_LIPS,
    Eye,
    Grid,
    both,
    bump,
    lid_arch,
    lid_depth,
    lid_reach,
    lip_arch,
    smoothstep,
)
from s3dnerf.corpora.synthetic.visemes import CHANNELS

FIELDS = (
    "jaw",
    "shut",
    "upper",
    "lower",
    "spread",
    "round",
    "protrude",
    "press",
    "labiodental",
    "smile",
    "brows",
    "frown",
    "lids",
    "lower_lids",
)
"""Displacement fields; weight 1 is: jaw turned by 0.24 rad · shut: the lower lip lifted by all that the jaw took it
down ·
upper, lower: that lip moved by 1 cm · spread: corners 5 mm outwards · round: corners 6 mm inwards · protrude: lips 6 mm
forward · press: red of the lips rolled in · lids: eyes fully open · lower_lids: lower lid down by 2 mm."""

JAW_TURN = 0.24
HINGE_Y, HINGE_Z = 0.02, -0.52
LIP_GAIN = 0.1


def jaw_motion(points: np.ndarray) -> np.ndarray:
    """Displacement of points (N, 3) fixed to the jaw when it is fully open: a small turn about the hinge, half its way
    back.
    """
    y, z = points[:, 1] - HINGE_Y, points[:, 2] - HINGE_Z
    return np.stack([0 * y, -JAW_TURN * np.maximum(z, 0), 0.45 * JAW_TURN * np.minimum(y, 0)], -1)


def _jaw_reach(p: np.ndarray, q: np.ndarray, theta: np.ndarray, lower: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of the jaw's motion that a place follows, and the part of it that belongs to the lower lip alone."""
    chin = smoothstep(-q, 0.34, 0.80) * smoothstep(q, -1.16, -0.95) * smoothstep(np.cos(theta), -0.25, 0.35)
    lip = np.where(lower, lip_arch(p) ** 0.8 * (1 - chin) * smoothstep(q, -0.95, -0.75), 0.0)
    return chin, lip


def displacement_fields(person: Person, grid: Grid, shape: np.ndarray, eyes: tuple[Eye, Eye]) -> np.ndarray:
    """Displacements (len(FIELDS), V, 3) of the resting ``shape``."""
    p, q, theta = grid.p, grid.q, grid.theta
    lower = (q < Q_LIPS - 1e-9) | (grid.side * (np.abs(q - Q_LIPS) < 1e-9) < 0)
    away = np.abs(q - Q_LIPS)
    arch = lip_arch(p)
    ahead = smoothstep(np.cos(theta), 0.1, 0.4)
    field = {name: np.zeros_like(shape) for name in FIELDS}

    chin, lip = _jaw_reach(p, q, theta, lower)
    turn = jaw_motion(shape)
    field["jaw"] = (chin + lip)[:, None] * turn
    field["jaw"][:, 0] += -0.035 * np.sign(p) * both(p, q, LIP_CORNER + 0.03, Q_LIPS, 0.10, 0.16)
    hold = lip * np.exp(-((away / 0.14) ** 2))
    field["shut"] = -hold[:, None] * turn

    near_upper = np.where(lower, 0.0, arch * np.exp(-((away / 0.13) ** 2)))
    near_lower = np.where(lower, arch * np.exp(-((away / 0.15) ** 2)), 0.0)
    field["upper"][:, 1] = LIP_GAIN * near_upper
    field["upper"][:, 2] = 0.02 * near_upper
    field["lower"][:, 1] = -LIP_GAIN * near_lower
    field["lower"][:, 2] = 0.015 * near_lower

    around = np.exp(-(((q - Q_LIPS) / 0.17) ** 2)) * ahead
    pull = around * np.clip(p / LIP_CORNER, -1, 1) * np.exp(-((np.clip(np.abs(p) - LIP_CORNER, 0, None) / 0.12) ** 2))
    thin = -0.12 * (q - Q_LIPS) * np.exp(-((away / 0.12) ** 2)) * arch
    field["spread"][:, 0] = 0.05 * pull
    field["spread"][:, 1] = thin
    field["spread"][:, 2] = (
        -0.035 * around * smoothstep(np.abs(p), 0.08, LIP_CORNER) * np.exp(-(((np.abs(p) - LIP_CORNER) / 0.14) ** 2))
    )
    field["round"][:, 0] = -0.058 * pull
    field["round"][:, 2] = 0.02 * bump(p, q, 0, Q_LIPS, 0.2, 0.1) * ahead
    field["protrude"][:, 2] = 0.065 * bump(p, q, 0, Q_LIPS, 0.16, 0.085) * ahead
    field["press"][:, 1] = -0.28 * (q - Q_LIPS) * np.exp(-((away / 0.09) ** 2)) * arch
    field["press"][:, 2] = -0.022 * np.exp(-((away / 0.08) ** 2)) * arch
    field["labiodental"][:, 1] = np.where(lower, 0.034 * near_lower, 0.045 * near_upper)
    field["labiodental"][:, 2] = np.where(lower, -0.055 * near_lower, 0.0)

    corner = both(p, q, LIP_CORNER + 0.01, Q_LIPS, 0.09, 0.07)
    cheek = both(p, q, 0.36, -0.08, 0.12, 0.12)
    field["smile"][:, 0] = np.sign(p) * 0.055 * corner
    field["smile"][:, 1] = 0.06 * corner + 0.035 * cheek
    field["smile"][:, 2] = -0.02 * corner + 0.03 * cheek
    field["brows"][:, 1] = 0.07 * both(p, q, 0.30, 0.53 + person.brow_height, 0.22, 0.075) * ahead
    inner = both(p, q, 0.15, 0.50 + person.brow_height, 0.09, 0.07)
    field["frown"][:, 0] = -0.03 * np.sign(p) * inner
    field["frown"][:, 1] = -0.045 * inner

    field["lids"], field["lower_lids"] = _lid_fields(person, grid, shape, eyes)
    return np.stack([field[name] for name in FIELDS])


def _lid_fields(person: Person, grid: Grid, shape: np.ndarray, eyes: tuple[Eye, Eye]) -> tuple[np.ndarray, np.ndarray]:
    """Opening of the upper and of the lower lids, sliding on the eyeball."""
    p, q = grid.p, grid.q
    on_row = np.abs(q - Q_EYE) < 1e-9
    below = (q < Q_EYE - 1e-9) | (on_row & (grid.side < 0))
    arch = lid_arch(p) ** 0.65
    reach = lid_reach(p)
    up, down = np.zeros_like(shape), np.zeros_like(shape)
    up[:, 1] = np.where(
        below, 0.0, 0.088 * person.eye_size * person.eye_height * arch * np.clip(1 - (q - Q_EYE) / 0.19, 0, 1)
    )
    down[:, 1] = np.where(below, -0.016 * arch * np.clip(1 - (Q_EYE - q) / 0.14, 0, 1), 0.0)
    for field in (up, down):
        moved = shape + field
        for eye in eyes:
            before, after = lid_depth(eye, shape, p, q), lid_depth(eye, moved, p, q)
            touches = np.isfinite(after)
            lift = np.where(touches, np.maximum(after - moved[:, 2], 0.0), 0.0)
            slide = np.where(
                touches & np.isfinite(before) & (np.abs(shape[:, 2] - before) < 1e-6),
                after - np.where(np.isfinite(before), before, 0.0),
                lift,
            )
            field[:, 2] += np.where(field[:, 1] != 0, slide * reach, 0.0)
    return up, down


def field_amplitudes(
    curves: np.ndarray, person: Person, blink: np.ndarray, brows: np.ndarray, mood: dict[str, float]
) -> np.ndarray:
    """Amplitudes of the fields (T, len(FIELDS)) from articulator curves.

    Parameters
    ----------
    curves : (T, len(CHANNELS))
    blink : (T,), 0 open – 1 closed
    brows : (T,), raise, about ±1
    mood : constant offsets by field name
    """
    c = {name: curves[:, i] for i, name in enumerate(CHANNELS)}
    free = (1 - c["closure"]) * (1 - c["labiodental"])
    jaw = 0.74 * person.articulate * np.clip(c["jaw"], 0, 1.2)
    amplitudes = {name: np.full(len(curves), mood.get(name, 0.0)) for name in FIELDS}
    amplitudes["jaw"] += jaw
    amplitudes["shut"] += amplitudes["jaw"] * (1 - free)
    amplitudes["upper"] += 0.34 * c["upper"] * free
    amplitudes["lower"] += 0.36 * c["lower"] * free
    amplitudes["spread"] += np.clip(c["spread"], 0, None)
    amplitudes["round"] += np.clip(-c["spread"], 0, None)
    amplitudes["protrude"] += c["protrude"]
    amplitudes["press"] += 0.85 * c["closure"]
    amplitudes["labiodental"] += c["labiodental"] * (1 - c["closure"])
    amplitudes["smile"] += person.smile
    amplitudes["brows"] += brows
    amplitudes["lids"] += (1 - blink) * (1 + 0.12 * np.clip(brows, -0.5, 1))
    amplitudes["lower_lids"] += 1 - 0.6 * blink
    return np.stack([amplitudes[name] for name in FIELDS], -1)
