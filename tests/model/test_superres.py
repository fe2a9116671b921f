"""Super-resolution's composition: closed forms of gate, alpha and the source that moves."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from s3dnerf.model.superres import FAR, GATE_IN_PLACE, GATE_MOVING, SuperResolution, identity_grid

RAW, SIDE = 8, 16


def network(gate: float, carry: bool = True) -> SuperResolution:
    """A network that paints nothing of its own, behind a gate whose logit is ``gate``."""
    torch.manual_seed(0)
    made = SuperResolution(6, 8, RAW, SIDE, carry)
    torch.nn.init.zeros_(made.out.weight)
    made.out.bias.data = torch.tensor([0.0, 0.0, 0.0, gate])
    return made


def given(alpha: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Composited features, alpha, where rays' points stand in the source, where the head's plane does, the picture."""
    g = torch.Generator().manual_seed(1)
    features, opacity = torch.rand(1, 6, RAW, RAW, generator=g), torch.full((1, 1, RAW, RAW), alpha)
    still = identity_grid(1, RAW, features)
    return features * alpha, opacity, still * alpha, still.clone(), torch.rand(1, 3, 256, 256, generator=g)


def large(x: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(x, (256, 256), mode="bilinear", align_corners=False)


def frame(made: SuperResolution, raw, alpha, seen, rigid, picture) -> torch.Tensor:
    with torch.no_grad():
        encoded = made.encode(picture)
        shift = made.moved(encoded[-2], alpha, seen, rigid) if made.carry_source else None
        return made(raw, alpha, shift, encoded)[0]


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_an_open_gate_lays_the_colours_over_the_source_by_alpha(alpha: float, carry: bool) -> None:
    inputs = given(alpha)
    made = frame(network(40.0, carry), *inputs)
    assert torch.allclose(made, large(inputs[0][:, :3]) + (1 - alpha) * inputs[4], atol=1e-5)


@pytest.mark.parametrize("alpha", [0.0, 0.4, 1.0])
def test_a_closed_gate_shows_the_source_at_full_size(alpha: float) -> None:
    inputs = given(alpha)
    assert torch.allclose(frame(network(-40.0), *inputs), inputs[4], atol=1e-5)


def test_the_source_is_read_where_the_points_came_from() -> None:
    raw, alpha, seen, rigid, picture = given(1.0)
    ramp = ((torch.arange(256.0) + 0.5) / 256).expand(1, 3, 256, 256)
    moved = frame(network(-40.0), raw, alpha, seen + 0.25, rigid, ramp)  # an eighth of the width to the right
    assert torch.allclose(moved[..., 20:200], ramp[..., 20:200] + 0.125, atol=1e-4)
    in_place = frame(network(-40.0, carry=False), raw, alpha, seen + 0.25, rigid, ramp)
    assert torch.allclose(in_place, ramp, atol=1e-5)


def test_outside_the_face_a_learned_share_moves_with_the_head() -> None:
    raw, alpha, seen, rigid, picture = given(0.0)
    ramp = ((torch.arange(256.0) + 0.5) / 256).expand(1, 3, 256, 256)
    made = network(-40.0)
    for logit, share in ((-40.0, 0.0), (0.0, 0.5), (40.0, 1.0)):
        made.share.bias.data.fill_(logit + FAR)  # there is no face around
        moved = frame(made, raw, alpha, seen, rigid + 0.25, ramp)
        assert torch.allclose(moved[..., 20:200], ramp[..., 20:200] + 0.125 * share, atol=1e-4)


def test_before_training_hair_moves_with_the_face_and_the_room_stays() -> None:
    alpha = torch.zeros(1, 1, 32, 32)
    alpha[..., 10:22, 12:20] = 1.0
    still = identity_grid(1, 32, alpha)
    made = SuperResolution(6, 8, 32, 32, True)
    with torch.no_grad():
        shift = made.moved(torch.rand(1, 8, 32, 32), alpha, still * alpha[:, 0, ..., None], still + 0.25)
    share = shift[0, 0] / 0.25
    assert (share[10:22, 12:20].abs() < 1e-5).all()  # the face's points say themselves where they came from
    assert share[9, 12:20].min() > 0.6 and share[10:22, 11].min() > 0.6  # hair, ears
    beside = share[16, 20:]
    assert (beside[1:] <= beside[:-1]).all() and beside[-1] < 0.06 and share[0].max() < 0.06


def test_the_gate_starts_nearly_closed_where_the_source_moves_along() -> None:
    for carry, logit in ((True, GATE_MOVING), (False, GATE_IN_PLACE)):
        inputs = given(1.0)
        made = frame(SuperResolution(6, 8, RAW, SIDE, carry), *inputs)
        gate = torch.sigmoid(torch.tensor(logit))
        assert torch.allclose(made, gate * large(inputs[0][:, :3]) + (1 - gate) * inputs[4], atol=1e-5)
