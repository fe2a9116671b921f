"""Pictures as bytes: PNG of uint8 arrays, WebP for the page, equal pictures giving equal bytes."""

from __future__ import annotations

import base64
import io

import numpy as np

# looked at beside the JPEGs of 78 and 82 that stood here: at 70 a face is the same and a background's grain is
# smoother, at 78 not
PHOTO_QUALITY, FINE_QUALITY = 70, 78


def png_bytes(image: np.ndarray) -> bytes:
    """uint8 (h, w, 3) or (h, w) → PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", optimize=False, compress_level=6)
    return buffer.getvalue()


def png_array(data: bytes) -> np.ndarray:
    """PNG bytes → uint8 (h, w, 3)."""
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def photo_uri(image: np.ndarray, quality: int = PHOTO_QUALITY) -> str:
    """A photograph in the page as ``data:image/webp;base64,…``, in half the bytes of JPEG.

    Lossy; equal pictures give equal bytes with one libwebp. Sharp conversion of colours, since thin coloured lines
    (landmarks, axes) would fade otherwise.

    Parameters
    ----------
    image : uint8 (h, w, 3)
    quality : 0 … 100
    """
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=quality, method=6, use_sharp_yuv=True)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
