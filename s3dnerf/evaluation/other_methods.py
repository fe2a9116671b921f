"""Other methods' videos beside ours: found by name, brought to the truth's frame, clip by clip.

Layout: ``<folder>/<method>/<corpus>/<name>.mp4`` (or another container); the corpus in any case (``HDTF``), the name
that of the raw clip (``RD_Radio8_000``: the whole raw clip, framed as it is) or of our clip (``hdtf_Radio8_000``: just
that clip). A video framed like its source is warped by the clip's own alignment; one that reframes the face (PC-AVS
does) by one similarity a clip, from eyes and nose. Which it was is returned as a note, and the report prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.accounting import look_into, not_read, outside_layout
from s3dnerf.evaluation.protocol import SIZE_PX, Tools, Truth
from s3dnerf.evaluation.reading import Problem
from s3dnerf.faces.types import EYES, NOSE
from s3dnerf.faces.warping import apply, invert, warp
from s3dnerf.metrics.lmd import metric_landmarks
from s3dnerf.training.clips import Clip

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
    """Every ``<method>/<corpus>/<name>`` of a folder that is a video, sorted; empty where there is no folder or the
    setting is null.

    A folder that names no corpus of the pipeline is listed as well: nothing will fit its videos, and ``evaluate`` says
    so.
    """
    return _look_through(folder)[0]


def other_files(folder: str | None) -> list[Problem]:
    """What every file of such a folder is that :func:`find_methods` does not list."""
    return _look_through(folder)[1]


def _look_through(folder: str | None) -> tuple[list[MethodVideo], list[Problem]]:
    root = Path(folder) if folder else None
    if root is None or not root.is_dir():
        return [], []
    expected = "expected <method>/<corpus>/<name>"
    top = look_into(root, root)
    videos, problems = list[MethodVideo](), outside_layout(top, root, expected)
    for of_method in top.folders:
        inside = look_into(of_method, root)
        problems += outside_layout(inside, root, expected)
        for of_corpus in inside.folders:
            found = look_into(of_corpus, root)
            problems += [p for p in found.problems if p.what != "same_name"]  # videos_of takes one of them
            problems += not_read(found.folders, root, expected)
            for path in sorted([*found.videos.values(), *found.same_name]):
                label = str(path.relative_to(root))
                videos.append(MethodVideo(of_method.name, of_corpus.name.lower(), path.stem, str(path), label))
    return videos, problems


def shows(video: MethodVideo, record: dict[str, Any]) -> bool:
    """Whether another method's video is of this clip: named as the raw clip or as ours."""
    return video.corpus == record["corpus"] and video.clip in (Path(record["video"]).stem, record["clip"])


def by_name(videos: list[MethodVideo]) -> dict[tuple[str, str], list[MethodVideo]]:
    """The videos by corpus and name, for :func:`showing`."""
    found: dict[tuple[str, str], list[MethodVideo]] = {}
    for video in videos:
        found.setdefault((video.corpus, video.clip), []).append(video)
    return found


def showing(videos: dict[tuple[str, str], list[MethodVideo]], record: dict[str, Any]) -> list[MethodVideo]:
    """Those of the videos (:func:`by_name`) that are of a clip (:func:`shows`)."""
    names = dict.fromkeys((Path(record["video"]).stem, record["clip"]))
    return [video for name in names for video in videos.get((record["corpus"], name), [])]


def videos_of(record: dict[str, Any], methods: list[MethodVideo]) -> tuple[MethodVideo, ...]:
    """The videos of one clip, one a method: of two, the one named as our clip, then the first by name; the other stays
    unused.
    """
    by_method: dict[str, MethodVideo] = {}
    for video in sorted((m for m in methods if shows(m, record)), key=lambda m: (m.clip != record["clip"], m.label)):
        by_method.setdefault(video.name, video)
    return tuple(by_method[name] for name in sorted(by_method))


def read_method(video: MethodVideo, record: dict[str, Any], frames: int) -> np.ndarray:
    """The method's frames of one of our clips, at 25 Hz, uint8 (≤ frames, h, w, 3), as they are framed.

    A video named as the raw clip runs on the raw clip's time: the part from ``start_s`` on is taken.
    """
    from s3dnerf.video.clock import clock_of
    from s3dnerf.video.reading import probe, read_frames

    start = 0 if video.clip == record["clip"] else round(float(record["start_s"]) * FPS_HZ)
    clock = clock_of(probe(video.path))
    return np.stack(
        list(read_frames(video.path, clock.between(start, start + frames))) or [np.zeros((0, 0, 3), np.uint8)]
    )


def fit_similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The similarity (2, 3) that takes points (n, 2) to points (n, 2) with the least squared error (Umeyama 1991)."""
    mean_s, mean_t = source.mean(axis=0), target.mean(axis=0)
    a, b = source - mean_s, target - mean_t
    u, values, vt = np.linalg.svd(b.T @ a)
    flip = np.diag([1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ flip @ vt
    scale = float((values * np.diag(flip)).sum() / (a**2).sum())
    return np.column_stack([scale * rotation, mean_t - scale * rotation @ mean_s])


def _steady(landmarks: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Eyes and nose, float64 (m, p, 2) each, of the frames that have a face in both; m may be 0."""
    in_both = np.isfinite(landmarks).all(axis=(1, 2)) & np.isfinite(truth).all(axis=(1, 2))
    return landmarks[in_both][:, STEADY].astype(np.float64), truth[in_both][:, STEADY].astype(np.float64)


def steady_apart(landmarks: np.ndarray, truth: np.ndarray, matrix: np.ndarray | None = None) -> float:
    """How far eyes and nose lie from the truth's, pixels: mean over points, median over frames; nan where no frame
    shows both faces.

    Parameters
    ----------
    landmarks, truth : (n, 68, 2), of the same frames
    matrix : (2, 3), takes the first to the truth's pixels
    """
    points, truth_points = _steady(landmarks, truth)
    if not len(points):
        return float("nan")
    return float(
        np.median(
            np.linalg.norm((points if matrix is None else apply(matrix, points)) - truth_points, axis=-1).mean(axis=1)
        )
    )


def fit_framing(landmarks: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The one similarity (2, 3) of a clip that brings eyes and nose over the truth's. Needs a frame that shows both
    faces.
    """
    points, truth_points = _steady(landmarks, truth)
    return fit_similarity(points.reshape(-1, 2), truth_points.reshape(-1, 2))


def share_outside(matrix: np.ndarray, width_px: int, height_px: int) -> float:
    """Share of the aligned frame that lies outside a picture brought there by ``matrix`` (2, 3): its edge is repeated
    there.

    >>> share_outside(np.array([[1.0, 0, 64], [0, 1.0, 0]]), 256, 256)
    0.25
    """
    y, x = np.mgrid[:SIZE_PX, :SIZE_PX] + 0.5
    points = apply(invert(matrix), np.stack([x, y], axis=-1))
    inside = (points >= 0).all(axis=-1) & (points[..., 0] < width_px) & (points[..., 1] < height_px)
    return float(1 - inside.mean())


def framing(landmarks: np.ndarray, truth: np.ndarray, candidates: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
    """How a video is framed: the name and matrix of the candidate under which eyes and nose lie where the truth's lie.

    Parameters
    ----------
    landmarks, truth : (n, 68, 2) landmarks of the same frames, in the video's pixels and in the aligned frame's; nan
        where they failed
    candidates : name → (2, 3), the video's pixels → aligned pixels; the first is taken when no frame shows a face
    """
    distance_px = {name: steady_apart(landmarks, truth, matrix) for name, matrix in candidates.items()}
    first = next(iter(candidates))
    if np.isnan(distance_px[first]):
        return f"{first}; no face to check the framing by", candidates[first]
    best = min(distance_px, key=lambda name: distance_px[name])
    if distance_px[best] <= SAME_FRAMING_PX:
        return best, candidates[best]
    note = f"reframed by the method ({distance_px[best]:.0f} px off): aligned by one similarity from eyes and nose"
    return note, fit_framing(landmarks, truth)


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
    shared = truth.landmark_frames[truth.landmark_frames < len(frames)]
    chosen_frames = np.unique(np.round(np.linspace(0, len(shared) - 1, min(LOOKS, len(shared)))).astype(int))
    name, chosen = framing(
        metric_landmarks(frames[shared[chosen_frames]], tools.faces), truth.landmarks[chosen_frames], candidates
    )
    if name not in candidates and (outside := share_outside(chosen, width, height)):
        name += f"; {outside:.0%} of the frame lies outside its picture and repeats its edge"
    return np.stack([warp(frame, chosen, SIZE_PX) for frame in frames]), name
