"""One video of a web site into one file, through yt-dlp: the stream of a wanted height with its sound, resumed, whole.

What comes goes into a folder of its own: a stream that was cut is ``<name>.….part`` there and goes on from where it
ended. Streams that come apart are merged by the ffmpeg of imageio-ffmpeg, without encoding them again. What a site
answers is told apart: the video is gone (:class:`VideoGone`, a verdict on the video), nobody was reached or nobody is
let in (:class:`Unreachable`, which says nothing of the video), or anything else (:class:`VideoFailed`).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.download import DownloadError, readable_size
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.video.encoding import VideoError, ffmpeg_path
from s3dnerf.video.probing import probe

logger = logging.getLogger(__name__)

SAY_EVERY_S = 15.0
GONE_STATUS = (404, 410, 451)
BUSY_STATUS = (429,)
# what yt-dlp and YouTube say, in lower case; the first line that fits decides: "try again later" stands behind
# "video unavailable" where YouTube limits the rate
BUSY_WORDS = ("not a bot", "try again later", "rate-limit", "captcha", "too many requests", "got error:")
REASONS = (
    ("region_blocked", ("in your country", "geo restrict", "geo-restrict")),
    ("private", ("private video", "video is private")),
    ("needs_sign_in", ("sign in", "log in", "login", "members-only", "join this channel", "confirm your age")),
    ("gone", ("video unavailable", "is unavailable", "been removed", "no longer available", "terminated", "not exist")),
)
NO_VIDEO = ("zero_bytes", "unreadable", "no_video")  # what probing says of a file that cannot be the video
CUT_S = 1.0  # by how much less than its container says a whole file may hold


class VideoGone(S3DNeRFError):
    """The site has no such video for anybody here: ``reason`` is gone, private, region_blocked or needs_sign_in."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Unreachable(S3DNeRFError):
    """Nobody answered, or the site lets nobody in for now: this says nothing of the video."""


class VideoFailed(S3DNeRFError):
    """This video did not come, for a reason that may pass or that a person must look at."""


@dataclass(frozen=True)
class Wanted:
    """Which stream to take.

    Attributes
    ----------
    height_px : the height that the annotation was made at; 0: unknown
    least_width_px, least_height_px : what the picture must hold at least, where the height is unknown
    """

    height_px: int
    least_width_px: int = 0
    least_height_px: int = 0


@dataclass(frozen=True)
class Fetched:
    """A whole file: where, its picture's height in pixels, its size in bytes."""

    path: Path
    height_px: int
    size_bytes: int


class _Log:
    """yt-dlp's messages: warnings once each; errors are raised anyway."""

    def __init__(self) -> None:
        self.said: set[str] = set()

    def debug(self, message: str) -> None:
        logger.debug(message)

    def warning(self, message: str) -> None:
        if message not in self.said:
            self.said.add(message)
            logger.warning(f"yt-dlp: {plain_message(message)}")

    def error(self, message: str) -> None:
        logger.debug(message)


def pictures_height(formats: Sequence[Mapping[str, Any]], wanted: Wanted) -> int:
    """The height of the streams to choose from, in pixels; 0 where the site says no height.

    The wanted one; else the next larger one; else the largest. Where the wanted height is unknown: the smallest
    picture that holds what was measured on it (the crops), for their numbers mean that picture's pixels.

    >>> streams = [{"height": h, "width": h * 16 // 9} for h in (360, 720, 1080)]
    >>> [pictures_height(streams, Wanted(h)) for h in (720, 480, 2160)], pictures_height(streams, Wanted(0, 877, 473))
    ([720, 720, 1080], 720)
    """
    sizes = [(f["height"], f.get("width") or 0) for f in formats if f.get("height") and f.get("vcodec") != "none"]
    if not sizes:
        return 0
    if wanted.height_px:
        enough = [h for h, _ in sizes if h >= wanted.height_px]
    elif wanted.least_height_px:
        enough = [h for h, w in sizes if h >= wanted.least_height_px and w >= wanted.least_width_px]
    else:
        enough = []
    return min(enough, default=max(h for h, _ in sizes))


def select_streams(ydl: Any, context: Mapping[str, Any], wanted: Wanted) -> Iterator[Any]:
    """What yt-dlp is to download: the best picture of the chosen height with the best sound, apart or in one stream.

    Parameters
    ----------
    ydl : the YoutubeDL at work
    context : what yt-dlp gives a format function: ``formats`` from worst to best, and more
    """
    height = pictures_height(context["formats"], wanted)
    exact = f"[height={height}]" if height else ""
    # without the last filter a picture whose site has no sound at all would do
    yield from ydl.build_format_selector(f"bv*{exact}+ba/b{exact}[acodec!=?none]")(context)


def _downloader(options: dict[str, Any], stem: Callable[[], Path]) -> Any:
    """yt-dlp that writes ``<stem>.<suffix>``: a pattern for names, which it takes otherwise, would have the ``%`` and
    ``$`` of a folder's name replaced.
    """
    import yt_dlp

    class Downloader(yt_dlp.YoutubeDL):
        def prepare_filename(self, info_dict: Mapping[str, Any], *_: Any, **__: Any) -> str:
            return f"{stem()}.{info_dict.get('ext', 'video')}"  # asked for as well before the stream is chosen

    return Downloader(options)


class VideoSource:
    """yt-dlp with this project's options.

    Parameters
    ----------
    work : folder for what is being downloaded; made where it is not
    retries : connections in one download that may be cut
    pause_s : seconds before a cut connection is tried again

    Raises DownloadError where yt-dlp is not installed.
    """

    def __init__(self, work: Path, retries: int = 3, pause_s: float = 2.0) -> None:
        try:
            import yt_dlp  # noqa: F401
        except ImportError as error:
            raise DownloadError("hdtf needs yt-dlp: pip install 's3dnerf[fetch]'") from error
        self.work, self._said_s = work, 0.0
        self._name, self._wanted = "", Wanted(0)
        self._ydl: Any = _downloader(
            {
                "quiet": True,
                "noprogress": True,
                "logger": _Log(),
                "progress_hooks": [self._show],
                "format": lambda context: select_streams(self._ydl, context, self._wanted),
                "merge_output_format": "mp4/mkv",
                "ffmpeg_location": ffmpeg_path(),
                "continuedl": True,
                "retries": retries,
                "fragment_retries": retries,
                "skip_unavailable_fragments": False,  # a file with holes is no whole file
                "extractor_retries": retries,
                "retry_sleep_functions": dict.fromkeys(("http", "fragment", "extractor"), lambda n: pause_s),
                "socket_timeout": 60,
                "noplaylist": True,
                "updatetime": False,
                "cachedir": str(work / "yt-dlp"),
            },
            lambda: self.work / self._name,
        )

    def close(self) -> None:
        """Close its connections."""
        self._ydl.close()

    def fetch(self, name: str, url: str, wanted: Wanted) -> Fetched:
        """The video at ``url`` as ``<work>/<name>.<suffix>``, whole.

        Raises
        ------
        VideoGone, Unreachable, VideoFailed
            What is said at each of them; what came is kept and goes on the next time.
        DownloadError
            There is no room on the disk; what came is kept.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        self._name, self._wanted = name, wanted
        with _told_apart(name, asking=True, work=self.work):
            info = self._ydl.extract_info(url, download=False)
        if not info or info.get("_type", "video") != "video":
            raise VideoFailed(
                f"{name}: {url} is a {(info or {}).get('_type', 'page without a video')}, expected a video"
            )
        if info.get("is_live"):
            raise VideoFailed(f"{name}: {url} is live now, expected a recording")
        parts = info.get("requested_formats") or [info]
        self._check_room(sum(p.get("filesize") or p.get("filesize_approx") or 0 for p in parts), merged=len(parts) > 1)
        with _told_apart(name, asking=False, work=self.work):
            self._ydl.process_info(info)
        path = Path(info.get("filepath") or self._ydl.prepare_filename(info))
        return Fetched(path, _checked_height(name, path) or info.get("height") or 0, path.stat().st_size)

    def _check_room(self, size_bytes: float, merged: bool) -> None:
        """Streams that are merged are there twice for a while."""
        needed, free = int(size_bytes) * (2 if merged else 1), shutil.disk_usage(self.work).free
        if free < needed:
            raise _no_room(self.work, f"{readable_size(free)} free, {readable_size(needed)} needed for the next video")

    def _show(self, state: Mapping[str, Any]) -> None:
        """A line now and then; yt-dlp calls it after each block. Raises DownloadError where the rest has no room."""
        done, total = state.get("downloaded_bytes") or 0, state.get("total_bytes") or 0
        now = time.monotonic()
        if state.get("status") != "downloading" or now - self._said_s < SAY_EVERY_S:
            return
        self._said_s = now
        if shutil.disk_usage(self.work).free < total - done:
            raise _no_room(self.work, f"{readable_size(total - done)} more needed for this video")
        of = f" of {readable_size(total)}" if total else ""
        logger.info(f"{Path(str(state.get('filename'))).name}: {readable_size(done)}{of}")


def _checked_height(name: str, path: Path) -> int:
    """The picture's height in pixels, 0 where it cannot be shown right (which ingest will say). Raises VideoFailed for
    what is no video or a part of one, and removes it, so that it is not taken for the whole the next time.
    """
    try:
        found = probe(path)
    except VideoError as error:
        if error.reason not in NO_VIDEO:
            return 0
        path.unlink(missing_ok=True)
        raise VideoFailed(f"{name}: what came is no video: {error}: removed") from error
    if found.damage and found.declared_s - found.duration_s > CUT_S:
        path.unlink()
        held = f"{found.duration_s:.0f} of {found.declared_s:.0f} s"
        raise VideoFailed(f"{name}: {held} came, expected all of it: removed")
    return found.height_px


def _no_room(folder: Path, why: str) -> DownloadError:
    return DownloadError(f"{folder}: {why}: make room and run the command again; what was downloaded is kept")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error of yt-dlp's and all that it names as its reasons."""
    seen: list[BaseException] = []
    todo: list[BaseException | None] = [error]
    while todo:
        at = todo.pop(0)
        if at is None or any(at is one for one in seen):
            continue
        seen.append(at)
        yield at
        inside = getattr(at, "exc_info", None) or (None, None, None)
        todo += [inside[1], getattr(at, "cause", None), at.__cause__, at.__context__]


def plain_message(error: BaseException | str) -> str:
    """What yt-dlp says, on one line, without its colours, its prefix and its request to report bugs."""
    text = re.sub(r"\x1b\[[0-9;]*m|\r", "", str(error)).removeprefix("ERROR: ")
    return " ".join(re.split(r"; please report this issue on|\(caused by", text)[0].split())[:300]


def judged(name: str, error: BaseException, asking: bool, work: Path) -> S3DNeRFError:
    """The error of this project's that an error of yt-dlp's means.

    Parameters
    ----------
    asking : whether the site was asked about the video: only what it says then is a verdict on the video. A stream's
        address may be refused for other reasons (too old, too many at once)
    work : the folder that is named where the disk is full
    """
    from yt_dlp.networking.exceptions import HTTPError, TransportError
    from yt_dlp.utils import ExtractorError, GeoRestrictedError, YoutubeDLError

    causes, said = list(_causes(error)), plain_message(error)
    if not isinstance(error, YoutubeDLError):
        said = f"{type(error).__name__}: {said}"
    words, message = said.lower(), f"{name}: {said}"
    if any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in causes):
        return _no_room(work, "the disk is full")
    status = next((e.status for e in causes if isinstance(e, HTTPError)), 0)
    if status in BUSY_STATUS or status >= 500 or any(word in words for word in BUSY_WORDS):
        return Unreachable(message)
    if any(isinstance(e, (TransportError, ConnectionError, TimeoutError)) for e in causes):
        return Unreachable(message)
    if asking and status in GONE_STATUS:
        return VideoGone("gone", message)
    if asking and any(isinstance(e, GeoRestrictedError) for e in causes):
        return VideoGone("region_blocked", message)
    if asking and not status and any(isinstance(e, ExtractorError) and e.expected for e in causes):
        for reason, texts in REASONS:
            if any(text in words for text in texts):
                return VideoGone(reason, message)
    return VideoFailed(message)


@contextlib.contextmanager
def _told_apart(name: str, asking: bool, work: Path) -> Iterator[None]:
    """Raise what an error of yt-dlp's means in its place."""
    try:
        yield
    except S3DNeRFError:
        raise
    except Exception as error:  # an extractor that a site's change has broken may raise anything
        raise judged(name, error, asking, work) from error
