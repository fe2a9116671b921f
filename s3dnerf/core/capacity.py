"""Whether this machine can hold the work: its Python, disk and memory, looked at before anything is installed or made.

Imports nothing outside the standard library, since ``make`` looks before anything is installed
(``flows/enough_room.py``); ``s3dnerf doctor`` looks again.
"""

from __future__ import annotations

import os
import platform
import resource
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path

from s3dnerf.core.control_groups import CGROUPS, MEMBERSHIP, control_groups

GB = 1e9
SWITCH = "S3DNERF_CAPACITY_CHECK"  # "off": begin all the same
PROCESSORS = ("x86_64", "aarch64", "arm64")
OLDEST_GLIBC = (2, 28)

# Measured (docs/how-to/install.md). The environment on Linux holds PyTorch's CUDA libraries, which the build on PyPI
# brings; pip keeps what it downloads once in the temporary folder, while it installs, and once in its cache.
ENVIRONMENT_GB = {"linux": 6.5, "darwin": 3.0}
DOWNLOADS_GB = {"linux": 3.0, "darwin": 1.0}
MADE_GB = {"demo": 1.0, "train-sample": 1.0}  # data, .packs, .checkpoints, DVC's cache, reports
MEMORY_GB = {"demo": (2.0, 0.5), "train-sample": (2.0, 0.5)}  # and for each pack that is worked on at once
ONE_AT_ONCE = "S3DNERF_WORKERS=1 works on one pack at a time"


def memory_bytes(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int | None:
    """Memory that this process may use, in bytes: the machine's, or less where a control group (a container, a batch
    job) or ``ulimit -v`` says so. None where the system does not say how much it has.

    Parameters
    ----------
    cgroups, membership : Path
        Where the kernel shows control groups, and which of them this process is in.
    """
    limits = []
    try:
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    except (ValueError, OSError):
        pass
    for group in control_groups("memory", cgroups, membership):
        for name in ("memory.max", "memory.limit_in_bytes"):
            try:
                limits.append(int((group / name).read_text(encoding="utf-8")))
            except (OSError, ValueError):  # no such file, or "max"
                continue
    address_space = resource.getrlimit(resource.RLIMIT_AS)[0]
    if address_space != resource.RLIM_INFINITY:
        limits.append(address_space)
    return min((limit for limit in limits if limit > 0), default=None)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    return place


def free_bytes(folder: Path) -> int:
    """Free bytes of the disk that a folder lies on, or would lie on once it is made."""
    return shutil.disk_usage(existing(folder)).free


def checked() -> bool:
    """Whether the check is wanted: the environment's ``S3DNERF_CAPACITY_CHECK`` is not ``off``."""
    return os.environ.get(SWITCH, "").lower() != "off"


def unfit_python() -> list[str]:
    """A sentence for each reason why the locked packages have no builds for this Python and system; else empty."""
    machine, system = platform.machine(), platform.system()
    reasons = []
    if sys.maxsize < 2**32:
        reasons.append(f"{sys.executable} is a 32-bit Python, expected a 64-bit one: PyTorch has no other builds")
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        reasons.append(f"{sys.executable} is a free-threaded Python, expected the usual build of the same version")
    if machine not in PROCESSORS or (system, machine) == ("Darwin", "x86_64"):
        known = "x86-64 or aarch64 with Linux, or arm64 with macOS"
        reasons.append(f"{system} on {machine}: expected {known}: the packages have no builds for others")
    if system == "Linux":
        library, version = platform.libc_ver()
        if library != "glibc":
            reasons.append(
                "this Linux has another C library than glibc (Alpine has musl): the packages have no builds for it; "
                "use a system with glibc, such as Debian, or the Dockerfile"
            )
        elif tuple(int(part) for part in version.split(".")[:2]) < OLDEST_GLIBC:
            reasons.append(f"glibc {version}: expected 2.28 (2018) or newer, which PyTorch's builds need")
    return reasons


def too_little_disk(needs: Mapping[Path, float], what: str) -> list[str]:
    """A sentence for each disk that has less free than is needed on it.

    Parameters
    ----------
    needs : mapping of Path to float
        Folder, there already or not, to GB (10⁹ bytes) that will be written in it. Folders on one disk are added up.
    what : str
        What needs it, to begin the sentence with.
    """
    disks: dict[int, tuple[list[Path], float]] = {}
    for folder, gb in needs.items():
        place = existing(folder)
        places, before = disks.get(place.stat().st_dev, ([], 0.0))
        disks[place.stat().st_dev] = ([*places, place], before + gb)
    return [
        f"{what} needs {gb:.1f} GB of disk in {', '.join(map(str, dict.fromkeys(places)))}, {free / GB:.1f} GB are "
        "free: make room, or work in a folder on another disk, with TMPDIR and PIP_CACHE_DIR there too "
        f"(to begin all the same: {SWITCH}=off)"
        for places, gb in disks.values()
        if (free := shutil.disk_usage(places[0]).free) < gb * GB
    ]


def too_little_memory(needed_gb: float, what: str, way_out: str) -> list[str]:
    """One sentence where there is less memory than ``needed_gb`` (10⁹ bytes) for ``what``.

    Parameters
    ----------
    way_out : str
        What a person can do about it, as a clause.
    """
    memory = memory_bytes()
    if memory is None or memory >= needed_gb * GB:
        return []
    return [
        f"{what} needs {needed_gb:.1f} GB of memory, this process may use {memory / GB:.1f} GB (machine, control group "
        f"or ulimit -v): {way_out} (to begin all the same: {SWITCH}=off)"
    ]


def needed_memory_gb(goal: str, workers: int) -> float:
    """GB of memory that a make target needs when it works on ``workers`` packs at once; 0 for one without a number."""
    base, each = MEMORY_GB.get(goal, (0.0, 0.0))
    return base + each * workers


def too_small_for(goal: str, environment: Path, workers: int) -> list[str]:
    """What is too small for a make target, a sentence each; empty where it can begin, or where the check is off.

    Parameters
    ----------
    environment : Path
        The environment's folder; what is installed already needs no room any more.
    workers : int
        Packs that are worked on at once.
    """
    if not checked():
        return []
    needs = {environment.parent: MADE_GB.get(goal, 0.0)}
    if not (environment / "installed").exists():
        needs[environment.parent] += ENVIRONMENT_GB.get(sys.platform, 3.0)
        for folder in (Path(tempfile.gettempdir()), pip_cache()):
            needs[folder] = needs.get(folder, 0.0) + DOWNLOADS_GB.get(sys.platform, 1.0)
    way_out = "use a machine with more" if workers == 1 else ONE_AT_ONCE
    memory = too_little_memory(needed_memory_gb(goal, workers), f"make {goal}", way_out)
    return too_little_disk(needs, f"make {goal}") + memory


def pip_cache() -> Path:
    """Where pip keeps what it downloads."""
    if given := os.environ.get("PIP_CACHE_DIR"):
        return Path(given)
    if sys.platform == "darwin":
        return Path("~/Library/Caches/pip").expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser(), "pip")
