"""Frames kept in parts give the same cut as whole ones, in bounded memory, reading once unless the cut lies elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces.frame_cache import KeptFrames
from s3dnerf.faces.tracking import Tracker
from s3dnerf.faces.warping import warp
from tests.faces.drawn_clips import ScriptedBackend, box_at


def smooth_frames(count: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Pictures without hard edges (so that how they are reduced hardly matters), each with its number."""
    y, x = np.mgrid[: size[0], : size[1]] / 40.0
    frames = []
    for i in range(count):
        picture = 127 + 60 * np.stack([np.sin(x + 0.1 * i), np.sin(y), np.cos(x + y)], axis=2)
        frame = picture.astype(np.uint8)
        frame[0, 0] = i // 256, i % 256, 0
        frames.append(frame)
    return frames


def kept_through(script: list, frames: list[np.ndarray], limit_bytes: int) -> tuple[KeptFrames, list[int]]:
    reads: list[int] = []

    def read():
        reads.append(1)
        yield from frames

    kept = KeptFrames(read, len(frames), 256, 2.3, limit_bytes)
    Tracker(ScriptedBackend(script), 5, 320).run(kept.first_pass(), kept.settled)
    return kept, reads


def matrix_for(x: float, y: float, side: float) -> np.ndarray:
    scale = 256 / (2.3 * side)
    return np.array([[scale, 0, 128 - scale * x], [0, scale, 128 - scale * y]])


@pytest.mark.slow
def test_a_small_clip_is_kept_whole_and_cut_exactly() -> None:
    frames = smooth_frames(12, (240, 320))
    kept, reads = kept_through([[box_at(160, 120, 80)]] * 12, frames, 10**9)
    matrix = matrix_for(160, 115, 80)
    assert all(np.array_equal(a, warp(b, matrix, 256)) for a, b in zip(kept.cuts(matrix), frames, strict=True))
    assert len(reads) == 1 and not kept.in_parts


def test_a_large_clip_is_kept_in_parts_that_cut_the_same() -> None:
    frames = smooth_frames(14, (720, 1280))
    for side in (90, 300):
        script = [[box_at(640 + 5 * i, 330, side)] if i not in (6, 7) else [] for i in range(14)]
        kept, reads = kept_through(script, frames, 10**6)
        matrix = matrix_for(660, 320, side)
        cuts = list(kept.cuts(matrix))
        assert kept.in_parts and len(reads) == 1 and len(cuts) == 14
        off = max(
            np.abs(a[4:, 4:].astype(int) - warp(b, matrix, 256)[4:, 4:]).max()
            for a, b in zip(cuts, frames, strict=True)
        )
        assert off <= 4
        assert (
            sum(part.nbytes for part, _ in kept._parts) < 14 * 1.1e6
            and max(part.nbytes for part, _ in kept._parts) < frames[0].nbytes / 2
        )


def test_a_cut_beyond_what_was_kept_reads_again() -> None:
    frames = smooth_frames(9, (720, 1280))
    kept, reads = kept_through([[box_at(200, 330, 90)]] * 9, frames, 10**6)
    matrix = matrix_for(900, 330, 90)
    assert (
        all(np.array_equal(a, warp(b, matrix, 256)) for a, b in zip(kept.cuts(matrix), frames, strict=True))
        and len(reads) == 2
    )


def test_a_cut_that_reaches_beyond_the_source_is_covered_by_what_the_source_has() -> None:
    frames = smooth_frames(9, (720, 1280))
    kept, reads = kept_through([[box_at(70, 90, 90)]] * 9, frames, 10**6)
    matrix = matrix_for(70, 80, 90)
    cuts = list(kept.cuts(matrix))
    assert len(reads) == 1 and np.abs(cuts[3].astype(int) - warp(frames[3], matrix, 256)).max() <= 4
