"""When a portrait blinks, and how."""

import numpy as np
import pytest

from s3dnerf.synthesis.blinks import blinking, close_eyes


def _blinks(shut: np.ndarray) -> list[np.ndarray]:
    """The frames of each blink."""
    closed = np.flatnonzero(shut > 0)
    return np.split(closed, np.flatnonzero(np.diff(closed) > 1) + 1)


@pytest.mark.parametrize("seed", range(4))
def test_people_blink_as_often_and_as_fast_as_people_do(seed: int) -> None:
    shut = blinking(25 * 600, seed)
    assert shut.dtype == np.float32 and shut.min() == 0 and shut[0] == 0 and 0.99 < shut.max() <= 1
    blinks = _blinks(shut)
    assert 15 * 10 <= len(blinks) <= 30 * 10  # a minute, over ten minutes
    assert all(5 <= len(blink) <= 9 for blink in blinks)  # 0.34 s, of which the ends are not seen
    starts = np.array([blink[0] for blink in blinks])
    assert np.diff(starts).min() >= 19 and np.diff(starts).std() > 10  # never at once again, and not like a clock
    assert all(shut[blink].max() > 0.7 for blink in blinks)


def test_the_same_seed_blinks_the_same_and_a_longer_video_begins_alike() -> None:
    assert np.array_equal(blinking(500, 3), blinking(500, 3)) and not np.array_equal(blinking(500, 3), blinking(500, 4))
    assert np.array_equal(blinking(900, 3)[:480], blinking(500, 3)[:480])
    assert not blinking(10).any() and blinking(0).shape == (0,)


def face(eyes_px: float = 10.0, turned: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A grey picture with two blue eyes, 40 px wide and so high, under dark brows, and its landmarks."""
    y, x = np.mgrid[:256, :256] + 0.5
    picture, landmarks = np.full((256, 256, 3), 0.6, np.float32), np.zeros((68, 2))
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    for eye, brow, side in ((36, 17, -40.0), (42, 22, 40.0)):
        u, v = np.moveaxis((np.stack([x, y], -1) - 128.0) @ turn - (side, 0.0), -1, 0)
        picture[np.abs(v) < eyes_px / 2 * (1 - (u / 20) ** 2)] = (0.1, 0.2, 0.9)
        picture[(np.abs(v + 30) < 4) & (np.abs(u) < 24)] = 0.1
        lid = eyes_px / 2 * (1 - 1 / 9)
        points = np.array([(-20, 0), (-20 / 3, -lid), (20 / 3, -lid), (20, 0), (20 / 3, lid), (-20 / 3, lid)])
        landmarks[eye : eye + 6] = (points + (side, 0.0)) @ turn.T + 128.0
        line = np.stack([np.linspace(-24, 24, 5), np.full(5, -30.0)], 1)
        landmarks[brow : brow + 5] = (line + (side, 0.0)) @ turn.T + 128.0
    return picture, landmarks


def blue(picture: np.ndarray) -> int:
    return int((picture[..., 2] > picture[..., 0] + 0.3).sum())


@pytest.mark.parametrize("turned", [0.0, 0.4])
def test_lids_come_down_over_the_eyes_and_leave_the_rest_alone(turned: float) -> None:
    picture, landmarks = face(turned=turned)
    left = [blue(close_eyes(picture, landmarks, shut)) / blue(picture) for shut in (0.0, 0.3, 0.6, 1.0)]
    assert left[0] == 1 and all(a - b > 0.2 for a, b in zip(left, left[1:]))
    assert left[3] < 0.2  # the uppermost tenth comes down with the lid: in a photo, the lashes
    changed = np.abs(close_eyes(picture, landmarks, 1.0) - picture).max(2) > 1e-3
    y, x = np.nonzero(changed)
    away = np.stack([x, y], 1)[:, None] + 0.5 - landmarks[[*range(36, 48)]]
    assert 0 < changed.sum() < 2 * 48 * 34 and np.linalg.norm(away, axis=2).min(1).max() < 30
    assert close_eyes(picture, landmarks, 0.0) is picture


def test_the_lid_is_the_skin_above_it() -> None:
    picture, landmarks = face()
    y = int(landmarks[37, 1]) - 6  # above the lids, below the brows
    picture[y - 3 : y, :, 0] = 1.0  # a line across the lids
    closed = close_eyes(picture, landmarks, 1.0)
    column = int(landmarks[36:42, 0].mean())
    was, now = (np.flatnonzero(p[:, column, 0] > 0.8).mean() for p in (picture, closed))
    assert 2 < now - was < 10  # it came down with the lid
    brow = slice(int(landmarks[17, 1]) - 3, int(landmarks[17, 1]) + 3)
    assert np.array_equal(closed[brow], picture[brow])


def test_eyes_that_are_shut_or_out_of_sight_stay_as_they_are() -> None:
    for picture, landmarks in (face(eyes_px=1.0), (face()[0], np.full((68, 2), 128.0))):
        assert np.array_equal(close_eyes(picture, landmarks, 1.0), picture)
