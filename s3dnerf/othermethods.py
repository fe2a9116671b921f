"""Other methods' videos beside ours: found by name, brought to the truth's frame, clip by clip.

Layout: ``<folder>/<method>/<corpus>/<name>.mp4``; the corpus in any case (``HDTF``), the name that of the raw clip
(``RD_Radio8_000``: the whole raw clip, framed as it is) or of our clip (``hdtf_Radio8_000``: just that clip). A video
framed like its source is warped by the clip's own alignment; one that reframes the face (PC-AVS does) by one
similarity a clip, from eyes and nose. Which it was is returned as a note, and the report prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.config import CORPORA
from s3dnerf.evaluation import SIZE_PX, Tools, Truth
from s3dnerf.faces.landmarks import EYES, NOSE
from s3dnerf.faces.warping import apply, warp
from s3dnerf.metrics.landmarks import metric_landmarks
from s3dnerf.training.clips import Clip

FPS_HZ = 25
LOOKS = 25  # frames that decide about the framing
SAME_FRAMING_PX = 10.0
STEADY = np.r_[NOSE, EYES]  # speech hardly moves them


@dataclass(frozen=True)
class MethodVideo:
    """One video of another method; ``label`` is its path inside the folder."""

    name: str
    corpus: str
    clip: str
    path: str
    label: str


def find_methods(folder: str | None) -> list[MethodVideo]:
    """Every ``<method>/<corpus>/<name>.mp4`` of a folder, sorted; empty where there is no folder or the setting is null."""
    root = Path(folder) if folder else None
    if root is None or not root.is_dir():
        return []
    found = []
    for path in sorted(root.glob("*/*/*.mp4")):
        method, corpus = path.parts[-3], path.parts[-2].lower()
        if corpus in CORPORA:
            found.append(MethodVideo(method, corpus, path.stem, str(path), str(path.relative_to(root))))
    return found


def read_method(video: MethodVideo, record: dict[str, Any], frames: int) -> np.ndarray:
    """The method's frames of one of our clips, at 25 Hz, uint8 (≤ frames, h, w, 3), as they are framed.

    A video named as the raw clip runs on the raw clip's time: the part from ``start_s`` on is taken.
    """
    from s3dnerf.video.clock import clock_of
    from s3dnerf.video.reading import probe, read_frames

    start = 0 if video.clip == record["clip"] else round(float(record["start_s"]) * FPS_HZ)
    clock = clock_of(probe(video.path))
    return np.stack(list(read_frames(video.path, clock.between(start, start + frames))) or [np.zeros((0, 0, 3), np.uint8)])


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that takes points (n, 2) to points (n, 2) with the least squared error (Umeyama 1991)."""
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    a, b = source - mean_s, target - mean_t
    u, values, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float((values * np.diag(flip)).sum() / (a**2).sum())
    return np.column_stack([scale * rotation, mean_t - scale * rotation @ mean_s])


def framing(found: np.ndarray, truth: np.ndarray, candidates: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """How a video is framed: the name and matrix of the candidate under which eyes and nose lie where the truth's lie.

    Parameters
    ----------
    found, truth : (n, 68, 2) landmarks of the same frames, in the video's pixels and in the aligned frame's; nan rows failed
    candidates : name → (2, 3), the video's pixels → aligned pixels; the first is taken when no frame shows a face
    """
    good = np.isfinite(found).all(axis=(1, 2)) & np.isfinite(truth).all(axis=(1, 2))
    first = next(iter(candidates))
    if not good.any():
        return f"{first}; no face to check the framing by", candidates[first]
    here, there = found[good][:, STEADY].astype(np.float64), truth[good][:, STEADY].astype(np.float64)
    apart = {n: float(np.median(np.linalg.norm(apply(m, here) - there, axis=-1).mean(axis=1))) for n, m in candidates.items()}
    best = min(apart, key=lambda name: apart[name])
    if apart[best] <= SAME_FRAMING_PX:
        return best, candidates[best]
    matrix = fit_similarity(here.reshape(-1, 2), there.reshape(-1, 2))
    return f"reframed by the method ({apart[best]:.0f} px off): aligned by one similarity from eyes and nose", matrix


def framed_like_truth(
    video: MethodVideo, record: dict[str, Any], matrix: np.ndarray, clip: Clip, truth: Truth, tools: Tools
) -> tuple[np.ndarray, str]:
    """A method's video of one clip in the aligned frame: uint8 (m, 256, 256, 3) and a note about the framing.

    ``matrix`` is the clip's alignment, source pixels → aligned pixels. Raises VideoError when the file cannot be read.
    """
    frames = read_method(video, record, len(clip.frames))
    if not frames.size:
        return np.zeros((0, SIZE_PX, SIZE_PX, 3), np.uint8), "no frames at the clip's time"
    height, width = frames.shape[1:3]
    whole = record["crop_x"] < 0
    source = (record["width_px"], record["height_px"]) if whole else (record["crop_w"], record["crop_h"])
    raw = matrix @ np.diag([source[0] / width, source[1] / height, 1.0])
    aligned = np.array([[SIZE_PX / width, 0, 0], [0, SIZE_PX / height, 0]], float)
    candidates = {"framed like the source": raw, "framed like our clip": aligned}
    if video.clip == record["clip"]:
        candidates = dict(reversed(candidates.items()))
    shared = truth.looked[truth.looked < len(frames)]
    at = np.unique(np.round(np.linspace(0, len(shared) - 1, min(LOOKS, len(shared)))).astype(int))
    name, chosen = framing(metric_landmarks(frames[shared[at]], tools.faces), truth.landmarks[at], candidates)
    return np.stack([warp(frame, chosen, SIZE_PX) for frame in frames]), name
