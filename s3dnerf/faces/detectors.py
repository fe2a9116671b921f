"""Face detectors with 68 landmarks: two backends, chosen by ``align.backend``, behind one interface
(:mod:`s3dnerf.faces.types`).

``dlib`` (HOG detector, 68-point regression trees) is embedded and stands in; ``insightface`` (``FaceAnalysis`` on any
folder of its models: SCRFD detection, 68 3-D points) is the real thing and reads ``align.model_dir``.

Alignment and portraits find landmarks by :func:`refined_landmarks`; metrics take the finder's first answer
(:func:`s3dnerf.metrics.lmd.metric_landmarks`).
"""

from __future__ import annotations

import threading

import numpy as np

from s3dnerf.faces.types import Face, FaceBackend
from s3dnerf.settings.schema import AlignSettings

STARTS = (
    (1.0, 0.0),
    (1.2, 0.15),
    (1.3, 0.0),
    (1.1, -0.1),
)  # growth of the detector's box and its shift downward, a share of its side
# doubt below which the first start is believed: on faces it is 0.002–0.004, on a mouth taken for a nose 0.004–0.03
SURE = 0.005
_loaded = threading.local()


def face_backend(settings: AlignSettings) -> FaceBackend:
    """The backend that ``align.backend`` names. Raises MissingWeights with what to fetch when its files are absent.

    Loading takes a second, so each thread keeps the last one it asked for: detectors hold state and are not shared.
    """
    key = (settings.backend, settings.model_dir)
    if getattr(_loaded, "key", None) != key:
        _loaded.key, _loaded.backend = None, None
        if settings.backend == "dlib":
            from s3dnerf.faces.dlib_backend import DlibBackend

            _loaded.backend = DlibBackend()
        else:
            from s3dnerf.faces.insightface_backend import InsightFaceBackend

            _loaded.backend = InsightFaceBackend(settings.model_dir)
        _loaded.key = key
    return _loaded.backend


def refined_landmarks(frame: np.ndarray, backend: FaceBackend, face: Face) -> tuple[np.ndarray, float]:
    """Landmarks float32 (68, 2) of a detected face, and the doubt that remains (see FaceBackend).

    They are asked for twice, a detector's box being coarse (dlib's steps are 20 %): the second answer comes from the
    box that follows from the first. Where answers disagree (a box too high can put the lips on the nostrils, and stay
    there), other starts are tried and the one that is most at one with itself wins.
    """
    x0, y0, x1, y1 = face.box_px
    best, least = np.full((68, 2), np.nan, np.float32), np.inf
    for growth, down in STARTS:
        half, x, y = growth * (x1 - x0) / 2, (x0 + x1) / 2, (y0 + y1) / 2 + down * (y1 - y0)
        first = backend.landmarks(frame, (x - half, y - growth * (y1 - y0) / 2, x + half, y + growth * (y1 - y0) / 2))
        points, doubt = backend.landmarks_and_doubt(frame, backend.track_box(first))
        if doubt < least:
            best, least = points, doubt
        if least <= SURE:
            break
    return best, least
