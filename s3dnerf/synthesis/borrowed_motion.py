"""Another person's head movement for a portrait: what the head does away from its usual pose, not the pose itself.

Numpy alone; pure functions.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.faces.camera import angles_of, pose_of, rotation

MOST_DEG = 25.0  # that a borrowed movement turns a face shown alone, either way, about any axis
MOST_UNITS = (0.3, 0.3, 0.6)  # that it moves it to the side, up or down, nearer or farther; 10 cm each
TURN_FRAMES = 15  # at its end a movement slows down over so many frames, stops, and goes back likewise


def neutral_of(poses: np.ndarray) -> np.ndarray:
    """The usual pose of a head, float64 (3, 4): the median of its angles, taken near it, and of its places.

    A head that is turned away in less than half of the frames has the usual pose of the others.

    Parameters
    ----------
    poses : ``world_to_camera`` (M, 3, 4), M ≥ 1
    """
    poses = np.asarray(poses, np.float64)
    angles, _ = pose_of(poses)
    near = poses[np.argmin(np.abs(angles - np.median(angles, axis=0)).sum(axis=1)), :, :3]
    turn = near @ rotation(np.median(angles_of(near.T @ poses[:, :, :3]), axis=0))
    return np.concatenate([turn, np.median(poses[:, :, 3], axis=0)[:, None]], axis=1)


def within(values: np.ndarray, most: np.ndarray | float) -> np.ndarray:
    """Values (…) as they are up to half of ``most``, and beyond pressed together so that none reaches it: smooth.

    >>> within(np.array([-1.0, 2.0, 5.0, 100.0]), 10.0).tolist()
    [-1.0, 2.0, 5.0, 10.0]
    """
    half = np.asarray(most, np.float64) / 2
    size = np.abs(values)
    return np.sign(values) * np.where(size <= half, size, half + half * np.tanh((size - half) / half))


def there_and_back(frames: int, length: int) -> np.ndarray:
    """Which frame of a sequence of ``length`` is shown at each of ``frames`` times, 0 … length − 1, float64 (frames,).

    One after the other; where the sequence is too short, it slows down at its end, stops and goes back, and at its
    beginning likewise, so that neither the place nor the speed jumps.

    >>> there_and_back(4, 10).tolist(), there_and_back(3, 1).tolist()
    ([0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0])
    """
    last = length - 1
    if frames <= length or not last:
        return np.arange(frames, dtype=np.float64) * min(last, 1)
    slow = min(TURN_FRAMES, last / 2)  # on so many frames, which take twice their time
    one_way = last + 2 * slow
    time = np.arange(frames, dtype=np.float64)
    to_end = np.abs(one_way - (time + slow) % (2 * one_way))  # time until the end is reached, or since
    to_begin = one_way - to_end
    at = np.where(to_begin < 2 * slow, to_begin**2 / (4 * slow), to_begin - slow)
    at = np.where(to_end < 2 * slow, last - to_end**2 / (4 * slow), at)
    return np.where(time < slow, time, at)  # the first time it starts at full speed


def borrowed(
    driving: np.ndarray, frames: int, centre: np.ndarray, most_deg: float = MOST_DEG
) -> tuple[np.ndarray, np.ndarray]:
    """How the portrait turns and moves: yaw, pitch and roll (frames, 3) in degrees, in the head's own frame; and the
    way (frames, 3) of the head's centre in the camera's, canonical units.

    Measured from the driver's usual pose (:func:`neutral_of`): where the driver has it, the portrait has its own.

    Parameters
    ----------
    driving : ``world_to_camera`` (M, 3, 4) at 25 Hz, M ≥ 1; played forth and back where the speech is longer
    centre : (3,), canonical units, that the head is turned about
    most_deg : no turn reaches it; up to half of it turns are as the driver's. Ways are limited to :data:`MOST_UNITS` in
        proportion
    """
    driving, neutral = np.asarray(driving, np.float64), neutral_of(driving)
    degrees = np.degrees(angles_of(neutral[:, :3].T @ driving[:, :, :3]))[:, [1, 0, 2]]
    ways = driving[:, :, :3] @ centre + driving[:, :, 3]
    ways = ways - np.median(ways, axis=0)
    at = there_and_back(frames, len(driving))
    every = np.arange(len(driving))

    def shown(values: np.ndarray, most: np.ndarray | float) -> np.ndarray:
        return np.stack([np.interp(at, every, column) for column in within(values, most).T], axis=1)

    return shown(degrees, most_deg), shown(ways, np.array(MOST_UNITS) * most_deg / MOST_DEG)
