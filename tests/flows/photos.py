"""Photos of every kind and with every fault, made small: each is right, or refused in one sentence.

:data:`PHOTOS` is the list that ``docs/how-to/photos.md`` shows. A photo is made from one face (astronaut of scikit-image, in the
public domain) in a folder; what is right is told by where that face's pixels went.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.video.picture_kinds import P3, TURNS, matrix_profile

SAME = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


@cache
def face() -> np.ndarray:
    """The face that photos are made of, uint8 (300, 300, 3)."""
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:300, 80:380])


@dataclass(frozen=True)
class Photo:
    """A photo and what is expected of it.

    Attributes
    ----------
    what : for people
    make : writes it into a folder and returns its path
    refused : the sentence, as a pattern; '' where it is right
    matrix : (2, 3), px of :func:`face` → px of the photo as shown
    levels : how far the aligned picture may lie from the face's own, mean of absolute differences; None: other colours
    options : of ``TalkingHead.animate``
    """

    what: str
    make: Callable[[Path], Path]
    refused: str = ""
    matrix: np.ndarray = field(default_factory=lambda: SAME)
    levels: float | None = 4.0
    options: dict = field(default_factory=dict)


def saved(
    picture: np.ndarray | Callable[[], np.ndarray], suffix: str, mode: str = "", **how: object
) -> Callable[[Path], Path]:
    """A maker that saves a picture (a function of none is called then)."""

    def make(folder: Path) -> Path:
        image = Image.fromarray(picture() if callable(picture) else picture)
        path = folder / f"me{suffix}"
        (image.convert(mode) if mode else image).save(path, **how)
        return path

    return make


def turned_jpeg(orientation: int) -> Callable[[Path], Path]:
    exif = Image.Exif()
    exif[274] = orientation
    return saved(lambda: np.ascontiguousarray(TURNS[orientation](face())), ".jpg", exif=exif, quality=95)


def bytes_of(name: str, data: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return make


def cut_short(folder: Path) -> Path:
    path = saved(face, ".jpg", quality=90)(folder)
    path.write_bytes(path.read_bytes()[:4000])
    return path


def heic(folder: Path, bits: int = 8) -> Path:
    heif = pytest.importorskip("pillow_heif")
    values, mode = (face(), "RGB") if bits == 8 else (face().astype(np.uint16) * 257, "RGB;16")
    heif.from_bytes(mode, (300, 300), values.tobytes()).save(folder / "me.heic", quality=90)
    return folder / "me.heic"


def several(suffix: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        frames = [Image.fromarray(np.roll(face(), 9 * i, axis=1)) for i in range(3)]
        frames[0].save(folder / f"me{suffix}", save_all=True, append_images=frames[1:])
        return folder / f"me{suffix}"

    return make


def placed(width: int, height: int, x: int, y: int, scale: float = 1.0) -> tuple[Callable[[], np.ndarray], np.ndarray]:
    """The face's picture, enlarged, in a larger plain one; and where its pixels went."""

    def make() -> np.ndarray:
        rng = np.random.default_rng(0)
        ground = cv2.resize(
            rng.integers(90, 160, (5, 6, 3), dtype=np.uint8), (width, height), interpolation=cv2.INTER_CUBIC
        )
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        small = cv2.resize(face(), None, fx=scale, fy=scale, interpolation=way)
        ground[y : y + small.shape[0], x : x + small.shape[1]] = small[: height - y, : width - x]
        return ground

    return make, np.array([[scale, 0.0, x], [0.0, scale, y]])


def two(width: int = 620) -> np.ndarray:
    """The face twice beside each other, the left one the smaller by a tenth."""
    ground = np.full((300, width, 3), 120, np.uint8)
    ground[:270, :270] = cv2.resize(face(), (270, 270), interpolation=cv2.INTER_AREA)
    ground[:, -300:] = face()
    return ground


LEFT, RIGHT = np.array([[0.9, 0.0, 0.0], [0.0, 0.9, 0.0]]), np.array([[1.0, 0.0, 320.0], [0.0, 1.0, 0.0]])


def clear(colour: tuple[int, int, int]) -> np.ndarray:
    """The face with transparent corners that hide garbage."""
    y, x = np.mgrid[:300, :300]
    alpha = np.where((x - 140) ** 2 + (y - 130) ** 2 < 120**2, 255, 0).astype(np.uint8)
    picture = np.where(alpha[..., None] > 0, face(), np.array(colour, np.uint8))
    return np.dstack([picture, alpha])


def grown_dark(by: int) -> np.ndarray:
    return face() // by


def covered(x: slice, y: slice) -> np.ndarray:
    made = face().copy()
    made[y, x] = (40, 60, 90)
    return made


def smiley() -> np.ndarray:
    made = np.full((300, 300, 3), 255, np.uint8)
    for centre, radius in (((150, 150), 100), ((115, 120), 10), ((185, 120), 10)):
        cv2.circle(made, centre, radius, (0, 0, 0), 3)
    cv2.ellipse(made, (150, 170), (50, 35), 0, 20, 160, (0, 0, 0), 3)
    return made


def cat() -> np.ndarray:
    from skimage.data import cat as chelsea

    return np.ascontiguousarray(chelsea()[:, :, :3])


def turned_away(folder: Path) -> Path:
    """One of the project's own synthetic people, its head turned by 60° and more."""
    from s3dnerf.corpora.synthetic import film
    from s3dnerf.video.reading import read_frames
    from tests.faces.drawn_clips import make_talking_video

    rotation = film.rotation
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(film, "rotation", lambda angles: rotation(angles + np.array([62.0, 0.0, 0.0])))
        video, _ = make_talking_video(folder, seconds=0.08)
    (frame,) = read_frames(video, np.array([0]))
    return saved(frame, ".png")(folder)


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "me.png")
    return folder / "me.png"


def locked(folder: Path) -> Path:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = saved(face, ".png")(folder)
    path.chmod(0)
    return path


def leant(degrees: float) -> tuple[Callable[[], np.ndarray], np.ndarray]:
    matrix = cv2.getRotationMatrix2D((140.0, 110.0), degrees, 1.0)
    return lambda: cv2.warpAffine(face(), matrix, (300, 300), borderMode=cv2.BORDER_REPLICATE), matrix


LARGE, SMALL, PANORAMA, TINY = (
    placed(3000, 2000, 900, 300, 3.0),
    placed(3000, 2000, 1800, 700, 0.7),
    placed(3000, 300, 1400, 0),
    placed(1200, 800, 700, 300, 0.3),
)
LEANT = leant(-25.0)
STILL = "save one of them as PNG and give that"
OTHER = "not a picture in a format that is read here"
CUT = "cut off by the picture's {} edge"
PHOTOS = {
    "jpeg": Photo("a JPEG", saved(face, ".jpg", quality=95)),
    **{f"jpeg, orientation {k}": Photo(f"a JPEG that its camera stored in EXIF orientation {k}", turned_jpeg(k)) for k in TURNS if k > 1},
    "jpeg, progressive": Photo("a progressive JPEG", saved(face, ".jpg", quality=95, progressive=True)),
    "jpeg, cmyk": Photo("a JPEG in inks (CMYK)", saved(face, ".jpg", "CMYK", quality=95)),
    "jpeg, grey": Photo("a grey JPEG", saved(face, ".jpg", "L", quality=95), levels=None),
    "jpeg, wide gamut": Photo("a JPEG in Display P3 by its profile", saved(face, ".jpg", quality=95, icc_profile=matrix_profile(P3, 2.2)), levels=None),
    "png": Photo("a PNG", saved(face, ".png"), levels=0.0),
    "png, palette": Photo("a PNG of 256 colours", saved(face, ".png", "P"), levels=9.0),
    "png, 1 bit": Photo("a PNG of black and white dots", saved(face, ".png", "1"), "no face was found|cannot be made out"),
    "png, 16 bit": Photo("a grey PNG of 16 bit", saved(lambda: np.asarray(Image.fromarray(face()).convert("L")).astype(np.uint16) * 257, ".png"), levels=None),
    "png, alpha": Photo("a PNG with transparency that hides garbage", saved(lambda: clear((255, 0, 255)), ".png"), levels=None),
    "png, alpha over green": Photo("the same over a colour of choice", saved(lambda: clear((255, 0, 255)), ".png"), levels=None, options={"background": "#006400"}),
    "bmp": Photo("a BMP", saved(face, ".bmp"), levels=0.0),
    "tiff": Photo("a TIFF", saved(face, ".tif"), levels=0.0),
    "gif": Photo("a GIF that stands still", saved(face, ".gif")),
    "webp": Photo("a WebP", saved(face, ".webp", quality=90)),
    "avif": Photo("an AVIF", saved(face, ".avif", quality=90)),
    "heic": Photo("a HEIC, where pillow-heif is installed", heic),
    "heic, 10 bit": Photo("a HEIC of 10 bit", lambda folder: heic(folder, 10)),
    "3000×2000": Photo("a photo of 3000×2000", saved(LARGE[0], ".jpg", quality=95), matrix=LARGE[1]),
    "small face": Photo("a face of 70 px in 3000×2000", saved(SMALL[0], ".jpg", quality=95), matrix=SMALL[1]),
    "panorama": Photo("a panorama of 10:1", saved(PANORAMA[0], ".jpg", quality=95), matrix=PANORAMA[1]),
    "leant": Photo("a head that leans by 25°", saved(LEANT[0], ".jpg", quality=95), matrix=LEANT[1], levels=None),
    "a quarter of the light": Photo("a dim photo", saved(lambda: grown_dark(4), ".png"), levels=None),
    "mouth covered": Photo("the mouth covered: what covers it is moved as if it were the mouth", saved(lambda: covered(slice(118, 170), slice(133, 158)), ".png"), levels=None),
    "two, left": Photo("two faces, --face left", saved(two, ".png"), matrix=LEFT, options={"face": "left"}),
    "two, right": Photo("two faces, --face right", saved(two, ".png"), matrix=RIGHT, options={"face": "right"}),
    "two, largest": Photo("two faces, --face largest", saved(two, ".png"), matrix=RIGHT, options={"face": "largest"}),
    "two, 2": Photo("two faces, --face 2", saved(two, ".png"), matrix=RIGHT, options={"face": "2"}),
    "two": Photo("two faces, nothing said", saved(two, ".png"), "2 faces of similar size were found .*say which"),
    "two, 3": Photo("two faces, --face 3", saved(two, ".png"), "face 3 was asked for and 2 of similar size found", options={"face": "3"}),
    "upside down": Photo("upside down, and no EXIF that says so", saved(lambda: np.ascontiguousarray(face()[::-1, ::-1]), ".png"), "turned by 1[78]\\d° in the picture, .* turn the picture by 180°"),
    "on its side": Photo("on its side, and no EXIF that says so", saved(lambda: np.ascontiguousarray(np.rot90(face(), -1)), ".png"), "turned by [89]\\d° clockwise .* turn the picture by 90° anticlockwise"),
    "cut at the left": Photo("the left third of the face outside", saved(lambda: face()[:, 125:], ".png"), CUT.format("left")),
    "cut at the right": Photo("the right third outside", saved(lambda: face()[:, :157], ".png"), CUT.format("right")),
    "cut at the top": Photo("brows and eyes outside", saved(lambda: face()[101:], ".png"), CUT.format("upper") + "|no face was found|cannot be made out"),
    "cut at the bottom": Photo("the mouth outside", saved(lambda: face()[:146], ".png"), CUT.format("lower")),
    "turned away": Photo("a head turned away by 60°", turned_away, "turned by \\d+° to the side|no face was found|cannot be made out"),
    "eyes covered": Photo("the eyes covered", saved(lambda: covered(slice(90, 200), slice(85, 120)), ".png"), "no face was found|cannot be made out"),
    "dark": Photo("nearly no light", saved(lambda: grown_dark(10), ".png"), "the face is too dark: it spans \\d+ of 255 levels|95 % of it below level"),
    "black": Photo("no light", saved(lambda: grown_dark(80), ".png"), "the picture is dark \\(95 % of it below level 2 of 255"),
    "blurred": Photo("out of focus", saved(lambda: cv2.resize(cv2.GaussianBlur(face(), (0, 0), 6), (400, 400)), ".png"), "the face is too blurred|no face was found"),
    "tiny face": Photo("a face of 30 px", saved(TINY[0], ".jpg", quality=95), "no face was found|the face is \\d\\d px wide"),
    "small picture": Photo("a picture of 100×100, its face 33 px wide", saved(lambda: cv2.resize(face(), (100, 100), interpolation=cv2.INTER_AREA), ".png"), "the face is \\d\\d px wide in the picture of 100×100 px, at least 48 px"),
    "1×1": Photo("a picture of one pixel", saved(np.zeros((1, 1, 3), np.uint8), ".png"), "no face was found"),
    "4 px wide": Photo("a strip 4 pixels wide", saved(lambda: np.ascontiguousarray(face()[:, 150:154]), ".png"), "no face was found in the picture of 4×300"),
    "drawing": Photo("a drawing", saved(smiley, ".png"), "no face was found in the picture of 300×300"),
    "animal": Photo("a cat", saved(cat, ".png"), "no face was found"),
    "wall": Photo("nobody", saved(np.full((200, 200, 3), 128, np.uint8), ".png"), "no face was found in the picture of 200×200"),
    "gif, animated": Photo("an animated GIF", several(".gif"), STILL),
    "webp, animated": Photo("an animated WebP", several(".webp"), STILL),
    "png, animated": Photo("an animated PNG", several(".png"), STILL),
    "truncated": Photo("a JPEG that ends in its middle", cut_short, "the picture is damaged or cut off"),
    "empty": Photo("a file of no bytes", bytes_of("me.jpg", b""), "an empty file"),
    "text": Photo("a text called .png", bytes_of("me.png", b"not a picture"), OTHER + ".* but a text"),
    "svg": Photo("an SVG", bytes_of("me.svg", b'<svg xmlns="http://www.w3.org/2000/svg"/>'), OTHER + ".* but a text"),
    "jpeg xl": Photo("a JPEG XL", bytes_of("me.jxl", b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99)), OTHER + ".*save it as PNG"),
    "folder": Photo("a folder", lambda folder: folder, "a folder: expected a picture's file"),
    "pipe": Photo("a pipe", pipe, "a pipe or a device: expected a picture's file"),
    "missing": Photo("no such file", lambda folder: folder / "me.png", "me.png: no such file"),
    "locked": Photo("a file that may not be read", locked, "me.png: it may not be read"),
}  # fmt: skip
