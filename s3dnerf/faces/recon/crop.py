"""Deep3DFaceRecon's 5-point alignment: where its 224-pixel crop lies in a picture. Pure functions.

A scaled orthographic camera is fitted to five points (POS: eye centres, nose tip, mouth corners); with its scale s_POS
the picture is resized by 102 / s_POS and a square of 224 pixels cut around the projected origin of the head frame.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.faces.camera import CENTRE_PX, CROP_PX, CROP_SIZE_PX


def pos(image_points: np.ndarray, head_points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose from orthography and scaling: scale (…,) in pixels a unit and origin (…, 2) in the picture.

    Linear least squares for two rows of a scaled rotation and a shift; the scale is the mean of the rows' lengths.

    Parameters
    ----------
    image_points : (…, k, 2)
        Pixels with y upward.
    head_points : (k, 3)
    """
    k = len(head_points)
    design = np.concatenate([head_points, np.ones((k, 1))], axis=1)
    solution = np.linalg.pinv(design) @ image_points  # (…, 4, 2): columns of rows one and two, shift last
    rows = np.swapaxes(solution[..., :3, :], -1, -2)
    return np.linalg.norm(rows, axis=-1).mean(axis=-1), solution[..., 3, :]


def crop_for(five_px: np.ndarray, standard: np.ndarray, height_px: float) -> np.ndarray:
    """Deep3D's crop (…, 3): scale = 102 / s_POS, tx, ty (pixels of the picture, ty counted upward from its lower edge).

    Parameters
    ----------
    five_px : (…, 5, 2)
        Eye centres, nose tip, mouth corners in the picture, y down.
    standard : (5, 3)
        The same points of the mean face, head frame.
    height_px : float
    """
    upward = np.stack([five_px[..., 0], height_px - five_px[..., 1]], axis=-1)
    scale, shift = pos(upward, standard)
    return np.concatenate([CROP_SIZE_PX / scale[..., None], shift], axis=-1)


def crop_matrix(crop: np.ndarray, height_px: float) -> np.ndarray:
    """The crop (3,) as a similarity (2, 3): picture px → crop px, y down in both."""
    scale, tx, ty = (float(v) for v in crop)
    return np.array(
        [[scale, 0.0, CENTRE_PX - scale * tx], [0.0, scale, CROP_PX - CENTRE_PX - scale * (height_px - ty)]]
    )
