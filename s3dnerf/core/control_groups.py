"""The control groups that this process is in (Linux): where a container, a batch job or a service has its limits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

CGROUPS, MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def control_groups(controller: str, cgroups: Path = CGROUPS, membership: Path = MEMBERSHIP) -> Iterator[Path]:
    """The folders of this process's groups (version 1 or 2), each followed by those above it: a group's limit binds
    those below it. None where the kernel has no control groups.

    Parameters
    ----------
    controller : str
        What is limited, as version 1 calls it: ``cpu`` or ``memory``.
    cgroups, membership : Path
        Where the kernel shows control groups, and which of them this process is in.
    """
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:  # version 2
            mounts = [cgroups]
        elif controller in controllers.split(","):
            mounts = [cgroups / controllers, cgroups / controller]
        else:
            continue
        inside = Path(path.lstrip("/"))
        for mount in mounts:
            # in a container the path may be the host's, and only the mount itself is there
            yield from (mount / place for place in (inside, *inside.parents))
