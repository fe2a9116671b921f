"""Pictures for the page: frames with landmarks, mask outline, pose axes and lip box, the heat map of F_cm over its
source, spectrograms.

Arrays in, arrays out (uint8, RGB). Drawing is by Pillow on enlarged frames, so that lines are smooth.
"""

from __future__ import annotations

import numpy as np

LANDMARK, MOUTH, OUTLINE, BOX = (64, 224, 255), (255, 92, 138), (255, 214, 64), (124, 255, 128)
TIME_PX = 64, 520  # height and width of what is shown over time, at most
AXES = ((255, 70, 70), (70, 230, 90), (90, 140, 255))  # x red, y green, z blue


def annotated(
    frame: np.ndarray,
    landmarks: np.ndarray | None = None,
    mask: np.ndarray | None = None,
    lip_box: np.ndarray | None = None,
    axes: np.ndarray | None = None,
    size_px: int = 192,
) -> np.ndarray:
    """A square frame uint8 (h, h, 3) with what preprocessing found in it: (size, size, 3).

    All in pixels of the frame: ``landmarks`` (68, 2); ``mask`` bool (h, h), drawn as its outline; ``lip_box`` x0, y0,
    x1, y1; ``axes`` (4, 2), an origin and the ends of the x, y and z axis.
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
    if axes is not None:
        origin, *ends = [(float(x) * scale, float(y) * scale) for x, y in axes]
        for end, colour in zip(ends, AXES):
            draw.line([origin, end], fill=colour, width=6)
    if landmarks is not None:
        for i, (x, y) in enumerate(landmarks.tolist()):
            if np.isfinite(x) and np.isfinite(y):
                r = 3.0
                draw.ellipse(
                    [x * scale - r, y * scale - r, x * scale + r, y * scale + r], fill=MOUTH if i >= 48 else LANDMARK
                )
    return np.asarray(picture.resize((size_px, size_px), Image.Resampling.LANCZOS))


def source_picture(frame: np.ndarray, crop: tuple[int, int, int, int] | None, longer_px: int = 240) -> np.ndarray:
    """A raw frame uint8 (h, w, 3), reduced so that its longer side is ``longer_px``, with the crop (x, y, w, h) drawn
    as a box.
    """
    from PIL import Image, ImageDraw

    scale = longer_px / max(frame.shape[:2])
    wide = [max(round(side * scale * 2), 2) for side in frame.shape[1::-1]]
    picture = Image.fromarray(frame).resize(
        (wide[0], wide[1]), Image.Resampling.BOX if scale < 0.5 else Image.Resampling.BICUBIC
    )
    if crop is not None:
        x, y, w, h = (side * scale * 2 for side in crop)
        ImageDraw.Draw(picture).rectangle([x, y, x + w - 1, y + h - 1], outline=BOX, width=3)
    return np.asarray(picture.resize((max(wide[0] // 2, 1), max(wide[1] // 2, 1)), Image.Resampling.LANCZOS))


def cut_out(frame: np.ndarray, box: np.ndarray, size_px: int = 128) -> np.ndarray:
    """The box x0, y0, x1, y1 (pixels) of a frame uint8 (h, w, 3): (size, size, 3); black where it leaves the frame."""
    from PIL import Image

    picture = Image.fromarray(frame).transform(
        (size_px, size_px), Image.Transform.EXTENT, [float(v) for v in box], Image.Resampling.BICUBIC
    )
    return np.asarray(picture)


def colour_scale(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (h, w) → colours uint8 (h, w, 3), from deep violet over red to yellow (perceived brightness
    rises evenly).
    """
    stops = np.array([[13, 8, 60], [98, 0, 122], [188, 45, 90], [242, 125, 45], [252, 240, 120]], np.float64)
    at = np.clip(values, 0, 1) * (len(stops) - 1)
    low = np.minimum(at.astype(int), len(stops) - 2)
    part = (at - low)[..., None]
    return np.round(stops[low] * (1 - part) + stops[low + 1] * part).astype(np.uint8)


def heat_overlay(source: np.ndarray, cells: np.ndarray, window: list[float], opacity: float = 0.55) -> np.ndarray:
    """A grid of values laid over its window of the source frame: uint8 (h, w, 3).

    Parameters
    ----------
    cells : (s, s); stretched to their own range
    window : x0, y0, x1, y1 in pixels of the source; outside it the source is shown alone
    """
    import cv2

    height, width = source.shape[:2]
    x0, y0, x1, y1 = window
    spread = float(np.ptp(cells)) or 1.0
    scaled = ((cells - cells.min()) / spread).astype(np.float32)
    side_x, side_y = cells.shape[1], cells.shape[0]
    to_grid = np.array(
        [[side_x / (x1 - x0), 0, -x0 * side_x / (x1 - x0)], [0, side_y / (y1 - y0), -y0 * side_y / (y1 - y0)]]
    )
    centres = to_grid.copy()
    centres[:, 2] += to_grid[:, :2] @ [0.5, 0.5] - 0.5
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    values = cv2.warpAffine(scaled, centres, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    ys, xs = np.mgrid[:height, :width] + 0.5
    inside = ((xs >= x0) & (xs < x1) & (ys >= y0) & (ys < y1))[..., None]
    mixed = source * (1 - opacity) + colour_scale(values) * opacity
    return np.where(inside, np.round(mixed), source).astype(np.uint8)


def _over_time(values: np.ndarray) -> np.ndarray:
    """Values in [0, 1] (rows, moments) as a picture of at most 64 × 520; where they are fewer, one pixel each: the page
    stretches it.
    """
    import cv2

    size = min(values.shape[1], TIME_PX[1]), min(values.shape[0], TIME_PX[0])
    return cv2.resize(colour_scale(values), size, interpolation=cv2.INTER_AREA)


def mel_picture(mel: np.ndarray) -> np.ndarray:
    """A mel spectrogram (m, 80), −4 … 4, low notes at the bottom: uint8 (≤ 64, ≤ 520, 3)."""
    return _over_time((mel.T[::-1] + 4) / 8)


def token_picture(tokens: np.ndarray) -> np.ndarray:
    """Speech tokens (m, D), the first dimension at the bottom, each dimension stretched to its own range: uint8 (≤ 64,
    ≤ 520, 3).
    """
    values = tokens.astype(np.float32)
    low, high = np.percentile(values, [2, 98], axis=0)
    spread = np.where(high > low, high - low, 1.0)
    return _over_time(((values - low) / spread).T[::-1])
