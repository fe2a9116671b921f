"""Where the lips stand: shapes, offsets and places, and what they tell the deformation."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Portrait
from s3dnerf.model.lip_shapes import SHAPE, LipCode, LipShapes, carried, face_width, lip_offsets, lip_places, lip_shape
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings
from tests.small_corpus import BOX, INTRINSICS, landmarks, turn

SPEECH, TOKENS = 20, 16


def camera(*yaws: float) -> Camera:
    poses = torch.from_numpy(np.stack([turn(yaw) for yaw in yaws]))
    return Camera(poses, torch.from_numpy(INTRINSICS)[None].repeat(len(yaws), 1, 1))


def face(opening: float) -> torch.Tensor:
    return torch.from_numpy(landmarks(opening))[None].clone()


def shapes_of(*openings: float) -> torch.Tensor:
    return lip_shape(torch.cat([face(opening) for opening in openings]))


def test_a_shape_knows_the_opening_and_neither_place_nor_size() -> None:
    assert shapes_of(0.5).shape == (1, SHAPE)
    assert torch.allclose(lip_shape(face(0.5) * 1.7 + torch.tensor([12.0, -5.0])), shapes_of(0.5), atol=1e-6)
    heights = shapes_of(0.0, 0.5, 1.0).unflatten(1, (-1, 2))[..., 1]
    opened = heights.amax(1) - heights.amin(1)
    # the face of the small corpus is 116 px wide
    by_hand = torch.tensor([2 * (3 + 16 * opening) / 116 for opening in (0.0, 0.5, 1.0)])
    assert torch.allclose(opened, by_hand, atol=1e-5)


def test_the_code_is_zero_before_training_and_of_standardised_shapes_after() -> None:
    code, shapes = LipCode(8), shapes_of(0.0, 0.3, 0.6, 0.9)
    code.set_statistics(shapes)
    offsets = torch.randn(4, 20, 2) * 0.02
    assert torch.equal(code(shapes, offsets), torch.zeros(4, 8))
    torch.nn.init.eye_(code.of_source.weight)
    spread = (shapes - shapes.mean(0)).square().mean().sqrt()
    by_hand = ((shapes - shapes.mean(0)) / spread)[:, :8].clamp(-6, 6)
    assert torch.allclose(code(shapes, offsets), by_hand, atol=1e-4)
    torch.nn.init.eye_(code.of_target.weight)
    by_hand = by_hand + (offsets.flatten(1) / spread)[:, :8].clamp(-6, 6)
    assert torch.allclose(code(shapes, offsets), by_hand, atol=1e-4)


def told(shapes: LipShapes, source: torch.Tensor, taken_by: Camera, seen_by: Camera) -> torch.Tensor:
    """Where the lips stand after some speech."""
    box = torch.from_numpy(BOX)[None].repeat(len(source), 1)
    offsets = shapes(torch.randn(len(source), TOKENS, SPEECH), source)
    return lip_places(offsets, source, seen_by, taken_by, box)


def test_without_a_map_lips_move_with_the_head() -> None:
    source = face(0.4).repeat(2, 1, 1)
    same, turned = camera(0.2, 0.2), camera(0.2, -0.3)
    at = told(LipShapes(SPEECH, TOKENS), source, same, turned)
    assert torch.allclose(at[0], source[0, 48:], atol=1e-3)
    shift = at[1] - source[0, 48:]
    assert abs(float(shift[:, 0].mean())) > 5 * abs(float(shift[:, 1].mean()))  # a head that turns, not one that nods
    assert torch.allclose(at, carried(same, turned, torch.from_numpy(BOX)[None].repeat(2, 1), source[:, 48:]))


def test_a_map_speaks_in_widths_of_the_face() -> None:
    shapes = LipShapes(SPEECH, TOKENS)
    weight = torch.zeros_like(shapes.weight)
    weight[-1] = 0.1  # whatever is said, 0.1 widths to the right and down
    shapes.set_map(shapes.mean, shapes.directions, weight)
    for size in (1.0, 0.5):
        portrait = face(0.4) * size
        at = told(shapes, portrait, camera(0.0), camera(0.0))
        assert torch.allclose(at - portrait[:, 48:], 0.1 * face_width(portrait).expand(1, 20, 2), atol=1e-2)


def test_gain_multiplies_what_speech_tells_and_nothing_else() -> None:
    torch.manual_seed(1)
    plain, lively = (LipShapes(SPEECH, TOKENS, gain) for gain in (1.0, 1.5))
    for shapes in (plain, lively):
        torch.manual_seed(2)
        shapes.set_map(torch.randn(SPEECH), torch.randn_like(shapes.directions), torch.randn_like(shapes.weight))
    source, speech = face(0.4).repeat(5, 1, 1), torch.randn(5, TOKENS, SPEECH)
    silence = plain.mean.expand(5, TOKENS, -1)
    still = plain(silence, source)
    assert torch.allclose(lively(silence, source), still, atol=1e-5)
    apart = plain(speech, source) - still
    assert apart.abs().mean() > 0.1 and torch.allclose(
        lively(speech, source) - still, 1.5 * apart, rtol=1e-3, atol=1e-3
    )


def test_offsets_are_places_backwards() -> None:
    """Of a nose that the pose carries without error."""
    source, box = face(0.2), torch.from_numpy(BOX)[None]
    taken_by, seen_by = camera(0.1), camera(-0.2)
    target = face(0.9)
    target[:, 27:36] = carried(taken_by, seen_by, box, source[:, 27:36])
    offsets = lip_offsets(target, source, seen_by, taken_by, box)
    assert torch.allclose(lip_places(offsets, source, seen_by, taken_by, box), target[:, 48:], atol=1e-3)


def test_what_moves_the_lips_hears_of_both_mouths_only_where_they_are_told() -> None:
    for width in (0, 4):
        torch.manual_seed(0)
        model = S3DNeRF(dataclasses.replace(preset_settings("tiny").model, mouth_width=width), SPEECH, "full")
        torch.nn.init.normal_(model.deformation.out.weight, std=0.3)
        if model.lip_code is not None:
            torch.nn.init.normal_(model.lip_code.of_source.weight, std=0.3)
            torch.nn.init.normal_(model.lip_code.of_target.weight, std=0.3)
        picture, box, speech = torch.rand(1, 3, 256, 256), torch.from_numpy(BOX)[None], torch.randn(1, 16, SPEECH)
        one = camera(0.1)

        def moved(source: float, target: float | None) -> torch.Tensor:
            with torch.no_grad():
                identity = model.encode(Portrait(picture, picture, one, box, face(source)))  # noqa: B023
                wanted = None if target is None else face(target)
                return model.render(identity, speech, one, landmarks=wanted).delta_x  # noqa: B023

        assert torch.equal(moved(0.0, None), moved(1.0, None)) == (width == 0)
        assert torch.equal(moved(0.5, 0.0), moved(0.5, 1.0)) == (width == 0)
