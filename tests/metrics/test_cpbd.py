"""CPBD against a literal, looping version of python-cpbd 1.0.7's algorithm, written from its description, pixel by
pixel.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.feature import canny

from s3dnerf.metrics import cpbd


def _walk(row: list[float], start: int, step: int, lower: bool) -> int:
    """Follow a row from ``start`` while the next pixel is lower (or higher); the port's count of pixels, at most 101."""
    for margin in range(101):
        inner, outer = start + step * margin, start + step * (margin + 1)
        if outer < 0 or outer >= len(row):
            return margin + 1
        if not (row[outer] < row[inner] if lower else row[outer] > row[inner]):
            return margin + 1
    return 101


def literal_widths(edges: np.ndarray, image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    dy, dx = np.gradient(image)
    angles = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            if dx[y, x] != 0:
                angles[y, x] = math.atan2(dy[y, x], dx[y, x]) * 180 / math.pi
            elif dy[y, x] == math.pi / 2:
                angles[y, x] = 90
    widths = np.zeros(image.shape)
    if not angles.any():
        return widths
    for y in range(1, height - 1):
        row = image[y].tolist()
        for x in range(1, width - 1):
            sector = 45 * np.round(angles[y, x] / 45)
            if edges[y, x] and abs(sector) == 180:
                widths[y, x] = _walk(row, x - 1, -1, lower=False) + _walk(row, x + 1, 1, lower=True)
            elif edges[y, x] and sector == 0:
                widths[y, x] = _walk(row, x - 1, -1, lower=True) + _walk(row, x + 1, 1, lower=False)
    return widths


def literal_sobel(image: np.ndarray) -> np.ndarray:
    height, width = image.shape
    padded = np.pad(image, 1, mode="symmetric")
    strength = np.zeros(image.shape)
    for y in range(height):
        for x in range(width):
            w = padded[y : y + 3, x : x + 3]
            strength[y, x] = ((w[0, 2] + 2 * w[1, 2] + w[2, 2] - w[0, 0] - 2 * w[1, 0] - w[2, 0]) / 8) ** 2
    strength[strength <= 2 * math.sqrt(strength.mean())] = 0
    found = np.zeros(image.shape, bool)
    at = lambda y, x: strength[y, x] if 0 <= y < height and 0 <= x < width else 0.0  # noqa: E731
    for y in range(height):
        for x in range(width):
            s = strength[y, x]
            found[y, x] = (s > at(y, x - 1) and s > at(y, x + 1)) or (s > at(y - 1, x) and s > at(y + 1, x))
    return found


def literal_cpbd(image: np.ndarray) -> float:
    image = image.astype(np.float64)
    marks, widths = canny(image), literal_widths(literal_sobel(image), image)
    histogram, total = np.zeros(101), 0
    for i in range(image.shape[0] // 64):
        for j in range(image.shape[1] // 64):
            part = (slice(64 * i, 64 * i + 64), slice(64 * j, 64 * j + 64))
            if np.count_nonzero(marks[part]) <= 64 * 64 * 0.002:
                continue
            noticeable = 5.0 if int(image[part].max() - image[part].min()) <= 50 else 3.0
            for width in widths[part].ravel():
                if width:
                    histogram[int(round((1 - math.exp(-((width / noticeable) ** 3.6))) * 100))] += 1
                    total += 1
    return float((histogram / total)[:64].sum()) if total else 0.0


def _pictures() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    smooth = gaussian_filter(random.normal(0, 1, (140, 200)), 2.0)
    smooth = (255 * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    slow = np.broadcast_to(
        (np.arange(256) // 2).astype(np.uint8), (64, 256)
    ).copy()  # edges longer than the 100 pixels followed
    slow[:, 200:] = 255 - slow[:, 200:]
    faint = (100 + 20 * (gaussian_filter(random.normal(0, 1, (128, 130)), 1.0) > 0)).astype(np.uint8)  # contrast ≤ 50
    one_edge = np.zeros((64, 128), np.uint8)
    one_edge[30, 60] = 255
    return {
        "noise": random.integers(0, 256, (70, 130), dtype=np.uint8),
        "smooth": smooth,
        "slow": slow,
        "faint": faint,
        "flat": np.full((64, 64), 7, np.uint8),
        "one_edge": one_edge,
        "noisy_ramp": (np.linspace(0, 200, 192)[None] + random.normal(0, 3, (128, 192))).clip(0, 255).astype(np.uint8),
    }


@pytest.mark.parametrize("name", sorted(_pictures()))
def test_equals_the_literal_version(name: str) -> None:
    image = _pictures()[name]
    exact = image.astype(np.float64)
    edges = literal_sobel(exact)
    assert np.array_equal(cpbd.sobel_edges(exact), edges)
    assert np.array_equal(cpbd.edge_widths(edges, image), literal_widths(edges, exact))
    assert cpbd.cpbd_of_grey(image) == pytest.approx(literal_cpbd(image), abs=1e-12)


@pytest.mark.parametrize("seed", range(8))
def test_equals_the_literal_version_on_random_pictures(seed: int) -> None:
    """Any size of at least one block, any blur, contrast and noise, hard edges among it."""
    random = np.random.default_rng(seed)
    shape = tuple(int(s) for s in random.integers(64, 150, 2))
    image = gaussian_filter(random.normal(0, 1, shape), random.uniform(0, 3))
    if seed % 2:
        image = np.where(image > 0, 1.0, 0.0) * random.uniform(0.2, 1)
        image = gaussian_filter(image, random.uniform(0, 1.5))
    image = image / max(np.ptp(image), 1e-9) * random.uniform(20, 255) + random.normal(0, random.uniform(0, 6), shape)
    image = (image - image.min()).clip(0, 255).astype(np.uint8)
    assert cpbd.cpbd_of_grey(image) == pytest.approx(literal_cpbd(image), abs=1e-12)


def test_equals_the_literal_version_on_a_face(shared) -> None:
    import decord

    video = decord.VideoReader(str(shared / "corpora/HDTF/clips/RD_Radio8_000.mp4"))
    for number in (0, 100):
        image = cpbd.grey(video[number].asnumpy())
        found = literal_cpbd(image)
        assert 0.05 < found < 0.9
        assert cpbd.cpbd_of_grey(image) == pytest.approx(found, abs=1e-12)


def test_grey_is_pillows() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert np.array_equal(cpbd.grey(frame), np.asarray(Image.fromarray(frame).convert("L")))


def test_falls_with_blur() -> None:
    """A picture with a natural spectrum (amplitude 1/f), blurred more and more."""
    random = np.random.default_rng(1)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(256), np.fft.fftfreq(256)))
    radius[0, 0] = 1
    sharp = np.fft.ifft2(np.fft.fft2(random.normal(size=(256, 256))) / radius).real
    sharp = 128 + 40 * sharp / sharp.std()
    frames = (
        np.stack([gaussian_filter(sharp, s) for s in (0, 0.5, 0.7, 0.9, 1.2, 1.6, 2.0)])
        .clip(0, 255)
        .round()
        .astype(np.uint8)
    )
    values = cpbd.cpbd(np.repeat(frames[..., None], 3, axis=-1))
    assert (np.diff(values) < 0).all() and values[0] > 0.7 and values[-1] < 0.05, values


def test_refuses_small_frames() -> None:
    with pytest.raises(ValueError, match="at least 64"):
        cpbd.cpbd(np.zeros((1, 63, 100, 3), np.uint8))
