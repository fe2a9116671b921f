"""A sound track, as the decoder's process tells of it (:mod:`s3dnerf.video.sound_tracks`)."""

from __future__ import annotations

from typing import NamedTuple


class Track(NamedTuple):
    """A sound track: its number among a file's, why it is heard, in words ('' for an only one), and what it is, by
    FFmpeg's name and Hz.
    """

    number: int
    note: str
    codec: str
    rate_hz: int
