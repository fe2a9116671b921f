"""Spans to clips: at most ``clip_s`` long, whole ticks of the 25 Hz clock, crops in pixels of the file that is really
held.
"""

from __future__ import annotations

import math
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.corpora.records import Span

# a remainder of at most this share of a clip is dropped rather than cutting one clip more (10.04 s is one clip of 10 s)
SLACK = 0.02
# a crop may lose this share of its area at the frame's border (lists and downloads round differently)
CROP_LOSS = 0.1


class SpanError(S3DNeRFError, ValueError):
    """A span gives no clip: ``reason`` and a detail for a person."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


def cut_ticks(first_tick: int, end_tick: int, clip_s: float, min_clip_s: float) -> list[tuple[int, int]]:
    """Even pieces of a stretch of ticks: (first tick, tick after the last) each, in order.

    No piece is longer than ``clip_s``; lengths differ by one tick at most; a remainder under 2 % of a clip is dropped.
    Where even pieces would be shorter than ``min_clip_s``, one piece fewer is cut, of ``clip_s`` each, and the rest is
    dropped. Returns [] for a stretch shorter than ``min_clip_s``.
    """
    longest, shortest, length = round(clip_s * FPS_HZ), round(min_clip_s * FPS_HZ), end_tick - first_tick
    if length < shortest or length < 1:
        return []
    count = max(1, math.ceil(length / (longest * (1 + SLACK))))
    if length / count < shortest:
        count = max(1, count - 1)
    length = min(length, count * longest)
    edges = [first_tick + length * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:]))


def fit_crop(span: Span, width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """The crop x, y, w, h in pixels of a picture of this size; (-1, -1, -1, -1) for the whole frame.

    A crop measured on a download of another height is scaled, unless it does not even fit the height its list states
    but fits this picture: then it was measured on a picture like this one. A crop that reaches over the border a little
    is cut there. Raises SpanError (``crop_outside``) when more than a tenth of its area is outside.
    """
    if span.crop is None:
        return (-1, -1, -1, -1)
    x, y, w, h = span.crop
    stated = span.crop_of_height_px
    if w < 1 or h < 1:
        raise SpanError("crop_outside", f"crop {w}×{h}: no area")
    if stated and stated != height_px and y + h <= stated * (1 + SLACK):
        x, y, w, h = (round(v * height_px / stated) for v in (x, y, w, h))
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, width_px), min(y + h, height_px)
    kept = max(right - left, 0) * max(bottom - top, 0)
    if kept < (1 - CROP_LOSS) * w * h:
        where = f"crop {w}×{h} at {x},{y} (stated height {stated or 'unknown'})"
        raise SpanError("crop_outside", f"{where} in a picture of {width_px}×{height_px}")
    return left, top, right - left, bottom - top


def cut_span(span: Span, facts: dict[str, Any], clip_s: float, min_clip_s: float) -> list[dict[str, Any]]:
    """Clip records of a span, without corpus, pack and hashes.

    Parameters
    ----------
    facts : what probing the video gave: fps_hz, width_px, height_px, first_tick, end_tick

    Raises SpanError: ``interval_outside`` when the video ends before the interval begins, ``too_short``,
    ``crop_outside``.
    """
    first = max(round(span.start_s * FPS_HZ), facts["first_tick"])
    end = facts["end_tick"] if span.end_s is None else min(round(span.end_s * FPS_HZ), facts["end_tick"])
    if end <= first and span.end_s is not None:
        ends = facts["end_tick"] / FPS_HZ
        raise SpanError(
            "interval_outside", f"interval {span.start_s:g}–{span.end_s:g} s, the video ends at {ends:.2f} s"
        )
    pieces = cut_ticks(first, end, clip_s, min_clip_s)
    if not pieces:
        raise SpanError("too_short", f"{(end - first) / FPS_HZ:.2f} s, ingest.min_clip_s is {min_clip_s:g}")
    crop = fit_crop(span, facts["width_px"], facts["height_px"])
    records = []
    for number, (low, high) in enumerate(pieces):
        start_s, end_s = low / FPS_HZ, high / FPS_HZ
        text = (
            " ".join(w for w, a, _ in span.words if start_s <= a < end_s)
            if span.words and len(pieces) > 1
            else span.text
        )
        records.append(
            {
                "clip": span.name if len(pieces) == 1 else f"{span.name}-{number:02d}",
                "speaker": span.speaker,
                "split": span.split,
                "video": span.video,
                "audio": span.audio,
                "start_s": start_s,
                "end_s": end_s,
                "crop_x": crop[0],
                "crop_y": crop[1],
                "crop_w": crop[2],
                "crop_h": crop[3],
                "fps_hz": facts["fps_hz"],
                "width_px": facts["width_px"],
                "height_px": facts["height_px"],
                "duration_s": (high - low) / FPS_HZ,
                "text": text,
            }
        )
    return records
