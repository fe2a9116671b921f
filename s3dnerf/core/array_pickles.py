"""Pickles of numpy arrays from outside, read as data: nested dictionaries of arrays come out, nothing in them is run.

A pickle can name any function and call it. This reader knows the three names that numpy's own pickles of arrays hold
and stops at any other.
"""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from s3dnerf.core.weight_files import WeightFileError

# what a pickle of arrays names: how an array is begun, its class and its type; numpy 1 and 2 spell the first otherwise
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy._core.multiarray", "_reconstruct"): np._core.multiarray._reconstruct,  # type: ignore[attr-defined]
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
DAMAGED = (pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError, MemoryError)


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return ALLOWED[module, name]
        except KeyError:
            raise WeightFileError(
                f"it holds more than arrays, a call of {module}.{name}: refused, nothing of it was run"
            ) from None


def read_arrays(data: bytes, what: str) -> dict[str, np.ndarray]:
    """The arrays of a pickled dictionary, nested ones by their path with ``/``.

    Parameters
    ----------
    data : a pickle of dictionaries whose leaves are arrays of numbers
    what : its name, for messages

    Raises
    ------
    WeightFileError for a pickle that names anything else, is damaged, or holds other leaves.
    """
    try:
        found = _Arrays(io.BytesIO(data)).load()
    except WeightFileError as error:
        raise WeightFileError(f"{what}: {error}") from None
    except DAMAGED as error:
        raise WeightFileError(f"{what}: not a pickle of arrays: {error}") from error
    arrays: dict[str, np.ndarray] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(inner, f"{path}/{key}" if path else str(key))
        elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
            arrays[path] = value
        else:
            raise WeightFileError(f"{what}: {path or 'it'} is no array of numbers but {type(value).__name__}")

    walk(found, "")
    return arrays
