"""Frames of a raw video by number, as a player shows them, forward only: memory does not grow with the video.

Frames are decoded in a process of their own (:mod:`s3dnerf.video.decoder`): a damaged file cannot take the worker
along. decord reads the clips of our own packs (:mod:`s3dnerf.video.encoding`) but not raw files: it subtracts a late
start, has times in single precision, and counts the frames an edit list hides (they come out as repeats of the last).

Frame numbers count the frames that decoding gives, in presentation order, as :func:`s3dnerf.video.probing.probe` lists
them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from s3dnerf.video.decoder import ask
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.probing import VideoInfo, probe

__all__ = ["ReadFrame", "VideoInfo", "frames_with_status", "probe", "read_frames"]


@dataclass(frozen=True)
class ReadFrame:
    """A frame that was asked for.

    Attributes
    ----------
    number : of the frame, in presentation order
    pixels : uint8 (h, w, 3) RGB, writable
    damaged : its data are broken; the decoder patched it up from its neighbours
    """

    number: int
    pixels: np.ndarray
    damaged: bool


def frames_with_status(
    path: str | Path, index: np.ndarray, crop: tuple[int, int, int, int] | None = None
) -> Iterator[ReadFrame]:
    """Frames by number with what is known of each, decoding forward only.

    Parameters
    ----------
    index : int (n,), non-decreasing frame numbers in presentation order; a number that repeats gives the same frame
        again
    crop : x, y, w, h in pixels of the picture as shown, inside it; None for the whole frame

    Raises
    ------
    VideoError: what :func:`probe` raises; ``truncated`` at the first frame that cannot be decoded; ``changes_midway``.
    PassingFault: the decoder was killed or did not move on, so that nothing is known of the file.
    """
    index = np.asarray(index)
    if index.ndim != 1 or (len(index) and (index[0] < 0 or (np.diff(index) < 0).any())):
        raise ValueError("index: expected non-decreasing frame numbers ≥ 0, shape (n,)")
    if not len(index):
        return
    info = probe(path)
    count = len(info.pts)
    if index[-1] >= count:
        raise VideoError(f"{path}: frame {index[-1]} of {count}", "truncated")
    x, y, w, h = box = crop or (0, 0, info.width_px, info.height_px)
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > info.width_px or y + h > info.height_px:
        raise ValueError(f"crop {crop}: expected inside {info.width_px}×{info.height_px}")
    numbers, repeats = np.unique(index, return_counts=True)
    wanted = numbers.tolist()
    answers = ask({"do": "frames", "path": str(path), "numbers": wanted, "crop": list(box)})
    faults: list[str] = []
    at = 0
    for header, data in answers:
        if "number" not in header:
            faults = header["faults"]
            continue
        if header["number"] != wanted[at]:
            break  # one is missing
        frame = ReadFrame(wanted[at], np.frombuffer(data, np.uint8).reshape(h, w, 3), header["damaged"])
        at += 1
        if at == len(wanted):
            for _ in answers:  # the end of the answer: the decoder is free for others
                pass
        for _ in range(repeats[at - 1]):
            yield frame
    if at < len(wanted):
        raise VideoError(
            f"{path}: {at} frames could be decoded of {len(wanted)} from frame {wanted[0]} on. {'; '.join(faults)}",
            "truncated",
        )


def read_frames(
    path: str | Path, index: np.ndarray, crop: tuple[int, int, int, int] | None = None
) -> Iterator[np.ndarray]:
    """The pixels of :func:`frames_with_status`, uint8 (h, w, 3) RGB each, of whole frames alone.

    Raises
    ------
    VideoError: as there; ``damaged``, after the last, when one of them had to be patched up from its neighbours.
    """
    damaged = set()
    for frame in frames_with_status(path, index, crop):
        if frame.damaged:
            damaged.add(frame.number)
        yield frame.pixels
    if damaged:
        asked = len(np.unique(index))
        raise VideoError(
            f"{path}: {len(damaged)} of {asked} frames from frame {index[0]} on are damaged, the first at frame "
            f"{min(damaged)}",
            "damaged",
        )
