"""Photographs side by side with their names: grids, film strips and a short animation, as WebP.

Arrays in, bytes out; nothing is read or written. Equal pictures give equal bytes with one version of Pillow. The ground
is white with a margin, so that a picture can be read on a bright and on a dark page.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP_PX, CAPTION_PX, FONT_PX = 8, 20, 12
GROUND, INK = (255, 255, 255), (30, 34, 42)
QUALITY = 80


def resized(picture: np.ndarray, size_px: int, smooth: bool = True) -> np.ndarray:
    """A picture uint8 (h, w, 3) or (h, w) as RGB, ``size_px`` high, its sides in proportion: (size_px, _, 3).

    ``smooth`` False keeps the picture's own pixels visible as squares.
    """
    height, width = picture.shape[:2]
    image = Image.fromarray(picture).convert("RGB")
    size = max(1, round(width * size_px / height)), size_px
    if not smooth:
        return np.asarray(image.resize(size, Image.Resampling.NEAREST))
    return np.asarray(image.resize(size, Image.Resampling.LANCZOS))


@functools.cache
def _font() -> ImageFont.FreeTypeFont:
    """The font that matplotlib brings along: Pillow's own has neither Δ nor a minus sign."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts/ttf/DejaVuSans.ttf")), FONT_PX)


def _text_width(text: str) -> int:
    return round(_font().getlength(text))


def grid(
    rows: Sequence[Sequence[np.ndarray]],
    captions: Sequence[Sequence[str]] = (),
    names: Sequence[str] = (),
) -> np.ndarray:
    """Pictures in rows and columns: uint8 (h, w, 3).

    Parameters
    ----------
    rows : pictures uint8 (h, w, 3); a row has one height, a column as much width as its widest picture
    captions : a line under each picture, as many as there are pictures; none: no captions
    names : a name left of each row; none: no names

    Raises ValueError where the captions or names are not as many as the pictures or rows.
    """
    if captions and [len(row) for row in captions] != [len(row) for row in rows]:
        raise ValueError(f"captions {[len(c) for c in captions]}: expected {[len(row) for row in rows]}")
    if names and len(names) != len(rows):
        raise ValueError(f"{len(names)} names: expected {len(rows)}, one a row")
    columns = max(len(row) for row in rows)
    widths = [max(row[c].shape[1] for row in rows if c < len(row)) for c in range(columns)]
    heights = [max(picture.shape[0] for picture in row) for row in rows]
    left = GAP_PX + (max(_text_width(name) for name in names) + GAP_PX if names else 0)
    below = CAPTION_PX if captions else 0
    size = left + sum(widths) + GAP_PX * columns, GAP_PX + sum(heights) + (below + GAP_PX) * len(rows)
    image = Image.new("RGB", size, GROUND)
    draw, font = ImageDraw.Draw(image), _font()
    y = GAP_PX
    for r, row in enumerate(rows):
        if names:
            draw.text((left - GAP_PX, y + heights[r] / 2), names[r], fill=INK, font=font, anchor="rm")
        x = left
        for c, picture in enumerate(row):
            image.paste(Image.fromarray(picture), (x, y))
            if captions:
                place = x + picture.shape[1] / 2, y + heights[r] + CAPTION_PX / 2
                draw.text(place, captions[r][c], fill=INK, font=font, anchor="mm")
            x += widths[c] + GAP_PX
        y += heights[r] + below + GAP_PX
    return np.asarray(image)


def webp(picture: np.ndarray, quality: int = QUALITY) -> bytes:
    """A picture uint8 (h, w, 3) as WebP; sharp conversion of colours, so that thin coloured lines keep theirs."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "WEBP", quality=quality, method=6, use_sharp_yuv=True)
    return buffer.getvalue()


def animation(pictures: Sequence[np.ndarray], frame_ms: int, quality: int = 85) -> bytes:
    """Pictures uint8 (h, w, 3) as an animated WebP that repeats for ever, each shown for ``frame_ms`` milliseconds."""
    buffer = io.BytesIO()
    first, *others = [Image.fromarray(picture) for picture in pictures]
    first.save(
        buffer, "WEBP", save_all=True, append_images=others, duration=frame_ms, loop=0, quality=quality, method=6
    )
    return buffer.getvalue()
