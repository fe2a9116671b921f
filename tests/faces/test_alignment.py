"""One similarity a clip; each way in which a clip cannot be used has its own reason."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from s3dnerf.faces.alignment import SMOOTH_FRAMES, align_track, clip_similarity, filled
from s3dnerf.faces.tracking import Track, Tracks
from s3dnerf.faces.types import FaceError
from s3dnerf.faces.warping import apply, invert
from s3dnerf.settings.schema import AlignSettings
from tests.faces.drawn_clips import box_at, points_in

SETTINGS = AlignSettings(backend="dlib", model_dir=None)


def tracks(
    *paths: dict[int, tuple], frames: int = 40, size: tuple[int, int] = (640, 480), cuts: tuple[int, ...] = ()
) -> Tracks:
    """Tracks of faces given as frame → box."""
    made = [Track({i: points_in(b) for i, b in path.items()}, dict(path), {min(path): 1.5}) for path in paths]
    return Tracks(frames, size, made, list(cuts), np.ones(frames))


def still(x: float = 320, y: float = 240, side: float = 120, frames: int = 40) -> dict[int, tuple]:
    return {i: box_at(x, y, side) for i in range(frames)}


def reason(found: Tracks, **changes: object) -> str:
    with pytest.raises(FaceError) as error:
        align_track(found, dataclasses.replace(SETTINGS, **changes))
    return error.value.reason


def test_reasons_why_a_clip_cannot_be_used() -> None:
    assert reason(tracks()) == "no_face"
    assert reason(tracks(still(200), still(450, side=110))) == "two_faces"
    assert reason(tracks(still(side=40))) == "face_too_small"
    assert reason(tracks({i: box_at(320, 240, 120) for i in range(30)})) == "face_lost"
    assert reason(tracks({i: box_at(20, 240, 120) for i in range(40)})) == "face_leaves_frame"
    assert reason(tracks({i: box_at(120 + 10 * i, 240, 120) for i in range(40)})) == "face_leaves_frame"
    assert reason(tracks(still(), cuts=(17,))) == "scene_cut"


def test_a_small_or_passing_second_face_does_no_harm() -> None:
    assert align_track(tracks(still(), still(560, 100, 50)), SETTINGS).landmarks.shape == (40, 68, 2)
    assert align_track(tracks(still(), {i: box_at(560, 240, 110) for i in range(12)}), SETTINGS).landmarks.shape == (
        40,
        68,
        2,
    )


def test_the_speaker_is_the_large_central_face_that_stays() -> None:
    aligned = align_track(tracks(still(330, 240, 120), still(560, 240, 65)), SETTINGS)
    assert np.allclose(aligned.landmarks.mean(axis=(0, 1))[0], 128, atol=8)


def test_the_matrix_is_upright_and_the_crop_has_the_size_asked_for() -> None:
    landmarks = np.stack([points_in(box) for box in still().values()]).astype(float)
    matrix = clip_similarity(landmarks, SETTINGS, (640, 480))
    extent = (landmarks[0].max(axis=0) - landmarks[0].min(axis=0)).max()
    assert matrix[0, 1] == matrix[1, 0] == 0 and matrix[0, 0] == matrix[1, 1] == pytest.approx(
        256 / (SETTINGS.crop_factor * extent)
    )
    moved = apply(matrix, landmarks[0])
    # a little below the middle: room for hair
    assert moved[:, 0].mean() == pytest.approx(128, abs=3) and 128 < moved[:, 1].mean() < 160


def test_where_the_picture_ends_the_crop_shrinks_and_moves_into_it() -> None:
    landmarks = np.stack([points_in(box_at(130, 140, 120))] * 9).astype(float)
    extent = (landmarks[0].max(axis=0) - landmarks[0].min(axis=0)).max()

    def corners(width: int, height: int) -> tuple[np.ndarray, np.ndarray, float]:
        inverse = invert(clip_similarity(landmarks, SETTINGS, (width, height)))
        return apply(inverse, np.zeros(2)), apply(inverse, np.full(2, 256.0)), 256 * inverse[0, 0] / extent

    low, high, factor = corners(250, 235)  # just large enough: nothing invented
    assert (low >= -1e-6).all() and (high <= np.array([250, 235]) + 1e-6).all() and 1.9 <= factor < 2.3
    low, high, factor = corners(170, 190)  # too small: no tighter than crop_factor_min
    assert factor == pytest.approx(1.9)
    assert corners(640, 480)[2] == pytest.approx(2.3)


def test_one_matrix_a_clip_so_that_still_things_stay_still() -> None:
    path = {i: box_at(320 + 12 * np.sin(i / 5), 240, 120) for i in range(40)}
    aligned = align_track(tracks(path), SETTINGS)
    assert aligned.matrix.shape == (2, 3) and np.ptp(aligned.landmarks[:, 30, 0]) > 15


def test_the_crop_grows_for_a_head_that_moves() -> None:
    path = {i: box_at(320 + 90 * np.sin(i / 6), 240, 120) for i in range(40)}
    aligned = align_track(tracks(path), SETTINGS)
    assert aligned.matrix[0, 0] < align_track(tracks(still()), SETTINGS).matrix[0, 0]
    assert (aligned.landmarks >= 0).mean() > 0.97 and (aligned.landmarks <= 256).mean() > 0.97


def test_short_gaps_are_interpolated_and_named() -> None:
    path = {i: box_at(300 + 2 * i, 240, 120) for i in range(40) if i not in (0, 1, 20, 21)}
    aligned = align_track(tracks(path), SETTINGS)
    assert np.flatnonzero(aligned.missing).tolist() == [0, 1, 20, 21]
    points, _ = filled(tracks(path).tracks[0], 40, 0.1)
    assert np.allclose(points[20], points_in(box_at(340, 240, 120)), atol=0.01) and np.allclose(points[0], points[2])


def test_scores_are_nan_where_tracked() -> None:
    scores = align_track(tracks(still()), SETTINGS).scores
    assert scores[0] == 1.5 and np.isnan(scores[1:]).all() and scores.dtype == np.float32


def test_smoothing_does_not_lag() -> None:
    path = {i: box_at(320 + (6 if i == 20 else 0), 240, 120) for i in range(40)}
    x = align_track(tracks(path), SETTINGS).landmarks[:, 30, 0]
    assert x.argmax() == 20 and x[19] == pytest.approx(x[21], abs=1e-3) and SMOOTH_FRAMES < 1


def test_the_message_names_the_setting() -> None:
    with pytest.raises(FaceError, match="align.min_face_px"):
        align_track(tracks(still(side=40)), SETTINGS)
    with pytest.raises(FaceError, match="align.max_missing_fraction"):
        align_track(tracks({i: box_at(320, 240, 120) for i in range(20)}), SETTINGS)
