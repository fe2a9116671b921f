"""Asks the process that opens media files, started when first needed and used again.

A file that takes the decoder down, a decoder that the system killed and one that does not move on are told apart:
the first is the file's fault (VideoError, ``crashes_decoder``), the others are PassingFault. Reads and writes nothing
itself.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from s3dnerf.core.errors import PassingFault
from s3dnerf.video.child import Guard, patience_s
from s3dnerf.video.encoding import VideoError

COMMAND = [sys.executable, "-c", "from s3dnerf.video.decoder import serve; serve()"]
ROOT = Path(__file__).resolve().parents[2]
MOST_IDLE = 2
# signals by which a program ends that went wrong by itself
CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGFPE, signal.SIGILL, signal.SIGBUS}
Message = tuple[dict[str, Any], bytearray]


def serve() -> None:
    """Be the decoder's process."""
    from s3dnerf.video.decoder_process import main

    main()


class Decoder:
    """One running decoder process."""

    def __init__(self) -> None:
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(paths)},
        )

    def close(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def ask(self, request: dict[str, Any]) -> Iterator[Message]:
        """The messages that a request gives.

        Raises VideoError, PassingFault; RuntimeError for a bug of ours in there.
        """
        path = request["path"]
        if not os.path.isabs(path):  # named as whoever asks names it, found from where they stand
            request = {**request, "folder": os.getcwd()}
        stream = cast(io.BufferedReader, self.process.stdout)
        with Guard(self.process, patience_s(path)) as guard:
            try:
                with guard.waiting():
                    cast(io.BufferedWriter, self.process.stdin).write(json.dumps(request).encode() + b"\n")
                    cast(io.BufferedWriter, self.process.stdin).flush()
                while True:
                    with guard.waiting():
                        line = stream.readline()
                        header = json.loads(line) if line.endswith(b"\n") else {}
                        data = bytearray(header.pop("bytes", 0))
                        whole = bool(header) and stream.readinto(data) == len(data)
                    if not whole:
                        break
                    if header.get("end"):
                        return
                    _raise_error(header)
                    yield header, data
            except BrokenPipeError:
                pass  # it has ended: its status says why
            with guard.waiting():
                code = self.process.wait()
        guard.refuse_expired(path)
        raise Ended(path, code)


class Ended(PassingFault):
    """The decoder's process ended in the middle of a request."""

    def __init__(self, path: str, code: int) -> None:
        try:
            name = signal.Signals(-code).name if code < 0 else f"status {code}"
        except ValueError:
            name = f"signal {-code}"
        usual = "" if -code in CRASHES else " (out of memory is the usual reason)"
        super().__init__(f"{path}: the decoder was ended by {name}{usual}")
        self.code, self.name = code, name


def _raise_error(header: dict[str, Any]) -> None:
    if "error" in header:
        raise VideoError(header["error"], header["reason"])
    if "passing" in header:
        raise PassingFault(header["passing"])
    if "bug" in header:
        raise RuntimeError(f"the decoder's process failed:\n{header['bug']}")


class _Idle:
    """Decoders that wait for work, of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner, self._waiting = os.getpid(), list[Decoder]()

    def take(self) -> Decoder:
        """A decoder that is alive and has nothing to do."""
        with self._lock:
            if self._owner != os.getpid():  # a fork of the process that has them
                self._owner, self._waiting = os.getpid(), []
            while self._waiting:
                decoder = self._waiting.pop()
                if decoder.process.poll() is None:
                    return decoder
                decoder.close()
        return Decoder()

    def give(self, decoder: Decoder) -> None:
        """Take back one whose last request was answered to its end."""
        with self._lock:
            if self._owner == os.getpid() and len(self._waiting) < MOST_IDLE and decoder.process.poll() is None:
                self._waiting.append(decoder)
                return
        decoder.close()

    def close(self) -> None:
        """End all of them."""
        if self._owner == os.getpid():
            while self._waiting:
                self._waiting.pop().close()


_idle = _Idle()
atexit.register(_idle.close)


def ask(request: dict[str, Any]) -> Iterator[Message]:
    """The messages that the decoder's process gives for a request about the file ``request["path"]``, as they come.

    Raises VideoError with a reason (``crashes_decoder`` where the file takes the process down twice), PassingFault
    where the machine failed.
    """
    try:
        yield from _ask_once(request)
    except Ended as ended:
        if -ended.code not in CRASHES:
            raise
        try:
            for _ in _ask_once(request):
                pass
        except Ended as again:
            if again.code == ended.code:
                raise VideoError(
                    f"{request['path']}: takes the decoder down ({ended.name}): the file is damaged or made to do so",
                    "crashes_decoder",
                ) from again
        raise


def _ask_once(request: dict[str, Any]) -> Iterator[Message]:
    decoder = _idle.take()
    answered = False
    try:
        yield from decoder.ask(request)
        answered = True
    except (VideoError, RuntimeError) as error:
        answered = (
            not isinstance(error, Ended) and decoder.process.poll() is None and not isinstance(error, PassingFault)
        )
        raise
    finally:
        if answered:
            _idle.give(decoder)
        else:
            decoder.close()  # it is in the middle of something that nobody wants


def close_decoders() -> None:
    """End the decoders that wait for work."""
    _idle.close()
