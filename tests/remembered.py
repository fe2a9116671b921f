"""A pure function's results, kept by its exact inputs: for tests that ask the same of it many times."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s3dnerf.reporting import figures, page, sheets, videos
from s3dnerf.video.packs import PACK_STAGES
from stages import code_lock


def remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, computed once for equal arrays, bytes and numbers. An array that it gives is a copy each time."""
    kept: dict[tuple, Any] = {}

    def key(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return value.shape, str(value.dtype), hashlib.sha256(np.ascontiguousarray(value)).digest()
        return hashlib.sha256(value).digest() if isinstance(value, bytes) else value

    def once(*given: Any) -> Any:
        inputs = tuple(map(key, given))
        if inputs not in kept:
            kept[inputs] = function(*given)
        found = kept[inputs]
        return found.copy() if isinstance(found, np.ndarray) else found

    return once


def remember_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures that a report encodes and clips that it decodes: once, however often the same report is made again."""
    for module, name in ((figures, "photo_uri"), (sheets, "photo_uri"), (videos, "photo_uri"), (sheets, "decode_clip")):
        monkeypatch.setattr(module, name, remembered(getattr(module, name)))


def _digest(folders: tuple[str, ...], kinds: tuple[str, ...]) -> str:
    """Of the names and bytes of all files of some kinds in some folders below the current one."""
    found = hashlib.sha256()
    paths = (path for folder in folders for kind in kinds for path in Path(folder).rglob(kind))
    for path in sorted(path for path in paths if path.is_file()):
        found.update(f"{path}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\0".encode())
    return found.hexdigest()


def remembered_of_files(
    function: Callable[..., Any], folders: tuple[str, ...], kinds: tuple[str, ...] = ("*",)
) -> Callable[..., Any]:
    """The function, computed once for arguments that print alike and files of these folders with equal bytes."""
    kept: dict[tuple[str, str], Any] = {}

    def once(*given: Any) -> Any:
        inputs = repr(given), _digest(folders, kinds)
        if inputs not in kept:
            kept[inputs] = function(*given)
        return kept[inputs]

    return once


def remember_what_reports_share(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    """Pictures; besides, the contact sheets of preprocessing and what is read of the code, once for the same files."""
    remember_pictures(monkeypatch)
    preprocessed = tuple(str(data / stage) for stage in ("sample", "inventory", "ingest", *PACK_STAGES))
    monkeypatch.setattr(page, "contact_sheets", remembered_of_files(page.contact_sheets, preprocessed))
    code = remembered_of_files(code_lock.read_code, ("s3dnerf", "stages", "flows"), ("*.py", "*.html"))
    monkeypatch.setattr(code_lock, "read_code", code)
