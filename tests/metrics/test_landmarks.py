"""Landmarks as metrics take them: the finder's first answer for each frame for itself, nan where no single face is."""

from __future__ import annotations

import numpy as np

from s3dnerf.metrics.landmarks import metric_landmarks
from tests.faces.drawn_clips import ScriptedBackend, box_at, frames_of, points_in


def test_rows_are_nan_where_no_single_face_is() -> None:
    one, two = box_at(100, 120, 80), box_at(230, 120, 70)
    backend = ScriptedBackend([[one], [], [one, two], [one, box_at(230, 60, 30)]])
    found = metric_landmarks(np.stack(frames_of(4)), backend)
    assert found.shape == (4, 68, 2) and found.dtype == np.float32
    assert (
        np.isnan(found[[1, 2]]).all()
        and np.allclose(found[0], points_in(one), atol=0.01)
        and np.allclose(found[3], found[0])
    )
    assert backend.detected == [0, 1, 2, 3]  # one look a frame


def test_a_finder_s_plain_answer_is_preferred_to_its_better_one() -> None:
    class Plain(ScriptedBackend):
        def plain_landmarks(self, image: np.ndarray, box_px: tuple) -> np.ndarray:
            return points_in(box_px) + 1

    one = box_at(100, 120, 80)
    assert np.allclose(metric_landmarks(np.stack(frames_of(1)), Plain([[one]]))[0], points_in(one) + 1, atol=0.01)
