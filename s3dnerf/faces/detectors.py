"""Face detectors with 68 landmarks: two backends, chosen by ``align.backend``, behind one interface
(:mod:`s3dnerf.faces.types`).

``dlib`` (HOG detector, 68-point regression trees) is embedded and stands in; ``insightface`` (``FaceAnalysis`` on any
folder of its models: SCRFD detection, 68 3-D points) is the real thing and reads ``align.model_dir``.
"""

from __future__ import annotations

import threading

from s3dnerf.faces.types import FaceBackend
from s3dnerf.settings.schema import AlignSettings

_loaded = threading.local()


def face_backend(settings: AlignSettings) -> FaceBackend:
    """The backend that ``align.backend`` names. Raises MissingWeights with what to fetch when its files are absent.

    Loading takes a second, so each thread keeps the last one it asked for: detectors hold state and are not shared.
    """
    key = (settings.backend, settings.model_dir, settings.device)
    if getattr(_loaded, "key", None) != key:
        _loaded.key, _loaded.backend = None, None
        if settings.backend == "dlib":
            from s3dnerf.faces.dlib_backend import DlibBackend

            _loaded.backend = DlibBackend()
        else:
            from s3dnerf.faces.insightface_backend import InsightFaceBackend

            _loaded.backend = InsightFaceBackend(settings.model_dir, settings.device)
        _loaded.key = key
    return _loaded.backend
