"""What the page shows of a portrait before anything is rendered."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest

from flows.page.portrait_view import POINT, portrait_view, refusal
from s3dnerf.settings.schema import Settings
from s3dnerf.synthesis.synthesizer import PRETRAINED, load_card, trained_settings


@pytest.fixture(scope="module")
def settings() -> Settings:
    return trained_settings(load_card(PRETRAINED))


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    from skimage.data import astronaut

    return astronaut()


def pictures(html: str) -> list[np.ndarray]:
    from PIL import Image

    uris = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri)))) for uri in uris]


def test_a_face_is_shown_aligned_with_its_landmarks_and_in_the_photo(photo: np.ndarray, settings: Settings) -> None:
    view = portrait_view(photo, "only", settings)
    assert (view.usable, view.faces) == (True, 1) and "The face was found." in view.html
    aligned, where = pictures(view.html)
    assert aligned.shape == (512, 512, 3) and where.shape == (512, 512, 3)
    points = np.abs(aligned.astype(int) - POINT).max(axis=2) < 60
    assert 68 * 20 < points.sum() < 68 * 100  # dots of 5 px around 68 places, some of which overlap
    rows, columns = np.nonzero(points)
    assert 0.2 < np.ptp(columns) / 512 < 0.8 and 0.2 < np.ptp(rows) / 512 < 0.8
    assert len(re.findall(r'<img [^>]*alt="[^"]{20,}"', view.html)) == 2


def test_of_several_faces_the_one_that_was_chosen(photo: np.ndarray, settings: Settings) -> None:
    two = np.concatenate([photo, photo[:, ::-1]], axis=1)
    asked = portrait_view(two, "only", settings)
    assert (asked.usable, asked.faces) == (False, 2)
    assert "2 faces of similar size were found: choose the one that is to speak." in asked.html
    assert 'role="alert"' in asked.html and len(pictures(asked.html)) == 1
    left, right = (portrait_view(two, which, settings) for which in ("1", "2"))
    assert "Number 1 of 2, counted from the left, is used." in left.html
    assert "Number 2 of 2, counted from the left, is used." in right.html
    # mirrored halves: the right one's aligned face is the left one's, mirrored
    one, other = pictures(left.html)[0][100:400, 100:400], pictures(right.html)[0][100:400, 100:400]
    assert np.abs(one.astype(int) - other[:, ::-1]).mean() < np.abs(one.astype(int) - other).mean()


def test_what_cannot_be_used_is_said(settings: Settings) -> None:
    view = portrait_view(np.full((300, 300, 3), 90, np.uint8), "only", settings)
    assert (view.usable, view.faces) == (False, 0) and pictures(view.html) == []
    assert "No face was found in the picture of 300×300 px; take one" in view.html


def test_sentences_are_text_and_never_html() -> None:
    assert "Too long &lt;b&gt;.</div>" in refusal("too long <b>")
    assert "a.png: not a picture.</div>" in refusal("a.png: not a picture")
