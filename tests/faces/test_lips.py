"""The clip's lip box stands still and holds all lips, the frames' boxes follow the lips, crop boxes at most the head;
all are square.
"""

from __future__ import annotations

import numpy as np
import pytest

from s3dnerf.faces.lips import crop_boxes, lip_boxes
from tests.faces.drawn_clips import box_at, points_in


def moving(n: int = 120, reach: float = 8) -> np.ndarray:
    return np.stack([points_in(box_at(128 + reach * np.sin(i / 4), 130 + 3 * np.cos(i / 3), 120)) for i in range(n)])


def extent_of(landmarks: np.ndarray) -> float:
    return float((landmarks[0, 48:].max(axis=0) - landmarks[0, 48:].min(axis=0)).max())


@pytest.mark.slow
def test_boxes_are_square_and_scale_times_the_lips() -> None:
    landmarks = moving()
    box, boxes = lip_boxes(landmarks, 1.4)
    for b in boxes:
        assert np.allclose([b[2] - b[0], b[3] - b[1]], 1.4 * extent_of(landmarks), rtol=0.01)
    assert (
        box[2] - box[0] == pytest.approx(box[3] - box[1])
        and box.dtype == boxes.dtype == np.float32
        and boxes.shape == (120, 4)
    )


def test_a_still_head_s_box_is_the_frames_box() -> None:
    box, boxes = lip_boxes(np.stack([points_in(box_at(128, 130, 120))] * 9), 1.4)
    assert np.allclose(boxes, box)


def test_the_clip_s_box_holds_every_frame_s_lips_with_the_margin() -> None:
    for reach in (4, 30):
        landmarks = moving(reach=reach)
        box, boxes = lip_boxes(landmarks, 1.4)
        margin = 0.2 * extent_of(landmarks)
        assert (landmarks[:, 48:].min(axis=1) >= box[:2] + margin - 1).all() and (
            landmarks[:, 48:].max(axis=1) <= box[2:] - margin + 1
        ).all()
        assert box[2] - box[0] == pytest.approx(1.4 * extent_of(landmarks) + 2 * reach, rel=0.05)


def test_frames_boxes_follow_and_hold_their_lips() -> None:
    landmarks = moving()
    _, boxes = lip_boxes(landmarks, 1.4)
    assert (landmarks[:, 48:].min(axis=1) >= boxes[:, :2]).all() and (
        landmarks[:, 48:].max(axis=1) <= boxes[:, 2:]
    ).all()
    assert np.ptp(boxes[:, 0]) > 10


def test_one_wild_frame_does_not_move_the_clip_s_box() -> None:
    landmarks = moving()
    steady, _ = lip_boxes(landmarks, 1.4)
    landmarks[7] += 90
    assert np.abs(lip_boxes(landmarks, 1.4)[0] - steady).max() < 2


def test_a_mouth_opened_wide_still_fits() -> None:
    landmarks = moving()
    landmarks[10:50, 55:60, 1] += 60
    _, boxes = lip_boxes(landmarks, 1.0)
    assert (landmarks[12, 48:, 1] <= boxes[12, 3] + 0.01).all() and (landmarks[12, 48:, 1] >= boxes[12, 1] - 0.01).all()


def test_crop_boxes_are_the_clip_s_box_unless_told_to_follow() -> None:
    landmarks = moving()
    box, _ = lip_boxes(landmarks, 1.4)
    assert np.array_equal(crop_boxes(landmarks, 1.4), np.repeat(box[None], 120, 0))


def test_crop_boxes_follow_the_head_with_lips_larger_in_them() -> None:
    # a sway of ten seconds
    slow = np.stack([points_in(box_at(128 + 40 * np.sin(i / 40), 130, 120)) for i in range(250)])
    box, _ = lip_boxes(slow, 1.4)
    boxes = crop_boxes(slow, 1.4, 12.0)
    sides = boxes[:, 2:] - boxes[:, :2]
    assert boxes.dtype == np.float32 and np.ptp(sides) < 1e-3 and sides[0, 0] < 0.75 * (box[2] - box[0])
    outside = (slow[:, 48:].min(axis=1) < boxes[:, :2] - 0.5) | (slow[:, 48:].max(axis=1) > boxes[:, 2:] + 0.5)
    assert outside.any(axis=1).mean() <= 0.03


def test_crop_boxes_do_not_nod_with_the_syllables() -> None:
    """The jaw opens five times a second: a box of its own frame nods with it, the smoothed ones hardly."""
    opening = 12 * (1 + np.sin(np.arange(200) * 2 * np.pi / 5))
    landmarks = np.stack([points_in(box_at(128, 130, 120))] * 200)
    landmarks[:, 55:60, 1] += opening[:, None]
    _, raw = lip_boxes(landmarks, 1.4)
    boxes = crop_boxes(landmarks, 1.4, 9.0)
    assert np.ptp(raw[:, 1]) > 5 and np.ptp(boxes[30:-30, 1]) < 0.05
    assert (landmarks[30:-30, 48:, 1] <= boxes[30:-30, 3, None] + 0.5).all()
