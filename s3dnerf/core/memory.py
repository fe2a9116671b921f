"""Whether an exception says that memory ran out (the processor's or a GPU's): the machine's fault, never a file's."""

from __future__ import annotations

import errno
import re

from s3dnerf.core.errors import S3DNeRFError

# how torch, CUDA's libraries, OpenCV, onnxruntime and C++ say it, in exceptions that have no class of their own
SAID = re.compile(
    r"out of memory|can't allocate memory|cannot allocate memory|failed to allocate memory|insufficient memory"
    r"|bad_alloc|bad allocation|STATUS_ALLOC_FAILED|BFCArena|DataLoader worker \(pid.*killed by signal: Killed",
    re.IGNORECASE,
)


def ran_out_of_memory(fault: BaseException) -> bool:
    """Whether an exception, or one that it was raised from, says that memory ran out.

    Our own errors are judged by what they were raised from: their messages name files, whatever those are called.
    """
    seen: BaseException | None = fault
    while seen is not None:
        if isinstance(seen, MemoryError) or (isinstance(seen, OSError) and seen.errno == errno.ENOMEM):
            return True
        if isinstance(seen, Exception) and not isinstance(seen, S3DNeRFError) and SAID.search(str(seen)):
            return True
        seen = seen.__cause__
    return False
