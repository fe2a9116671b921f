"""S³D-NeRF: one portrait and a speech recording to a talking-head video. The library: no prefect, dvc or mlflow
here.

``TalkingHead`` (:mod:`s3dnerf.synthesis.talking_head`) is all that a program needs that makes videos.
"""

from __future__ import annotations

import importlib
from typing import Any

__all__ = ["TalkingHead"]


def __getattr__(name: str) -> Any:
    """``TalkingHead``, imported when it is asked for: no other module of the package depends on it, or on PyTorch."""
    if name == "TalkingHead":
        return importlib.import_module("s3dnerf.synthesis.talking_head").TalkingHead
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
