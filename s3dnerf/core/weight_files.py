"""Weight files from outside, read as data: tensors come out, nothing in them is run.

Reads files of ``torch.save`` and safetensors; writes nothing. A pickle can name any function and call it: torch's
``weights_only`` reader knows tensors and containers alone, and stops at anything else.
"""

from __future__ import annotations

import pickle
import re
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError

NAMED = re.compile(r"GLOBAL (\S+)")
# what torch's reader raises, by where in a damaged file it stops
READING = (RuntimeError, pickle.UnpicklingError, EOFError, LookupError, ValueError, TypeError, AttributeError)
STOPPED = re.compile(r"WeightsUnpickler error:\s*(.+)")


class WeightFileError(S3DNeRFError, ValueError):
    """A file holds more than tensors, or is damaged; the message says which, without torch's advice to read it all the
    same.
    """


def refusal(error: Exception) -> str:
    """In a few words, why torch's reader stopped."""
    named = NAMED.search(str(error))
    if named:
        return f"it holds more than tensors, a call of {named[1]}: refused, nothing of it was run"
    stopped = STOPPED.search(str(error))
    first = next(iter(str(error).splitlines()), "")
    return f"not a plain file of tensors: {stopped[1] if stopped else first[:200] or type(error).__name__}"


def read_tensors(path: str | Path) -> Any:
    """What a file of ``torch.save`` holds, on the CPU: a mapping of tensors as a rule.

    Raises WeightFileError for a file that holds more, or that cannot be read; OSError where there is none.
    """
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except READING as error:
        raise WeightFileError(f"{path}: {refusal(error)}") from error


def read_named_tensors(path: Path) -> dict[str, Any]:
    """Name → tensor, of a safetensors file or of one that torch wrote. Raises WeightFileError, OSError."""
    found = read_safetensors(path)[0] if path.suffix == ".safetensors" else read_tensors(path)
    if not isinstance(found, dict):
        raise WeightFileError(f"{path}: not a plain file of tensors: holds a {type(found).__name__}")
    return found


def read_safetensors(path: str | Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Tensors, on the CPU, and metadata of a safetensors file. Raises WeightFileError for any other file; OSError."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightFileError(f"{path}: not a safetensors file: {str(error)[:200]}") from error
