"""The discriminator's step sizes: scores move a little at every width."""

import pytest
import torch
from torch import nn

from s3dnerf.model.discriminator import Discriminator, equalised, halved, mean_of_squares
from s3dnerf.training.losses import discriminator_loss

SIDE_PX, FRAMES, STEP = 32, 5, 2e-4


def moved(width, groups_of):
    """By how much one step of Adam moves the mean score of real pairs."""
    torch.manual_seed(0)
    discriminator = Discriminator(width, SIDE_PX, FRAMES)
    real = torch.rand(FRAMES, 6, SIDE_PX, SIDE_PX)
    made = nn.functional.avg_pool2d(real, 5, 1, 2)
    optimiser = torch.optim.Adam(groups_of(discriminator), betas=(0.0, 0.99))
    for group in optimiser.param_groups:
        group["lr"] = STEP * group.get("scale", 1.0)
    before = discriminator(real)
    discriminator_loss(discriminator(made), before).backward()
    optimiser.step()
    with torch.no_grad():
        return float((discriminator(real) - before).mean().abs())


def test_every_parameter_is_in_one_group_scaled_as_it_was_drawn():
    torch.manual_seed(0)
    discriminator = Discriminator(16, SIDE_PX, FRAMES)
    groups = equalised(discriminator)
    held = [weights for group in groups for weights in group["params"]]
    assert {id(w) for w in held} == {id(w) for w in discriminator.parameters()} and len(held) == len(set(map(id, held)))
    for group in groups:
        for weights in group["params"]:
            if weights.ndim > 1 and weights.numel() > 5000:  # enough of them to know their deviation
                assert float(weights.detach().std()) == pytest.approx(group["scale"], rel=0.05)
            elif weights.ndim == 1:
                assert group["scale"] == 1.0


def test_a_first_step_moves_the_scores_a_little_at_every_width():
    plain = lambda discriminator: [{"params": list(discriminator.parameters())}]  # noqa: E731
    narrow, wide, unscaled = moved(8, equalised), moved(64, equalised), moved(64, plain)
    assert 0.0 < narrow < 1.0 and 0.0 < wide < 1.0
    assert unscaled > 5.0 and unscaled > 10.0 * wide, (unscaled, wide)


def test_a_gpus_halving_is_the_processors_and_keeps_channels_last() -> None:
    x = torch.randn(2, 8, 6, 4).to(memory_format=torch.channels_last).requires_grad_(True)
    plain, other = halved(x), mean_of_squares(x)
    assert torch.allclose(plain, other, atol=1e-6)
    assert other.is_contiguous(memory_format=torch.channels_last)
    given = torch.randn_like(plain)
    (wanted,), (got,) = (torch.autograd.grad(made, x, given) for made in (plain, other))
    assert torch.allclose(wanted, got, atol=1e-6) and got.is_contiguous(memory_format=torch.channels_last)
