"""A face enhancer of the user's own, between the network and the picture; none comes with the package.

An enhancer is a callable: the aligned face, uint8 (256, 256, 3) RGB, to the same face, uint8 (s, s, 3), s ≥ 256. Each
frame goes through it. In the whole picture, what it adds to the frame is added to the photo, fading towards the aligned
square's edge as everything does. :mod:`s3dnerf.synthesis.onnx_enhancer` makes one of an ONNX file.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from s3dnerf.core.errors import SettingsError
from s3dnerf.model.cameras import FRAME_PX

Enhancer = Callable[[np.ndarray], np.ndarray]


def enhanced(enhancer: Enhancer, frame: np.ndarray) -> np.ndarray:
    """What an enhancer makes of a frame. Raises SettingsError where it is no picture of a square."""
    made = np.asarray(enhancer(frame))
    if made.dtype != np.uint8 or made.ndim != 3 or made.shape != (len(made), len(made), 3) or len(made) < FRAME_PX:
        raise SettingsError(f"the enhancer made {made.dtype} {made.shape}: expected uint8 (s, s, 3), s ≥ {FRAME_PX}")
    return made


def detail_of(frame: np.ndarray, better: np.ndarray) -> np.ndarray:
    """What an enhancer added: float32 (s, s, 3), of 1, against the frame enlarged to its size."""
    import cv2

    plain = cv2.resize(frame, better.shape[:2], interpolation=cv2.INTER_CUBIC) if better.shape != frame.shape else frame
    return (better.astype(np.float32) - plain) / 255.0
