"""Download one file over HTTP(S): resumed, checked against its sha256, and in place only when it is whole.

Bytes go into ``<file>.part`` beside the target, which stays when a download stops; the next one asks for the rest
(``Range``) of the same version (``If-Range`` with the server's ETag, kept in ``<file>.part.etag``). A server that gives
none is asked for all of it again, so what came of it is removed. The whole is then hashed, compared, and renamed.
Proxies of the environment are used, except for addresses of this machine.

Two environment variables say where else to look: ``S3DNERF_FETCH_FOLDER``, a folder that holds the files by name, read
instead of any network; ``S3DNERF_FETCH_MIRROR``, an address that has ``<host>/<path>`` of each original address.
"""

from __future__ import annotations

import errno
import http.client
import os
import re
import shutil
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from flows.progress import Progress
from flows.proxies import open_url
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.whole_files import claimed
from s3dnerf.video.packs import file_sha256

FOLDER, MIRROR = "S3DNERF_FETCH_FOLDER", "S3DNERF_FETCH_MIRROR"
CHUNK = 1 << 20
TRIES = 3  # connections that may be cut in one download; each one begins where the last ended
AGENT = "s3dnerf-fetch"


class DownloadError(S3DNeRFError, RuntimeError):
    """A file could not be downloaded; the message says why, what was kept, and what to do."""


class _Cut(S3DNeRFError):
    """The connection ended early; what came is in the part file."""


@dataclass(frozen=True)
class RemoteFile:
    """A file and what is known of it.

    Attributes
    ----------
    sha256 : all 64 hex digits, or as many of its first ones as are known; empty where none are
    size_bytes : for the person who is asked; 0 where it is not known
    """

    url: str
    sha256: str = ""
    size_bytes: int = 0

    @property
    def name(self) -> str:
        """The last part of the address."""
        return urllib.parse.unquote(urllib.parse.urlsplit(self.url).path.rsplit("/", 1)[-1])


@dataclass(frozen=True)
class Received:
    """What was put in place: from where, its size in bytes, its sha256."""

    source: str
    size_bytes: int
    sha256: str


def address_of(url: str) -> str:
    """The address to ask: the original one, or the one that ``S3DNERF_FETCH_MIRROR`` has in its place.

    Raises DownloadError for a mirror that is no HTTP address.
    """
    mirror = os.environ.get(MIRROR, "").rstrip("/")
    if not mirror:
        return url
    if not mirror.startswith(("http://", "https://")):
        raise DownloadError(f"{MIRROR}: got {mirror!r}, expected an address that begins with http:// or https://")
    parts = urllib.parse.urlsplit(url)
    return f"{mirror}/{parts.netloc}{parts.path}"


def readable_size(size_bytes: int) -> str:
    """A size with its unit, powers of 1000.

    >>> readable_size(288_621_354), readable_size(1596)
    ('289 MB', '2 kB')
    """
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:.3g} {name}"
    return f"{-(-size_bytes // 1000)} kB"


def download(file: RemoteFile, path: Path, pause_s: float = 1.0) -> Received:
    """Put ``file`` at ``path``, replacing what is there.

    Parameters
    ----------
    pause_s : seconds before a cut connection is tried again

    Raises
    ------
    DownloadError
        The server refuses, cannot be reached, or keeps cutting the connection; there is no room; the bytes are not
        those expected (removed). The message says whether what came is kept, so that the next run goes on from there.
    OutputRefused
        The target is a folder or cannot be written, or another run is writing it.
    """
    folder = os.environ.get(FOLDER)
    with claimed(path, "fetch"):
        part = path.with_name(f"{path.name}.part")
        if folder:
            source = _copy(file, Path(folder), part)
        else:
            source = address_of(file.url)
            _fill(source, part, pause_s)
        try:
            found = file_sha256(part)
            if file.sha256 and not found.startswith(file.sha256):
                _forget(part)
                raise DownloadError(
                    f"{source}: got sha256 {found}, expected {file.sha256}"
                    f"{'' if len(file.sha256) == 64 else '…'}: not the file that was pinned, removed"
                )
            size = part.stat().st_size
            with open(part, "rb+") as handle:
                os.fsync(handle.fileno())
            os.replace(part, path)
        except OSError as error:
            raise DownloadError(f"{path}: cannot be written: {error.strerror}") from error
        _forget(part)
    return Received(source, size, found)


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _etag_file(part).unlink(missing_ok=True)


def _etag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.etag")


def _copy(file: RemoteFile, folder: Path, part: Path) -> str:
    """The file out of the offline folder: by its name, or by host and path, as a mirror has it."""
    parts = urllib.parse.urlsplit(file.url)
    places = [folder / parts.netloc / parts.path.lstrip("/"), folder / file.name]
    for place in places:
        if place.is_file():
            _forget(part)  # of another source
            _check_room(part, place.stat().st_size)
            try:
                shutil.copyfile(place, part)
            except OSError as error:
                raise _unwritable(part, error) from error
            return str(place)
    raise DownloadError(f"{FOLDER}: {folder} holds neither {file.name} nor {places[0].relative_to(folder)}")


def _fill(url: str, part: Path, pause_s: float) -> None:
    """All bytes of ``url`` in ``part``, over as many connections as allowed."""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(pause_s)
        try:
            return _receive(url, part)
        except _Cut as cut:
            last = cut
    raise DownloadError(
        f"{url}: {last}, {TRIES} times: {_kept(part)}; another source can be set with {MIRROR} or {FOLDER}"
    )


def _receive(url: str, part: Path) -> None:
    """One connection: the rest of the file, or all of it where the server cannot go on with that version."""
    have, etag = _resumable(part)
    headers = {"User-Agent": AGENT, "Accept-Encoding": "identity"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": etag}
    try:
        response = open_url(urllib.request.Request(url, headers=headers), timeout_s=60)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and have:  # the part has all bytes already, or more than there are
            if error.headers.get("Content-Range", "").replace(" ", "") == f"bytes*/{have}":
                return
            _forget(part)
            raise _Cut(f"the server has fewer bytes than the {have} that were kept") from error
        if error.code >= 500:
            raise _Cut(f"the server answers {error.code} {error.reason}") from error
        raise DownloadError(
            f"{url}: the server answers {error.code} {error.reason}: expected 200; another source can be set with "
            f"{MIRROR} or {FOLDER}"
        ) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise _Cut(f"cannot be reached ({reason})") from error
    with response:
        start = _start_of(response, have)
        length = response.headers.get("Content-Length", "")
        expected = int(length) if length.isdigit() else None
        if not start:
            _keep_etag(part, response.headers.get("ETag", ""))
        if expected is not None:
            _check_room(part, expected)
        _write(url, response, part, start, expected)


def _resumable(part: Path) -> tuple[int, str]:
    """How many bytes of which version are here; (0, "") where the version is not known, so that it begins anew."""
    try:
        etag = _etag_file(part).read_text(encoding="ascii")
        return part.stat().st_size, etag
    except (OSError, UnicodeDecodeError):
        return 0, ""


def _kept(part: Path) -> str:
    """For a message: what the next run goes on from. What it could not use is removed, and takes no room."""
    if _resumable(part)[0]:
        return f"what came is kept in {part}: run the command again to go on"
    _forget(part)
    return "nothing is kept"


def _keep_etag(part: Path, etag: str) -> None:
    """Empty ``part`` and note the version that it will hold; a weak one (``W/``) says nothing about bytes."""
    open(part, "wb").close()  # emptied first: bytes of another version are never under this one's ETag
    if etag and not etag.startswith("W/"):
        _etag_file(part).write_text(etag, encoding="ascii")
    else:
        _etag_file(part).unlink(missing_ok=True)


def _start_of(response: http.client.HTTPResponse, have: int) -> int:
    """The place of the answer's first byte in the file. Raises DownloadError where it is not the one asked for."""
    if response.status != 206:
        return 0
    given = response.headers.get("Content-Range", "")
    match = re.match(r"bytes (\d+)-", given)
    if match is None or int(match[1]) != have:
        raise DownloadError(f"{response.url}: got Content-Range {given!r}, expected one that begins with bytes {have}-")
    return have


def _check_room(part: Path, wanted: int) -> None:
    free = shutil.disk_usage(part.parent).free
    if free < wanted:
        raise DownloadError(
            f"{part.parent}: {readable_size(free)} free, {readable_size(wanted)} more needed: make room; {_kept(part)}"
        )


def _unwritable(part: Path, error: OSError) -> DownloadError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DownloadError(f"{part}: the disk is full: make room; {_kept(part)}")
    return DownloadError(f"{part}: cannot be written: {error.strerror}")


def _write(url: str, response: http.client.HTTPResponse, part: Path, start: int, expected: int | None) -> None:
    """The answer's bytes behind the first ``start`` of ``part``. Raises _Cut where some are missing."""
    came = 0
    with Progress(url.rsplit("/", 1)[-1], -(-(expected or 0) // CHUNK)) as progress:
        read: Callable[[int], bytes] = response.read
        try:
            handle = open(part, "ab" if start else "wb", buffering=0)
        except OSError as error:
            raise _unwritable(part, error) from error
        with handle:
            while True:
                try:
                    piece = read(CHUNK)
                except (OSError, http.client.HTTPException) as error:
                    raise _Cut(f"the connection was cut after {start + came} bytes ({error})") from error
                if not piece:
                    break
                try:
                    left = memoryview(piece)
                    while left:
                        left = left[handle.write(left) :]
                except OSError as error:
                    raise _unwritable(part, error) from error
                came += len(piece)
                progress.step()
    if expected is not None and came < expected:
        raise _Cut(f"the connection was cut after {start + came} of {start + expected} bytes")
