"""A decoder process that fails as machines do, or that its file takes down: the first times or always.

Run in the place of :data:`s3dnerf.video.decoder.COMMAND`: python faulty_decoder.py WORK FAULT TIMES COUNT_FILE
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import PassingFault
from s3dnerf.video import decoder_process


def fail(fault: str, path: str) -> None:
    """End, hang or be refused, as the fault says."""
    if fault == "hangs":
        time.sleep(600)
    if fault == "no memory":
        raise PassingFault(f"{path}: reading failed by the system: {os.strerror(errno.ENOMEM)}")
    os.kill(os.getpid(), signal.SIGSEGV if fault == "crashes" else signal.SIGKILL)


def main(work: str, fault: str, times: str, count_file: str) -> None:
    """Be the decoder, but for the work that fails."""
    real, count = decoder_process.WORK[work], Path(count_file)

    def faulty(files: Any, request: dict[str, Any]) -> Iterator[Any]:
        number = int(count.read_text() or "0") if count.is_file() else 0
        count.write_text(str(number + 1))
        if number < int(times):
            fail(fault, request["path"])
        yield from real(files, request)

    decoder_process.WORK[work] = faulty
    decoder_process.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
