"""Where speech moves the face, as numbers: how much stronger a map is in the lower face than in the upper.

Three maps a clip: mean ‖Δx‖; Δx's deviation over time, which leaves out what is moved once and for all; F_cm's
deviation over time. The face is the mask of most frames; it is halved at the base of the nose (landmark 33). 1: no
difference between the halves.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np

from s3dnerf.training.clips import Clip

NOSE_BASE = 33
NAMES = {"delta": "‖Δx‖", "delta_over_time": "Δx's deviation over time", "f_cm_over_time": "F_cm's deviation over time"}


def lower_to_upper(
    values: np.ndarray, mask: np.ndarray, split_px: float, window: tuple[float, float, float, float]
) -> float | None:
    """Mean of a map in the face below ``split_px`` over its mean above.

    Parameters
    ----------
    values : (h, w), at least 0
    mask : bool (256, 256), the face
    split_px : row of the frame that parts lower from upper face
    window : x0, y0, x1, y1 in pixels of the frame: where ``values`` lie

    Returns None where a half has no cell, or the upper half is 0 throughout.
    """
    x0, y0, x1, y1 = window
    rows, columns = (np.arange(n) + 0.5 for n in values.shape)
    y, x = y0 + rows * (y1 - y0) / values.shape[0], x0 + columns * (x1 - x0) / values.shape[1]
    inside = np.zeros(values.shape, bool)
    seen_y, seen_x = (y >= 0) & (y < mask.shape[0]), (x >= 0) & (x < mask.shape[1])
    inside[np.ix_(seen_y, seen_x)] = mask[np.ix_(y[seen_y].astype(int), x[seen_x].astype(int))]
    lower, upper = values[inside & (y >= split_px)[:, None]], values[inside & (y < split_px)[:, None]]
    if not len(lower) or not len(upper) or upper.mean() <= 0:
        return None
    return float(lower.mean() / upper.mean())


def ratios(clip: Clip, moved: np.ndarray, moving: np.ndarray, heat: dict[str, Any]) -> dict[str, float | None]:
    """A clip's three ratios (``NAMES``).

    Parameters
    ----------
    moved, moving : (r, r), mean ‖Δx‖ and Δx's deviation over time
    heat : a ``heat_map``
    """
    whole = (0.0, 0.0, 256.0, 256.0)
    face, split = clip.masks.mean(axis=0) > 0.5, float(clip.landmarks[:, NOSE_BASE, 1].mean())
    found = {
        "delta": lower_to_upper(moved, face, split, whole),
        "delta_over_time": lower_to_upper(moving, face, split, whole),
    }
    cells = heat["moving"]
    of_source = (
        None
        if cells is None
        else lower_to_upper(np.array(cells), clip.masks[0], float(clip.landmarks[0, NOSE_BASE, 1]), heat["window"])
    )
    return {
        name: None if value is None else round(value, 4)
        for name, value in (found | {"f_cm_over_time": of_source}).items()
    }


def in_words(found: dict[str, dict[str, float | None]]) -> str:
    """One sentence about all clips, '' for none.

    Parameters
    ----------
    found : clip → its ratios
    """
    ranges = []
    for name, title in NAMES.items():
        values = sorted(v for v in (clip[name] for clip in found.values()) if v is not None)
        if values:
            ranges.append(f"{title} {median(values):.2f} ({values[0]:.2f} to {values[-1]:.2f})")
    return f"Lower face against upper, median and range over {len(found)} clips: {'; '.join(ranges)}." if ranges else ""
