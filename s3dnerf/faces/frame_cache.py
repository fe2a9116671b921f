"""Frames kept between finding a face and cutting it out, so that a video is decoded once and memory stays bounded.

The one similarity of a clip is known only when all its frames were seen. A clip of moderate size is kept whole; of a
larger one, each frame's surroundings of the face are kept, reduced to a little more than the cut will need (about 250
MB for ten seconds, whatever the source's size). Where the cut turns out to lie beyond what was kept, the video is read
again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from s3dnerf.faces.tracking import Box
from s3dnerf.faces.warping import apply, invert, warp

WHOLE_BYTES = 224 * 2**20  # a clip that needs no more is kept whole: ten seconds at 512²
AROUND = 2.0  # half side of what is kept, in units of the face box's side: crop, its growth and its shift
DETAIL = 1.3  # kept pixels a pixel of the cut


class KeptFrames:
    """A clip's frames: read once, then cut.

    Parameters
    ----------
    read : callable
        ``read()`` yields the frames uint8 (h, w, 3) from the start.
    count : int
        How many there are.
    size_px, crop_factor
        Side of the cut, and about how many face boxes wide it will be.
    """

    def __init__(
        self,
        read: Callable[[], Iterator[np.ndarray]],
        count: int,
        size_px: int,
        crop_factor: float,
        limit_bytes: int = WHOLE_BYTES,
    ) -> None:
        self._read, self._count, self._limit = read, count, limit_bytes
        self._size_px, self._crop_factor = size_px, crop_factor
        self._whole: list[np.ndarray] = []
        self._parts: list[tuple[np.ndarray, np.ndarray]] = []  # picture, matrix (2, 3): source px → its px
        self._place: Box | None = None
        self._source_px = np.zeros(2)  # width and height of the source
        self.in_parts = False

    def first_pass(self) -> Iterator[np.ndarray]:
        """The frames in order; kept whole when there are few."""
        for frame in self._read():
            if not self._whole:
                self.in_parts = frame.nbytes * self._count > self._limit
            if not self.in_parts:
                self._whole.append(frame)
            yield frame

    def settled(self, frame: np.ndarray, box: Box | None) -> None:
        """Take note of where the face of the next frame is (None: not found); for :meth:`Tracker.run`."""
        if not self.in_parts:
            return
        height, width = frame.shape[:2]
        self._source_px = np.array([width, height], float)
        self._place = box or self._place
        x0, y0, x1, y1 = self._place or (0.0, 0.0, float(width), float(height))
        side = max(x1 - x0, y1 - y0)
        reach = AROUND * side
        left, top = int(max((x0 + x1) / 2 - reach, 0)), int(max((y0 + y1) / 2 - reach, 0))
        right, bottom = int(min((x0 + x1) / 2 + reach + 1, width)), int(min((y0 + y1) / 2 + reach + 1, height))
        part = frame[top : max(bottom, top + 1), left : max(right, left + 1)]
        scale = min(1.0, DETAIL * self._size_px / (self._crop_factor * side))
        w, h = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
        fx, fy = w / part.shape[1], h / part.shape[0]
        kept = cv2.resize(part, (w, h), interpolation=cv2.INTER_AREA) if scale < 1 else part.copy()
        self._parts.append((kept, np.array([[fx, 0, -fx * left], [0, fy, -fy * top]])))

    def cuts(self, matrix: np.ndarray) -> Iterator[np.ndarray]:
        """Each frame's square cut by a similarity (2, 3), source px → cut px."""
        if not self.in_parts:
            yield from (warp(frame, matrix, self._size_px) for frame in self._whole)
        elif all(self._covers(part, of, matrix) for part, of in self._parts):
            for part, of in self._parts:
                back = invert(of)
                local = np.column_stack([matrix[:, :2] @ back[:, :2], matrix[:, :2] @ back[:, 2] + matrix[:, 2]])
                yield warp(part, local, self._size_px)
        else:
            yield from (warp(frame, matrix, self._size_px) for frame in self._read())

    def _covers(self, part: np.ndarray, of: np.ndarray, matrix: np.ndarray) -> bool:
        """Whether a kept part holds all of the cut that the source has."""
        corners = apply(of, apply(invert(matrix), np.array([[0.0, 0.0], [self._size_px, self._size_px]])))
        edges = apply(of, np.stack([np.zeros(2), self._source_px]))
        low, high = np.maximum(corners[0], edges[0]), np.minimum(corners[1], edges[1])
        return bool((low >= -1).all() and (high <= np.array(part.shape[1::-1]) + 1).all())
