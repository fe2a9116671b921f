"""A media file opened through PyAV (FFmpeg's libraries): what it holds is read, what it names is never followed.

Runs in the decoder's process (:mod:`s3dnerf.video.decoder_process`). Reads the file, writes nothing.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
from av.format import ContainerFormat, formats_available

from s3dnerf.core.errors import PassingFault
from s3dnerf.video.encoding import VideoError

# demuxers that open what a file names (playlists, manifests, lists, session descriptions, numbered pictures, files in
# pieces), or make pictures and sound out of text
FOLLOWING = frozenset(
    "hls concat dash imf image2 image2pipe mlv rtp rtsp sap sdp vobsub webm_dash_manifest avisynth vapoursynth "
    "dvdvideo tty bin xbin adf idf sbg ffmetadata lrc data".split()
)
# still pictures, subtitles, and bytes without a header, which any file could be taken for
PICTURES = frozenset("ico fits alias_pix brender_pix".split())
SUBTITLES = frozenset(
    "aqtitle ass jacosub microdvd mpl2 mpsub pjs realtext sami scc srt stl subviewer subviewer1 sup tedcaptions "
    "vplayer webvtt dvbsub dvbtxt".split()
)
HEADLESS = frozenset(
    "rawvideo v210 v210x bitpacked alaw mulaw f32be f32le f64be f64le s16be s16le s24be s24le s32be s32le s8 u16be "
    "u16le u24be u24le u32be u32le u8 vidc codec2raw g722 g726 g726le g728 g729 aptx aptx_hd dfpwm sln daud".split()
)
MOST_FAULTS = 64  # then nothing of a file is read any more
# what the system refuses says nothing of the file; "Input/output error" is not among them: demuxers say it of a file
# that is cut short as well
SYSTEM = frozenset(
    {
        errno.ENOMEM,
        errno.EAGAIN,
        errno.EMFILE,
        errno.ENFILE,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ETIMEDOUT,
        errno.EHOSTDOWN,
        errno.ENODEV,
    }
)


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Names of the demuxers that are used: all of the library but those that follow names, devices, pictures, subtitles
    and headless bytes; sorted.
    """
    refused = FOLLOWING | PICTURES | SUBTITLES | HEADLESS
    names = []
    for name in sorted(formats_available):
        try:
            format_ = ContainerFormat(name, "r")
        except ValueError:  # it is written, not read
            continue
        if not (format_.no_file or name in refused or name.endswith("_pipe")):
            names.append(name)
    return tuple(names)


def plain_error(error: Exception) -> str:
    """A fault of FFmpeg's in words, without the file's name."""
    return str(getattr(error, "strerror", None) or error).strip()


def refuse_system_fault(error: Exception, path: str) -> None:
    """Raise PassingFault where the machine failed and not the file."""
    if isinstance(error, OSError) and error.errno in SYSTEM:
        raise PassingFault(f"{path}: reading failed by the system: {os.strerror(error.errno)}") from error


def open_media(path: str, **options: str) -> av.container.InputContainer:
    """A file opened for reading, its streams found, every decoder on one thread.

    Raises VideoError with the reason ``missing``, ``zero_bytes`` or ``unreadable``; PassingFault.
    """
    try:
        if os.stat(path).st_size == 0:
            raise VideoError(f"{path}: an empty file", "zero_bytes")
    except FileNotFoundError as error:
        raise VideoError(f"{path}: no such file", "missing") from error
    guards = {"format_whitelist": ",".join(readable_formats()), "protocol_whitelist": "file"}
    try:
        container = av.open(f"file:{path}", options={**guards, **options}, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        refuse_system_fault(error, path)
        why = plain_error(error)
        if isinstance(error, OSError) and error.errno == errno.EINVAL:  # of a demuxer that is not among the readable
            why = "it is a playlist, a list of files, text, a picture or another kind that is not read here"
        raise VideoError(f"{path}: not a readable video or sound file: {why}") from error
    for stream in (*container.streams.video, *container.streams.audio):
        stream.codec_context.thread_count = 1
        stream.codec_context.thread_type = "NONE"
    return container


def open_pictures(path: str, **options: str) -> tuple[av.container.InputContainer, av.VideoStream]:
    """A file opened for the stream of pictures that players show. Raises as :func:`open_media`; VideoError (no_video).

    AVI has no presentation times, and FFmpeg 8.1 fills in wrong ones where frames are predicted from later ones.
    """
    container = open_media(path, **options)
    if container.format.name == "avi":
        container.close()
        container = open_media(path, fflags="nofillin", **options)
    stream = _shown_stream(container)
    if stream is None:
        container.close()
        raise VideoError(f"{path}: no video stream", "no_video")
    return container, stream


def unit_of(stream: av.VideoStream | av.AudioStream) -> Fraction:
    """The unit of a stream's times, seconds."""
    return stream.time_base or Fraction(1, av.time_base)


def _shown_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """The stream that players show: of those that are no cover pictures the one marked default, else the first."""
    flags = av.stream.Disposition
    still = flags.attached_pic | flags.timed_thumbnails | flags.still_image
    moving = [stream for stream in container.streams.video if not stream.disposition & still]
    marked = [stream for stream in moving if stream.disposition & flags.default]
    return next(iter(marked or moving), None)


def decoder_of(stream: av.VideoStream) -> av.VideoCodecContext:
    """The decoder of a stream: its own, but for VP8 and VP9 with transparency, which FFmpeg's decoders leave out."""
    name = stream.codec_context.name
    if stream.metadata.get("alpha_mode") == "1" and name in ("vp8", "vp9"):
        context = cast(av.VideoCodecContext, av.CodecContext.create("libvpx" if name == "vp8" else "libvpx-vp9", "r"))
        context.extradata = stream.codec_context.extradata
        context.thread_count = 1
        return context
    return stream.codec_context


def packets(
    container: av.container.InputContainer, stream: av.VideoStream | av.AudioStream, path: str, faults: list[str]
) -> Iterator[av.Packet]:
    """The packets of a stream in file order, the empty one at the end that flushes the decoder among them.

    Faults of the file are added to ``faults`` and passed, as players do, unless nothing more can be read. Raises
    PassingFault.
    """
    while True:
        try:
            yield from container.demux(stream)
            return
        except (av.FFmpegError, OSError) as error:
            refuse_system_fault(error, path)
            faults.append(plain_error(error))
            if len(faults) > MOST_FAULTS or isinstance(error, av.EOFError):
                return


def decoded_pictures(
    context: av.VideoCodecContext, packet: av.Packet, path: str, faults: list[str]
) -> list[av.VideoFrame]:
    """The frames that a packet gives; none where it cannot be decoded, which is added to ``faults``. Raises
    PassingFault.
    """
    return cast(list[av.VideoFrame], _decoded(context, packet, path, faults))


def decoded_sound(
    context: av.AudioCodecContext, packet: av.Packet, path: str, faults: list[str]
) -> list[av.AudioFrame]:
    """As :func:`decoded_pictures`, for sound."""
    return cast(list[av.AudioFrame], _decoded(context, packet, path, faults))


def _decoded(
    context: av.VideoCodecContext | av.AudioCodecContext, packet: av.Packet, path: str, faults: list[str]
) -> list[av.VideoFrame] | list[av.AudioFrame]:
    try:
        return context.decode(packet)
    except av.EOFError:
        return []
    except (av.FFmpegError, OSError) as error:
        refuse_system_fault(error, path)
        faults.append(plain_error(error))
        return []


class FrameTimes:
    """When decoded frames are shown, where files have no, wrong or backward presentation times: FFmpeg's own guess.

    Of the two times of a frame (presentation and decoding) the one that has gone back less often so far; without
    either, the end of the frame before.
    """

    def __init__(self) -> None:
        self._faulty_pts = self._faulty_dts = 0
        self._last_pts = self._last_dts = -(1 << 62)
        self._end = 0

    def of(self, frame: av.VideoFrame) -> int:
        """The time of the next frame that decoding gave, in its stream's unit."""
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        elif pts is not None:
            self._last_dts = pts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        elif dts is not None:
            self._last_pts = dts
        trusted = pts is not None and (self._faulty_pts <= self._faulty_dts or dts is None)
        time = pts if trusted else dts
        time = self._end if time is None else time
        self._end = time + max(frame.duration or 0, 1)
        return time
