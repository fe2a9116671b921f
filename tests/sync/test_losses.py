"""Equations 6, 7 and 8 against their words, and the fast batch form against single triplets."""

import math

import pytest
import torch

from s3dnerf.sync.losses import (
    collapsed_loss,
    cosine,
    cosine_table,
    expected_triplet_loss,
    generator_sync_loss,
    spread,
    triplet_loss,
)


def draw(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def literal_cosine(a, b):
    dot = sum(x * y for x, y in zip(a, b))
    return dot / max(math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(y * y for y in b)), 1e-8)


def test_cosine_is_eq_6():
    a, b = draw(0, 7, 5), draw(1, 7, 5)
    for i, value in enumerate(cosine(a, b).tolist()):
        assert value == pytest.approx(literal_cosine(a[i].tolist(), b[i].tolist()), abs=1e-6)
    assert torch.allclose(cosine_table(a, b)[2, 4], cosine(a[2], b[4]), atol=1e-6)


def test_dead_embeddings_give_zero_and_finite_gradients():
    a = torch.zeros(3, 8, requires_grad=True)
    value = cosine(a, draw(0, 3, 8))
    value.sum().backward()
    assert torch.equal(value.detach(), torch.zeros(3)) and torch.isfinite(a.grad).all()
    table = cosine_table(torch.zeros(3, 8), torch.zeros(2, 8))
    assert torch.equal(table, torch.zeros(3, 2))


@pytest.mark.parametrize("margin", [0.5, 0.2])
def test_triplet_is_eq_7_with_the_sign_mended(margin):
    lips, audio, no_lips, no_audio = (draw(i, 6, 4) for i in range(4))
    loss = triplet_loss(lips, audio, no_lips, no_audio, margin)
    for i in range(6):
        el, ea, nl, na = (t[i].tolist() for t in (lips, audio, no_lips, no_audio))
        own = literal_cosine(el, ea)
        expected = max(0, margin + literal_cosine(el, na) - own) + max(0, margin + literal_cosine(nl, ea) - own)
        assert loss[i].item() == pytest.approx(expected, abs=1e-6)


def test_in_step_costs_nothing_and_out_of_step_everything():
    one, two = torch.tensor([[1.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    assert triplet_loss(one, one, two, two, 0.5).item() == 0
    assert triplet_loss(one, two, two, one, 0.5).item() == pytest.approx(2 * (0.5 + 2))


def test_a_step_down_the_loss_brings_the_positive_nearer():
    lips, audio = draw(0, 4, 8).requires_grad_(), draw(1, 4, 8)
    triplet_loss(lips, audio, draw(2, 4, 8), draw(3, 4, 8), 2.0).sum().backward()
    moved = (lips - 0.1 * lips.grad).detach()
    assert bool((cosine(moved, audio) > cosine(lips.detach(), audio)).all())


def test_collapse_shows_as_twice_the_margin():
    same = torch.ones(5, 3)
    assert (
        triplet_loss(same, same, same, same, 0.5).mean().item()
        == pytest.approx(collapsed_loss(0.5))
        == pytest.approx(1.0)
    )
    chances = (torch.ones(5, 5) - torch.eye(5)) / 4
    assert expected_triplet_loss(same, same, chances, 0.5).item() == pytest.approx(1.0)


def test_batch_form_is_the_expectation_over_single_triplets():
    lips, audio = draw(4, 6, 5), draw(5, 6, 5)
    chances = torch.rand(6, 6, generator=torch.Generator().manual_seed(6)).fill_diagonal_(0)
    chances = chances / chances.sum(1, keepdim=True)
    single = sum(
        chances[i, j] * triplet_loss(lips[i : i + 1], audio[i : i + 1], lips[j : j + 1], audio[j : j + 1], 0.5)[0]
        for i in range(6)
        for j in range(6)
    )
    assert expected_triplet_loss(lips, audio, chances, 0.5).item() == pytest.approx(single.item() / 6, abs=1e-6)
    chances[2] = 0  # an anchor without a negative takes no part
    five = sum(
        chances[i, j] * triplet_loss(lips[i : i + 1], audio[i : i + 1], lips[j : j + 1], audio[j : j + 1], 0.5)[0]
        for i in range(6)
        for j in range(6)
    )
    assert expected_triplet_loss(lips, audio, chances, 0.5).item() == pytest.approx(five.item() / 5, abs=1e-6)


def test_generator_loss_is_eq_8_with_the_sign_mended():
    a = draw(7, 3, 6)
    assert generator_sync_loss(a, a * 3).item() == pytest.approx(0, abs=1e-6)
    assert generator_sync_loss(a, -a).item() == pytest.approx(2, abs=1e-6)


def test_spread_tells_collapse():
    assert spread(torch.ones(4, 3) + 1e-4 * draw(8, 4, 3)) < 1e-3
    assert spread(torch.eye(5)) == pytest.approx(1.0)
