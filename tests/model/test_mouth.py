"""The mouth: outlines as signed distances, and what the painter may and may not change."""

from __future__ import annotations

import math

import pytest
import torch

from s3dnerf.model.mouth import MOUTH_PX, MouthPainter, signed_distance
from tests.small_corpus import landmarks


def lips(opening: float = 0.5, x: float = 0.0, y: float = 0.0) -> torch.Tensor:
    return torch.from_numpy(landmarks(opening)[48:])[None] + torch.tensor([x, y])


def painter(added: float) -> MouthPainter:
    """Adds one grey."""
    made = MouthPainter(4)
    made.out.bias.data = torch.full((3,), math.atanh(added))
    return made


def test_distance_to_a_rectangle_is_the_closed_form() -> None:
    rectangle = torch.tensor([[[10.0, 10.0], [30.0, 10.0], [30.0, 20.0], [10.0, 20.0]]])
    places = torch.tensor([[[12.0, 15.0], [20.0, 15.0], [33.0, 24.0], [5.0, 12.0], [20.0, 40.0]]])
    wanted = torch.tensor([[2.0, 5.0, -5.0, -5.0, -20.0]])
    for outline in (rectangle, rectangle.flip(1), rectangle.roll(1, 1)):
        assert torch.allclose(signed_distance(outline, places), wanted, atol=1e-5)


def test_a_closed_outline_has_no_inside() -> None:
    line = torch.tensor([[[10.0, 10.0], [20.0, 10.0], [30.0, 10.0], [20.0, 10.0]]])
    places = torch.rand(1, 200, 2, generator=torch.Generator().manual_seed(0)) * 40
    assert (signed_distance(line, places) <= 0).all()


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (-11.3, 7.7), (120.0, 90.0), (-120.0, 0.0)])
def test_it_paints_a_square_about_the_lips_and_nothing_else(x: float, y: float) -> None:
    frame = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    at = lips(x=x, y=y)
    with torch.no_grad():
        made = painter(0.5)(frame, at)
    changed = (made != frame).any(1)[0]
    rows, columns = changed.any(1).nonzero()[:, 0], changed.any(0).nonzero()[:, 0]
    corner = (at.mean(1)[0] - MOUTH_PX / 2).round().clamp(0, 256 - MOUTH_PX)
    assert [columns.min(), rows.min()] == corner.tolist()
    assert [columns.max() + 1, rows.max() + 1] == (corner + MOUTH_PX).tolist()
    middle = (made - frame)[0, :, rows.min() + 8 : rows.max() - 8, columns.min() + 8 : columns.max() - 8]
    assert torch.allclose(middle, torch.full_like(middle, 0.5), atol=1e-5)


def test_what_it_adds_vanishes_towards_the_edge() -> None:
    with torch.no_grad():
        made = painter(0.5)(torch.zeros(1, 3, 256, 256), lips())[0, 0]
    first = MouthPainter.square(lips())[0]
    row = made[int(first[1]) + MOUTH_PX // 2, int(first[0]) : int(first[0]) + MOUTH_PX // 2]
    assert row[0] < 0.05 and row[8] == pytest.approx(0.5, abs=1e-5)
    assert (row[1:9] > row[:8]).all()


def test_before_training_it_leaves_the_frame() -> None:
    frame = torch.rand(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(MouthPainter(4)(frame, lips().expand(2, -1, -1)), frame)


def test_what_it_paints_depends_on_where_the_lips_stand() -> None:
    torch.manual_seed(0)
    made, frame = MouthPainter(4), torch.rand(1, 3, 256, 256)
    torch.nn.init.normal_(made.out.weight, std=0.5)
    with torch.no_grad():
        shut, still_shut, wide = (made(frame, lips(opening)) for opening in (0.1, 0.1, 0.9))
    assert torch.equal(shut, still_shut)
    assert float((shut - wide).abs().max()) > 0.05
