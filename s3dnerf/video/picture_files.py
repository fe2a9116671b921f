"""Which file is a picture that can be read here, and which decoder opens it; whatever else it is, one sentence says so.

Pillow opens JPEG, PNG, WebP, BMP, TIFF, GIF, and AVIF where it was built with that decoder; HEIC (what iPhones save)
is opened by pillow-heif where that is installed (``pip install 's3dnerf[photos]'``). Only headers are read here.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from s3dnerf.core.file_names import shown
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.file_kinds import IN_WORDS, first_bytes
from s3dnerf.video.signatures import PICTURE, content_kind

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF", "AVIF")  # Pillow's
READ_HERE = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC"
# how files of these formats begin: one that does and cannot be opened is damaged
STARTS = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|BM|II\*\0|MM\0\*|GIF8[79]a", re.DOTALL)
HEIF_BRANDS = frozenset(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1".split())
AVIF_BRANDS = frozenset({b"avif", b"avis"})
NEEDS_HEIF = "HEIC needs pillow-heif: pip install 's3dnerf[photos]' (or save it as JPEG)"
NEEDS_AVIF = "this Pillow was built without the decoder of AVIF: pip install -U pillow (or save it as JPEG)"
# of a colr box: ITU-T H.273, tables 2 and 3; every other number is read as an ordinary screen's
PRIMARIES, CURVES = {9: "bt2020", 11: "p3", 12: "p3"}, {16: "pq", 18: "hlg"}
COLR_BYTES = 1 << 20  # the properties of pictures stand at a file's beginning


@contextmanager
def opened(path: Path) -> Iterator[Image.Image]:
    """A picture's header, read alone. Raises VideoError (``missing``, ``unreadable``, ``damaged``, ``too_large``)."""
    from PIL import Image, UnidentifiedImageError

    warnings.simplefilter("ignore")  # of sizes, where the limit is ours, and of text that nobody reads
    try:
        _check_file(path)
        image = _heic(path) if _codec(first_bytes(path)) == "heic" else Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as bomb:
        raise VideoError(f"{shown(path)}: {bomb}", "too_large") from bomb
    except UnidentifiedImageError as unknown:
        raise _not_opened(path) from unknown
    except VideoError:
        raise
    except ValueError as grown:
        raise VideoError(f"{shown(path)}: {grown}", "too_large") from grown
    except PermissionError as kept:
        raise VideoError(f"{shown(path)}: it may not be read ({kept.strerror})") from kept
    except (OSError, SyntaxError) as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise  # the disk's or the mount's
        raise damaged(path, broken) from broken
    with image:
        yield image


def _check_file(path: Path) -> None:
    """Raise VideoError for what is no file; a pipe would be waited for."""
    if path.is_dir():
        raise VideoError(f"{shown(path)}: a folder: expected a picture's file")
    if path.exists() and not path.is_file():
        raise VideoError(f"{shown(path)}: a pipe or a device: expected a picture's file")
    if not path.is_file():
        raise VideoError(f"{shown(path)}: no such file", "missing")
    if path.stat().st_size == 0:
        raise VideoError(f"{shown(path)}: an empty file, not a picture in a format that is read here ({READ_HERE})")


def _codec(head: bytes) -> str:
    """``heic`` or ``avif`` by the brands of a HEIF container; '' for every other file."""
    if head[4:8] != b"ftyp":
        return ""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if head[8:12] not in HEIF_BRANDS | AVIF_BRANDS:
        return ""
    return "avif" if brands & AVIF_BRANDS else "heic"


def _heic(path: Path) -> Image.Image:
    """The primary picture of a HEIC, already turned upright by its own properties (its EXIF then says so)."""
    try:
        from pillow_heif import HeifImageFile
    except ImportError as missing:
        raise VideoError(f"{shown(path)}: {NEEDS_HEIF}") from missing
    return HeifImageFile(path)


def _not_opened(path: Path) -> VideoError:
    from PIL import features

    head = first_bytes(path)
    avif = _codec(head) == "avif"
    if avif and not features.check("avif"):
        return VideoError(f"{shown(path)}: {NEEDS_AVIF}")
    if avif or STARTS.match(head):
        return damaged(path, "its header cannot be read")
    kind = content_kind(head)
    is_what = "a picture of another format: save it as PNG" if kind == PICTURE else IN_WORDS[kind]
    return VideoError(f"{shown(path)}: not a picture in a format that is read here ({READ_HERE}) but {is_what}")


def damaged(path: Path, why: object) -> VideoError:
    """What to say of a picture that is not all there."""
    return VideoError(f"{shown(path)}: the picture is damaged or cut off: {shown(str(why))[:200]}", "damaged")


def named_colours(path: Path) -> tuple[str, str]:
    """The curve and the primaries that a HEIC or AVIF names by number (its first ``colr`` box of the kind ``nclx``), as
    :func:`s3dnerf.video.hdr.shown` takes them; ``sdr`` and ``bt709`` where it names none.
    """
    with open(path, "rb") as handle:
        head = handle.read(COLR_BYTES)
    at = head.find(b"colrnclx")
    if at < 0:
        return "sdr", "bt709"
    primaries, curve = (int.from_bytes(head[at + k : at + k + 2], "big") for k in (8, 10))
    return CURVES.get(curve, "sdr"), PRIMARIES.get(primaries, "bt709")
