"""Where the weight files of the face backends lie, and what to say when one is missing.

Reads the settings' paths and the data files of the installed package ``face_recognition_models``; writes nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from s3dnerf.core.errors import MissingWeights

DLIB_FILES = {
    "landmarks": "shape_predictor_68_face_landmarks.dat",
    "recogniser": "dlib_face_recognition_resnet_model_v1.dat",
    "landmarks5": "shape_predictor_5_face_landmarks.dat",
}


def dlib_data(name: str) -> Path:
    """Path of one of dlib's data files.

    The package that ships them (``face-recognition-models`` on PyPI, files released as CC0) is found without being
    imported: its ``__init__`` imports ``pkg_resources``, which setuptools has removed.

    Parameters
    ----------
    name : {"landmarks", "recogniser", "landmarks5"} or a file name

    Raises
    ------
    MissingWeights
        When the package or the file is not installed.
    """
    file = DLIB_FILES.get(name, name)
    spec = importlib.util.find_spec("face_recognition_models")
    folder = Path(spec.origin).parent / "models" if spec is not None and spec.origin else None
    path = folder / file if folder is not None else None
    if path is None or not path.is_file():
        raise MissingWeights("align.backend: dlib", path or file, "pip install face-recognition-models", "CC0-1.0")
    return path
