"""Head poses for a portrait that speaks: still, gentle, from a sequence, or seen from another side.

A pose is ``world_to_camera`` (3, 4): canonical head frame → OpenCV camera. All movements turn the head about the centre
of its box. Pure functions.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.faces.camera import rotation
from s3dnerf.synthesis.borrowed_motion import MOST_DEG, borrowed
from s3dnerf.synthesis.gentle_motion import LIMIT_DEG, energy_of, gentle_degrees

MOTIONS = ("still", "gentle")
VIEWS = ("one", "orbit", "grid")
ORBIT_DEG, ORBIT_S = (25.0, 10.0), 6.0  # reach in yaw and pitch, and the time of one turn
GRID_DEG = ((-25.0, 0.0, 25.0), (-12.0, 0.0, 12.0))  # yaw of the columns, pitch of the rows
# by which all views may be turned, either way: beyond, a portrait shows nothing
MOST_YAW_DEG, MOST_PITCH_DEG = (
    60.0,
    40.0,
)
WHOLE_DEG = 10.0  # by which a head may be turned in the whole picture: beyond, it would tear from its neck


def borrowed_limit(whole: bool, yaw_deg: float, pitch_deg: float) -> float:
    """Degrees that a borrowed turn never reaches: in the whole picture, what a view leaves of :data:`WHOLE_DEG`, and at
    least what ``gentle`` may.
    """
    return max(WHOLE_DEG - max(abs(yaw_deg), abs(pitch_deg)), LIMIT_DEG[0]) if whole else MOST_DEG


def turned(
    world_to_camera: np.ndarray,
    yaw_deg: np.ndarray | float,
    pitch_deg: np.ndarray | float,
    roll_deg: np.ndarray | float,
    centre: np.ndarray,
) -> np.ndarray:
    """Poses (…, 3, 4) of the head turned about ``centre`` (3,), canonical units, in its own frame; degrees broadcast.

    Signs are those of :func:`s3dnerf.faces.camera.pose_degrees`: positive yaw turns a frontal face to the image's
    right, positive pitch lowers it.
    """
    world_to_camera, centre = np.asarray(world_to_camera, np.float64), np.asarray(centre, np.float64)
    angles = np.radians(np.stack(np.broadcast_arrays(pitch_deg, yaw_deg, roll_deg), -1).astype(np.float64))
    own = rotation(angles)  # x' = own (x − centre) + centre
    turn = world_to_camera[..., :3] @ own
    shift = world_to_camera[..., 3] + world_to_camera[..., :3] @ centre - turn @ centre
    return np.concatenate([turn, shift[..., None]], -1)


def gentle(world_to_camera: np.ndarray, samples: np.ndarray, frames: int, centre: np.ndarray) -> np.ndarray:
    """Poses (frames, 3, 4) of a head that moves with what it says: more where that is loud, nearly still in pauses, at
    most 3° of yaw, 2° of pitch, 1° of roll, beginning at rest in the given pose (:mod:`.gentle_motion`).

    Parameters
    ----------
    samples : (n,), 16 kHz; silence beyond its ends
    """
    yaw, pitch, roll = gentle_degrees(energy_of(samples, frames)).T
    return turned(world_to_camera, yaw, pitch, roll, centre)


def poses_for(
    motion: str | np.ndarray,
    world_to_camera: np.ndarray,
    frames: int,
    centre: np.ndarray,
    samples: np.ndarray | None = None,
    most_deg: float = MOST_DEG,
) -> np.ndarray:
    """Poses (frames, 3, 4) of a motion, 25 a second.

    Parameters
    ----------
    motion : ``still``, ``gentle``, or a sequence (M, 3, 4) of poses of a driving video: its movement about its own
        usual pose is applied to the portrait, played forth and back until the speech ends (:mod:`.borrowed_motion`)
    world_to_camera : (3, 4), the portrait's own pose
    samples : the speech (n,) at 16 kHz, which ``gentle`` follows
    most_deg : no borrowed turn reaches it

    Raises ValueError for another name or another shape, and for ``gentle`` without samples.
    """
    if isinstance(motion, str):
        if motion not in MOTIONS:
            raise ValueError(f"motion: {motion!r} — accepted: {', '.join(MOTIONS)}, or poses (M, 3, 4)")
        if motion == "still":
            return np.repeat(np.asarray(world_to_camera, np.float64)[None], frames, 0)
        if samples is None:
            raise ValueError("motion: 'gentle' without samples — expected the speech (n,) at 16 kHz, which it follows")
        return gentle(world_to_camera, samples, frames, centre)
    driving = np.asarray(motion, np.float64)
    if driving.ndim != 3 or driving.shape[1:] != (3, 4) or not len(driving):
        raise ValueError(f"motion: poses of shape {driving.shape} — expected (M, 3, 4), M ≥ 1")
    degrees, ways = borrowed(driving, frames, np.asarray(centre, np.float64), most_deg)
    yaw, pitch, roll = degrees.T
    poses = turned(world_to_camera, yaw, pitch, roll, centre)
    poses[..., 3] += ways
    return poses


def views_of(
    poses: np.ndarray,
    views: str,
    centre: np.ndarray,
    yaw_deg: float = 0.0,
    pitch_deg: float = 0.0,
    fps_hz: float = 25.0,
) -> np.ndarray:
    """The same movement seen from other sides: poses (rows, columns, N, 3, 4).

    Parameters
    ----------
    poses : (N, 3, 4)
    views : ``one``; ``orbit``: the camera circles the face, 25° of yaw and 10° of pitch, a turn in 6 s; ``grid``: nine
        views beside each other, yaw −25°, 0°, 25° in the columns, pitch −12°, 0°, 12° in the rows
    centre : (3,), canonical units, that the head is turned about
    yaw_deg, pitch_deg : by which every view is turned, signs as in :func:`turned`; at most :data:`MOST_YAW_DEG` and
        :data:`MOST_PITCH_DEG`

    Raises ValueError for another name or an angle out of range.
    """
    if views not in VIEWS:
        raise ValueError(f"views: {views!r} — accepted: {', '.join(VIEWS)}")
    if abs(yaw_deg) > MOST_YAW_DEG or abs(pitch_deg) > MOST_PITCH_DEG:
        accepted = f"yaw within ±{MOST_YAW_DEG:g}°, pitch within ±{MOST_PITCH_DEG:g}°"
        raise ValueError(f"yaw {yaw_deg:g}°, pitch {pitch_deg:g}° — accepted: {accepted}")
    poses = np.asarray(poses, np.float64)
    if views == "orbit":
        turn = 2 * np.pi * np.arange(len(poses)) / (ORBIT_S * fps_hz)
        return turned(
            poses, yaw_deg + ORBIT_DEG[0] * np.sin(turn), pitch_deg + ORBIT_DEG[1] * (1 - np.cos(turn)) / 2, 0.0, centre
        )[None, None]
    yaws, pitches = GRID_DEG if views == "grid" else ((0.0,), (0.0,))
    return np.stack(
        [np.stack([turned(poses, yaw_deg + yaw, pitch_deg + pitch, 0.0, centre) for yaw in yaws]) for pitch in pitches]
    )
