"""Cameras: Deep3DFaceRecon's pose and crop ⇄ an OpenCV camera of the aligned frame. Numpy only; pure functions.

The canonical head frame is Deep3DFaceRecon's: x to the image's right for a frontal face, y up, z out of the face; one
unit is 10 cm (a face is about 2 units high).

* ``angles`` (3,): radians about x, y, z. Deep3D moves row vectors, ``v' = v·R + t`` with ``R = (Rz·Ry·Rx)ᵀ``; as a
  column that is ``v' = Rz·Ry·Rx·v + t``. Its camera sits at z = 10 and looks along −z: depth is ``10 − v'z``.
* ``crop`` (scale, tx, ty): its 224-pixel crop of a picture of height ``height_px``: ``u = (x − tx)·scale + 112`` and,
  with y counted upward from the picture's lower edge, ``v = (y − ty)·scale + 112``. Focal length 1015, centre 112, in
  crop pixels.
* ``world_to_camera`` (3, 4) = [R|t], OpenCV (x right, y down, z forward): ``X_cam = R·X + t = (v'x, −v'y, 10 − v'z)``.
* ``intrinsics`` (3, 3): pixel = (fx·x/z + cx, fy·y/z + cy), in pixels of the picture; pixel i covers [i, i + 1).

Source: Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised Learning", and the project's METHOD notes.
"""

from __future__ import annotations

import numpy as np

FOCAL_PX, CROP_PX, CENTRE_PX, CAMERA_DISTANCE = 1015.0, 224, 112.0, 10.0
CROP_SIZE_PX = 102.0  # the crop's scale is 102 over the scale of the 5-point fit: so large is one unit in the crop
FLIP = np.diag([1.0, -1.0, -1.0])  # y up, z towards the viewer → y down, z forward


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotation matrices (…, 3, 3) = Rz·Ry·Rx (for columns) of angles (…, 3) in radians about x, y, z."""
    angles = np.asarray(angles, dtype=np.float64)
    (sx, sy, sz), (cx, cy, cz) = np.moveaxis(np.sin(angles), -1, 0), np.moveaxis(np.cos(angles), -1, 0)
    rows = [
        [cz * cy, cz * sy * sx - sz * cx, cz * sy * cx + sz * sx],
        [sz * cy, sz * sy * sx + cz * cx, sz * sy * cx - cz * sx],
        [-sy, cy * sx, cy * cx],
    ]
    return np.stack([np.stack(np.broadcast_arrays(*row), axis=-1) for row in rows], axis=-2)


def angles_of(rotation_matrix: np.ndarray) -> np.ndarray:
    """Inverse of :func:`rotation` for |yaw| < 90°: angles (…, 3) in radians.

    >>> a = np.array([0.1, -0.4, 0.2])
    >>> bool(np.allclose(angles_of(rotation(a)), a))
    True
    """
    r = np.asarray(rotation_matrix, dtype=np.float64)
    y = np.arcsin(np.clip(-r[..., 2, 0], -1.0, 1.0))
    return np.stack([np.arctan2(r[..., 2, 1], r[..., 2, 2]), y, np.arctan2(r[..., 1, 0], r[..., 0, 0])], axis=-1)


def world_to_camera(angles: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """OpenCV extrinsics (…, 3, 4) of Deep3D's angles (…, 3) in radians and translation (…, 3) in units."""
    t = np.asarray(translation, dtype=np.float64)
    moved = np.stack([t[..., 0], -t[..., 1], CAMERA_DISTANCE - t[..., 2]], axis=-1)
    return np.concatenate([FLIP @ rotation(angles), moved[..., None]], axis=-1)


def pose_of(world_to_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of :func:`world_to_camera`: angles (…, 3) in radians, translation (…, 3) in units."""
    w = np.asarray(world_to_camera, dtype=np.float64)
    t = w[..., 3]
    translation = np.stack([t[..., 0], -t[..., 1], CAMERA_DISTANCE - t[..., 2]], axis=-1)
    return angles_of(FLIP @ w[..., :3]), translation


def pose_degrees(world_to_camera: np.ndarray) -> np.ndarray:
    """Yaw (about y), pitch (about x) and roll (about z) of the head in degrees (…, 3), as Deep3D signs them.

    Positive yaw turns the face to the image's right, positive pitch lowers it, positive roll turns it
    anticlockwise in the image.
    """
    return np.degrees(pose_of(world_to_camera)[0])[..., [1, 0, 2]]


def intrinsics(crop: np.ndarray, height_px: float) -> np.ndarray:
    """Intrinsics (…, 3, 3), in pixels of the picture that the crop was taken from.

    Parameters
    ----------
    crop : (…, 3)
        scale (crop pixels a picture pixel), tx, ty (picture pixels, ty counted upward from the lower edge).
    height_px : float
        Height of that picture.
    """
    scale, tx, ty = np.moveaxis(np.asarray(crop, dtype=np.float64), -1, 0)
    k = np.zeros((*scale.shape, 3, 3))
    k[..., 0, 0] = k[..., 1, 1] = FOCAL_PX / scale
    k[..., 0, 2], k[..., 1, 2], k[..., 2, 2] = tx, height_px - ty, 1.0
    return k


def to_camera(points: np.ndarray, world_to_camera: np.ndarray) -> np.ndarray:
    """Points (…, n, 3) of the head frame in the camera's frame, for extrinsics (…, 3, 4)."""
    w = np.asarray(world_to_camera)
    return points @ np.swapaxes(w[..., :3], -1, -2) + w[..., None, :, 3]


def project(points: np.ndarray, world_to_camera: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Pixels (…, n, 2) of points (…, n, 3) of the head frame.

    >>> project(np.zeros((1, 3)), world_to_camera(np.zeros(3), np.zeros(3)), intrinsics(np.array([1.0, 112, 112]), 224))
    array([[112., 112.]])
    """
    k = np.asarray(intrinsics)
    image = to_camera(points, world_to_camera) @ np.swapaxes(k, -1, -2)
    return image[..., :2] / image[..., 2:]


def with_intrinsics(camera: np.ndarray, old: np.ndarray, new: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Extrinsics (…, 3, 4) that show the head under ``new`` intrinsics where ``camera`` showed it under ``old``.

    The head's ``centre`` (3,) keeps its place and its size; only the strength of perspective follows the new focal
    length.
    """
    camera, old, new = (np.asarray(a, dtype=np.float64) for a in (camera, old, new))
    x, y, z = np.moveaxis(to_camera(np.asarray(centre, dtype=np.float64)[None], camera)[..., 0, :], -1, 0)
    far = z * new[..., 0, 0] / old[..., 0, 0]
    u, v = old[..., 0, 0] * x / z + old[..., 0, 2], old[..., 1, 1] * y / z + old[..., 1, 2]
    place = np.stack(
        [(u - new[..., 0, 2]) * far / new[..., 0, 0], (v - new[..., 1, 2]) * far / new[..., 1, 1], far], axis=-1
    )
    result = camera.copy()
    result[..., 3] = place - camera[..., :3] @ np.asarray(centre, dtype=np.float64)
    return result
