"""Photos: what is read is upright RGB; what cannot be read is named, and a huge header is refused before anything is
decoded.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from s3dnerf.video.encoding import VideoError
from s3dnerf.video.pictures import read_picture


def test_a_photo_comes_back_as_rgb(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png"), picture)


@pytest.mark.parametrize(
    ("data", "said"), [(None, "no such file"), (b"not a picture", "not a picture"), (b"", "not a picture")]
)
def test_what_is_no_picture_is_named(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "a.jpg"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(VideoError, match=said):
        read_picture(path)


def test_a_huge_header_is_refused(tmp_path: Path) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    path = tmp_path / "bomb.png"
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100))]
    packed = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(packed))
    with pytest.raises(VideoError) as error:
        read_picture(path)
    assert error.value.reason == "too_large"
