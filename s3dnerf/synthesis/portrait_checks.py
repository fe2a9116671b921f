"""Whether a face that was found in a photograph can be used: large enough, whole, well lit, sharp, seen from the front.

Each check raises :class:`FaceError` with what was measured, what is needed and what to do. The bounds were measured on
frames of real people (HDTF, GRID, LRS2, MEAD); the number beside each is the worst of 90 usable ones.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3dnerf.faces.camera import pose_degrees
from s3dnerf.faces.types import EYES, LIPS, Face, FaceError

MOST_TURNED_DEG = 45.0  # beyond, half of the face is not there to be moved
MOST_OUTSIDE = 0.15  # share of the landmarks beyond the picture's edge
MOST_DOUBT = 0.0125  # worst: 0.0067; landmarks gone astray have 0.011 to 0.06
LEAST_LEVELS = 20.0  # worst: 49; at a quarter of the light landmarks are off by up to 11 % of the eyes' distance
LEAST_DETAIL = 0.025  # worst: 0.072; blurred by a tenth of the eyes' distance, 0.027 to 0.040
DETAIL_PX = 2.0  # of the aligned frame: detail is what a Gaussian of this deviation takes away
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])


def check_size(face: Face, least_px: int, size_px: tuple[int, int]) -> None:
    """Raise ``face_too_small`` for one whose box is less than ``least_px`` wide."""
    if face.side_px < least_px:
        raise FaceError(
            "face_too_small",
            f"the face is {face.side_px:.0f} px wide in the picture of {size_px[0]}×{size_px[1]} px, at least "
            f"{least_px} px are needed: take one from nearer by",
        )


def check_whole(landmarks: np.ndarray, size_px: tuple[int, int]) -> None:
    """Raise ``face_leaves_frame`` where landmarks (68, 2), px, lie beyond the picture's edge: a seventh of them, or any
    of the lips or eyes.
    """
    size = np.array(size_px)
    over = {
        "left": landmarks[:, 0] < 0,
        "right": landmarks[:, 0] > size[0],
        "upper": landmarks[:, 1] < 0,
        "lower": landmarks[:, 1] > size[1],
    }
    outside = np.any(list(over.values()), axis=0)
    cut = "mouth is" if outside[LIPS].any() else "eyes are" if outside[EYES].any() else ""
    if cut or outside.mean() > MOST_OUTSIDE:
        edge = max(over, key=lambda name: int(over[name].sum()))
        raise FaceError(
            "face_leaves_frame",
            f"the {cut or 'face is'} cut off by the picture's {edge} edge ({outside.mean():.0%} of the face's points "
            "lie beyond it): take a picture that shows the whole face",
        )


def check_sure(doubt: float, face: Face) -> None:
    """Raise ``no_sure_face`` where landmarks disagree with themselves by more than :data:`MOST_DOUBT` of the box."""
    if doubt > MOST_DOUBT:
        x, y = face.centre_px
        raise FaceError(
            "no_sure_face",
            f"what may be a face at ({x:.0f}, {y:.0f}) cannot be made out: its eyes, nose and mouth are not where they "
            "would be; take a picture of an uncovered face from the front",
        )


def check_seen(frame: np.ndarray, mask: np.ndarray) -> None:
    """Raise ``low_contrast`` or ``blurred`` for an aligned face that shows too little.

    Parameters
    ----------
    frame : uint8 (256, 256, 3), RGB
    mask : bool (256, 256), the inner face
    """
    light = frame.astype(np.float64) @ LUMINANCE
    dark, middle, bright = np.percentile(light[mask], [5, 50, 95])
    if bright - dark < LEAST_LEVELS:
        what = "dark" if middle < 85 else "bright" if middle > 170 else "pale"
        raise FaceError(
            "low_contrast",
            f"the face is too {what}: it spans {bright - dark:.0f} of 255 levels of brightness, at least "
            f"{LEAST_LEVELS:.0f} are needed; take a picture in better light",
        )
    detail = np.abs(light - cv2.GaussianBlur(light, (0, 0), DETAIL_PX))[mask].mean() / light[mask].std()
    if detail < LEAST_DETAIL:
        raise FaceError(
            "blurred",
            f"the face is too blurred: fine detail is {detail:.1%} of its contrast, at least {LEAST_DETAIL:.1%} is "
            "needed; take a sharp picture",
        )


def check_turned(world_to_camera: np.ndarray) -> None:
    """Raise ``turned_away`` for a head (3, 4) that is turned to the side or lowered by more than
    :data:`MOST_TURNED_DEG`.
    """
    yaw, pitch, _ = pose_degrees(world_to_camera)
    if max(abs(yaw), abs(pitch)) > MOST_TURNED_DEG:
        raise FaceError(
            "turned_away",
            f"the face is turned by {abs(yaw):.0f}° to the side and {abs(pitch):.0f}° up or down: more than "
            f"{MOST_TURNED_DEG:.0f}°; take a picture from the front",
        )
