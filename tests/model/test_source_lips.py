"""The source's lips: what the deformation is told of them, and that it makes a difference."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Portrait
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.model.source_lips import SHAPE, SourceLips, lip_shape
from s3dnerf.settings.loading import preset_settings
from tests.small_corpus import BOX, INTRINSICS, landmarks, turn


def _shape(*openings: float) -> torch.Tensor:
    return lip_shape(torch.from_numpy(np.stack([landmarks(opening) for opening in openings])))


def test_a_shape_knows_the_opening_and_neither_place_nor_size() -> None:
    face = torch.from_numpy(landmarks(0.5))[None]
    assert _shape(0.5).shape == (1, SHAPE)
    assert torch.allclose(lip_shape(face * 1.7 + torch.tensor([12.0, -5.0])), _shape(0.5), atol=1e-6)
    heights = _shape(0.0, 0.5, 1.0).unflatten(1, (-1, 2))[..., 1]
    opened = heights.amax(1) - heights.amin(1)
    # the face of the small corpus is 116 px wide
    by_hand = torch.tensor([2 * (3 + 16 * opening) / 116 for opening in (0.0, 0.5, 1.0)])
    assert torch.allclose(opened, by_hand, atol=1e-5)


def test_the_code_is_zero_before_training_and_of_standardised_shapes_after() -> None:
    lips, shapes = SourceLips(8), _shape(0.0, 0.3, 0.6, 0.9)
    lips.set_statistics(shapes)
    assert torch.equal(lips(shapes), torch.zeros(4, 8))
    torch.nn.init.eye_(lips.layer.weight)
    code = lips(shapes)
    by_hand = (shapes - shapes.mean(0)) / (shapes - shapes.mean(0)).square().mean().sqrt()
    assert torch.allclose(code, by_hand[:, :8].clamp(-6, 6), atol=1e-4)


def test_the_same_speech_moves_another_mouth_otherwise_only_where_the_lips_are_told() -> None:
    for told in (False, True):
        torch.manual_seed(0)
        model = S3DNeRF(dataclasses.replace(preset_settings("tiny").model, source_lips=told), 20, "full")
        torch.nn.init.normal_(model.deformation.out.weight, std=0.3)
        if model.source_lips is not None:
            torch.nn.init.normal_(model.source_lips.layer.weight, std=0.3)
        camera = Camera(torch.from_numpy(turn(0.1))[None], torch.from_numpy(INTRINSICS)[None])
        picture, box, speech = torch.rand(1, 3, 256, 256), torch.from_numpy(BOX)[None], torch.randn(1, 16, 20)
        with torch.no_grad():
            shut, wide = (
                model.render(
                    model.encode(Portrait(picture, picture, camera, box, torch.from_numpy(landmarks(o))[None])),
                    speech,
                    camera,
                )
                for o in (0.0, 1.0)
            )
        assert torch.equal(shut.delta_x, wide.delta_x) == (not told)
