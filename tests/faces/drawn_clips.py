"""A world in which detectors are exact: each frame carries its number, and a script says which faces are in it and
where.
"""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from s3dnerf.corpora.synthetic.film import VideoPlan, make_video
from s3dnerf.corpora.synthetic.truth import Truth, load_truth, truth_path
from s3dnerf.faces.recon.morphable import own_model
from s3dnerf.faces.tracking import iou
from s3dnerf.faces.types import Face

Box = tuple[float, float, float, float]


@functools.cache
def template() -> np.ndarray:
    """68 points of the mean face from the front, in a box of side 1 around it."""
    points = own_model().mean[own_model().keypoints][:, :2] * [1, -1]
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - (low + high) / 2) / (high - low).max() * 0.9 + 0.5


def points_in(box: Box) -> np.ndarray:
    """The template's points float32 (68, 2) in a box."""
    x0, y0, x1, y1 = box
    return (template() * [x1 - x0, y1 - y0] + [x0, y0]).astype(np.float32)


def box_at(x: float, y: float, side: float) -> Box:
    """The square box around a centre."""
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


class ScriptedBackend:
    """Finds the faces that the script has for a frame; its landmarks stick to the true face that overlaps the box they
    are sought in.
    """

    name, real, contour, sure_score = "scripted", False, "visible", 0.0

    def __init__(
        self,
        script: list[list[Box]],
        blind: set[int] = frozenset(),
        weak: set[int] = frozenset(),
        doubtful: set[int] = frozenset(),
    ) -> None:
        self.script, self.blind, self.weak, self.doubtful = script, blind, weak, doubtful
        self.detected: list[int] = []

    def number(self, image: np.ndarray) -> int:
        return int(image[0, 0, 0]) * 256 + int(image[0, 0, 1])

    def detect(self, image: np.ndarray, max_px: int | None = None, weak: bool = False) -> list[Face]:
        number = self.number(image)
        self.detected.append(number)
        if number in self.blind or (number in self.weak and not weak):
            return []
        return [Face(box, -0.2 if number in self.weak else 2.0) for box in self.script[number]]

    def landmarks(self, image: np.ndarray, box_px: Box) -> np.ndarray:
        faces = self.script[self.number(image)]
        best = max(faces, key=lambda f: iou(f, box_px), default=None)
        return points_in(best if best is not None and iou(best, box_px) > 0.1 else box_px)

    def landmarks_and_doubt(self, image: np.ndarray, box_px: Box) -> tuple[np.ndarray, float]:
        return self.landmarks(image, box_px), 0.02 if self.number(image) in self.doubtful else 0.0

    def track_box(self, landmarks: np.ndarray) -> Box:
        low, high = landmarks.min(axis=0), landmarks.max(axis=0)
        centre, side = (low + high) / 2, float((high - low).max()) / 0.9
        return box_at(float(centre[0]), float(centre[1]), side)


def frames_of(count: int, size: tuple[int, int] = (240, 320), scene: list[int] | None = None) -> list[np.ndarray]:
    """Frames uint8 (h, w, 3) that carry their number; ``scene`` says which background each one has."""
    height, width = size
    pictures = {}
    for seed in set(scene or [0]):
        coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
        pictures[seed] = np.kron(coarse, np.ones((height // 6, width // 8, 1), np.uint8))
    result = []
    for i in range(count):
        frame = pictures[scene[i] if scene else 0].copy()
        frame[0, 0] = i // 256, i % 256, 0
        result.append(frame)
    return result


def make_talking_video(
    folder: Path, seconds: float = 1.0, size: tuple[int, int] = (240, 260), speakers: int = 1
) -> tuple[Path, Truth]:
    """A synthetic talking head as an ordinary video, and its truth."""
    plan = VideoPlan(
        "hdtf",
        "hdtf/Ames",
        0,
        0,
        str(folder / "raw"),
        str(folder),
        "clips/RD_Ames_000.mp4",
        "",
        (25, 1),
        size,
        ((size[1] / 2, size[0] * 0.45, 55.0),),
        ((0.0, seconds, "speaker"),),
    )
    make_video(plan)
    return folder / "raw" / plan.video, load_truth(truth_path(folder, "hdtf", plan.video))
