"""C2PA Content Credentials of a made video: a signed statement inside the mp4, for machines, that it is synthetic.

It names the program, the model and its settings by their hashes, the time, and the hash of the video's content; nothing
of the portrait or the speech, nor whose machine it was. :func:`signing` gives what
:func:`s3dnerf.synthesis.synthesizer.write_video` calls with the finished file. No network: the time is this machine's,
no time-stamp authority is asked. Source: C2PA Technical Specification 2.
"""

from __future__ import annotations

import datetime
import errno
import importlib.metadata
import logging
import os
import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO

from s3dnerf.synthesis.c2pa_library import TRAINED_MEDIA, c2pa_library, offline_context, why_missing
from s3dnerf.synthesis.origin import STATEMENT, Origin
from s3dnerf.synthesis.signers import Choice, Signer, chosen_signer, self_signed
from s3dnerf.video.encoding import VideoError

logger = logging.getLogger(__name__)

LABEL = "s3dnerf.synthesis"  # of our own assertion
WITHOUT = "the video gets no Content Credentials, only the comment in its metadata that says it is synthetic"
SYSTEM_ERROR = re.compile(r"\(os error (\d+)\)")  # how the library's part in Rust ends what the system refused


def signing(origin: Origin, signer: Choice = "default") -> Callable[[Path, Path], None] | None:
    """What makes a signed mp4 of a finished one; None where there will be no credentials.

    Parameters
    ----------
    origin : what the credentials say
    signer : an own certificate; ``self-signed``: one made for this file alone; ``default``: the one that
        ``S3DNERF_CERTIFICATE`` and ``S3DNERF_KEY`` name, else self-signed; None: no credentials

    Where c2pa-python is missing, a warning is logged. Raises SettingsError for a certificate that cannot be used.
    """
    if signer == "default":
        signer = chosen_signer()
    if signer is None:
        return None
    missing = why_missing()
    if missing:
        logger.warning(f"{missing}: {WITHOUT}")
        return None
    chosen = self_signed() if signer == "self-signed" else signer
    return lambda finished, signed: sign_video(finished, signed, origin, chosen)


def manifest_of(origin: Origin, when: datetime.datetime) -> dict[str, Any]:
    """The statement that is signed, as c2pa-python takes it. ``when``: in UTC."""
    program = {"name": "s3dnerf"}
    try:
        program["version"] = importlib.metadata.version("s3dnerf")
    except importlib.metadata.PackageNotFoundError:  # its code alone, not installed
        pass
    created = {
        "action": "c2pa.created",
        "digitalSourceType": TRAINED_MEDIA,
        "softwareAgent": program,
        "when": when.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    own = {
        "statement": STATEMENT,
        "variant": origin.variant,
        "model_sha256": origin.model_sha256,
        "settings_sha256": origin.settings_sha256,
    }
    return {
        "claim_generator_info": [program],
        "assertions": [
            {"label": "c2pa.actions.v2", "data": {"actions": [created]}, "created": True},
            {"label": LABEL, "data": own, "created": True},
        ],
    }


def sign_video(finished: Path, signed: Path, origin: Origin, signer: Signer) -> None:
    """Write ``signed``: the mp4 ``finished`` with Content Credentials. Sound and pictures are copied bit by bit.

    Memory does not grow with the video beyond the 256 MB pieces that the library hashes. A signal is answered at once.

    Raises OSError of the system, such as a full disk's; VideoError where the library refuses.
    """
    manifest, stop = manifest_of(origin, datetime.datetime.now(datetime.UTC)), threading.Event()
    # in a thread, where no signal interrupts the library's calls into Python: it would only be printed and forgotten
    with ThreadPoolExecutor(1) as pool:
        try:
            pool.submit(_sign, finished, signed, manifest, signer, stop).result()
        finally:
            stop.set()


def _sign(finished: Path, signed: Path, manifest: dict[str, Any], signer: Signer, stop: threading.Event) -> None:
    c2pa = c2pa_library()
    with open(finished, "rb") as given, open(signed, "w+b") as made:
        source, target = _Watched(given, stop), _Watched(made, stop)
        try:
            with signer.native() as native, c2pa.Builder(manifest, context=offline_context()) as builder:
                builder.sign(native, "video/mp4", source, target)
        except c2pa.C2paError as error:
            for fault in (source.fault, target.fault):
                if fault is not None:
                    raise fault from None
            number = SYSTEM_ERROR.search(str(error))
            if number:
                raise OSError(int(number[1]), os.strerror(int(number[1]))) from None
            raise VideoError(f"Content Credentials cannot be added: {' '.join(str(error).split())}") from error


class _Watched:
    """A file as the library reads and writes it. Of what goes wrong the library keeps no more than that it did: the
    error is kept here.
    """

    def __init__(self, file: BinaryIO, stop: threading.Event) -> None:
        self.file, self.stop = file, stop
        self.fault: OSError | None = None

    def _done(self, call: Callable[..., Any], *given: Any) -> Any:
        try:
            if self.stop.is_set():
                raise InterruptedError(errno.EINTR, os.strerror(errno.EINTR))
            return call(*given)
        except OSError as error:
            self.fault = error
            raise

    def read(self, size: int = -1) -> bytes:
        return self._done(self.file.read, size)

    def readinto(self, buffer: Any) -> int:
        return self._done(self.file.readinto, buffer)  # type: ignore[attr-defined]

    def write(self, data: bytes) -> int:
        return self._done(self.file.write, data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._done(self.file.seek, offset, whence)

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        self._done(self.file.flush)
