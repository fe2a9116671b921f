"""Lip crops: exact where they can be, differentiable, the same at any resolution of the frame."""

import numpy as np
import pytest
import torch

from s3dnerf.sync.crops import crop_lips, cut_lips, widened


def literal_crop(frame: np.ndarray, box: list[float], size: int) -> np.ndarray:
    """Bilinear sampling written out: frame (3, h, w), box in 256ths of the frame."""
    _, h, w = frame.shape
    out = np.zeros((3, size, size))
    for r in range(size):
        for c in range(size):
            x = (box[0] + (box[2] - box[0]) * (c + 0.5) / size) * w / 256 - 0.5
            y = (box[1] + (box[3] - box[1]) * (r + 0.5) / size) * h / 256 - 0.5
            x0, y0 = int(np.floor(x)), int(np.floor(y))
            for dx, dy in ((0, 0), (1, 0), (0, 1), (1, 1)):
                weight = (1 - abs(x - (x0 + dx))) * (1 - abs(y - (y0 + dy)))
                out[:, r, c] += weight * frame[:, min(max(y0 + dy, 0), h - 1), min(max(x0 + dx, 0), w - 1)]
    return out


@pytest.mark.parametrize(
    "h, w, box",
    [
        (256, 256, [90.3, 150.7, 171.1, 231.5]),
        (64, 96, [10.0, 20.0, 90.0, 100.0]),
        (128, 128, [-20.0, 200.0, 60.0, 280.0]),
    ],
)
def test_equals_bilinear_sampling_written_out(h, w, box):
    frame = torch.rand(1, 3, h, w, generator=torch.Generator().manual_seed(0))
    crop = crop_lips(frame, torch.tensor([box]), 9)
    assert np.abs(crop[0].numpy() - literal_crop(frame[0].numpy(), box, 9)).max() < 1e-5


def test_a_box_on_the_pixel_grid_is_cut_exactly():
    frame = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(1))
    crop = crop_lips(frame, torch.tensor([[100.0, 120.0, 148.0, 168.0], [3.0, 5.0, 51.0, 53.0]]), 48)
    assert torch.allclose(crop[0], frame[0, :, 120:168, 100:148], atol=1e-4)
    assert torch.allclose(crop[1], frame[1, :, 5:53, 3:51], atol=1e-4)


def test_half_the_resolution_shows_the_same_place():
    y, x = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    frame = torch.stack([x, y, x + y])[None] / 512
    small = torch.nn.functional.avg_pool2d(frame, 2)
    box = torch.tensor([[80.0, 100.0, 176.0, 196.0]])
    assert torch.allclose(crop_lips(frame, box, 48), crop_lips(small, box, 48), atol=1e-4)


def test_gradient_reaches_the_box_and_nothing_else():
    frame = torch.zeros(1, 3, 256, 256, requires_grad=True)
    crop_lips(frame, torch.tensor([[100.0, 120.0, 148.0, 168.0]]), 48).sum().backward()
    assert torch.allclose(frame.grad[0, :, 120:168, 100:148], torch.ones(3, 48, 48), atol=1e-3)
    frame.grad[0, :, 119:169, 99:149] = 0
    assert frame.grad.abs().max() < 1e-6


def test_widened_keeps_the_centre():
    assert torch.equal(widened(torch.tensor([[10.0, 20.0, 30.0, 40.0]]), 1.5), torch.tensor([[5.0, 15.0, 35.0, 45.0]]))


def test_stored_crops_hold_the_plain_crop_inside_their_margin():
    frames = np.random.default_rng(0).integers(0, 256, (5, 256, 256, 3), dtype=np.uint8)
    box = np.array([91.5, 140.25, 150.5, 199.25], np.float32)
    stored = cut_lips(frames, box, 48, 4, batch=2)
    assert stored.shape == (5, 3, 56, 56) and stored.dtype == np.uint8
    plain = crop_lips(
        torch.from_numpy(frames).permute(0, 3, 1, 2).float(), torch.from_numpy(box)[None].expand(5, 4), 48
    )
    assert np.abs(stored[:, :, 4:-4, 4:-4] - plain.numpy()).max() <= 0.51


def test_a_box_a_frame_cuts_each_frame_by_its_own():
    frames = np.random.default_rng(1).integers(0, 256, (5, 256, 256, 3), dtype=np.uint8)
    # one more than frames
    boxes = np.array([[90 + 7 * i, 140 - 3 * i, 150 + 7 * i, 200 - 3 * i] for i in range(6)], np.float32)
    crops = cut_lips(frames, boxes, 48, 4, batch=2)
    for i in range(5):
        assert np.array_equal(crops[i], cut_lips(frames[i : i + 1], boxes[i], 48, 4)[0])
    assert np.array_equal(cut_lips(frames, np.repeat(boxes[:1], 5, 0), 48, 4), cut_lips(frames, boxes[0], 48, 4))
    with pytest.raises(ValueError, match="5 frames, got 4"):
        cut_lips(frames, boxes[:4], 48, 4)
