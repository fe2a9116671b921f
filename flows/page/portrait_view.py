"""What the page shows of a portrait before anything is rendered: the aligned face with its landmarks as the generator
will see it, and where in the photo it was found; or why the photo cannot be used.

Pictures go into the page itself as data, so that no further file of a person's face lies on disk.
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from s3dnerf.faces.types import REGIONS, Face, FaceError, main_face
from s3dnerf.settings.schema import Settings

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

PHOTO_PX, ALIGNED_PX = 720, 512
LINE, OTHER, POINT = (37, 99, 235), (110, 110, 110), (0, 255, 200)  # the face in use, other faces, landmarks


@dataclass(frozen=True)
class PortraitView:
    """What a portrait looks like to the generator.

    Attributes
    ----------
    html : str
        A figure with what was found, or a refusal with where the faces are.
    faces : int
        How many faces of similar size there are to choose from.
    usable : bool
    """

    html: str
    faces: int
    usable: bool


def portrait_view(picture: np.ndarray, which: str, settings: Settings) -> PortraitView:
    """Find, align and draw a face.

    Parameters
    ----------
    picture : uint8 (h, w, 3), RGB
    which : as for :func:`s3dnerf.synthesis.portrait.chosen_face`
    settings : the generator's

    A photo that cannot be used gives a view that says why; raises MissingWeights where the detector's files are absent.
    """
    from s3dnerf.faces.detectors import face_backend
    from s3dnerf.synthesis.photo_faces import faces_in
    from s3dnerf.synthesis.portrait import chosen_face, prepare_portrait
    from s3dnerf.synthesis.whole_picture import fitting

    photo = fitting(picture)
    size_px = photo.shape[1], photo.shape[0]
    backend = face_backend(settings.align)
    try:
        faces = faces_in(photo, backend, settings.align)
    except FaceError as error:
        return PortraitView(refusal(error.detail), 0, usable=False)
    _, rivals = main_face(faces)
    row = [chosen_face(faces, str(number), size_px) for number in range(1, rivals + 1)]  # as they are counted
    try:
        shown = prepare_portrait(photo, settings, backend=backend, which=which, faces=faces)
    except FaceError as error:
        several = error.reason == "several_faces"
        said = f"{rivals} faces of similar size were found: choose the one that is to speak." if several else None
        where = _photo(photo, row, None) if rivals else ""
        alt = f"The photo with {_faces(rivals)} marked" + (" and numbered from the left." if rivals > 1 else ".")
        figure = f'<figure class="s3-face">{_image(where, alt)}</figure>' if where else ""
        return PortraitView(refusal(said or error.detail) + figure, rivals, usable=False)
    used = chosen_face(faces, which, size_px)
    aligned = _aligned(shown.frame, shown.landmarks)
    where = _photo(photo, row, used)
    said = "The face was found. " + _which(row, used, len(faces))
    alts = (
        "The aligned face with 68 landmarks on jaw, brows, nose, eyes and lips.",
        "The photo with a frame around the face that is used.",
    )
    figure = f'<figure class="s3-face s3-two">{_image(aligned, alts[0])}{_image(where, alts[1])}'
    caption = f"<figcaption>{html.escape(said)} Do the points lie on it? If not, take another photo.</figcaption>"
    return PortraitView(f'<div role="status">{figure}{caption}</figure></div>', rivals, usable=True)


def refusal(text: str) -> str:
    """A sentence that says why something cannot be used, as HTML; read out at once by a screen reader."""
    first = text.partition(" ")[0]
    sentence = text if "." in first else text[:1].upper() + text[1:]  # a file's name stays as it is
    sentence += "" if sentence.endswith((".", "!", "?")) else "."
    return f'<div role="alert" class="s3-refused">{html.escape(sentence)}</div>'


def _faces(count: int) -> str:
    return "1 face" if count == 1 else f"{count} faces"


def _which(row: list[Face], used: Face, found: int) -> str:
    """Which of several faces is used, in words."""
    if len(row) > 1:
        number = next(i for i, face in enumerate(row, 1) if face == used)
        return f"Number {number} of {len(row)}, counted from the left, is used."
    return f"The largest of {found} is used." if found > 1 else ""


def _image(uri: str, alt: str) -> str:
    return f'<img src="{uri}" alt="{html.escape(alt, quote=True)}">'


def _uri(picture: Image.Image) -> str:
    """A picture as a data URI."""
    data = io.BytesIO()
    picture.save(data, "JPEG", quality=88)
    return "data:image/jpeg;base64," + base64.b64encode(data.getvalue()).decode()


def _aligned(frame: np.ndarray, landmarks: np.ndarray) -> str:
    """The aligned face (256, 256, 3), enlarged, with landmarks (68, 2) and the lines that join them."""
    from PIL import Image, ImageDraw

    scale = ALIGNED_PX / frame.shape[0]
    picture = Image.fromarray(frame).resize((ALIGNED_PX, ALIGNED_PX), Image.Resampling.LANCZOS)
    draw = ImageDraw.Draw(picture)
    points = landmarks * scale
    for part in REGIONS.values():
        for x, y in points[part]:
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=POINT, outline=(0, 60, 50))
    return _uri(picture)


def _photo(photo: np.ndarray, row: list[Face], used: Face | None) -> str:
    """The photo, reduced, with a frame around each face there is to choose from, numbered where there are several."""
    from PIL import Image, ImageDraw

    picture = Image.fromarray(photo)
    picture.thumbnail((PHOTO_PX, PHOTO_PX))
    scale = picture.width / photo.shape[1]
    draw = ImageDraw.Draw(picture)
    for number, face in enumerate(row, 1):
        box = [v * scale for v in face.box_px]
        colour, width = (LINE, 5) if used is None or face == used else (OTHER, 3)
        draw.rectangle([box[0] - 1, box[1] - 1, box[2] + 1, box[3] + 1], outline=(255, 255, 255), width=width + 2)
        draw.rectangle(box, outline=colour, width=width)
        if len(row) > 1:
            _number(draw, number, box[0], box[1], colour)
    return _uri(picture)


def _number(draw: ImageDraw.ImageDraw, number: int, x: float, y: float, colour: tuple[int, int, int]) -> None:
    """A face's number above its frame, or in it where there is no room above."""
    from PIL import ImageFont

    font = ImageFont.load_default(size=26)
    _, _, right, bottom = draw.textbbox((0, 0), str(number), font=font)
    width, height = right + 14, bottom + 10
    top = y - height if y > height else y
    draw.rectangle((x, top, x + width, top + height), fill=colour)
    draw.text((x + 7, top + 4), str(number), fill=(255, 255, 255), font=font)
