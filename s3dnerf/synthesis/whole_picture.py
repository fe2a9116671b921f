"""The talking face in the whole photo it came from, at the photo's own resolution.

The model makes frames of 256², mostly by looking the portrait up where its parts have moved from. The same motion,
enlarged, moves the photo itself: what is seen stays as sharp as the photo. What the model painted besides (the inside
of the mouth) is enlarged and added. Towards the edge of the aligned square the motion fades to nothing, so that there
is no seam and neck and shoulders stay joined; outside it the photo is left as it is, to the last bit.
"""

from __future__ import annotations

import cv2
import numpy as np

from s3dnerf.core.shapes import Float
from s3dnerf.faces.types import BROWS, EYES
from s3dnerf.faces.warping import apply, invert, similarity_scale
from s3dnerf.model.cameras import FRAME_PX
from s3dnerf.synthesis.blinks import close_eyes

STILL_PX, FADE_PX = 2.0, 40.0  # of the aligned square: from its edge nothing moves; so far inside everything does
MOST_PX = 4096  # a longer side is reduced to this: beyond it players do without the machine's decoder


def fitting(photo: np.ndarray) -> np.ndarray:
    """A photo that a video can hold: at most :data:`MOST_PX` long, its sides even (by a repeated last row or column).

    Parameters
    ----------
    photo : uint8 (h, w, 3)
    """
    height, width = photo.shape[:2]
    scale = MOST_PX / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 2), max(round(height * scale), 2)
        photo = cv2.resize(photo, size, interpolation=cv2.INTER_AREA)
    odd = photo.shape[0] % 2, photo.shape[1] % 2
    return np.pad(photo, ((0, odd[0]), (0, odd[1]), (0, 0)), mode="edge") if any(odd) else photo


class WholePicture:
    """A photo whose face moves.

    Parameters
    ----------
    photo : uint8 (H, W, 3), RGB, as :func:`fitting` gives it
    matrix : (2, 3), photo px → aligned px (256²)
    landmarks : (68, 2), aligned px
    """

    def __init__(self, photo: np.ndarray, matrix: np.ndarray, landmarks: np.ndarray) -> None:
        self.photo, self.matrix, back = photo, np.asarray(matrix, np.float64), invert(np.asarray(matrix, np.float64))
        self.landmarks = apply(back, np.asarray(landmarks, np.float64))
        corners = apply(back, np.array([[0, 0], [FRAME_PX, 0], [0, FRAME_PX], [FRAME_PX, FRAME_PX]], float))
        limit = np.array([photo.shape[1], photo.shape[0]])
        self.low = np.clip(np.floor(corners.min(0)).astype(int), 0, limit - 1)
        self.high = np.clip(np.ceil(corners.max(0)).astype(int), self.low + 1, limit)
        self.turn = back[:, :2]  # of a way in aligned pixels to one in the photo's
        width, height = self.high - self.low
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        self.place = (np.stack([x, y], -1) + self.low).astype(np.float32)
        at = apply(self.matrix, self.place + 0.5)
        inside = np.minimum(at, FRAME_PX - at).min(-1)
        share = np.clip((inside - STILL_PX) / FADE_PX, 0.0, 1.0)
        self.fade = (share * share * (3.0 - 2.0 * share)).astype(np.float32)[..., None]
        self.scale = 1.0 / similarity_scale(self.matrix)

    def _enlarged(self, values: np.ndarray, border: int) -> np.ndarray:
        """A map (s, s, c) of the aligned square as it lies in the photo, where the square's box is."""
        grow = values.shape[0] / FRAME_PX
        linear = self.matrix[:, :2] * grow
        centre = (self.matrix[:, :2] @ (self.low + 0.5) + self.matrix[:, 2]) * grow - 0.5
        size = int(self.high[0] - self.low[0]), int(self.high[1] - self.low[1])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(values, np.column_stack([linear, centre]), size, flags=flags, borderMode=border)

    def frame(
        self,
        shift: Float[np.ndarray, "2 r r"] | None,
        painted: Float[np.ndarray, "s s 3"],
        shut: float = 0.0,
        detail: Float[np.ndarray, "d d 3"] | None = None,
    ) -> np.ndarray:
        """One frame, uint8 (H, W, 3).

        Parameters
        ----------
        shift : how far from each raw pixel its content stands in the portrait, aligned px; None: in place
        painted : what the final frame has besides what it looked up, of 1
        shut : how far the eyes are closed
        detail : what an enhancer adds to the final frame, of 1
        """
        made = self.photo.copy()
        region = (slice(self.low[1], self.high[1]), slice(self.low[0], self.high[0]))
        source = self.photo if shut <= 0 else self._blinking(shut)
        seen = source[region]
        if shift is not None:
            way = np.ascontiguousarray(shift.transpose(1, 2, 0) @ self.turn.T, np.float32)  # in the photo's pixels
            place = self.place + self._enlarged(way, cv2.BORDER_REPLICATE) * self.fade
            # the whole photo is read: at the square's edge content may come from outside it
            seen = cv2.remap(source, place[..., 0], place[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
        added = self._enlarged(np.ascontiguousarray(painted, np.float32), cv2.BORDER_CONSTANT) * self.fade
        if detail is not None:
            added += self._enlarged(detail, cv2.BORDER_CONSTANT) * self.fade
        moved = np.clip(seen + 255.0 * added + 0.5, 0.0, 255.0).astype(np.uint8)
        made[region] = np.where(self.fade > 0, moved, made[region])
        return made

    def _blinking(self, shut: float) -> np.ndarray:
        """The photo with its eyes closed so far."""
        points = np.concatenate([self.landmarks[EYES], self.landmarks[BROWS]])
        reach = 12.0 * self.scale
        limit = np.array([self.photo.shape[1], self.photo.shape[0]])
        low = np.clip(np.floor(points.min(0) - reach).astype(int), 0, limit - 1)
        high = np.clip(np.ceil(points.max(0) + reach).astype(int), low + 1, limit)
        region = (slice(low[1], high[1]), slice(low[0], high[0]))
        closed = close_eyes(self.photo[region].astype(np.float32), self.landmarks - low, shut)
        photo = self.photo.copy()
        photo[region] = np.clip(closed + 0.5, 0.0, 255.0).astype(np.uint8)
        return photo
