"""Files of pictures: HEIC and AVIF with their colours, where a decoder is missing, what is no file; transparency."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s3dnerf.core.errors import SettingsError
from s3dnerf.video import hdr
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.pictures import colour_of, read_picture
from tests.video.picture_kinds import (
    ALPHA,
    GREY,
    HIDDEN,
    P3,
    RGB_OF_GREY,
    RGBA,
    SCENE,
    TURNS,
    error,
    in_srgb,
    matrix_profile,
    over_white,
    refused,
    saved,
)  # fmt: skip

# HEIC, by pillow-heif where it is installed; colours that HEIC and AVIF name by number


def heic(path: Path, picture: np.ndarray, mode: str = "RGB", **how: object) -> Path:
    made = pytest.importorskip("pillow_heif").from_bytes(mode, picture.shape[1::-1], picture.tobytes())
    made.save(path, quality=95, chroma=444, **how)
    return path


def test_a_heic_is_read(tmp_path: Path) -> None:
    assert error(heic(tmp_path / "a.heic", SCENE), SCENE)[1] < 1.5
    assert error(heic(tmp_path / "b.heic", SCENE.astype(np.uint16) * 257, "RGB;16"), SCENE)[1] < 1.5  # 10 bit
    assert error(heic(tmp_path / "c.heic", RGBA, "RGBA"), over_white(SCENE, ALPHA))[1] < 1.5
    assert error(heic(tmp_path / "d.heic", GREY, "L"), RGB_OF_GREY)[1] < 1.5


@pytest.mark.parametrize("orientation", TURNS)
def test_a_heic_is_turned_once(orientation: int, tmp_path: Path) -> None:
    """pillow-heif turns it itself, by the file's own property."""
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(TURNS[orientation](SCENE))
    path = heic(tmp_path / "a.heic", stored, exif=exif.tobytes())
    assert error(path, SCENE)[1] < 2


def test_a_heic_s_profile_counts(tmp_path: Path) -> None:
    path = heic(tmp_path / "a.heic", SCENE, icc_profile=matrix_profile(P3, 2.2), icc_profile_type="prof")
    assert error(path, in_srgb(SCENE, P3, 2.2))[1] < 2


def test_of_a_heic_with_several_pictures_the_primary_one_counts(tmp_path: Path) -> None:
    made = pytest.importorskip("pillow_heif").from_pillow(Image.fromarray(255 - SCENE))
    made.add_from_pillow(Image.fromarray(SCENE))
    made.save(tmp_path / "a.heic", quality=95, chroma=444, primary_index=1)
    assert error(tmp_path / "a.heic", SCENE)[1] < 1.5


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_half_a_heic_is_none(share: float, tmp_path: Path) -> None:
    data = heic(tmp_path / "a.heic", SCENE).read_bytes()
    refused(tmp_path / "a.heic", data[: int(share * len(data))])


def test_where_a_decoder_is_missing_it_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "me.jpg"
    path.write_bytes(b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(100))
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "pillow_heif", None)
        with pytest.raises(VideoError, match=r"me\.jpg: HEIC needs pillow-heif: pip install 's3dnerf\[photos\]'"):
            read_picture(path)
    saved(tmp_path / "a.avif", Image.fromarray(SCENE))
    with monkeypatch.context() as without:
        without.setattr("PIL.features.check", lambda name: name != "avif")
        without.setattr("s3dnerf.video.picture_files.FORMATS", ("JPEG", "PNG"))
        with pytest.raises(VideoError, match="built without the decoder of AVIF: pip install -U pillow"):
            read_picture(tmp_path / "a.avif")


@pytest.mark.parametrize(
    ("curve", "primaries"), [((13, "sdr"), (12, "p3")), ((16, "pq"), (9, "bt2020")), ((18, "hlg"), (9, "bt2020"))]
)
@pytest.mark.parametrize("suffix", [".avif", ".heic"])
def test_colours_named_by_number_are_shown_as_an_ordinary_screen_does(
    suffix: str, curve: tuple[int, str], primaries: tuple[int, str], tmp_path: Path
) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".heic":
        heic(path, SCENE)
    else:
        saved(path, Image.fromarray(SCENE), quality=95, subsampling="4:4:4")
    data = bytearray(path.read_bytes())
    at = data.find(b"colrnclx") + 8
    assert at > 8
    data[at : at + 4] = struct.pack(">HH", primaries[0], curve[0])
    path.write_bytes(data)
    expected = hdr.shown(SCENE.astype(np.uint16) * 257, curve[1], primaries[1])
    assert error(path, expected)[1] < 3 and np.abs(expected.astype(float) - SCENE).mean() > 3


# the colour behind transparency


def test_transparency_lies_over_the_colour_that_was_asked_for(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack([HIDDEN, ALPHA])))
    share = ALPHA[..., None] / 255
    for name in ("darkgreen", "#006400"):
        found = read_picture(path, colour_of(name))
        assert np.abs(found - (share * HIDDEN + (1 - share) * [0, 100, 0])).max() <= 1
        assert (found[ALPHA == 0] == (0, 100, 0)).all()
    for wrong in ("blurple", "", "#12", "#00640080"):
        with pytest.raises(SettingsError, match=r"^--background: got .*accepted: a colour's name"):
            colour_of(wrong, "--")


# what is no still picture


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for given, said in ((tmp_path, "a folder: expected"), (tmp_path / "pipe", "a pipe or a device: expected")):
        with pytest.raises(VideoError, match=said):
            read_picture(given)
    (tmp_path / "secret.png").write_bytes(b"x")
    (tmp_path / "secret.png").chmod(0)
    if os.geteuid():
        with pytest.raises(VideoError, match="secret.png: it may not be read"):
            read_picture(tmp_path / "secret.png")
