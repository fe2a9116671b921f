"""Where the weight files of the face backends lie, and what to say when one is missing.

Reads the settings' paths and the data files of the installed package ``face_recognition_models``; writes nothing.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

DLIB_FILES = {
    "landmarks": "shape_predictor_68_face_landmarks.dat",
    "recogniser": "dlib_face_recognition_resnet_model_v1.dat",
    "landmarks5": "shape_predictor_5_face_landmarks.dat",
}


class MissingWeights(RuntimeError):
    """A weight file that a setting asks for is not there.

    Attributes
    ----------
    setting, path, where, licence : str
        The setting that names the file, the file, where to get it, and under which licence it is given.
    """

    def __init__(self, setting: str, path: str | Path | None, where: str, licence: str, instead: str = "") -> None:
        self.setting, self.path, self.where, self.licence = setting, str(path), where, licence
        found = "null" if path is None else f"{path}: no such file or folder"
        text = f"{setting}: {found}\n  where to get it: {where}\n  licence: {licence}"
        super().__init__(text + (f"\n  without it: {instead}" if instead else ""))


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
