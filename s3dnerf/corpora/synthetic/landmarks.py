"""The 68 landmarks (iBUG order, 0-based) as places on the canonical map, so that they are known exactly in every
frame.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.corpora.synthetic.identity import Person
from s3dnerf.corpora.synthetic.paint import brow_line
from s3dnerf.corpora.synthetic.surface import HALF_WIDTH, LIP_CORNER, Q_EYE, Q_LIPS, Grid, lip_edges

_JAW = (
    (-1.47, 0.335),
    (-1.45, 0.12),
    (-1.42, -0.10),
    (-1.37, -0.34),
    (-1.24, -0.57),
    (-1.00, -0.75),
    (-0.72, -0.86),
    (-0.38, -0.905),
    (0.0, -0.925),
)
_EYE_P = (0.438, 0.350, 0.258, 0.172)


def places(person: Person) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Column angle, row label and slit side (68,) of each landmark for this person's brows, nose and lips."""
    jaw = [(t, q, 0) for t, q in _JAW]
    jaw += [(-t, q, 0) for t, q in _JAW[-2::-1]]

    def at(p: float, q: float, side: int = 0) -> tuple[float, float, int]:
        return float(np.arcsin(p / HALF_WIDTH)), float(q), side

    brow_p, brow_q = brow_line(person, np.array([1.0, 0.78, 0.52, 0.26, 0.0]))
    brows = [at(-p, q) for p, q in zip(brow_p, brow_q, strict=True)] + [
        at(p, q) for p, q in zip(brow_p[::-1], brow_q[::-1], strict=True)
    ]
    n, w = -person.nose_length, person.nose_width
    nose = [at(0, 0.30), at(0, 0.18 + 0.4 * n), at(0, 0.06 + 0.7 * n), at(0, -0.06 + n)]
    nose += [
        at(-0.105 * w, -0.155 + n),
        at(-0.055 * w, -0.172 + n),
        at(0, -0.185 + n),
        at(0.055 * w, -0.172 + n),
        at(0.105 * w, -0.155 + n),
    ]
    outer, a, b, inner = _EYE_P
    left = [
        at(-outer, Q_EYE),
        at(-a, Q_EYE, 1),
        at(-b, Q_EYE, 1),
        at(-inner, Q_EYE),
        at(-b, Q_EYE, -1),
        at(-a, Q_EYE, -1),
    ]
    right = [at(inner, Q_EYE), at(b, Q_EYE, 1), at(a, Q_EYE, 1), at(outer, Q_EYE), at(a, Q_EYE, -1), at(b, Q_EYE, -1)]

    def edge(p: float, upper: bool) -> tuple[float, float, int]:
        return at(p, float(lip_edges(np.array(p), person)[0 if upper else 1]))

    lips = [
        at(-LIP_CORNER, Q_LIPS),
        edge(-0.145, True),
        edge(-0.055, True),
        edge(0.0, True),
        edge(0.055, True),
        edge(0.145, True),
        at(LIP_CORNER, Q_LIPS),
    ]
    lips += [edge(0.155, False), edge(0.07, False), edge(0.0, False), edge(-0.07, False), edge(-0.155, False)]
    lips += [at(-0.205, Q_LIPS, 1), at(-0.075, Q_LIPS, 1), at(0, Q_LIPS, 1), at(0.075, Q_LIPS, 1), at(0.205, Q_LIPS, 1)]
    lips += [at(0.075, Q_LIPS, -1), at(0, Q_LIPS, -1), at(-0.075, Q_LIPS, -1)]
    theta, q, side = zip(*(jaw + brows + nose + left + right + lips), strict=True)
    return np.array(theta), np.array(q), np.array(side)


def landmark_weights(person: Person, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Four vertices and their weights, (68, 4) each: landmark = Σ weight · vertex."""
    theta, q, side = places(person)
    column = np.clip(np.searchsorted(grid.columns, theta, "right") - 1, 0, len(grid.columns) - 2)
    along = (theta - grid.columns[column]) / (grid.columns[column + 1] - grid.columns[column])
    row = np.clip(np.searchsorted(-grid.rows, -q, "right") - 1, 0, len(grid.rows) - 2)
    down = (grid.rows[row] - q) / (grid.rows[row] - grid.rows[row + 1])
    on_row = np.abs(down) < 1e-9
    above = np.where(
        (on_row & (side >= 0))[:, None],
        np.stack([grid.first[row, column], grid.first[row, column + 1]], -1),
        np.stack([grid.second[row, column], grid.second[row, column + 1]], -1),
    )
    below = np.stack([grid.first[row + 1, column], grid.first[row + 1, column + 1]], -1)
    index = np.concatenate([above, below], -1)
    weight = np.stack([(1 - down) * (1 - along), (1 - down) * along, down * (1 - along), down * along], -1)
    return index, weight
