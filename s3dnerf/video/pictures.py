"""Still pictures as a browser would show them, in 8 bit sRGB: upright, without hidden colours, whole or not at all.

Reads JPEG, PNG, WebP, BMP, TIFF, GIF and AVIF through Pillow, and HEIC where pillow-heif is installed
(:mod:`s3dnerf.video.picture_files` opens them); writes nothing. What a picture says of itself is followed: all eight
orientations (EXIF), its colours (a profile such as Display P3, Adobe RGB or a press's; the primaries and the curve that
HEIC and AVIF name, HDR among them; sRGB where nothing is said), transparency (laid over a colour), 16 bit, grey,
palettes. Of several pages the first counts; an animation is refused.
"""

from __future__ import annotations

import io
import logging
import os
import re
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.file_names import shown
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.picture_files import damaged, named_colours, opened

if TYPE_CHECKING:
    from PIL import Image

logger = logging.getLogger(__name__)

MAX_PIXELS = 100_000_000
BACKGROUND = (255, 255, 255)  # what shows through transparent pixels
# libjpeg fills up what is missing with grey and only prints these lines; others of its tell of harmless bytes
CORRUPT_JPEG = re.compile(rb"[Pp]remature end of [^\n]*|bad Huffman code|found marker [^\n]* instead of RST")
SRGB_STEPS = 5  # a profile that leaves a lattice of so many levels a channel as it is (±1) is sRGB's own


def colour_of(name: str, dashes: str = "") -> tuple[int, int, int]:
    """A colour in 8 bit sRGB from its name in CSS or ``#rrggbb``. Raises SettingsError, naming the setting background
    (after ``dashes``), for one that there is not, or that is itself transparent.

    >>> colour_of("white"), colour_of("#102030")
    ((255, 255, 255), (16, 32, 48))
    """
    from PIL import ImageColor

    accepted = "accepted: a colour's name, such as white or darkgreen, or #rrggbb"
    try:
        colour = ImageColor.getrgb(name)
    except ValueError as error:
        raise SettingsError(f"{dashes}background: got {shown(name)} — {accepted}") from error
    if len(colour) == 4 and colour[3] < 255:
        raise SettingsError(f"{dashes}background: got {shown(name)}, which is itself transparent — {accepted}")
    return colour[:3]


def read_picture(path: str | Path, background: tuple[int, int, int] = BACKGROUND) -> np.ndarray:
    """A photo as uint8 (h, w, 3) sRGB.

    Parameters
    ----------
    background : 8 bit sRGB, the colour that transparent pixels are laid over

    Raises
    ------
    VideoError with a reason: ``missing``, ``unreadable`` (a folder, a file that may not be read, another format, an
    animation, colours that are not read here), ``damaged`` (also where it is cut off, as far as its format lets anybody
    see it), ``too_large`` (more than 100 million pixels, or a compressed text or colour profile that grows beyond what
    Pillow takes: nothing is decoded).
    """
    from PIL import ImageOps

    path = Path(path)
    with warnings.catch_warnings(), opened(path) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise VideoError(f"{shown(path)}: {width}×{height} pixels, more than {MAX_PIXELS:,}", "too_large")
        if getattr(image, "is_animated", False) and image.format in ("PNG", "WEBP", "AVIF", "GIF"):
            frames = getattr(image, "n_frames", 2)
            raise VideoError(f"{shown(path)}: an animation of {frames} pictures: save one of them as PNG and give that")
        decode(image, path)
        profile = image.info.get("icc_profile")
        made = _in_srgb(_eight_bit(ImageOps.exif_transpose(image), path), profile, path)
        if not profile and image.format in ("HEIF", "AVIF"):
            made = _by_named_colours(made, path)
        return np.array(_over(made, background))


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
        raise damaged(path, fault) from fault
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
        raise damaged(path, fault[0].decode() if fault else "its data cannot be decoded")


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


def _by_named_colours(image: Image.Image, path: Path) -> Image.Image:
    """RGB or RGBA with the primaries and the curve that a HEIC or AVIF names brought to an ordinary screen's."""
    from PIL import Image

    from s3dnerf.video import hdr

    curve, primaries = named_colours(path)
    if (curve, primaries) == ("sdr", "bt709"):
        return image
    colours = np.asarray(image.convert("RGB")).astype(np.uint16) * 257
    made = Image.fromarray(hdr.shown(colours, curve, primaries))
    if image.mode == "RGBA":
        made.putalpha(image.getchannel("A"))
    return made


def _over(image: Image.Image, background: tuple[int, int, int]) -> Image.Image:
    """RGB, transparent pixels laid over a colour: what a picture hides is never seen."""
    from PIL import Image

    if image.mode != "RGBA":
        return image
    return Image.alpha_composite(Image.new("RGBA", image.size, (*background, 255)), image).convert("RGB")
