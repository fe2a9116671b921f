"""The provenance of a run: git revision, ``dvc.lock``, hardware, packages."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flows.git_calls import NoHistory, git, git_text
from s3dnerf.core.machine import hardware
from s3dnerf.core.yaml_text import read_mapping
from stages.code_parts import PACKAGES as DECIDING

HERE = Path()
# those that can change what a stage makes, and those that run the graph
PACKAGES = sorted({"prefect", "dvc", "mlflow", *(name for names in DECIDING.values() for name in names)})


def git_state() -> dict[str, Any]:
    """``revision`` (None outside a repository and before its first commit) and ``dirty``: whether tracked files differ
    from it, other than the run's own results and its settings, of which a report keeps a copy.

    Raises GitError where git refuses the repository, for example because it belongs to another user.
    """
    own = (":!reports", ":!dvc.lock", ":!params.yaml")
    try:
        status = git_text(HERE, "status", "--porcelain", "--untracked-files=no", "--", ".", *own)
    except NoHistory:
        return {"revision": None, "dirty": None}
    revision = git(HERE, "rev-parse", "--quiet", "--verify", "HEAD").stdout.decode().strip()
    return {"revision": revision or None, "dirty": bool(status)}


def preset_lock(lock: Mapping[str, Any] | None, preset: str) -> dict[str, Any]:
    """What a ``dvc.lock`` (its mapping) holds of a preset's stages, the report's left out: those whose outs all lie in
    its data folder. Empty where there is none.
    """
    stages = (lock or {}).get("stages") or {}
    root = f"data/{preset}/"
    ours = {
        name: stage
        for name, stage in sorted(stages.items())
        if stage.get("outs") and all(out["path"].startswith(root) for out in stage["outs"])
    }
    return {"schema": (lock or {}).get("schema"), "stages": ours} if ours else {}


def is_keys(path: str) -> bool:
    """Whether an out says which store entries others came from: it may change while all of them stay as they are.

    >>> is_keys("data/tiny/keys/align.json"), is_keys("data/tiny/align/hdtf")
    (True, False)
    """
    return Path(path).parts[2:3] == ("keys",)


def outs_of(lock: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Stage → out path → hash, of a lock's mapping: the outs that hold data."""
    return {
        name: {out["path"]: out.get("md5", "") for out in stage.get("outs", []) if not is_keys(out["path"])}
        for name, stage in sorted((lock.get("stages") or {}).items())
    }


def read_lock(path: Path = Path("dvc.lock")) -> dict[str, Any]:
    """``dvc.lock`` as it is now; empty where there is none. Raises TextFileError, YamlError."""
    return read_mapping(path, "dvc repro, which puts it right") if path.exists() else {}


def packages() -> dict[str, str]:
    """Installed version of each package that can change a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def provenance(preset: str) -> dict[str, Any]:
    """Everything :class:`stages.context.Context` hands on as ``provenance`` to a stage of a preset."""
    lock, ours = Path("requirements.lock"), preset_lock(read_lock(), preset)
    return {
        "git": git_state(),
        "lock": ours,
        "dvc_lock": outs_of(ours),
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        "packages": packages(),
        "hardware": hardware(),
    }
