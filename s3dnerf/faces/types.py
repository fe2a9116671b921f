"""What a face detector is and what it finds, boxes and 68 landmarks: one interface for all backends
(:mod:`s3dnerf.faces.detectors` chooses one).

All positions are continuous pixels (x to the right, y down): pixel i covers [i, i + 1), its centre is i + 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from s3dnerf.core.errors import S3DNeRFError

# where each part of the face stands among the 68 landmarks (iBUG), 0-based
JAW, BROWS, NOSE, EYES, LIPS = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
REGIONS = {"jaw": JAW, "brows": BROWS, "nose": NOSE, "eyes": EYES, "lips": LIPS}
RIVAL_SIZE = 0.6  # a second face counts as a rival when its side is at least this share of the first one's


class FaceError(S3DNeRFError, ValueError):
    """A picture cannot be used: ``reason`` is a code in snake_case, the message says what was found and what to do."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Face:
    """One detection.

    Attributes
    ----------
    box_px : (x0, y0, x1, y1)
    score : float
        The detector's own: dlib's margin (about −0.5 … 4), SCRFD's probability (0 … 1).
    """

    box_px: tuple[float, float, float, float]
    score: float

    @property
    def side_px(self) -> float:
        """Geometric mean of width and height."""
        x0, y0, x1, y1 = self.box_px
        return float(np.sqrt(max(x1 - x0, 0.0) * max(y1 - y0, 0.0)))

    @property
    def centre_px(self) -> tuple[float, float]:
        """Centre (x, y) of the box."""
        x0, y0, x1, y1 = self.box_px
        return (x0 + x1) / 2, (y0 + y1) / 2


class FaceBackend(Protocol):
    """What alignment, portraits and metrics ask of a detector.

    Attributes
    ----------
    name : str
    real : bool
        False where it stands in for the real thing.
    contour : {"visible", "fixed"}
        Whether jaw points 0–16 sit on the visible silhouette (they slide over the skin as the head turns) or on
        fixed points of the head.
    sure_score : float
        The score from which on a detection stands by itself.
    """

    name: str
    real: bool
    contour: str
    sure_score: float

    def detect(self, image: np.ndarray, max_px: int | None = None, weak: bool = False) -> list[Face]:
        """Faces of an RGB picture uint8 (h, w, 3), largest first; searched with the longer side at most ``max_px``.

        With ``weak``, faces below ``sure_score`` as well that the detector half believes in: enough to go on with a
        face that was there a moment ago, not to begin with one.
        """

    def landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        """68 landmarks float32 (68, 2) of the face in a box like those that ``detect`` gives."""

    def landmarks_and_doubt(
        self, image: np.ndarray, box_px: tuple[float, float, float, float]
    ) -> tuple[np.ndarray, float]:
        """The landmarks, and how far answers to slightly different boxes disagree, as a share of the box's side (0:
        certain).
        """

    def plain_landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        """The same points as a plain script with this model gets them: one answer, nothing averaged or rescaled. For
        metrics.
        """

    def track_box(self, landmarks: np.ndarray) -> tuple[float, float, float, float]:
        """The box in which to look for the landmarks again, from the landmarks (68, 2) of a moment ago."""


def main_face(faces: list[Face], rival_size: float = RIVAL_SIZE) -> tuple[Face | None, int]:
    """The largest face, and how many faces rival it in size (itself included; 0 without any).

    >>> small, large = Face((0, 0, 10, 10), 1.0), Face((20, 20, 60, 60), 1.0)
    >>> face, rivals = main_face([small, large])
    >>> face is large, rivals
    (True, 1)
    """
    if not faces:
        return None, 0
    ordered = sorted(faces, key=lambda f: (-f.side_px, -f.score, f.box_px))
    return ordered[0], sum(f.side_px >= rival_size * ordered[0].side_px for f in ordered)
