"""SSIM and PSNR against scikit-image, over sizes and kinds of pictures."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from s3dnerf.metrics import psnr, ssim


def _pair(height: int, width: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(height * 1000 + width)
    truth = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    if kind == "extremes":
        truth = np.where(truth > 127, np.uint8(255), np.uint8(0))
    noise = random.normal(0, 12, truth.shape)
    other = (
        truth if kind == "equal" else (truth + noise).clip(0, 255).astype(np.uint8) if kind == "noisy" else 255 - truth
    )
    return other, truth


@pytest.mark.parametrize("kind", ["equal", "noisy", "extremes"])
@pytest.mark.parametrize("size", [(7, 7), (9, 30), (64, 64), (256, 256)])
def test_ssim_is_scikit_images(size: tuple[int, int], kind: str) -> None:
    generated, truth = _pair(*size, kind)
    expected = [structural_similarity(x, y, channel_axis=-1) for x, y in zip(generated, truth)]
    assert np.allclose(ssim.ssim(generated, truth), expected, rtol=0, atol=1e-10)


def test_ssim_falls_with_a_shift() -> None:
    random = np.random.default_rng(0)
    wide = (
        np.repeat(np.cumsum(random.integers(-3, 4, (64, 96, 1)), axis=1) + 128, 3, axis=2).clip(0, 255).astype(np.uint8)
    )
    values = [ssim.ssim(wide[None, :, k : k + 64], wide[None, :, :64])[0] for k in range(4)]
    assert values[0] == 1.0 and all(a > b for a, b in zip(values, values[1:])), values


@pytest.mark.parametrize("kind", ["noisy", "extremes"])
@pytest.mark.parametrize("size", [(8, 8), (33, 50), (256, 256)])
def test_psnr_is_scikit_images(size: tuple[int, int], kind: str) -> None:
    generated, truth = _pair(*size, kind)
    expected = [peak_signal_noise_ratio(y, x, data_range=255) for x, y in zip(generated, truth)]
    assert np.allclose(psnr.psnr(generated, truth), expected, rtol=1e-12)


def test_psnr_of_equal_frames_is_no_number_in_a_table() -> None:
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    measured = psnr.measure(frames, frames)
    assert measured.value is None and "infinite" in measured.reason and measured.failed == 3
    other = frames.copy()
    other[0] = 1
    measured = psnr.measure(other, frames)
    assert (measured.counted, measured.failed) == (1, 2) and measured.value == pytest.approx(48.1308, abs=1e-4)


def test_shapes_must_agree() -> None:
    with pytest.raises(Exception, match="shape|h"):
        ssim.ssim(np.zeros((1, 8, 8, 3), np.uint8), np.zeros((1, 8, 9, 3), np.uint8))
