"""The whole generator: variants, the fast path against the plain one, geometry, gradients, caching."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from s3dnerf.model import cameras
from s3dnerf.model.cameras import Camera
from s3dnerf.model.discriminator import Discriminator, dual, group_deviation
from s3dnerf.model.field import Conditions, Identity, Portrait
from s3dnerf.model.reference import render_reference
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import VARIANTS, ModelSettings
from tests.margins import Between, Margin
from tests.small_corpus import BOX, INTRINSICS, turn

SPEECH_DIM = 20


def _settings(**given) -> ModelSettings:
    return dataclasses.replace(preset_settings("tiny").model, **given)


def _trained(variant: str, settings: ModelSettings, seed: int = 0) -> S3DNeRF:
    """A generator whose zero-initialised layers are not zero any more."""
    torch.manual_seed(seed)
    model = S3DNeRF(settings, SPEECH_DIM, variant)
    if model.lip_shapes is not None and model.mouth is not None:
        shapes = model.lip_shapes
        shapes.set_map(
            *(
                torch.randn_like(x) * std
                for x, std in ((shapes.mean, 0.1), (shapes.directions, 0.3), (shapes.weight, 0.01))
            )
        )
        torch.nn.init.normal_(model.mouth.out.weight, std=0.1)
        for layer in (model.lip_code.of_source, model.lip_code.of_target):
            torch.nn.init.normal_(layer.weight, std=0.1)
    for layer in [model.superres.out, model.superres.share] + (
        [model.deformation.out] if model.deformation is not None else []
    ):
        torch.nn.init.normal_(layer.weight, std=0.3)
    return model


def _inputs(identities: int = 2, each: int = 2) -> tuple[Portrait, torch.Tensor, Camera]:
    """Portraits, and speech and target cameras of their frames."""
    g = torch.Generator().manual_seed(1)
    k = torch.from_numpy(INTRINSICS)[None]
    source = torch.from_numpy(np.stack([turn(0.1 * (-1) ** i) for i in range(identities)]))
    target = torch.from_numpy(np.stack([turn(0.3 - 0.2 * i, 0.05 * i) for i in range(identities * each)]))
    picture = torch.rand(identities, 3, 256, 256, generator=g)
    landmarks = 256.0 * torch.rand(identities, 68, 2, generator=g)
    box = torch.from_numpy(BOX)[None].repeat(identities, 1)
    portrait = Portrait(picture * 0.5, picture, Camera(source, k.repeat(identities, 1, 1)), box, landmarks)
    speech = torch.randn(identities * each, 16, SPEECH_DIM, generator=g)
    return portrait, speech, Camera(target, k.repeat(len(target), 1, 1))


def _fast_and_plain(variant: str, carry: bool, seed: int = 0) -> dict[str, float]:
    settings = _settings(raw_px=8, image_px=32, carry_source=carry, mouth_width=4 * carry, lip_gain=1.0 + 0.2 * carry)
    model = _trained(variant, settings, seed)
    portrait, *frames = _inputs()
    with torch.no_grad():
        identity = model.encode(portrait)
        fast = model.render(identity, *frames)
    plain = render_reference(model, identity, *frames)
    names = ("coarse", "fine", "alpha", "delta_x", "deform_energy")
    moved = {} if variant == "no_deform" else {"most moved": float(fast.delta_x.abs().max())}
    apart = max(float((getattr(fast, name) - getattr(plain, name)).abs().max()) for name in names)
    return {"farthest apart": apart, "most opaque": float(fast.alpha.max()), **moved}


def _worst_of_variants(seed: int, folder: Path) -> dict[str, float]:
    found = [_fast_and_plain(variant, carry, seed) for variant in VARIANTS for carry in (False, True)]
    worst = {"farthest apart": max, "most opaque": min, "most moved": min}
    return {name: choose(f[name] for f in found if name in f) for name, choose in worst.items()}


# Opacity and motion at least fifty and ten times the tolerance, as two empty pictures would be equal and say nothing; some
# random starts are almost transparent.
FAST_PATH = Margin(
    "test_fast_path_equals_the_plain_one",
    _worst_of_variants,
    {"farthest apart": Between(high=1e-4), "most opaque": Between(low=5e-3), "most moved": Between(low=1e-3)},
)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("carry", [False, True])  # with the settings that are ours, and without
def test_fast_path_equals_the_plain_one(variant: str, carry: bool) -> None:
    for name, value in _fast_and_plain(variant, carry).items():
        assert FAST_PATH.bounds[name].room(value) >= 0, (name, value)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_block_receives_gradient_once_the_zero_layers_moved(variant: str) -> None:
    model = _trained(variant, _settings(carry_source=True, mouth_width=4))
    portrait, *frames = _inputs(1, 2)
    model.render(model.encode(portrait), *frames).fine.square().mean().backward()
    silent = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # key biases shift all of a query's scores alike, which a softmax does not see
    assert [name for name in silent if name != "crossmodal.key.bias"] == []


def test_variants_take_what_table_3_says() -> None:
    full, naive, concat, rigid = (
        S3DNeRF(_settings(), SPEECH_DIM, v) for v in ("full", "naive", "feature_concat", "no_deform")
    )
    assert (
        full.crossmodal is not None and full.deformation.from_cells is not None and full.deformation.from_points is None
    )
    assert naive.crossmodal is None and naive.deformation.from_cells is None and naive.deformation.from_points is None
    assert concat.crossmodal is None and concat.deformation.from_points is not None
    assert rigid.deformation is None and rigid.decoder.from_speech is not None and full.decoder.from_speech is None
    with pytest.raises(ValueError, match="accepted"):
        S3DNeRF(_settings(), SPEECH_DIM, "partial")


def test_nothing_moves_before_training() -> None:
    torch.manual_seed(0)
    model = S3DNeRF(_settings(), SPEECH_DIM, "full")
    portrait, *frames = _inputs(1, 2)
    with torch.no_grad():
        rendered = model.render(model.encode(portrait), *frames)
    assert torch.equal(rendered.delta_x, torch.zeros_like(rendered.delta_x)) and rendered.deform_energy == 0


class _Ball(S3DNeRF):
    """The generator with a known field in place of its planes: a red ball to the head's left (x = 0.6), z = 0.3."""

    def at(self, identity: Identity, conditions: Conditions, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inside = ((x - torch.tensor([0.6, 0.0, 0.3])[:, None]).norm(dim=1, keepdim=True) < 0.25).float()
        rest = torch.zeros(len(x), self.settings.feature_channels + 5 - 3, x.shape[2])
        return 50.0 * inside, torch.cat([inside, 0 * inside, 0 * inside, rest], 1)


@pytest.mark.parametrize("yaw", [-0.5, 0.0, -1.0])
def test_a_yaw_of_the_camera_moves_a_known_field_as_geometry_says(yaw: float) -> None:
    torch.manual_seed(0)
    model = _Ball(_settings(raw_px=32, image_px=64, coarse_samples=48, fine_samples=0), SPEECH_DIM, "full")
    portrait, speech, camera = _inputs(1, 1)
    camera = Camera(torch.from_numpy(turn(yaw))[None], camera.intrinsics)
    with torch.no_grad():
        red = model.render(model.encode(portrait), speech, camera).coarse[0, 0]
    y, x = torch.meshgrid(torch.arange(32) + 0.5, torch.arange(32) + 0.5, indexing="ij")
    found = torch.stack([(red * x).sum(), (red * y).sum()]) / red.sum() * 8
    wanted = cameras.project(cameras.to_camera(torch.tensor([[[0.6], [0.0], [0.3]]]), camera.pose), camera.intrinsics)[
        0, :, 0
    ]
    assert torch.allclose(found, wanted, atol=2.0) and (yaw == 0 or abs(wanted[0] - 128 - 640 * 0.6 / 9.7) > 4)


def _another_source_pose(seed: int, folder: Path) -> dict[str, float]:
    model = _trained("full", _settings(), seed)
    portrait, *frames = _inputs(1, 1)
    with torch.no_grad():
        identity = model.encode(portrait)
        before = model.render(identity, *frames).coarse
        camera = Camera(torch.from_numpy(turn(0.6))[None], identity.camera.intrinsics)
        turned = dataclasses.replace(identity, camera=camera)
        return {"largest change": float((model.render(turned, *frames).coarse - before).abs().max())}


SOURCE_POSE = Margin("test_the_source_pose_takes_part", _another_source_pose, {"largest change": Between(low=1e-2)})


def test_the_source_pose_takes_part(tmp_path: Path) -> None:
    """Eq. 2: planes are read in the source camera's frame, so the same planes under another source pose give another
    picture.
    """
    SOURCE_POSE.check(SOURCE_POSE.measure(SOURCE_POSE.seed, tmp_path))


def _together_and_alone(seed: int, folder: Path) -> dict[str, float]:
    model = _trained("full", _settings(carry_source=True), seed)
    portrait, speech, camera = _inputs(1, 3)
    # noise as coarse as a network of 64 pixels sees it: in finer noise a last digit of the flow reads another grey
    smooth = functional.interpolate(portrait.full, (64, 64), mode="area")
    smooth = functional.interpolate(smooth, (256, 256), mode="bilinear")
    portrait = dataclasses.replace(portrait, full=smooth)
    with torch.no_grad():
        identity = model.encode(portrait)
        together = model.render(identity, speech, camera).fine
        alone = torch.cat([model.render(identity, speech[i : i + 1], camera[i : i + 1]).fine for i in range(3)])
    return {"farthest apart": float((together - alone).abs().max())}


# Which kernel a convolution of three frames takes, and so its last digits, is the processor's choice.
TOGETHER = Margin(
    "test_frames_of_one_call_do_not_touch_each_other", _together_and_alone, {"farthest apart": Between(high=1e-5)}
)


def test_frames_of_one_call_do_not_touch_each_other(tmp_path: Path) -> None:
    TOGETHER.check(TOGETHER.measure(TOGETHER.seed, tmp_path))


def _opposite_speech(seed: int, folder: Path) -> dict[str, float]:
    model = _trained("full", _settings(), seed)
    portrait, speech, camera = _inputs(1, 1)
    with torch.no_grad():
        identity = model.encode(portrait)
        a, b = (model.render(identity, s, camera) for s in (speech, -speech))
    moved = (a.coarse - b.coarse).abs().sum(1, keepdim=True)
    return {"largest change": float(moved.max()), "change beside the face": float(moved[a.alpha < 1e-6].max())}


SPEECH = Margin(
    "test_speech_changes_the_picture_where_the_face_is",
    _opposite_speech,
    {"largest change": Between(low=1e-3), "change beside the face": Between(0, 0)},
)


def test_speech_changes_the_picture_where_the_face_is(tmp_path: Path) -> None:
    SPEECH.check(SPEECH.measure(SPEECH.seed, tmp_path))


def test_bfloat16_leaves_the_geometry_alone() -> None:
    """Where the points of a ray stand in the source is the same number under autocast."""
    torch.manual_seed(0)
    model = S3DNeRF(_settings(), SPEECH_DIM, "full")  # untrained: no deformation, so that geometry alone is compared
    portrait, speech, camera = _inputs(1, 2)
    pixels = cameras.all_pixels(2, 8, torch.device("cpu"))

    def places() -> tuple[torch.Tensor, ...]:
        identity = model.encode(portrait)
        conditions = model.conditions(identity, speech)
        origins, directions = cameras.camera_rays(camera.pose, camera.intrinsics, pixels, 8)
        points = (origins[:, None] + 9.0 * directions).transpose(1, 2)
        _, values = model.at(identity, conditions, points)
        source = conditions.camera
        flow = cameras.head_motion(camera.pose, camera.intrinsics, source.pose, source.intrinsics, conditions.box, 8)
        return origins, directions, values[:, -5:-3], flow

    with torch.no_grad():
        wanted = places()
        with torch.autocast("cpu", torch.bfloat16):
            found = places()
    for one, other in zip(found, wanted):
        assert one.dtype == torch.float32 and torch.equal(one, other)


def test_frames_must_divide_among_identities() -> None:
    model = _trained("full", _settings())
    portrait, speech, camera = _inputs(2, 2)
    with pytest.raises(ValueError, match="same number of frames each"):
        model.render(model.encode(portrait), speech[:3], camera[:3])


def test_a_head_outside_the_picture_renders_the_source() -> None:
    model = _trained("full", _settings())
    portrait, speech, camera = _inputs(1, 1)
    away = Camera(camera.pose.clone(), camera.intrinsics)
    away.pose[:, 0, 3] += 30.0
    with torch.no_grad():
        rendered = model.render(model.encode(portrait), speech, away)
    assert rendered.alpha.max() == 0 and torch.isfinite(rendered.fine).all()


def test_discriminator_scores_do_not_depend_on_the_rest_of_the_batch() -> None:
    torch.manual_seed(0)
    network = Discriminator(4, 32, group=5)
    pairs = dual(torch.rand(10, 3, 32, 32), torch.rand(10, 3, 8, 8))
    assert torch.allclose(network(pairs)[5:], network(pairs[5:]), atol=1e-5)
    with pytest.raises(ValueError, match="multiple of the group"):
        network(pairs[:7])


def test_group_deviation_sees_alike_frames() -> None:
    same = torch.rand(1, 3, 4, 4).repeat(5, 1, 1, 1)
    spread = group_deviation(torch.cat([same, torch.rand(5, 3, 4, 4)]), 5)
    assert spread.shape == (10, 1, 4, 4) and spread[0].max() < 1e-3 < 0.1 < spread[5].min()


@pytest.mark.slow
def test_paper_preset_has_the_methods_sizes() -> None:
    with torch.device("meta"):
        model = S3DNeRF(preset_settings("paper").model, 768, "full")
    assert model.superres.blocks[0].in_channels == 128 + 64 and len(model.superres.blocks) == 2
    assert [layer.out_channels for layer in model.deformation.layers] == [128, 64, 128, 256]
    assert model.decoder.hidden.in_channels == 4 * 32 and model.decoder.out.out_channels == 33
