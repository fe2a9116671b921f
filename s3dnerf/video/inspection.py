"""What a video file holds, found in its packets and first frames: the decoder's side of :mod:`s3dnerf.video.probing`.

Runs in the decoder's process. Reading packets takes milliseconds; everything is decoded only where the packets do not
tell: damage, times that are missing or lost, interlaced frames (whose two fields may be packets of their own).
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av

from s3dnerf.video.display import Display, display_of
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.media import FrameTimes, decoded_pictures, decoder_of, open_pictures, packets, unit_of

HEAD_FRAMES = 12
# MPEG-4 and QuickTime files whose packets lie at the times that their index says, without the edit list's shift
RAW_INDEX = {"advanced_editlist": "0"}
INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2",)  # containers whose index lists every picture
PROGRESSIVE = 1  # of FFmpeg's field orders; 0: unknown


def is_interlaced(stream: av.VideoStream, frames: list[av.VideoFrame]) -> bool:
    """Whether a stream says of itself, or of one of these frames, that pictures are made of two fields."""
    order = int(getattr(stream.codec_context, "field_order", 0) or 0)
    return order > PROGRESSIVE or any(frame.interlaced_frame for frame in frames)


def _rows_of_packets(
    container: av.container.InputContainer, stream: av.VideoStream, path: str, faults: list[str]
) -> tuple[list[tuple[int, int]], bool, list[tuple[av.VideoFrame, int]]]:
    """(pts, duration) of each packet that is shown; whether all have a time and none is broken; the first frames and
    their times.
    """
    rows: list[tuple[int, int]] = []
    head: list[tuple[av.VideoFrame, int]] = []
    whole, count, bad, times = True, 0, list[str](), FrameTimes()
    context = decoder_of(stream)
    for packet in packets(container, stream, path, faults):
        if packet.size or packet.pts is not None:
            count += 1
            whole = whole and packet.pts is not None and not packet.is_corrupt
            if not packet.is_discard and packet.pts is not None:  # else hidden by an edit list: decoded, not shown
                rows.append((packet.pts, packet.duration or 0))
        if packet.is_corrupt:
            faults.append("a packet is cut off or marked as damaged")
        if len(head) < HEAD_FRAMES:
            head += [(frame, times.of(frame)) for frame in decoded_pictures(context, packet, path, bad)]
    announced = len(stream.index_entries) if container.format.name in INDEXED else 0
    if announced > count:
        faults.append(f"the file is cut off: {count} of {announced} pictures of its index are there")
    return rows, whole and not bad, head[:HEAD_FRAMES]


def _rows_of_frames(path: str, faults: list[str]) -> list[tuple[int, int]]:
    """(pts, duration) of each frame that decoding gives, in the order it gives them."""
    rows: list[tuple[int, int]] = []
    times = FrameTimes()
    container, stream = open_pictures(path)
    with container:
        context = decoder_of(stream)
        for packet in packets(container, stream, path, faults):
            rows += [
                (times.of(frame), frame.duration or 0) for frame in decoded_pictures(context, packet, path, faults)
            ]
    return rows


def _index(stream: av.VideoStream) -> dict[int, int]:
    """Where each picture that is shown lies in the file → its time of decoding, in the stream's unit."""
    return {entry.pos: entry.timestamp for entry in stream.index_entries if not entry.is_discard}


def edit_shift(path: str, shown: dict[int, int]) -> tuple[Fraction, bool]:
    """Seconds by which an edit list moves the picture ahead of its time; and whether it moves parts apart.

    An edit list may begin between two frames. FFmpeg hides the frame before its start and moves all others forward,
    until the first one shown stands at the start; the sound is cut to the sample and not moved. The index with and
    without that (the demuxer's option ``advanced_editlist``) has the same packets at other times: the difference is
    what was moved, by one amount where the list is a single piece. ``shown``: the index with it.
    """
    container, stream = open_pictures(path, **RAW_INDEX)
    with container:
        raw, time_base = _index(stream), unit_of(stream)
    moved = {raw[pos] - time for pos, time in shown.items() if pos in raw}
    if not moved:
        return Fraction(0), False
    return (moved.pop() * time_base, False) if len(moved) == 1 else (Fraction(0), True)


def inspect(path: str) -> tuple[dict[str, Any], Display, list[tuple[int, int]]]:
    """Facts of a file, how it is shown, and (pts, duration) of each of its frames by time.

    The facts are those of :class:`s3dnerf.video.probing.VideoInfo`. Raises VideoError with a reason: ``missing``,
    ``zero_bytes``, ``unreadable``, ``no_video`` and those of :mod:`s3dnerf.video.display`; PassingFault.
    """
    faults: list[str] = []
    container, stream = open_pictures(path)
    with container:
        index = _index(stream) if container.format.name in INDEXED else {}
        rows, whole, head = _rows_of_packets(container, stream, path, faults)
        interlaced = is_interlaced(stream, [frame for frame, _ in head])
        by_time = sorted(rows)
        # packets may have lost their presentation times and look well: the first frames that decoding gives must agree
        agree = [pts for _, pts in head] == [pts for pts, _ in by_time[:HEAD_FRAMES]]
        by_packets = whole and agree and not faults and not interlaced and len({pts for pts, _ in rows}) == len(rows)
        rows = by_time if by_packets else _rows_of_frames(path, faults)
        if not rows or not head:
            raise VideoError(f"{path}: no frame can be decoded: {'; '.join(faults[:2]) or 'no frames'}")
        shown = display_of(stream, head[0][0], interlaced, path)
        time_base = unit_of(stream)
        facts: dict[str, Any] = {
            "start_pts": _rescale(container.start_time or 0, Fraction(1, av.time_base), time_base),
            "time_base": [time_base.numerator, time_base.denominator],
            "declared_s": float(container.duration / av.time_base) if container.duration else float("nan"),
            "container": container.format.name,
            "by_packets": by_packets,
            "has_audio": bool(container.streams.audio),
            "damage": "; ".join(dict.fromkeys(faults))[:200],
        }
    early, several = edit_shift(path, index) if index else (Fraction(0), False)
    facts |= {"early_s": float(early), "several_edits": several, "rotation": shown.rotation, "notes": shown.notes()}
    facts |= {"width_px": shown.width_px, "height_px": shown.height_px}
    return facts, shown, rows


def _rescale(value: int, given: Fraction, wanted: Fraction) -> int:
    """``value`` counted in ``given`` seconds, counted in ``wanted`` seconds, halves away from zero (FFmpeg's
    av_rescale_q).
    """
    exact = value * given / wanted
    half = Fraction(1, 2)
    return int(exact + half) if exact >= 0 else -int(-exact + half)
