"""The most memory that this process has held, in MB.

``ru_maxrss`` is not it: Linux hands a new program the peak of the process that started it (``getrusage(2)``), so a
small program started by a large one seems large. ``VmHWM`` of ``/proc/self/status`` begins anew with each program.
"""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")


def peak_memory_mb() -> float:
    """Peak resident memory of this process since its program began, MB (10⁶ bytes), at least 0."""
    if STATUS.exists():
        said = re.search(r"^VmHWM:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
        if said:
            return int(said[1]) * 1024 / 1e6
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
