"""Volume rendering against closed forms."""

from __future__ import annotations

import pytest
import torch

from s3dnerf.model.rendering import Decoder, cell_lengths, composite, importance, ray_weights, stratified


@pytest.mark.parametrize("density", [0.1, 1.0, 7.0])
@pytest.mark.parametrize("jitter", [False, True])
def test_a_slab_of_constant_density_is_the_closed_form(density: float, jitter: bool) -> None:
    near, far = torch.tensor([[2.0, 3.0]]), torch.tensor([[3.5, 3.2]])
    noise = torch.rand(1, 2, 12, generator=torch.Generator().manual_seed(0)) if jitter else None
    t = stratified(near, far, 12, noise)
    sample_weights = ray_weights(torch.full((1, 2, 12), density), cell_lengths(t, near, far))
    assert torch.allclose(sample_weights.sum(-1), 1 - torch.exp(-density * (far - near)), atol=1e-3)
    colour = composite(sample_weights, torch.full((1, 3, 2, 12), 0.7))
    assert torch.allclose(colour, 0.7 * (1 - torch.exp(-density * (far - near)))[:, None].expand(1, 3, 2), atol=1e-3)


def test_a_wall_hides_what_is_behind_it() -> None:
    near, far = torch.zeros(1, 1), torch.ones(1, 1)
    t = stratified(near, far, 10, None)
    density = torch.where(t > 0.45, 1e4, 0.0)
    sample_weights = ray_weights(density, cell_lengths(t, near, far))[0, 0]
    assert sample_weights[5] > 0.999 and sample_weights[6:].sum() < 1e-3 and sample_weights[:5].sum() == 0


def test_stratified_samples_stay_in_their_cells_in_order() -> None:
    near, far = torch.full((2, 3), 1.0), torch.full((2, 3), 2.0)
    t = stratified(near, far, 8, torch.rand(2, 3, 8))
    edges = 1 + torch.arange(9) / 8
    assert (t >= edges[:-1]).all() and (t < edges[1:]).all()


@pytest.mark.parametrize("noise", [None, torch.rand(1, 1, 200, generator=torch.Generator().manual_seed(1))])
def test_importance_samples_fall_where_the_weights_are(noise: torch.Tensor | None) -> None:
    near, far = torch.zeros(1, 1), torch.ones(1, 1)
    t = stratified(near, far, 10, None)
    sample_weights = torch.zeros(1, 1, 10)
    sample_weights[..., 3], sample_weights[..., 8] = 0.3, 0.1
    finer = importance(t, sample_weights, near, far, 200, noise)[0, 0]
    assert (finer >= 0).all() and (finer <= 1).all() and (finer.diff() >= -1e-6).all()
    shares = torch.histc(finer, 10, 0, 1) / 200
    assert abs(shares[3] - 0.3 / 0.42) < 0.03 and abs(shares[8] - 0.1 / 0.42) < 0.03


def test_importance_without_weights_is_even_and_misses_give_no_nan() -> None:
    near, far = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 0.0]])  # the second ray misses the box
    t = stratified(near, far, 4, None)
    finer = importance(t, torch.zeros(1, 2, 4), near, far, 5, None)
    assert torch.allclose(finer[0, 0], (torch.arange(5) + 0.5) / 5, atol=1e-3)
    assert torch.equal(finer[0, 1], torch.zeros(5))


def test_decoder_ranges() -> None:
    torch.manual_seed(0)
    density, features = Decoder(12, 16, 7)(10 * torch.randn(2, 12, 50), None)
    assert density.shape == (2, 1, 50) and (density >= 0).all()
    assert features.shape == (2, 7, 50) and features[:, :3].min() >= -0.001 and features[:, :3].max() <= 1.001


def test_compositing_is_in_float32_whatever_comes() -> None:
    near, far = torch.zeros(1, 1), torch.ones(1, 1)
    t = stratified(near, far, 64, None)
    sample_weights = ray_weights(torch.full((1, 1, 64), 2.0, dtype=torch.bfloat16), cell_lengths(t, near, far))
    assert sample_weights.dtype == torch.float32 and abs(float(sample_weights.sum()) - 0.864665) < 1e-3
