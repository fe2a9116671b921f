"""One small picture in many kinds, how far what is read lies from it, and colour profiles made here."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from s3dnerf.video.encoding import VideoError
from s3dnerf.video.pictures import read_picture

WIDTH, HEIGHT = 120, 80


def scene() -> np.ndarray:
    """Smooth colours with a bright disc off the centre, uint8 (80, 120, 3): no two turns of it are alike."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    picture = np.stack([40 + x, 200 - y, 60 + (x + y) / 2], axis=-1)
    picture[(x - 30) ** 2 + (y - 20) ** 2 < 150] = (230, 210, 180)
    return picture.astype(np.uint8)


SCENE = scene()
ALPHA = np.clip(np.mgrid[:HEIGHT, :WIDTH][1] * 3, 0, 255).astype(np.uint8)  # 0 at the left, 255 from the 85th column on


def saved(path: Path, picture: Image.Image, **how: object) -> Path:
    picture.save(path, **how)
    return path


def over_white(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return np.rint(share * picture + (1 - share) * 255)


def error(path: Path, expected: np.ndarray) -> tuple[float, float]:
    """The largest and the mean difference, levels of 255."""
    found = read_picture(path)
    assert found.dtype == np.uint8 and found.shape == expected.shape and found.flags.writeable
    apart = np.abs(found.astype(float) - expected)
    return float(apart.max()), float(apart.mean())


GREY = np.asarray(Image.fromarray(SCENE).convert("L"))
RGBA = np.dstack([SCENE, ALPHA])
HIDDEN = np.where(ALPHA[..., None] == 0, np.uint8(255) - SCENE, SCENE)  # other colours where nothing shows
RGB_OF_GREY = np.repeat(GREY[..., None], 3, axis=-1)
TURNS = {  # EXIF orientation: how the upright picture is stored
    1: lambda p: p, 2: np.fliplr, 3: lambda p: np.rot90(p, 2), 4: np.flipud, 5: lambda p: p.swapaxes(0, 1),
    6: lambda p: np.rot90(p, 1), 7: lambda p: np.rot90(p, 2).swapaxes(0, 1), 8: lambda p: np.rot90(p, -1),
}  # fmt: skip


# colour profiles, made here: no file of theirs is needed


def profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 ICC profile of these tags."""
    texts = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"made\0" + bytes(78), b"cprt": b"text\0\0\0\0none\0"}
    tags = texts | {b"wtpt": xyz(0.9642, 1.0, 0.8249)} | tags
    table, body, at = b"", b"", 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + struct.pack(">II", at + len(body), len(data))
        body += data
    size = at + len(body)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02400000, kind, space, pcs) + bytes(12) + b"acsp" + bytes(24)
    head += bytes(4) + struct.pack(">3i", *(round(v * 65536) for v in (0.9642, 1.0, 0.8249)))
    return head + bytes(128 - len(head)) + struct.pack(">I", len(tags)) + table + body


def xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in values))


# columns: red, green and blue of Display P3 in XYZ adapted to D50 (Bradford)
P3 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])


def matrix_profile(primaries: np.ndarray, gamma: float) -> bytes:
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    columns = {name: xyz(*column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries.T)}
    return profile(b"RGB ", b"XYZ ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def in_srgb(picture: np.ndarray, primaries: np.ndarray, gamma: float) -> np.ndarray:
    linear = (picture / 255) ** gamma @ (np.linalg.inv(SRGB) @ primaries).T
    linear = np.clip(linear, 0, 1)
    return np.rint(255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def refused(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(VideoError, match="the picture is damaged or cut off") as caught:
        read_picture(path)
    assert (
        caught.value.reason == "damaged" and str(path) in str(caught.value) and len(str(caught.value).splitlines()) == 1
    )
