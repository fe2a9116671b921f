"""What this machine is: processor, cores, memory, GPUs, system, Python, CUDA."""

from __future__ import annotations

import functools
import platform
from pathlib import Path
from typing import Any

from s3dnerf.core.cores import usable_cores
from s3dnerf.core.devices import built_for_cpu


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@functools.cache
def hardware() -> dict[str, Any]:
    """CPU, cores, memory in GB, GPUs, system, Python, and the CUDA that PyTorch was built for (None: for none)."""
    import psutil

    gpus, cuda = [], None
    if not built_for_cpu():
        import torch

        cuda = torch.version.cuda
        if torch.cuda.is_available():
            gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "gpu": gpus,
        "os": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "cuda": cuda,
    }
