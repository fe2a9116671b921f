"""Still pictures as a browser would show them, in 8 bit sRGB: upright, without hidden colours, whole or not at all.

Reads JPEG, PNG, WebP, BMP, TIFF and AVIF through Pillow; writes nothing. What a picture says of itself is followed:
all eight orientations (EXIF), its colour profile (Display P3, Adobe RGB, CMYK …; colours without one are sRGB),
transparency (laid over :data:`BACKGROUND`), 16 bit, grey, palettes. Of several pages the first counts; an animation is
refused.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s3dnerf.core.file_names import shown
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.file_kinds import IN_WORDS, first_bytes
from s3dnerf.video.signatures import PICTURE, content_kind

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

MAX_PIXELS = 100_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "AVIF")
READ_HERE = "JPEG, PNG, WebP, BMP, TIFF, AVIF"
# how files of these formats begin: one that does and cannot be opened is damaged
STARTS = re.compile(rb"\xff\xd8\xff|\x89PNG|RIFF....WEBP|BM|II\*\0|MM\0\*|....ftypavi[fs]", re.DOTALL)
HEIC = re.compile(rb"....ftyp(hei[cmsx]|hev[cx]|mif1|msf1)", re.DOTALL)
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
# libjpeg fills up what is missing with grey and only prints these lines; others of its tell of harmless bytes
CORRUPT_JPEG = re.compile(rb"[Pp]remature end of [^\n]*|bad Huffman code|found marker [^\n]* instead of RST")
SRGB_STEPS = 5  # a profile that leaves a lattice of so many levels a channel as it is (±1) is sRGB's own


def read_picture(path: str | Path) -> np.ndarray:
    """A photo as uint8 (h, w, 3) sRGB.

    Raises
    ------
    VideoError with a reason: ``missing``, ``unreadable`` (another format, an animation, colours that are not read
    here), ``damaged`` (also where it is cut off, as far as its format lets anybody see it), ``too_large`` (more than
    100 million pixels, or a compressed text or colour profile that grows beyond what Pillow takes: nothing is decoded).
    """
    from PIL import ImageOps

    path = Path(path)
    if not path.is_file():
        raise VideoError(f"{shown(path)}: no such file", "missing")
    with warnings.catch_warnings(), _opened(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise VideoError(f"{shown(path)}: {width}×{height} pixels, more than {MAX_PIXELS:,}", "too_large")
        if getattr(image, "is_animated", False) and image.format in ("PNG", "WEBP", "AVIF"):
            frames = getattr(image, "n_frames", 2)
            raise VideoError(f"{shown(path)}: an animation of {frames} pictures: save one of them as PNG and give that")
        decode(image, path)
        profile = image.info.get("icc_profile")
        return np.array(_over_background(_in_srgb(_eight_bit(ImageOps.exif_transpose(image), path), profile, path)))


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The file's header, read alone."""
    from PIL import Image, UnidentifiedImageError

    warnings.simplefilter("ignore")  # of sizes, where the limit is ours, and of text that nobody reads
    try:
        image = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError as bomb:
        raise VideoError(f"{shown(path)}: {bomb}", "too_large") from bomb
    except UnidentifiedImageError as unknown:
        raise _not_opened(path) from unknown
    except ValueError as grown:
        raise VideoError(f"{shown(path)}: {grown}", "too_large") from grown
    except (OSError, SyntaxError) as broken:
        if isinstance(broken, OSError) and broken.errno is not None:
            raise  # the disk's or the mount's
        raise _damaged(path, broken) from broken
    with image:
        yield image


def _not_opened(path: Path) -> VideoError:
    head = first_bytes(path)
    if HEIC.match(head):
        return VideoError(
            f"{shown(path)}: HEIC, not a picture in a format that is read here ({READ_HERE}): save it as JPEG "
            "(a phone does so when it sends it; or `heif-convert a.heic a.jpg`)"
        )
    if STARTS.match(head):
        return _damaged(path, "its header cannot be read")
    kind = content_kind(head)
    is_what = "a picture of another format: save it as PNG" if kind == PICTURE else IN_WORDS[kind]
    return VideoError(f"{shown(path)}: not a picture in a format that is read here ({READ_HERE}) but {is_what}")


def _damaged(path: Path, why: object) -> VideoError:
    return VideoError(f"{shown(path)}: the picture is damaged or cut off: {shown(str(why))[:200]}", "damaged")


def decode(image: Image.Image, path: Path) -> None:
    """Decode an opened picture to its end. Raises VideoError where there is less of it than it says."""
    from PIL import ImageFile

    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    try:
        image.load()
    except MemoryError:
        raise
    except Exception as fault:  # decoders raise whatever a broken file leads them to
        if isinstance(fault, OSError) and fault.errno is not None:
            raise  # the disk's or the mount's
        raise _damaged(path, fault) from fault
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before
    if image.format in ("JPEG", "MPO"):
        _check_jpeg(path)


def _check_jpeg(path: Path) -> None:
    """Raise VideoError where libjpeg had to fill up a JPEG. Pillow drops its warnings; OpenCV lets it print them."""
    import cv2

    data = np.frombuffer(path.read_bytes(), np.uint8)
    with tempfile.TemporaryFile() as log:
        stderr = os.dup(2)
        try:
            os.dup2(log.fileno(), 2)
            small = cv2.imdecode(data, cv2.IMREAD_REDUCED_GRAYSCALE_8)
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)
        log.seek(0)
        fault = CORRUPT_JPEG.search(log.read())
    if fault or small is None:
        raise _damaged(path, fault[0].decode() if fault else "its data cannot be decoded")


def _eight_bit(image: Image.Image, path: Path) -> Image.Image:
    """Grey, RGB or CMYK of 8 bit a channel, with or without alpha."""
    from PIL import Image

    mode, clear = image.mode, image.info.get("transparency")
    if mode.startswith("I;16"):
        grey = np.asarray(image).astype(np.float64)
        made = Image.fromarray(np.rint(grey / 257).astype(np.uint8))
        if isinstance(clear, int):
            made.putalpha(Image.fromarray(np.where(grey == clear, 0, 255).astype(np.uint8)))
    elif mode in ("P", "PA") or (clear is not None and mode in ("1", "L", "RGB")):
        made = image.convert("RGBA")
    elif mode in ("L", "LA", "RGB", "RGBA", "CMYK"):
        made = image
    elif mode in ("1", "YCbCr", "RGBX", "RGBa", "La"):
        made = image.convert({"1": "L", "RGBa": "RGBA", "La": "LA"}.get(mode, "RGB"))
    else:
        raise VideoError(f"{shown(path)}: colours stored as {mode} are not read here: save it as an 8 bit PNG")
    return made


def _in_srgb(image: Image.Image, profile: bytes | None, path: Path) -> Image.Image:
    """Colours converted by the profile that the file carries, if any; RGB or RGBA."""
    from PIL import ImageCms

    alpha = image.getchannel("A") if image.mode in ("LA", "RGBA") else None
    colours = image.convert({"LA": "L", "RGBA": "RGB"}.get(image.mode, image.mode))
    if profile:
        try:
            given = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            space = given.profile.xcolor_space.strip()
            if space == "RGB" and colours.mode == "L":
                colours = colours.convert("RGB")
            if space == {"L": "GRAY"}.get(colours.mode, colours.mode):
                srgb = ImageCms.createProfile("sRGB")
                intent = ImageCms.Intent.PERCEPTUAL if space == "CMYK" else ImageCms.Intent.RELATIVE_COLORIMETRIC
                black = ImageCms.Flags.BLACKPOINTCOMPENSATION
                transform = ImageCms.buildTransform(given, srgb, colours.mode, "RGB", intent, black)
                if not _leaves_all_as_it_is(transform, colours.mode):
                    colours = transform.apply(colours)
            else:
                logger.warning(
                    f"{shown(path)}: its colour profile is for {space}, the picture {colours.mode}: not used"
                )
        except (ImageCms.PyCMSError, OSError, ValueError) as fault:
            logger.warning(f"{shown(path)}: its colour profile cannot be used, colours are taken for sRGB: {fault}")
    made = colours.convert("RGB")
    if alpha is not None:
        made.putalpha(alpha)
    return made


def _leaves_all_as_it_is(transform: object, mode: str) -> bool:
    """Whether a transform is sRGB to sRGB: applied it would only round."""
    from PIL import Image

    if mode == "CMYK":
        return False
    levels = np.rint(np.linspace(0, 255, SRGB_STEPS)).astype(np.uint8)
    if mode == "L":
        lattice = levels[None]
        plain = np.repeat(lattice[..., None], 3, axis=-1)
    else:
        plain = lattice = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    made = np.asarray(transform.apply(Image.fromarray(lattice)))  # type: ignore[attr-defined]
    return int(np.abs(made.astype(int) - plain).max()) <= 1


def _over_background(image: Image.Image) -> Image.Image:
    """RGB, transparent pixels laid over :data:`BACKGROUND`: what a picture hides is never seen."""
    from PIL import Image

    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (*BACKGROUND, 255)), image).convert("RGB")
