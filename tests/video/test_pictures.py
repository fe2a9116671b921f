"""Photos: upright, in sRGB, over white, whole or not at all; each kind by its error against the same picture as plain PNG."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from s3dnerf.video import pictures
from s3dnerf.video.encoding import VideoError
from s3dnerf.video.pictures import read_picture
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
    profile,
    refused,
    saved,
)  # fmt: skip


def test_a_photo_comes_back_as_rgb(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_picture(saved(tmp_path / "a.png", Image.fromarray(picture))), picture)


# format's suffix, picture, how it is saved, what is expected, largest difference, mean difference
KINDS = {
    "png": (".png", Image.fromarray(SCENE), {}, SCENE, 0, 0),
    "bmp": (".bmp", Image.fromarray(SCENE), {}, SCENE, 0, 0),
    "tiff": (".tif", Image.fromarray(SCENE), {}, SCENE, 0, 0),
    "tiff, lzw": (".tif", Image.fromarray(SCENE), {"compression": "tiff_lzw"}, SCENE, 0, 0),
    "tiff, deflate": (".tiff", Image.fromarray(SCENE), {"compression": "tiff_adobe_deflate"}, SCENE, 0, 0),
    "webp, lossless": (".webp", Image.fromarray(SCENE), {"lossless": True}, SCENE, 0, 0),
    "webp": (".webp", Image.fromarray(SCENE), {"quality": 95}, SCENE, 60, 1.5),
    "jpeg": (".jpg", Image.fromarray(SCENE), {"quality": 95, "subsampling": 0}, SCENE, 25, 1.0),
    "jpeg, progressive": (".jpg", Image.fromarray(SCENE), {"quality": 95, "subsampling": 0, "progressive": True}, SCENE, 25, 1.0),
    "jpeg, grey": (".jpg", Image.fromarray(GREY), {"quality": 95}, RGB_OF_GREY, 25, 1.0),
    "jpeg, cmyk": (".jpg", Image.fromarray(SCENE).convert("CMYK"), {"quality": 95, "subsampling": 0}, SCENE, 25, 1.5),
    "avif": (".avif", Image.fromarray(SCENE), {"quality": 95}, SCENE, 60, 1.5),
    "gif": (".gif", Image.fromarray(GREY), {}, RGB_OF_GREY, 0, 0),
    "png, grey": (".png", Image.fromarray(GREY), {}, RGB_OF_GREY, 0, 0),
    "png, 1 bit": (".png", Image.fromarray(GREY > 128), {}, np.repeat((GREY > 128)[..., None] * 255, 3, axis=-1), 0, 0),
    "png, 16 bit grey": (".png", Image.fromarray(GREY.astype(np.uint16) * 257), {}, RGB_OF_GREY, 0, 0),
    "tiff, 16 bit grey": (".tif", Image.fromarray(GREY.astype(np.uint16) * 257), {}, RGB_OF_GREY, 0, 0),
    "png, palette": (".png", Image.fromarray(GREY).convert("P"), {}, RGB_OF_GREY, 0, 0),
    "png, rgba": (".png", Image.fromarray(RGBA), {}, over_white(SCENE, ALPHA), 1, 0.5),
    "png, hidden colours": (".png", Image.fromarray(np.dstack([HIDDEN, ALPHA])), {}, over_white(SCENE, ALPHA), 1, 0.5),
    "webp, hidden colours": (".webp", Image.fromarray(np.dstack([HIDDEN, ALPHA])), {"lossless": True, "exact": True}, over_white(SCENE, ALPHA), 1, 0.5),
    "tiff, rgba": (".tif", Image.fromarray(RGBA), {}, over_white(SCENE, ALPHA), 1, 0.5),
    "png, grey and alpha": (".png", Image.fromarray(np.dstack([GREY, ALPHA])), {}, over_white(RGB_OF_GREY, ALPHA), 1, 0.5),
    "png, palette and alpha": (".png", Image.fromarray(GREY).convert("P"), {"transparency": bytes(range(256))}, over_white(RGB_OF_GREY, GREY), 1, 0.5),
    "png, one clear colour": (".png", Image.fromarray(SCENE), {"transparency": (230, 210, 180)}, np.where((SCENE == (230, 210, 180)).all(-1, keepdims=True), 255, SCENE), 0, 0),
    "png, one clear grey": (".png", Image.fromarray(GREY), {"transparency": int(GREY[0, 0])}, np.where(RGB_OF_GREY == GREY[0, 0], 255, RGB_OF_GREY), 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_picture_is_near_the_same_as_plain_png(kind: str, tmp_path: Path) -> None:
    suffix, picture, how, expected, most, mean = KINDS[kind]
    found = error(saved(tmp_path / f"a{suffix}", picture, **how), np.asarray(expected, float))
    assert found[0] <= most and found[1] <= mean, found


def png16(path: Path, picture: np.ndarray) -> Path:
    """RGB of 16 bit, which Pillow does not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in picture.astype(np.uint16) * 257)
    header = struct.pack(">IIBBBBB", picture.shape[1], picture.shape[0], 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(chunk(n, d) for n, d in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    )
    return path


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def test_sixteen_bits_of_colour(tmp_path: Path) -> None:
    assert error(png16(tmp_path / "a.png", SCENE), SCENE) == (0, 0)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif", ".avif"])
def test_a_picture_is_turned_as_its_camera_was_held(orientation: int, suffix: str, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    stored = Image.fromarray(np.ascontiguousarray(TURNS[orientation](SCENE)))
    path = saved(tmp_path / f"a{suffix}", stored, exif=exif, **({} if suffix in (".png", ".tif") else {"quality": 95}))
    assert error(path, SCENE)[1] < 2


def test_a_picture_of_sixteen_bits_is_turned_as_well(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(GREY)).astype(np.uint16) * 257)
    assert error(saved(tmp_path / "a.png", stored, exif=exif), RGB_OF_GREY) == (0, 0)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp", ".jpg", ".avif"])
def test_a_wide_gamut_is_brought_into_srgb(suffix: str, tmp_path: Path) -> None:
    expected = in_srgb(SCENE, P3, 2.2)
    how = {".webp": {"lossless": True}, ".jpg": {"quality": 98, "subsampling": 0}, ".avif": {"quality": 98}}.get(
        suffix, {}
    )
    path = saved(tmp_path / f"a{suffix}", Image.fromarray(SCENE), icc_profile=matrix_profile(P3, 2.2), **how)
    most, mean = error(path, expected)
    assert mean < (1.0 if suffix in (".png", ".tif", ".webp") else 2.0) and (
        most <= 3 or suffix in (".jpg", ".avif")
    ), (most, mean)
    assert np.abs(expected - SCENE).mean() > 4  # what reading it without its profile would be off by


def test_a_profile_with_transparency(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.dstack([HIDDEN, ALPHA])), icc_profile=matrix_profile(P3, 2.2))
    assert error(path, over_white(in_srgb(SCENE, P3, 2.2), ALPHA))[0] <= 3


def test_srgb_s_own_profile_changes_no_byte(tmp_path: Path) -> None:
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert error(saved(tmp_path / "a.png", Image.fromarray(SCENE), icc_profile=own), SCENE) == (0, 0)


def cmyk_profile(darkest: int) -> bytes:
    """A press whose black is Lab's lightness ``darkest`` of 255, whose other inks do nothing: neutral, so that its
    greys are known in any colour space."""
    line = bytes(range(256))
    nodes = b"".join(bytes([darkest if k else 255, 128, 128]) for _ in range(8) for k in (0, 1))
    identity = b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + line * 4 + nodes + line * 3
    return profile(b"CMYK", b"Lab ", {b"A2B0": lut})


def test_inks_are_shown_by_their_profile(tmp_path: Path) -> None:
    black = np.zeros((8, 256, 4), np.uint8)
    black[..., 3] = np.arange(256)
    path = saved(tmp_path / "a.tif", Image.fromarray(black, "CMYK"), icc_profile=cmyk_profile(100))
    lightness = (255 + (100 - 255) * np.arange(256) / 255) / 2.55
    linear = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness / 903.3)
    linear = (linear - linear[-1]) / (1 - linear[-1])  # the press' darkest is shown as black, as viewers do
    grey = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    most, mean = error(path, np.broadcast_to(grey[None, :, None], (8, 256, 3)))
    assert most <= 9 and mean <= 1.5, (most, mean)  # the table has 8 bits, few of them for what is nearly black
    assert np.abs(grey - np.arange(255, -1, -1)).mean() > 15  # what reading it without its profile would be off by


@pytest.mark.parametrize(
    "given", [b"not a profile", cmyk_profile(0), matrix_profile(P3, 2.2)[:200]], ids=["noise", "of inks", "half"]
)
def test_a_profile_that_does_not_fit_is_left_out_and_said(
    given: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert error(saved(tmp_path / "a.png", Image.fromarray(SCENE), icc_profile=given), SCENE) == (0, 0)
    (line,) = caplog.messages
    assert "a.png: its colour profile" in line


# damage


def pictures_to_damage() -> dict[str, bytes]:
    made = {}
    random = np.random.default_rng(0).integers(0, 9, (240, 320, 3), dtype=np.uint8)  # so that every row takes its bytes
    picture = Image.fromarray(np.asarray(Image.fromarray(SCENE).resize((320, 240))) + random)
    for name, form, how in (
        ("jpeg", "JPEG", {"quality": 90}), ("jpeg, progressive", "JPEG", {"progressive": True}), ("png", "PNG", {}),
        ("webp", "WEBP", {}), ("webp, lossless", "WEBP", {"lossless": True}), ("tiff", "TIFF", {}),
        ("tiff, lzw", "TIFF", {"compression": "tiff_lzw"}), ("tiff, deflate", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("bmp", "BMP", {}), ("avif", "AVIF", {}), ("gif", "GIF", {}),
    ):  # fmt: skip
        data = io.BytesIO()
        picture.save(data, form, **how)
        made[name] = data.getvalue()
    return made


WHOLE = pictures_to_damage()


@pytest.mark.parametrize("share", [0.05, 0.5, 0.98])
@pytest.mark.parametrize("kind", WHOLE)
def test_half_a_picture_is_none(kind: str, share: float, tmp_path: Path) -> None:
    data = WHOLE[kind]
    (tmp_path / "whole").write_bytes(data)
    assert read_picture(tmp_path / "whole").shape == (240, 320, 3)
    refused(tmp_path / "me.jpg", data[: int(share * len(data))])


@pytest.mark.parametrize("kind", ["jpeg", "jpeg, progressive"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_jpeg_that_was_cut_and_closed_again_is_damaged(kind: str, share: float, tmp_path: Path) -> None:
    """A decoder fills up the rest with grey, and no program says a word."""
    refused(tmp_path / "me.jpg", WHOLE[kind][: int(share * len(WHOLE[kind]))] + b"\xff\xd9")


@pytest.mark.parametrize("kind", ["png", "avif", "jpeg"])
def test_bytes_that_were_lost_in_the_middle(kind: str, tmp_path: Path) -> None:
    """In formats that let anybody see it: BMP, plain TIFF and lossy WebP hold no sum of their bytes."""
    data, at = WHOLE[kind], len(WHOLE[kind]) // 2
    refused(tmp_path / "me", data[:at] + bytes(60) + data[at + 60 :])


def test_what_is_behind_a_picture_does_no_harm(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    for kind in ("jpeg", "png", "webp"):
        (tmp_path / "me").write_bytes(WHOLE[kind] + bytes(100))
        assert read_picture(tmp_path / "me").shape == (240, 320, 3)
    assert capfd.readouterr().err == ""


def test_the_pictures_that_this_project_got_wrong(shared: Path) -> None:
    if not (shared / "inputs").is_dir():
        pytest.skip("needs ../shared/inputs")
    with pytest.raises(VideoError, match=r"trunc\.webp: the picture is damaged or cut off"):
        read_picture(shared / "inputs/trunc.webp")
    found = read_picture(shared / "inputs/alpha_garbage.png")
    alpha = np.asarray(Image.open(shared / "inputs/alpha_garbage.png").convert("RGBA"))[..., 3]
    assert (alpha == 0).any() and (found[alpha == 0] == 255).all()


@pytest.mark.parametrize(
    ("data", "said"), [(None, "no such file"), (b"not a picture", "not a picture"), (b"", "not a picture")]
)
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "a.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(VideoError, match=said):
        read_picture(path)


@pytest.mark.parametrize(("form", "how"), [("PNG", {}), ("WEBP", {"lossless": True}), ("AVIF", {}), ("GIF", {})])
def test_an_animation_is_refused(form: str, how: dict, tmp_path: Path) -> None:
    frames = [Image.fromarray(np.roll(SCENE, 10 * i, axis=1)) for i in range(3)]
    frames[0].save(tmp_path / "a", form, save_all=True, append_images=frames[1:], **how)
    with pytest.raises(VideoError, match="an animation of 3 pictures: save one of them as PNG and give that"):
        read_picture(tmp_path / "a")


def test_of_several_pages_and_of_a_phone_s_several_pictures_the_first_counts(tmp_path: Path) -> None:
    others = [Image.fromarray(np.full((40, 60, 3), 9, np.uint8))]
    Image.fromarray(SCENE).save(tmp_path / "a.tif", save_all=True, append_images=others)
    assert error(tmp_path / "a.tif", SCENE) == (0, 0)
    Image.fromarray(SCENE).save(tmp_path / "a.mpo", save_all=True, append_images=others, quality=95, subsampling=0)
    assert error(tmp_path / "a.mpo", SCENE)[1] < 1


OTHER = {
    "jpeg xl": (b"\0\0\0\x0cJXL \r\n\x87\n", "but a picture of another format: save it as PNG"),
    "jpeg xl without a container": (b"\xff\x0a", "but a picture of another format: save it as PNG"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>' + b" " * 100, "but a text|but nothing that is known here"),
    "sound": (b"RIFF\0\0\0\0WAVEfmt ", "but a sound"),
    "video": (b"\0\0\0\x18ftypisom", "but a video or a sound"),
    "document": (b"%PDF-1.7", "but a document"),
}


@pytest.mark.parametrize("kind", OTHER)
def test_what_else_comes_as_a_portrait_is_named_as_what_it_is(kind: str, tmp_path: Path) -> None:
    (tmp_path / "me.jpg").write_bytes(OTHER[kind][0] + bytes(100))
    with pytest.raises(VideoError, match=OTHER[kind][1]) as caught:
        read_picture(tmp_path / "me.jpg")
    assert "not a picture in a format that is read here" in str(caught.value)


def test_numbers_without_a_range_are_refused(tmp_path: Path) -> None:
    saved(tmp_path / "a.tif", Image.fromarray(SCENE[..., 0].astype(np.float32)))
    with pytest.raises(VideoError, match="colours stored as F are not read here: save it as an 8 bit PNG"):
        read_picture(tmp_path / "a.tif")


def test_a_huge_header_is_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100))]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(name, data) for name, data in chunks))
    with pytest.raises(VideoError) as caught:
        read_picture(path)
    assert caught.value.reason == "too_large"


def test_a_huge_avif_is_refused_before_it_is_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "decode", lambda *_: pytest.fail("decoded"))
    small = io.BytesIO()
    Image.new("RGB", (64, 64)).save(small, "AVIF")
    for side in (12_000, 16_384):
        at = small.getvalue().find(b"ispe") + 8
        (tmp_path / "a").write_bytes(
            small.getvalue()[:at] + struct.pack(">II", side, side) + small.getvalue()[at + 8 :]
        )
        with pytest.raises(VideoError) as caught:
            read_picture(tmp_path / "a")
        assert caught.value.reason == "too_large"
