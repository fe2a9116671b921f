"""Which faces a photograph shows: large or small, and upright or not.

The detector looks at a small picture first, as the stages do. Where that finds nothing, it looks for faces that lie on
their side or upside down, and then ever closer, until a face of the least usable size would be seen. Where it finds
one, it looks once more, as close as a rival of it would need. Reads pictures; raises :class:`FaceError`.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3dnerf.faces.detectors import SURE, refined_landmarks
from s3dnerf.faces.types import EYES, RIVAL_SIZE, Face, FaceBackend, FaceError, main_face
from s3dnerf.faces.warping import apply, invert
from s3dnerf.settings.schema import AlignSettings
from s3dnerf.synthesis.portrait_checks import MOST_DOUBT

# a face of so many pixels is found: dlib's window is 80, SCRFD's smallest anchors are far below 40
SEEN_PX = {"dlib": 88.0, "insightface": 40.0}
FINEST_PX = 7680  # the longer side that a picture is enlarged to at most: 48 px in 4096 are then dlib's 88
# what only a closer or a turned look finds must be believed so much; one believed less may be chance
SURE_SCORE = 0.5
SURE_DOUBT = 0.01  # and its landmarks be so much at one with themselves (see FaceBackend)
STEP_DEG = 45  # dlib finds faces that are turned by up to half of it
MOST_TILTED_DEG = 35.0  # from 40° on dlib's landmarks go astray
FACE_PX, AROUND = 112, 2.4  # the patch in which one face is turned: its box, and the patch's side in units of it
WHOLE_PX = 640  # the longer side of a whole picture that is turned


def faces_in(image: np.ndarray, backend: FaceBackend, settings: AlignSettings) -> list[Face]:
    """Faces of a photograph, largest first; none where there is none.

    Parameters
    ----------
    image : uint8 (h, w, 3), RGB, any size
    settings : ``detect_px`` of the first look, ``min_face_px`` of the smallest usable face

    Raises FaceError ``tilted`` where the one face that is found lies on its side or upside down.
    """
    seen_px, longer = SEEN_PX.get(backend.name, SEEN_PX["dlib"]), max(image.shape[:2])
    faces = backend.detect(image, settings.detect_px)
    if not faces or max(face.score for face in faces) < SURE_SCORE:
        turned = _turned_face(image, backend, None, max((face.score for face in faces), default=0.0))
        if turned is not None:
            _check_tilt(turned[0])
    if faces:
        faces = _believed(faces, image, backend)
        largest = max(face.side_px for face in faces)
        needed_px = longer * seen_px / (RIVAL_SIZE * largest)
        more = _look(image, backend, round(min(needed_px, FINEST_PX))) if needed_px > settings.detect_px else []
        faces += [face for face in more if not any(_same(face, other) for other in faces)]
        return sorted(faces, key=lambda f: (-f.side_px, -f.score, f.box_px))
    finest = min(longer * seen_px / settings.min_face_px, FINEST_PX)
    px = 2 * settings.detect_px
    while not faces and px < 2 * finest:
        faces = _look(image, backend, round(min(px, finest)))
        px *= 2
    return faces


def _believed(faces: list[Face], image: np.ndarray, backend: FaceBackend) -> list[Face]:
    """Of several faces those that are no chance beside the surest one: a badge on a suit is not a second person."""
    surest = max(faces, key=lambda face: face.score)
    return [
        face
        for face in faces
        if face is surest or face.score >= SURE_SCORE or refined_landmarks(image, backend, face)[1] <= MOST_DOUBT
    ]


def _look(image: np.ndarray, backend: FaceBackend, longer_px: int) -> list[Face]:
    """Faces that are surely some, in the picture at another size; boxes in pixels of the picture itself."""
    scale = longer_px / max(image.shape[:2])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    across, down = image.shape[1] / size[0], image.shape[0] / size[1]
    found = []
    for face in backend.detect(resized, longer_px):
        if face.score >= SURE_SCORE and refined_landmarks(resized, backend, face)[1] <= SURE_DOUBT:
            x0, y0, x1, y1 = face.box_px
            found.append(Face((x0 * across, y0 * down, x1 * across, y1 * down), face.score))
    return found


def _same(one: Face, other: Face) -> bool:
    """Whether two boxes are around one face."""
    return float(np.hypot(*np.subtract(one.centre_px, other.centre_px))) < 0.5 * max(one.side_px, other.side_px)


def landmarks_of(image: np.ndarray, backend: FaceBackend, face: Face) -> tuple[np.ndarray, float]:
    """Landmarks float64 (68, 2) of a face of a photograph, px, and the doubt that remains (see FaceBackend).

    Where they are not at one with themselves as the head stands, they are found with it turned upright, in the patch
    around it in which the detector believes most in it: dlib's go astray where a head leans.

    Raises FaceError ``tilted`` for a head that leans too far.
    """
    points, doubt = refined_landmarks(image, backend, face)
    if doubt > SURE and (turned := _turned_face(image, backend, face, -np.inf)) is not None:
        points, doubt = turned
    points = points.astype(np.float64)
    _check_tilt(points)
    return points, doubt


def _check_tilt(points: np.ndarray) -> None:
    """Raise FaceError ``tilted`` for landmarks (68, 2) that lie by more than :data:`MOST_TILTED_DEG` on their side."""
    left, right = np.split(points[EYES], 2)
    across = right.mean(0) - left.mean(0)
    tilt = float(np.degrees(np.arctan2(across[1], across[0])))  # clockwise, −180 … 180
    if abs(tilt) <= MOST_TILTED_DEG:
        return
    if abs(tilt) > 135:
        way, back = "", "by 180°"
    else:
        way, back = (" clockwise", " anticlockwise") if tilt > 0 else (" anticlockwise", " clockwise")
        back = f"by {round(abs(tilt), -1):.0f}°{back}"
    raise FaceError(
        "tilted",
        f"the face is turned by {abs(tilt):.0f}°{way} in the picture, more than {MOST_TILTED_DEG:.0f}°: turn the "
        f"picture {back}",
    )


def _turned_face(
    image: np.ndarray, backend: FaceBackend, face: Face | None, score: float
) -> tuple[np.ndarray, float] | None:
    """Landmarks float64 (68, 2), px of the picture, and their doubt, of a face that the detector believes in more where
    it is turned; None where it is best as it stands.

    The picture (or the patch around ``face``) is turned in eight steps of :data:`STEP_DEG`.

    Parameters
    ----------
    face : the face that is meant; None: whichever is found in the whole picture
    score : how much is believed already of the best one as it stands
    """
    if face is None:
        high, wide = image.shape[:2]
        centre, scale = (wide / 2, high / 2), min(WHOLE_PX / max(high, wide), 1.0)
        side_px = max(round(float(np.hypot(wide, high)) * scale), FACE_PX)
    else:
        centre, scale = face.centre_px, FACE_PX / max(face.side_px, 1.0)
        side_px = round(FACE_PX * AROUND)
    best, made = score, None
    for degrees in range(0, 360, STEP_DEG):
        matrix = cv2.getRotationMatrix2D(centre, degrees, scale)
        matrix[:, 2] += side_px / 2 - np.array(centre)
        patch = _turned(image, matrix, side_px)
        found, _ = main_face(backend.detect(patch, side_px))
        if found is None:
            continue
        if degrees == 0:
            best = max(best, found.score)
        elif found.score > best:
            points, doubt = refined_landmarks(patch, backend, found)
            if doubt <= SURE_DOUBT and (face is not None or found.score >= SURE_SCORE):
                best, made = found.score, (apply(invert(matrix), points.astype(np.float64)), doubt)
    return made


def _turned(image: np.ndarray, matrix: np.ndarray, side_px: int) -> np.ndarray:
    """A square patch of a picture, which goes on at its border; means where it shrinks."""
    scale = float(np.hypot(*matrix[0, :2]))
    if scale < 0.5:  # a warp reads four pixels, whatever lies between
        size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
        small = np.array([image.shape[1] / size[0], image.shape[0] / size[1]])
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        matrix = np.column_stack([matrix[:, :2] * small, matrix[:, 2]])
    return cv2.warpAffine(image, matrix, (side_px, side_px), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
