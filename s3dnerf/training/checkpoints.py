"""Checkpoints: a killed run goes on where it was, to bit-identical weights on a CPU.

Writes ``<path>`` and keeps the one before as ``<path>.previous``. A file is one line ``s3dnerf-checkpoint 1 <sha256>``
and then ``torch.save``'s bytes: a half-written or changed file is noticed and refused, and the previous one is used.
Only tensors and plain Python go in, so that reading never runs foreign code (``weights_only=True``). Lies outside DVC's
outs (``.checkpoints/<stage>/<key>/``), which DVC deletes before a stage runs.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import pickle
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from s3dnerf.core.memory import ran_out_of_memory
from s3dnerf.video.packs import TAR_HASHES, file_sha256

logger = logging.getLogger(__name__)

MAGIC = b"s3dnerf-checkpoint 1 "


def _check_plain(value: Any, where: str) -> None:
    if value is None or isinstance(value, (torch.Tensor, bool, int, float, str)) and not isinstance(value, np.generic):
        return  # a numpy float64 is a float to Python, but not to a weights_only reader
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, (str, int)):
                raise TypeError(f"checkpoint {where}: key {key!r} — expected text or a whole number")
            _check_plain(item, f"{where}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            _check_plain(item, f"{where}[{i}]")
    else:
        raise TypeError(
            f"checkpoint {where}: {type(value).__name__} — expected tensors, mappings, lists, text, numbers; "
            "turn a numpy array into a tensor"
        )


def _previous(path: Path) -> Path:
    return path.with_name(path.name + ".previous")


def save_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` atomically (temporary name, flushed to disk, renamed); the file that stood there becomes
    ``.previous``.

    Raises TypeError, naming the place, when ``state`` holds anything but tensors and plain Python.
    """
    path = Path(path)
    _check_plain(state, "state")
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with open(part, "wb") as handle:
            handle.write(MAGIC + hashlib.sha256(payload).hexdigest().encode() + b"\n")
            handle.write(payload)
            handle.flush()
            os.fsync(handle.fileno())
        if path.exists():
            os.replace(path, _previous(path))
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _read(path: Path) -> dict[str, Any]:
    """One file's state. Raises ValueError saying what is wrong with it."""
    data = path.read_bytes()
    head, newline, payload = data[: len(MAGIC) + 65].partition(b"\n")
    if not head.startswith(MAGIC) or not newline:
        raise ValueError("no checkpoint header")
    payload = data[len(head) + 1 :]
    if hashlib.sha256(payload).hexdigest().encode() != head[len(MAGIC) :]:
        raise ValueError(f"its {len(payload)} bytes do not have the hash its header states: half-written or changed")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        if ran_out_of_memory(error):
            raise  # the file is whole: to go on without it would begin again
        raise ValueError(f"cannot be read: {str(error)[:200]}") from error
    if not isinstance(state, dict):
        raise ValueError(f"holds a {type(state).__name__}, expected a mapping")
    return state


def load_checkpoint(path: str | Path) -> dict[str, Any] | None:
    """The newest whole checkpoint at ``path`` (tensors on the CPU), or None where there is none.

    A damaged file is refused with a warning in the log, and the previous one is used.
    """
    path = Path(path)
    for candidate in (path, _previous(path)):
        if not candidate.is_file():
            continue
        try:
            return _read(candidate)
        except ValueError as fault:
            logger.warning(
                f"checkpoint {candidate} refused: {fault}; "
                + ("using the one before" if candidate == path else "starting again")
            )
    return None


def random_states() -> dict[str, Any]:
    """Random states of python, numpy's global generator and torch (CUDA devices included), as tensors and plain
    Python.
    """
    version, words, gauss = random.getstate()
    name, key, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, torch.tensor(words, dtype=torch.int64), gauss],
        "numpy": [
            str(name),
            torch.from_numpy(np.asarray(key).astype(np.int64)),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Inverse of :func:`random_states`. States of CUDA devices that this machine lacks are left out."""
    version, words, gauss = states["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    name, key, position, has_gauss, cached = states["numpy"]
    np.random.set_state((name, key.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(states["torch"])
    for i, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(state, i)


def _recorded(folder: Path) -> dict[str, str]:
    """File name → sha256 of the packs of a folder, where it says (``packs.json``)."""
    try:
        return {str(name): str(sha256) for name, sha256 in json.loads((folder / TAR_HASHES).read_text()).items()}
    except (OSError, ValueError, AttributeError):
        return {}


def data_fingerprint(folders: Iterable[str | Path]) -> str:
    """Hex hash of all files below ``folders``, of their names and their content, whatever their times.

    A pack counts by the sha256 that its folder recorded when it was made, so that terabytes cost no more than their
    tables; the index, which holds a sum of every part that is compared when it is read, and all other files by their
    bytes.
    """
    named = sorted(
        (f"{Path(folder).as_posix()}/{path.relative_to(folder).as_posix()}", path)
        for folder in folders
        for path in ([Path(folder)] if Path(folder).is_file() else Path(folder).rglob("*"))
        if path.is_file()
    )
    recorded: dict[Path, dict[str, str]] = {}
    digest = hashlib.sha256()
    for name, path in named:
        if path.parent not in recorded:
            recorded[path.parent] = _recorded(path.parent)
        digest.update(f"{name}\0{recorded[path.parent].get(path.name) or file_sha256(path)}\0".encode())
    return digest.hexdigest()
