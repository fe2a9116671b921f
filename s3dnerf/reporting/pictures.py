"""Pictures for the page: frames with landmarks, mask outline and lip box, the heat map of F_cm over its source, strips with labels.

Arrays in, arrays out (uint8, RGB). Drawing is by Pillow on enlarged frames, so that lines are smooth.
"""

from __future__ import annotations

import numpy as np

LANDMARK, MOUTH, OUTLINE, BOX = (64, 224, 255), (255, 92, 138), (255, 214, 64), (124, 255, 128)


def annotated(
    frame: np.ndarray, landmarks: np.ndarray | None, mask: np.ndarray | None, lip_box: np.ndarray | None, size_px: int = 192
) -> np.ndarray:
    """A frame uint8 (h, w, 3) with what preprocessing found in it: (size, size, 3).

    ``landmarks`` (68, 2) pixels of the frame; ``mask`` bool (h, w), drawn as its outline; ``lip_box`` x0, y0, x1, y1.
    """
    import cv2
    from PIL import Image, ImageDraw

    wide = size_px * 2
    scale = wide / frame.shape[0]
    picture = Image.fromarray(frame).resize((wide, wide), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    if mask is not None:
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        for outline in outlines:
            points = [((x + 0.5) * scale, (y + 0.5) * scale) for x, y in outline[:, 0].tolist()]
            if len(points) > 2:
                draw.line([*points, points[0]], fill=OUTLINE, width=3)
    if lip_box is not None:
        draw.rectangle([float(v) * scale for v in lip_box], outline=BOX, width=3)
    if landmarks is not None:
        for i, (x, y) in enumerate(landmarks.tolist()):
            if np.isfinite(x) and np.isfinite(y):
                r = 3.0
                draw.ellipse([x * scale - r, y * scale - r, x * scale + r, y * scale + r], fill=MOUTH if i >= 48 else LANDMARK)
    return np.asarray(picture.resize((size_px, size_px), Image.Resampling.LANCZOS))


def colour_scale(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (h, w) → colours uint8 (h, w, 3), from deep violet over red to yellow (perceived brightness rises evenly)."""
    stops = np.array([[13, 8, 60], [98, 0, 122], [188, 45, 90], [242, 125, 45], [252, 240, 120]], np.float64)
    at = np.clip(values, 0, 1) * (len(stops) - 1)
    low = np.minimum(at.astype(int), len(stops) - 2)
    part = (at - low)[..., None]
    return np.round(stops[low] * (1 - part) + stops[low + 1] * part).astype(np.uint8)


def heat_overlay(source: np.ndarray, cells: np.ndarray, window: list[float], opacity: float = 0.55) -> np.ndarray:
    """A grid of values (s, s) laid over its window of the source frame: uint8 (h, w, 3).

    ``window``: x0, y0, x1, y1 in pixels of the source; outside it the source stands alone. Values are stretched to the grid's own range.
    """
    import cv2

    height, width = source.shape[:2]
    x0, y0, x1, y1 = window
    spread = float(np.ptp(cells)) or 1.0
    scaled = ((cells - cells.min()) / spread).astype(np.float32)
    side_x, side_y = cells.shape[1], cells.shape[0]
    to_grid = np.array([[side_x / (x1 - x0), 0, -x0 * side_x / (x1 - x0)], [0, side_y / (y1 - y0), -y0 * side_y / (y1 - y0)]])
    centres = to_grid.copy()
    centres[:, 2] += to_grid[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    values = cv2.warpAffine(scaled, centres, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    ys, xs = np.mgrid[:height, :width] + 0.5
    inside = ((xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1))[..., None]
    mixed = source * (1 - opacity) + colour_scale(values) * opacity
    return np.where(inside, np.round(mixed), source).astype(np.uint8)


def mel_picture(mel: np.ndarray, height_px: int = 64, width_px: int = 520) -> np.ndarray:
    """A mel spectrogram (m, 80), −4 … 4, low notes at the bottom: uint8 (height, width, 3)."""
    import cv2

    return cv2.resize(colour_scale((mel.T[::-1] + 4) / 8), (width_px, height_px), interpolation=cv2.INTER_AREA)
