"""68 landmarks of each frame of a finished clip (an aligned clip, a generated video): what the landmark metrics read.

No tracking and no smoothing: each frame is judged for itself, so that two videos of one scene are treated alike.
"""

from __future__ import annotations

import numpy as np

from s3dnerf.faces.detectors import Face, FaceBackend, main_face

# 0-based positions in the 68 points (iBUG).
JAW, BROWS, NOSE, EYES, LIPS = slice(0, 17), slice(17, 27), slice(27, 36), slice(36, 48), slice(48, 68)
REGIONS = {"jaw": JAW, "brows": BROWS, "nose": NOSE, "eyes": EYES, "lips": LIPS}
INNER_LIPS = slice(60, 68)


STARTS = ((1.0, 0.0), (1.2, 0.15), (1.3, 0.0), (1.1, -0.1))  # growth of the detector's box and its shift downward, a share of its side
SURE = 0.005  # doubt below which the first start is believed: on faces it is 0.002–0.004, on a mouth taken for a nose 0.004–0.03


def refined_landmarks(frame: np.ndarray, backend: FaceBackend, face: Face) -> tuple[np.ndarray, float]:
    """Landmarks float32 (68, 2) of a detected face, and the doubt that remains (see FaceBackend).

    They are asked for twice, a detector's box being coarse (dlib's steps are 20 %): the second answer comes from the box that follows
    from the first. Where answers disagree (a box too high can put the lips on the nostrils, and stay there), other starts are
    tried and the one that is most at one with itself wins.
    """
    x0, y0, x1, y1 = face.box_px
    best, least = np.full((68, 2), np.nan, np.float32), np.inf
    for growth, down in STARTS:
        half, x, y = growth * (x1 - x0) / 2, (x0 + x1) / 2, (y0 + y1) / 2 + down * (y1 - y0)
        first = backend.landmarks(frame, (x - half, y - growth * (y1 - y0) / 2, x + half, y + growth * (y1 - y0) / 2))
        points, doubt = backend.landmarks_and_doubt(frame, backend.track_box(first))
        if doubt < least:
            best, least = points, doubt
        if least <= SURE:
            break
    return best, least


def landmarks_of_frame(frame: np.ndarray, backend: FaceBackend) -> np.ndarray:
    """Landmarks float32 (68, 2) of a frame uint8 (h, w, 3); all nan where no face, or no single one, is found."""
    face, rivals = main_face(backend.detect(frame))
    if face is None or rivals != 1:
        return np.full((68, 2), np.nan, np.float32)
    return refined_landmarks(frame, backend, face)[0]


def landmarks_of_frames(frames: np.ndarray, backend: FaceBackend, every: int = 1) -> np.ndarray:
    """Landmarks float32 (N, 68, 2) of frames uint8 (N, h, w, 3), in pixels.

    Rows are nan where no (single) face is found, and where ``every`` > 1 leaves a frame out (rows 0, every,
    2·every, … are looked at).
    """
    if every < 1:
        raise ValueError(f"every: got {every}, expected 1 or more")
    result = np.full((len(frames), 68, 2), np.nan, np.float32)
    for i in range(0, len(frames), every):
        result[i] = landmarks_of_frame(frames[i], backend)
    return result
