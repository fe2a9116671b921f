"""Pictures as bytes: PNG and JPEG of uint8 arrays, equal pictures giving equal bytes, and data URIs for the page."""

from __future__ import annotations

import base64
import io

import numpy as np


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


def jpeg_uri(image: np.ndarray, quality: int = 82) -> str:
    """uint8 (h, w, 3) → ``data:image/jpeg;base64,…``: photographs in the page."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
