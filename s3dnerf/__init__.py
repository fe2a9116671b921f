"""S³D-NeRF: one portrait and a speech recording to a talking-head video. The library: no prefect, dvc or mlflow
here.

``TalkingHead`` (:mod:`s3dnerf.synthesis.talking_head`) is all that a program needs that makes videos.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

# onnxruntime 1.31 reports its use to its makers; read when it is loaded
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["TalkingHead"]


def __getattr__(name: str) -> Any:
    """``TalkingHead``, imported when it is asked for: no other module of the package depends on it, or on PyTorch."""
    if name == "TalkingHead":
        return importlib.import_module("s3dnerf.synthesis.talking_head").TalkingHead
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
