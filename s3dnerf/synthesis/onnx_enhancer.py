"""A face enhancer out of an ONNX file, as restoration networks are exported (see :mod:`s3dnerf.synthesis.enhancer`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.file_names import shown
from s3dnerf.model.cameras import FRAME_PX
from s3dnerf.synthesis.enhancer import Enhancer

ACCEPTED = "one input and one output of RGB in −1 … 1, float32 (1, 3, s, s), s fixed and at least 256"


def onnx_enhancer(path: str | Path, setting: str = "enhancer") -> Enhancer:
    """The network of an ONNX file, run by onnxruntime on the device that :mod:`s3dnerf.core.devices` chooses.

    Raises SettingsError, naming ``setting``, where onnxruntime or the file is missing, or the network is of another
    form.
    """
    try:
        import onnxruntime
    except ModuleNotFoundError as missing:
        raise SettingsError(
            f"{setting}: needs onnxruntime, which is not installed: pip install onnxruntime"
        ) from missing
    from s3dnerf.core.devices import onnx_provider

    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"{setting}: {shown(path)}: no such file — accepted: an ONNX network")
    try:
        session = onnxruntime.InferenceSession(str(path), providers=[onnx_provider()])
    except SettingsError:
        raise
    except Exception as error:  # onnxruntime has a class of its own for every kind of damage
        raise SettingsError(f"{setting}: {shown(path)}: not an ONNX network: {str(error)[:200]}") from error
    ends = [*session.get_inputs(), *session.get_outputs()]
    shapes = [list(end.shape) for end in ends]
    fits = [
        end.type == "tensor(float)" and len(s) == 4 and s[1] == 3 and isinstance(s[2], int) and s[2] == s[3] >= FRAME_PX
        for end, s in zip(ends, shapes)
    ]
    if len(ends) != 2 or not all(fits):
        got = ", ".join(f"{end.name} {end.type} {shape}" for end, shape in zip(ends, shapes))
        raise SettingsError(f"{setting}: {shown(path)}: got {got} — accepted: {ACCEPTED}")
    name, side = ends[0].name, shapes[0][2]

    def enhance(frame: np.ndarray) -> np.ndarray:
        import cv2

        given = frame if side == FRAME_PX else cv2.resize(frame, (side, side), interpolation=cv2.INTER_CUBIC)
        blob = (given.astype(np.float32) / 127.5 - 1.0).transpose(2, 0, 1)[None]
        made = session.run(None, {name: np.ascontiguousarray(blob)})[0][0].transpose(1, 2, 0)
        return np.clip((made + 1.0) * 127.5 + 0.5, 0.0, 255.0).astype(np.uint8)

    return enhance
