"""Landmarks asked for more than once: a bad first box is left for a better one, and the points are close to the truth."""

from __future__ import annotations

import numpy as np

from s3dnerf.corpora.synthetic.truth import Truth
from s3dnerf.faces.detectors import face_backend
from s3dnerf.faces.landmarks import refined_landmarks
from s3dnerf.faces.types import Face
from s3dnerf.settings.schema import AlignSettings
from tests.faces.drawn_clips import box_at, points_in


def test_a_box_that_puts_the_lips_on_the_nostrils_is_left_for_a_better_one() -> None:
    class Nostrils:
        """Believes itself only in a box that reaches the chin; in a higher one it answers too high, and disagrees."""

        def landmarks(self, image: np.ndarray, box_px: tuple) -> np.ndarray:
            return points_in(true if box_px[3] > 145 else box_at(100, 90, 70))

        def track_box(self, landmarks: np.ndarray) -> tuple:
            low, high = landmarks.min(axis=0), landmarks.max(axis=0)
            return float(low[0]), float(low[1]), float(high[0]), float(high[1] + 5)

        def landmarks_and_doubt(self, image: np.ndarray, box_px: tuple) -> tuple[np.ndarray, float]:
            points = self.landmarks(image, box_px)
            return points, 0.002 if np.allclose(points, points_in(true)) else 0.007

    true = box_at(100, 120, 100)
    found, doubt = refined_landmarks(np.zeros((2, 2, 3), np.uint8), Nostrils(), Face(box_at(100, 95, 70), 1.0))
    assert np.allclose(found, points_in(true)) and doubt == 0.002


def test_landmarks_are_within_pixels_of_the_truth(talking: tuple[np.ndarray, Truth]) -> None:
    frames, truth = talking
    backend = face_backend(AlignSettings(backend="dlib", model_dir=None))
    found = np.stack([refined_landmarks(frame, backend, backend.detect(frame)[0])[0] for frame in frames[::6]])
    true = truth.landmarks[::6]
    scale = 100 / np.ptp(true[:, :17, 0], axis=1)  # as if the face were 100 px wide
    off = np.linalg.norm(found - true, axis=2) * scale[:, None]
    assert off.mean() < 4 and off[:, 48:].mean() < 3
