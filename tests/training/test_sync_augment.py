"""Variation in training: what it may change and what not."""

import numpy as np
import torch

from s3dnerf.training.sync_augment import plain_lips, varied_lips, varied_mel
from tests.margins import Between, Margin


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def lips(b=6):
    return torch.randint(0, 256, (b, 5, 3, 56, 56), generator=generator(1), dtype=torch.uint8)


def test_plain_is_the_middle_in_unit_range():
    plain = plain_lips(lips(), 4)
    assert plain.shape == (6, 5, 3, 48, 48) and torch.equal(plain[2, 1], lips()[2, 1, :, 4:52, 4:52].float() / 255)


def test_varied_lips_differ_between_windows_and_stay_in_range():
    same = lips(1).expand(6, -1, -1, -1, -1).contiguous()
    out = varied_lips(same, 4, generator())
    assert out.shape == (6, 5, 3, 48, 48) and 0 <= out.min() and out.max() <= 1
    assert (out[0] - out[1]).abs().mean() > VARIED.bounds["windows apart"].low
    assert torch.equal(out, varied_lips(same, 4, generator())) and not torch.equal(
        out, varied_lips(same, 4, generator(5))
    )


def test_the_five_frames_of_a_window_move_together():
    still = lips()[:, :1].expand(-1, 5, -1, -1, -1).contiguous()
    out = varied_lips(still, 4, generator())
    assert (out[:, 1:] - out[:, :1]).abs().mean() < VARIED.bounds["frames of a window apart"].high  # noise alone


def areas_of_a_mouth(seed):
    """Share of a drawn disc's area that is left after variation, of 40 windows."""
    disc = torch.zeros(40, 5, 3, 56, 56, dtype=torch.uint8)
    y, x = np.mgrid[:56, :56] - 27.5
    disc[..., torch.from_numpy(x**2 + y**2 < 10**2)] = 200
    area = (varied_lips(disc, 4, generator(seed)).mean(dim=(1, 2)) > 0.3).float().sum(dim=(1, 2)) / (np.pi * 10**2)
    return {
        "smallest mouth": float(area.min()),
        "largest mouth": float(area.max()),
        "spread of mouths": float(area.std()),
    }


def varied_numbers(seed, folder):
    same, still = lips(1).expand(6, -1, -1, -1, -1).contiguous(), lips()[:, :1].expand(-1, 5, -1, -1, -1).contiguous()
    one, out = varied_lips(same, 4, generator(seed)), varied_lips(still, 4, generator(seed))
    apart = {
        "windows apart": float((one[0] - one[1]).abs().mean()),
        "frames of a window apart": float((out[:, 1:] - out[:, :1]).abs().mean()),
    }
    return {**apart, **areas_of_a_mouth(seed)}


VARIED = Margin(
    "test_a_mouth_stays_in_the_crop_and_keeps_its_size",
    varied_numbers,
    {
        "windows apart": Between(low=0.02),
        "frames of a window apart": Between(high=0.03),
        # zoomed by 1 / 1.15 to 1 / 0.85, and half a pixel more or less at the rim, of a radius of 10: 0.67 to 1.50
        "smallest mouth": Between(low=0.65),
        "largest mouth": Between(high=1.55),
        "spread of mouths": Between(low=0.05),
    },
)


def test_a_mouth_stays_in_the_crop_and_keeps_its_size(tmp_path):
    VARIED.check(VARIED.measure(VARIED.seed, tmp_path))


def test_varied_mel_keeps_the_course_of_the_sound():
    mel = torch.randn(8, 16, 80, generator=generator(2)).clamp(-4, 4) + torch.sin(torch.arange(16.0))[None, :, None] * 2
    mel = mel.clamp(-4, 4)
    out = varied_mel(mel, generator())
    assert out.shape == mel.shape and out.min() >= -4 and out.max() <= 4 and not torch.equal(out, mel)
    for one, other in zip(mel.mean(2), out.mean(2)):
        assert np.corrcoef(one, other)[0, 1] > 0.9
    assert torch.equal(out, varied_mel(mel, generator()))
