"""Features by name as a safetensors file and back: what whole-corpus distances are computed from.

A name is a tuple of words (clip, method, feature network), kept as JSON. Equal features are equal bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from s3dnerf.core.shapes import Float

Names = tuple[str, ...]


def features_bytes(features: Mapping[Any, Float[np.ndarray, "m d"]]) -> bytes:
    """A file of features, float32; a name is a tuple of words.

    Examples
    --------
    >>> list(read_features(features_bytes({("a clip", "truth", "alexnet"): np.zeros((3, 2))})))
    [('a clip', 'truth', 'alexnet')]
    """
    from safetensors.numpy import save

    named = {json.dumps(name, ensure_ascii=False): values for name, values in features.items()}
    return save({name: np.ascontiguousarray(named[name], np.float32) for name in sorted(named)})


def read_features(data: bytes) -> dict[Names, Float[np.ndarray, "m d"]]:
    """Inverse of :func:`features_bytes`. Raises SafetensorError for any other file."""
    from safetensors.numpy import load

    return {tuple(json.loads(name)): values for name, values in sorted(load(data).items())}
