"""``s3dnerf doctor`` outside of a project: Python, memory and disk, the extras that are installed, and what a video
needs. Inside of one it is :mod:`flows.doctor`.
"""

from __future__ import annotations

import importlib.metadata
import platform
from pathlib import Path

from flows.extras import extras_of_package
from s3dnerf.core.capacity import GB, free_bytes, memory_bytes, needed_memory_gb, unfit_python
from s3dnerf.core.cores import usable_cores
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.user_folder import found_for_user, user_folder

WEIGHTS = {
    "whisper": ("weights/whisper_tiny_en.safetensors", "speech features: synthesize and serve need them"),
    "lpips": ("weights/lpips", "LPIPS: evaluate reports it as not measured without them"),
}
OWN_LOCK = ("dev", "scale")  # extras for work on the code and for clusters, which few need


def machine_lines(folder: Path = Path()) -> list[str]:
    """What this machine has, and in the same line what is too small or has no builds."""
    memory, cores = memory_bytes(), usable_cores()
    needed = needed_memory_gb("demo", cores)
    lines = [f"Python     {platform.python_version()}, {platform.system()} on {platform.machine()}", *unfit_python()]
    if memory is not None:
        enough = (
            "" if memory >= needed * GB else f": make demo needs {needed:.1f} GB on {cores} cores; S3DNERF_WORKERS=1"
        )
        lines.append(f"memory     {memory / GB:.1f} GB{enough}")
    lines.append(f"disk       {free_bytes(folder) / GB:.1f} GB free in {folder.absolute()}")
    return lines


def installed(package: str) -> bool:
    """Whether a package is here, whatever its version."""
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def extra_lines() -> list[str]:
    """A line for each extra: installed, or the command that brings it."""
    lines = []
    for extra, packages in extras_of_package().items():
        wanted = [name for name in packages if name not in ("decord", "decord2")]
        absent = [name for name in wanted if not installed(name)]
        if extra in OWN_LOCK and absent:
            continue
        what = f"pip install 's3dnerf[{extra}]' brings {', '.join(absent)}" if absent else "installed"
        lines.append(f"{extra:10} {what}")
    return lines


def run_outside(name: str | None, write: bool) -> int:
    """Print what this installation can do. Returns 1 where the weights that a video needs are missing.

    Raises SettingsError for a component's name and for ``write``: both are about a project's settings.
    """
    if name is not None or write:
        raise SettingsError(
            f"doctor: got {name or '--write'} outside of a project, expected neither: they are about its settings"
        )
    print("No project here: what this installation can do.", *machine_lines(), sep="\n")
    print("\nExtras:", *extra_lines(), sep="\n")
    print("\nWeights:")
    here = {}
    for what, (path, why) in WEIGHTS.items():
        here[what] = Path(found_for_user(path) or path).exists()
        place = (
            f"here, {found_for_user(path)}" if here[what] else f"missing: s3dnerf fetch {what} (into {user_folder()})"
        )
        print(f"{what:10} {place} — {why}")
    print("generator  here, in the package (s3dnerf/pretrained)")
    return 0 if here["whisper"] else 1
