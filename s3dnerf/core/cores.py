"""How many cores this process may use: fewer than the machine has in a container, by ``taskset``, in a batch job."""

from __future__ import annotations

import math
import os
from pathlib import Path

from s3dnerf.core.control_groups import CGROUPS, MEMBERSHIP, control_groups


def usable_cores(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> int:
    """Cores that this process may use, at least 1: its affinity, or its control group's CPU quota where that is less.

    A quota of one and a half cores counts as two, which share what there is.

    Parameters
    ----------
    cgroups, membership : Path
        Where the kernel shows control groups, and which of them this process is in.
    """
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:  # macOS has no affinity
        cores = os.cpu_count() or 1
    quota = cpu_quota(cgroups, membership)
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def cpu_quota(cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> float | None:
    """Processor time a second that the control groups of this process (version 1 or 2) leave it, in cores.

    A group's limit binds those below it: the least on the way up counts. None where there is no limit.
    """
    limits = (_limit(group) for group in control_groups("cpu", cgroups, membership))
    return min((limit for limit in limits if limit is not None), default=None)


def _limit(group: Path) -> float | None:
    """The quota of one group's folder in cores, or None."""
    for read in (_quota_of_version_2, _quota_of_version_1):
        try:
            quota, period = read(group)
        except (OSError, ValueError):  # no such file, or "max"
            continue
        if quota > 0 and period > 0:
            return quota / period
    return None


def _quota_of_version_2(group: Path) -> tuple[int, int]:
    quota, period = (group / "cpu.max").read_text(encoding="utf-8").split()
    return int(quota), int(period)


def _quota_of_version_1(group: Path) -> tuple[int, int]:
    def number(name: str) -> int:
        return int((group / name).read_text(encoding="utf-8"))

    return number("cpu.cfs_quota_us"), number("cpu.cfs_period_us")
