"""Which frame of a clip is the portrait (``evaluate.source_frame``).

``first``: the clip's first frame, the paper's. ``calm`` (ours): of the first second, the frame whose mouth is least
open among those whose eyes are open. What a source does not show, nobody can move: behind closed lids there are no
eyes, and an open mouth leaves teeth and darkness where lips should close.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.core.shapes import Float
from s3dnerf.metrics.mouth_motion import opening

LIDS = ((37, 41), (38, 40), (43, 47), (44, 46))
CORNERS = ((36, 39), (42, 45))
OPEN = 0.8  # of the second's median: eyes less open than this blink


def eye_opening(landmarks: Float[np.ndarray, "n 68 2"]) -> Float[np.ndarray, " n"]:
    """Mean height of both eyes over their mean width (the eye aspect ratio of Soukupová & Čech, 2016)."""
    points = landmarks.astype(np.float64)

    def mean(pairs: tuple[tuple[int, int], ...]) -> np.ndarray:
        return np.mean([np.linalg.norm(points[:, a] - points[:, b], axis=-1) for a, b in pairs], axis=0)

    return mean(LIDS) / np.maximum(mean(CORNERS), 1e-6)


def source_frame(landmarks: Float[np.ndarray, "n 68 2"], rule: str) -> int:
    """Number of the frame that is the portrait.

    Parameters
    ----------
    landmarks : a clip's 68 landmarks, pixels
    rule : ``first`` or ``calm``; of equals the earliest. Raises ValueError for another.
    """
    if rule == "first":
        return 0
    if rule != "calm":
        raise ValueError(f"evaluate.source_frame: {rule!r} — accepted: first, calm")
    start = landmarks[:FPS_HZ]
    eyes = eye_opening(start)
    return int(np.where(eyes >= OPEN * np.median(eyes), opening(start), np.inf).argmin())
