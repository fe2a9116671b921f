"""The process that opens media files: a damaged file may take it down, never the stage that asked.

Reads requests as lines of JSON from its input; answers with one message each, frames with one message a frame: a line
of JSON, then as many bytes as its ``bytes`` says. It ends with its input. :mod:`s3dnerf.video.decoder` starts it and
asks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, BinaryIO, cast

import av
import numpy as np

from s3dnerf.core.errors import PassingFault
from s3dnerf.core.processes import die_with_parent
from s3dnerf.video.display import Converter, Display
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.inspection import inspect
from s3dnerf.video.media import FrameTimes, decoded_pictures, decoder_of, open_pictures, packets
from s3dnerf.video.sound_tracks import chosen_track, mono_sound
from s3dnerf.video.track import Track

Message = tuple[dict[str, Any], bytes | memoryview]
# containers in which FFmpeg finds the key frame before a time reliably; others are decoded from their start
SEEKABLE = ("mov", "matroska")
SEEK_BEFORE_S = 1.0


Found = tuple[dict[str, Any], Display, list[tuple[int, int]]]


class Files:
    """What was found of the file that was asked about last: its frames, or another part of its sound, are asked for
    next.
    """

    def __init__(self) -> None:
        self._of: tuple[str, int, int] | None = None
        self._found: Found | None = None
        self._track: Track | None = None

    def _look(self, path: str) -> None:
        """Forget what was found where the file is another one now."""
        try:
            state = os.stat(path)
        except FileNotFoundError as error:
            raise VideoError(f"{path}: no such file", "missing") from error
        key = (os.path.abspath(path), state.st_size, state.st_mtime_ns)
        if self._of != key:
            self._of, self._found, self._track = key, None, None

    def inspect(self, path: str) -> Found:
        """See :func:`s3dnerf.video.inspection.inspect`."""
        self._look(path)
        if self._found is None:
            self._found = inspect(path)
        return self._found

    def track(self, path: str, rate_hz: int) -> Track:
        """See :func:`s3dnerf.video.sound_tracks.chosen_track`, which decodes where there are several."""
        self._look(path)
        if self._track is None:
            self._track = chosen_track(path, rate_hz)
        return self._track


def probe(files: Files, request: dict[str, Any]) -> Iterator[Message]:
    """The facts of a file; pts and durations as int64 (2, n)."""
    facts, _, rows = files.inspect(request["path"])
    yield facts, memoryview(np.array(rows, np.int64).T.tobytes())


def frames(files: Files, request: dict[str, Any]) -> Iterator[Message]:
    """The frames ``numbers`` (ascending) as uint8 (h, w, 3) of the part ``crop``, each with its ``number`` and whether
    it is ``damaged``; one that cannot be decoded is passed over. At last what was found wrong.
    """
    path, wanted = request["path"], set(request["numbers"])
    facts, shown, rows = files.inspect(path)
    last, time_base = request["numbers"][-1], Fraction(*facts["time_base"])
    # by their times where every frame has one of its own; else, from the start, in the order that decoding gives
    by_time = {pts: number for number, (pts, _) in enumerate(rows)} if facts["by_packets"] else {}
    faults: list[str] = []
    container, stream = open_pictures(path)
    with container:
        start = rows[request["numbers"][0]][0] - int(SEEK_BEFORE_S / time_base)
        if by_time and facts["container"].split(",")[0] in SEEKABLE and start > facts["start_pts"]:
            container.seek(start, stream=stream)
        converter = Converter(shown, tuple(request["crop"]), time_base)
        queue: list[tuple[int, bool]] = []
        for count, frame in enumerate(_decoded_frames(container, stream, path, faults)):
            number = count
            if frame is not None:
                number = by_time.get(cast(int, frame.pts), -1) if by_time else count
                if number in wanted:
                    queue.append((number, frame.is_corrupt))
            for picture in converter.push(frame, frame is not None and number in wanted, path):
                number_out, broken = queue.pop(0)
                yield {"number": number_out, "damaged": broken}, picture.data
                if number_out == last:
                    return
    yield {"faults": faults[:2]}, b""


def _decoded_frames(
    container: av.container.InputContainer, stream: av.VideoStream, path: str, faults: list[str]
) -> Iterator[av.VideoFrame | None]:
    """The frames that decoding gives, with their times; None after the last."""
    times, context = FrameTimes(), decoder_of(stream)
    for packet in packets(container, stream, path, faults):
        for frame in decoded_pictures(context, packet, path, faults):
            frame.pts = times.of(frame)
            yield frame
    yield None


def sound(files: Files, request: dict[str, Any]) -> Iterator[Message]:
    """Samples float32 (n,) of :func:`s3dnerf.video.sound_tracks.mono_sound`, with its note."""
    path, rate_hz = request["path"], request["rate_hz"]
    track = files.track(path, rate_hz)
    samples, note = mono_sound(path, track, request["first"], request["last"], rate_hz)
    yield {"note": note, "track": list(track)}, memoryview(samples.tobytes())


WORK = {"probe": probe, "frames": frames, "sound": sound}


def answer(files: Files, request: dict[str, Any], out: BinaryIO) -> None:
    """Write what a request gives, or why it gives nothing."""

    def send(header: dict[str, Any], data: bytes | memoryview = b"") -> None:
        size = data.nbytes if isinstance(data, memoryview) else len(data)
        out.write(json.dumps({**header, "bytes": size}).encode() + b"\n")
        out.write(data)
        out.flush()

    try:
        if "folder" in request:
            os.chdir(request["folder"])
        for header, data in WORK[request["do"]](files, request):
            send(header, data)
        send({"end": True})
    except VideoError as error:
        send({"error": str(error), "reason": error.reason})
    except PassingFault as error:
        send({"passing": str(error)})
    except MemoryError:
        send({"passing": f"{request['path']}: Cannot allocate memory"})
    except BrokenPipeError:
        raise
    except Exception:
        send({"bug": traceback.format_exc()})


def main() -> None:
    """Answer requests until there are no more."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever asked decides
    out = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints must not get in between
    files = Files()
    writer = open(out.fileno(), "wb", buffering=1 << 16, closefd=False)
    for line in sys.stdin.buffer:
        try:
            answer(files, json.loads(line), writer)
        except BrokenPipeError:
            return
