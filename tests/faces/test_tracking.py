"""Tracking keeps what detection on every frame would have found, at a fraction of the detections, and doubts itself
when it should.
"""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces.tracking import Tracker, gaps, iou, stands_out
from tests.faces.drawn_clips import ScriptedBackend, box_at, frames_of, points_in


def follow(script: list, every: int = 5, scene: list[int] | None = None, blind: set[int] = frozenset()):
    backend = ScriptedBackend(script, blind)
    tracker = Tracker(backend, every, 320)
    return tracker.run(frames_of(len(script), scene=scene)), backend


@pytest.mark.slow
def test_a_moving_face_is_followed_exactly_with_few_detections() -> None:
    script = [[box_at(100 + 3 * i, 120 + 10 * np.sin(i / 3), 80)] for i in range(41)]
    found, backend = follow(script)
    (track,) = found.tracks
    assert sorted(track.landmarks) == list(range(41)) and found.cuts == []
    assert backend.detected == list(range(0, 41, 5))
    for i, (box,) in enumerate(script):
        assert np.allclose(track.landmarks[i], points_in(box), atol=0.01)
    assert sorted(track.scores) == list(range(0, 41, 5))


def test_the_last_frames_after_the_last_detection_are_detected_too() -> None:
    found, backend = follow([[box_at(120, 120, 80)]] * 43)
    assert sorted(found.tracks[0].landmarks) == list(range(43)) and backend.detected[-1] == 42


def test_frames_without_the_face_are_missing_and_found_by_full_detection() -> None:
    script = [[] if 12 <= i < 18 else [box_at(120, 120, 80)] for i in range(40)]
    found, backend = follow(script)
    (track,) = found.tracks
    assert sorted(set(range(40)) - set(track.landmarks)) == list(range(12, 18))
    assert set(range(11, 20)) <= set(backend.detected)


def test_a_face_that_leaps_away_without_a_cut_is_found_again_where_it_is() -> None:
    script = [[box_at(80, 120, 60) if i < 13 else box_at(240, 120, 60)] for i in range(30)]
    found, _ = follow(script)
    first, second = sorted(found.tracks, key=lambda t: min(t.boxes))
    assert sorted(first.boxes) == list(range(13)) and sorted(second.boxes) == list(range(13, 30))


def test_two_faces_are_two_tracks_and_small_bystanders_none() -> None:
    script = [[box_at(80, 120, 80), box_at(230, 120, 76), box_at(290, 40, 20)] for _ in range(20)]
    found, _ = follow(script)
    assert sorted(len(t.boxes) for t in found.tracks) == [20, 20]
    assert {round(t.side_px()) for t in found.tracks} == {80, 76}


def test_a_detector_that_misses_a_frame_costs_only_that_frame() -> None:
    found, _ = follow([[box_at(120, 120, 80)]] * 30, blind={10})
    (track,) = found.tracks
    assert sorted(set(range(30)) - set(track.landmarks)) == [10]


def test_a_weak_detection_goes_on_with_a_face_but_begins_none() -> None:
    script = [[box_at(120, 120, 80)]] * 30
    backend = ScriptedBackend(script, weak={10, 15})
    (track,) = Tracker(backend, 5, 320).run(frames_of(30)).tracks
    assert sorted(track.boxes) == list(range(30)) and track.scores[10] < 0
    assert Tracker(ScriptedBackend(script, weak=set(range(30))), 5, 320).run(frames_of(30)).tracks == []


def test_doubtful_landmarks_are_sought_anew_from_full_detections() -> None:
    backend = ScriptedBackend([[box_at(120, 120, 80)]] * 30, doubtful={10})
    (track,) = Tracker(backend, 5, 320).run(frames_of(30)).tracks
    assert sorted(track.boxes) == list(range(30)) and backend.detected == [0, 5, 10, 6, 7, 8, 9, 15, 20, 25, 29]


def test_a_face_that_always_leaves_doubt_is_not_sought_anew_for_ever() -> None:
    backend = ScriptedBackend([[box_at(120, 120, 80)]] * 30, doubtful=set(range(30)))
    (track,) = Tracker(backend, 5, 320).run(frames_of(30)).tracks
    assert sorted(track.boxes) == list(range(30)) and backend.detected == [0, 5, 10, 15, 20, 25, 29]


def test_a_cut_is_seen_and_a_shaken_camera_is_not() -> None:
    still = [[box_at(120, 120, 80)]] * 30
    assert follow(still, scene=[0] * 17 + [1] * 13)[0].cuts == [17]
    # every frame differs from the one before: nothing stands out
    assert follow(still, scene=list(range(30)))[0].cuts == []


def test_a_face_that_changes_size_at_once_while_the_picture_changes_is_a_leap() -> None:
    script = [[box_at(120, 120, 60 if i < 15 else 100)] for i in range(30)]
    found, _ = follow(script, scene=[0] * 15 + [1] * 15)
    assert any(found.leaps(t) == [15] for t in found.tracks) or found.cuts == [15]
    steady, _ = follow(script)
    assert all(steady.leaps(t) == [] for t in steady.tracks)


def test_no_face_at_all() -> None:
    found, backend = follow([[]] * 12)
    assert found.tracks == [] and len(backend.detected) == 12


@pytest.mark.parametrize("present, runs", [([1, 1], []), ([0, 0, 1, 0], [(0, 2), (3, 4)]), ([0], [(0, 1)])])
def test_gaps(present: list[int], runs: list) -> None:
    assert list(gaps(np.array(present, bool))) == runs


def test_iou_and_stands_out() -> None:
    assert iou((0, 0, 4, 4), (0, 0, 4, 4)) == 1 and iou((0, 0, 1, 1), (2, 2, 3, 3)) == 0
    assert stands_out(np.array([0.0, 2, 2, 2, 20, 2, 2]))[4] == pytest.approx(10)
