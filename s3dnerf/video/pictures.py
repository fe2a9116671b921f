"""Still pictures: any photo OpenCV reads, turned upright as its metadata says."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from s3dnerf.video.encoding import VideoError

MAX_PIXELS = 100_000_000


FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


def read_picture(path: str | Path) -> np.ndarray:
    """A photo as uint8 (h, w, 3) RGB.

    Raises
    ------
    VideoError with a reason: ``missing``, ``unreadable``, ``too_large`` (more than 100 million pixels, or a compressed
    text or colour profile that grows beyond what Pillow takes: nothing is decoded).
    """
    import cv2
    from PIL import Image, UnidentifiedImageError

    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{path}: no such file", "missing")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(path, formats=FORMATS) as header:  # reads the header alone
                width, height = header.size
    except Image.DecompressionBombError as bomb:
        raise VideoError(f"{path}: {bomb}", "too_large") from bomb
    except UnidentifiedImageError as unknown:
        raise VideoError(
            f"{path}: not a picture in a format that is read here (JPEG, PNG, WebP, BMP, TIFF)"
        ) from unknown
    except ValueError as grown:
        raise VideoError(f"{path}: {grown}", "too_large") from grown
    if width * height > MAX_PIXELS:
        raise VideoError(f"{path}: {width}×{height} pixels, more than {MAX_PIXELS:,}", "too_large")
    picture = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise VideoError(f"{path}: the picture is damaged")
    return np.ascontiguousarray(picture[..., ::-1])
