"""Encoder, tri-planes, slot attention, cross attention, deformation: each by its equation."""

from __future__ import annotations

import pytest
import torch

from s3dnerf.model.aggregation import Aggregation
from s3dnerf.model.appearance import AppearanceEncoder
from s3dnerf.model.crossmodal import CrossAttention, SpeechNet, speech_windows
from s3dnerf.model.deformation import Deformation, position_code
from s3dnerf.model.triplane import PLANES, sample_planes


def test_the_pyramid_has_the_papers_resolutions_and_planes() -> None:
    levels = AppearanceEncoder(4, 6)(torch.rand(2, 3, 256, 256))
    assert [tuple(level.shape) for level in levels] == [(2, 3, 6, side, side) for side in (128, 64, 32, 16)]


def test_every_level_hears_of_the_levels_above() -> None:
    torch.manual_seed(0)
    encoder = AppearanceEncoder(4, 2)
    levels = encoder(torch.rand(1, 3, 256, 256))
    levels[0].sum().backward()
    assert encoder.top.weight.grad.abs().sum() > 0  # F⁰ depends on D³ through F³, F² and F¹


@pytest.mark.parametrize("plane", range(3))
def test_each_plane_answers_to_its_own_two_coordinates(plane: int) -> None:
    level = torch.zeros(1, 3, 1, 8, 8)
    level[:, plane] = torch.randn(1, 1, 8, 8)
    start = torch.tensor([[[0.1], [-0.2], [0.3]]])
    before = sample_planes([level], start)
    for axis in range(3):
        moved = start.clone()
        moved[:, axis] += 0.4
        changed = not torch.allclose(sample_planes([level], moved), before, atol=1e-6)
        assert changed == (axis in PLANES[plane]), f"plane {plane}, axis {axis}"


@pytest.mark.parametrize(
    ("axis", "plane", "dimension"), [(0, 0, "x"), (1, 0, "y"), (1, 1, "x"), (2, 1, "y"), (0, 2, "x"), (2, 2, "y")]
)
def test_a_field_of_one_coordinate_is_read_along_that_coordinate(axis: int, plane: int, dimension: str) -> None:
    ramp = (torch.arange(16) + 0.5) / 8 - 1
    level = torch.zeros(1, 3, 1, 16, 16)
    level[0, plane, 0] = ramp if dimension == "x" else ramp[:, None]
    at = torch.tensor([-0.6, 0.0, 0.35, 0.8])
    points = torch.zeros(1, 3, 4)
    points[0, axis] = at
    assert torch.allclose(sample_planes([level], points)[0, 0], at / 3, atol=1e-6)  # one of three averaged planes


def test_levels_are_concatenated() -> None:
    levels = [torch.full((1, 3, 2, 4, 4), float(v)) for v in (1, 2)]
    assert sample_planes(levels, torch.zeros(1, 3, 1))[0, :, 0].tolist() == [1, 1, 2, 2]


def test_slot_attention_rows_sum_to_one_and_slots_keep_their_cells() -> None:
    torch.manual_seed(0)
    aggregation = Aggregation(24, 16, grid=4, iterations=3)
    levels = [torch.randn(2, 3, 2, s, s) for s in (32, 16, 8, 4)]
    slots = aggregation(levels)
    assert slots.shape == (2, 16, 16)
    attention = aggregation.slots.attention(torch.randn(2, 16, 16), torch.randn(2, 16, 16))
    assert torch.allclose(attention.sum(-1), torch.ones(2, 16), atol=1e-5)


def test_slots_compete_for_tokens() -> None:
    """A softmax over slots, then each slot's weights over tokens add up to one (Locatello et al., 2020)."""
    torch.manual_seed(0)
    slots = Aggregation(24, 16, grid=4, iterations=1).slots
    given, keys = torch.randn(1, 4, 16), torch.randn(1, 6, 16)
    queries = slots.query(slots.norm_slots(given))[0]
    by_hand = torch.empty(4, 6)
    for token in range(6):
        scores = torch.stack([(queries[slot] * keys[0, token]).sum() / 4 for slot in range(4)])
        by_hand[:, token] = scores.exp() / scores.exp().sum()
    by_hand = by_hand / by_hand.sum(1, keepdim=True)
    assert torch.allclose(slots.attention(given, keys)[0], by_hand, atol=1e-5)
    with_one_more = slots.attention(torch.cat([given, given[:, :1]], 1), keys)[0]
    assert not torch.allclose(with_one_more[1], by_hand[1], atol=1e-4)  # who else asks changes what a slot gets


def test_f_cm_is_read_where_a_point_projects_to() -> None:
    torch.manual_seed(0)
    net = _deformation()
    torch.nn.init.normal_(net.out.weight)
    x, speech = torch.zeros(1, 3, 9), torch.randn(1, 4)
    centres = torch.tensor([-2 / 3, 0.0, 2 / 3])
    seen = torch.stack([centres.repeat(3), centres.repeat_interleave(3)])[None]  # the 3 × 3 cells, row by row
    plain = net(x, speech, torch.zeros(1, 9, 6), seen, None)
    for cell in range(9):
        cells = torch.zeros(1, 9, 6)
        cells[0, cell] = 3.0
        changed = (net(x, speech, cells, seen, None) - plain).abs().amax((0, 1)) > 1e-6
        assert changed.nonzero()[:, 0].tolist() == [cell]


def test_cross_attention_is_equation_3() -> None:
    torch.manual_seed(0)
    block = CrossAttention(8, heads=1)
    queries, speech = torch.randn(2, 5, 8), torch.randn(2, 16, 8)
    attention = block.attention(queries, speech)
    assert attention.shape == (2, 1, 5, 16) and torch.allclose(attention.sum(-1), torch.ones(2, 1, 5), atol=1e-5)
    by_hand = torch.softmax(block.query(queries) @ block.key(speech).transpose(1, 2) / 8**0.5, -1) @ block.value(speech)
    assert torch.allclose(block(queries, speech), block.out(by_hand), atol=1e-5)


def test_several_heads_attend_apart() -> None:
    torch.manual_seed(0)
    attention = CrossAttention(8, heads=4).attention(torch.randn(1, 3, 8), torch.randn(1, 16, 8))
    assert attention.shape == (1, 4, 3, 16) and not torch.allclose(attention[:, 0], attention[:, 1])


def test_speech_windows_stand_around_their_frame() -> None:
    tokens = torch.arange(20.0)[:, None]  # ten frames
    windows = speech_windows(tokens, 16)[..., 0]
    assert windows.shape == (10, 16)
    # frame 5 stands between tokens 10 and 11, the 8th and 9th of 16
    assert windows[5].tolist() == [3 + i for i in range(16)]
    assert windows[0].tolist() == [0] * 7 + list(range(9)) and windows[9, -1] == 19
    assert torch.equal(speech_windows(tokens, 16, first_frame=4, frames=2)[..., 0], windows[4:6])


def test_pooled_speech_knows_before_from_after() -> None:
    torch.manual_seed(0)
    net = SpeechNet(3, 8, 16)
    speech = torch.randn(1, 16, 3)
    tokens, pooled = net(speech)
    assert tokens.shape == (1, 16, 8) and pooled.shape == (1, 8)
    assert (net(speech.flip(1))[1] - pooled).abs().max() > 1e-3


def test_speech_is_standardised() -> None:
    torch.manual_seed(0)
    net = SpeechNet(2, 4, 16)
    before = net(torch.ones(1, 16, 2))[1]
    net.set_statistics(torch.full((2,), 100.0), torch.full((2,), 50.0))
    assert torch.allclose(net(torch.full((1, 16, 2), 150.0))[1], before, atol=1e-5)


def _deformation(**given) -> Deformation:
    return Deformation(
        **{"widths": (16, 8, 16), "octaves": 2, "speech_dim": 4, "cell_dim": 6, "point_dim": 0, "bound": 0.2, **given}
    )


def test_deformation_is_exactly_zero_before_training_and_bounded_after() -> None:
    torch.manual_seed(0)
    net = _deformation()
    given = torch.randn(2, 3, 50), torch.randn(2, 4), torch.randn(2, 9, 6), torch.rand(2, 2, 50) * 2 - 1, None
    assert torch.equal(net(*given), torch.zeros(2, 3, 50))
    torch.nn.init.normal_(net.out.weight, std=100.0)
    assert 0.19 < net(*given).abs().max() <= 0.2


def test_deformation_skips_join_equal_widths() -> None:
    torch.manual_seed(0)
    net = _deformation(widths=(16, 8, 4, 8, 16))
    torch.nn.init.normal_(net.out.weight)
    for layer in net.layers[1:3]:
        torch.nn.init.zeros_(layer.weight)  # the bottleneck says nothing: what is left came by the skips
    x = torch.randn(1, 3, 6)
    moved = net(x, torch.randn(1, 4), torch.randn(1, 9, 6), torch.zeros(1, 2, 6), None)
    assert moved.std(-1).min() > 1e-4


def test_widths_that_are_no_palindrome_are_refused() -> None:
    with pytest.raises(ValueError, match="deform_widths"):
        _deformation(widths=(16, 8, 8))


def test_position_code() -> None:
    code = position_code(torch.tensor([[[1.0], [0.0], [-1.0]]]), 2)
    assert code.shape == (1, 15, 1)
    assert torch.allclose(code[0, 3:6, 0], torch.tensor([1.0, 0.0, -1.0]), atol=1e-6)  # sin(π x / 2)
