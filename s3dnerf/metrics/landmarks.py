"""Landmarks as metrics take them: each frame for itself, one detection, one answer; no tracking, no smoothing, no
averaging.

Preprocessing asks the landmark finder several times and smooths along the clip, which is right for alignment; a metric
must give the numbers that a plain script with the same detector gives (``tests/test_folders.py`` holds such a script
against it, to 1 %).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from s3dnerf.core.shapes import Float, UInt8
from s3dnerf.faces.types import main_face


def metric_landmarks(frames: UInt8[np.ndarray, "n h w 3"], backend: Any) -> Float[np.ndarray, "n 68 2"]:
    """68 landmarks of each frame, pixels; a row of nan where no face, or no single one, is found.

    ``backend`` is a :class:`s3dnerf.faces.detectors.FaceBackend`; its ``plain_landmarks`` is asked where it has one.
    A second face counts when it is at least 0.6 of the first one's size (:func:`s3dnerf.faces.detectors.main_face`).
    """
    answer = getattr(backend, "plain_landmarks", backend.landmarks)
    found = np.full((len(frames), 68, 2), np.nan, np.float32)
    for i, frame in enumerate(frames):
        face, rivals = main_face(backend.detect(frame))
        if face is not None and rivals == 1:
            found[i] = answer(frame, face.box_px)
    return found
