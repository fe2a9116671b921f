"""The losses: signs as METHOD corrects them, closed forms, schedules, the perceptual networks, the watch."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from s3dnerf.model.superres import identity_grid
from s3dnerf.settings.loading import preset_settings
from s3dnerf.settings.schema import TrainSettings
from s3dnerf.sync.expert import SyncExpert
from s3dnerf.training import losses
from s3dnerf.training.ema import Averaged
from s3dnerf.training.perceptual import VGG, PerceptualLoss, PerceptualWeightsError
from s3dnerf.training.watch import LossWatch, TrainingDiverged


def test_the_adversary_pulls_the_generator_towards_what_is_taken_for_real() -> None:
    taken, refused = torch.tensor([[3.0]]), torch.tensor([[-3.0]])
    assert losses.generator_adversarial_loss(taken) < losses.generator_adversarial_loss(refused)
    assert losses.discriminator_loss(refused, taken) < losses.discriminator_loss(taken, refused)
    assert abs(float(losses.discriminator_loss(torch.zeros(2, 1), torch.zeros(2, 1))) - 1.386294) < 1e-5


def test_r1_is_half_the_squared_gradient() -> None:
    real = torch.randn(3, 2, 4, 4, requires_grad=True)
    weight = torch.randn(2, 4, 4, requires_grad=True)
    penalty = losses.r1_penalty((real * weight).sum((1, 2, 3))[:, None], real)
    assert torch.allclose(penalty, 0.5 * weight.square().sum())
    penalty.backward()
    assert torch.allclose(weight.grad, weight.detach())


def test_pixel_loss_weighs_the_lip_box_and_keeps_its_scale() -> None:
    boxes = torch.tensor([[64.0, 128.0, 128.0, 192.0]])
    emphasis = losses.lip_emphasis(boxes, 64, 10.0)
    assert emphasis.shape == (1, 1, 64, 64) and abs(float(emphasis.mean()) - 1) < 1e-5
    # row 40, column 20 of 64 is inside
    assert torch.allclose(emphasis[0, 0, 40, 20] / emphasis[0, 0, 0, 0], torch.tensor(10.0))
    assert emphasis[0, 0, 20, 40] == emphasis[0, 0, 0, 0]
    zero, one = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    assert torch.allclose(losses.pixel_loss(one, zero, emphasis), torch.tensor(1.0))
    assert torch.equal(losses.lip_emphasis(boxes, 64, 1.0), torch.ones(1, 1, 64, 64))  # the paper's plain ℓ2


def test_black_paint_is_not_emptiness_over_a_coloured_backdrop() -> None:
    black, backdrop = torch.zeros(1, 3, 2, 2), torch.tensor([[0.9, 0.5, 0.1]])
    empty = losses.over(black, torch.zeros(1, 1, 2, 2), backdrop)
    assert torch.allclose(empty, backdrop[:, :, None, None].expand(1, 3, 2, 2))
    assert torch.equal(losses.over(black, torch.ones(1, 1, 2, 2), backdrop), black)


@pytest.mark.parametrize("opacity", [1.0, 0.3])
def test_flow_is_held_against_landmarks_in_pixels(opacity: float) -> None:
    torch.manual_seed(0)
    still, alpha = identity_grid(2, 32, torch.zeros(1)).permute(0, 3, 1, 2), torch.full((2, 1, 32, 32), opacity)
    target = 40 + 170 * torch.rand(2, 68, 2)

    def loss(x_px: float, y_px: float, source: torch.Tensor) -> float:
        moved = still + torch.tensor([x_px, y_px])[None, :, None, None] / 128
        return float(losses.landmark_flow_loss(opacity * moved, alpha, target, source))

    assert loss(0.0, 0.0, target) < 1e-6
    assert loss(3.0, -1.0, target + torch.tensor([3.0, -1.0])) < 1e-6
    assert loss(3.0, -1.0, target) == pytest.approx(3.0**2 + 1.0, rel=1e-3)
    assert loss(40.0, 0.0, target) == pytest.approx(2 * 4 * (40 - 2), rel=1e-3)  # a line beyond four pixels


def test_the_mouth_s_loss_is_the_mean_absolute_difference_inside_the_boxes() -> None:
    target, boxes = torch.rand(2, 3, 256, 256), torch.tensor([[10.0, 20.0, 50.0, 60.0], [100.0, 100.0, 140.0, 140.0]])
    made = target.clone()
    made[0, :, 20:60, 10:50] += 0.2
    made[1, :, 100:140, 100:120] -= 0.1  # half of its box
    made[1, :, 200:] += 5.0  # beside it
    assert float(losses.mouth_loss(made, target, boxes)) == pytest.approx((0.2 + 0.05) / 2, rel=1e-4)


def test_landmarks_count_as_the_face_is_opaque_there_and_opacity_gains_nothing() -> None:
    still = identity_grid(1, 32, torch.zeros(1)).permute(0, 3, 1, 2)
    target = torch.full((1, 68, 2), 60.0)
    target[:, 34:] = 190.0
    source = target.clone()
    source[:, 34:] += torch.tensor([3.0, 0.0])  # half of the landmarks are wrong, where the face is a tenth as opaque
    alpha = torch.ones(1, 1, 32, 32)
    alpha[..., 16:] = 0.1
    alpha.requires_grad_(True)
    loss = losses.landmark_flow_loss(still * alpha, alpha, target, source)
    assert float(loss.detach()) == pytest.approx(9.0 * 0.1 / 1.1, rel=1e-3)
    loss.backward()
    assert abs(float((alpha.grad * alpha.detach()).sum())) < 1e-3  # nor does a face that is a little less opaque


def _train(**given) -> TrainSettings:
    return dataclasses.replace(preset_settings("paper").train, **given)


def test_step_size_falls_over_the_last_half() -> None:
    train = _train(steps=100, lr_final=0.1)
    sizes = [losses.step_size(train, s) for s in range(101)]
    assert sizes[0] == sizes[50] == 1.0 and sizes[75] == pytest.approx(0.55) and sizes[100] == pytest.approx(0.1)
    assert {losses.step_size(_train(steps=100), s) for s in range(100)} == {1.0}


def _expert() -> SyncExpert:
    torch.manual_seed(0)
    return SyncExpert(preset_settings("tiny").sync).eval().requires_grad_(False)


def test_stand_in_is_zero_for_equals_names_itself_and_gives_gradient() -> None:
    loss = PerceptualLoss(_train(perceptual="stand_in"), _expert())
    frames = torch.rand(2, 3, 32, 32)
    assert loss(frames, frames) == 0 and not loss.real and loss.name.startswith("stand-in")
    near, far = (frames + e * torch.randn_like(frames) for e in (0.01, 0.3))
    assert 0 < loss(near, frames) < loss(far, frames)
    lips = torch.rand(1, 5, 3, 48, 48)
    made = torch.rand(1, 5, 3, 48, 48, requires_grad=True)
    assert loss.lips(lips, lips) == 0
    loss.lips(made, lips).backward()
    assert made.grad.abs().sum() > 0
    assert list(loss.parameters()) and not any(p.requires_grad for p in loss.parameters())


def test_the_random_pyramid_is_the_same_every_time() -> None:
    torch.manual_seed(1)
    first = PerceptualLoss(_train(perceptual="stand_in"), _expert()).state_dict()
    torch.manual_seed(2)
    second = PerceptualLoss(_train(perceptual="stand_in"), _expert()).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize(
    ("name", "places", "parameters"),  # torchvision's, as far as conv 5_1
    [
        ("vgg16", [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24], 9_995_072),
        ("vgg19", [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28], 12_944_960),
    ],
)
def test_vgg_has_torchvisions_names_and_depths(name: str, places: list[int], parameters: int, tmp_path: Path) -> None:
    network = VGG(name)
    names = [name for name in network.state_dict() if name.endswith("weight")]
    assert [int(n.split(".")[1]) for n in names] == places
    assert sum(p.numel() for p in network.parameters()) == parameters
    found = network(torch.rand(1, 3, 32, 32))
    assert [tuple(f.shape[1:]) for f in found] == [(64, 32, 32), (128, 16, 16), (256, 8, 8), (512, 4, 4), (512, 2, 2)]
    assert all((f >= 0).all() for f in found)  # ReLUs
    torch.save({**network.state_dict(), "classifier.0.weight": torch.zeros(1)}, tmp_path / "vgg.pth")
    save_file(network.state_dict(), tmp_path / "vgg.safetensors")
    frames = torch.rand(1, 3, 32, 32)
    for file in ("vgg.pth", "vgg.safetensors"):
        loss = PerceptualLoss(_train(perceptual=name, vgg_weights=str(tmp_path / file)), _expert())
        assert loss.real and loss.name == name
        assert loss(frames, frames) == 0 and loss(frames, 1 - frames) > 0
        assert loss.lips(torch.rand(1, 5, 3, 48, 48), torch.rand(1, 5, 3, 48, 48)) == 0


def test_missing_or_foreign_vgg19_weights_say_where_to_get_them(tmp_path) -> None:
    with pytest.raises(PerceptualWeightsError, match="download.pytorch.org.*stand_in"):
        PerceptualLoss(_train(vgg_weights=str(tmp_path / "none.pth")), _expert())
    torch.save({"features.0.weight": torch.zeros(3, 3)}, tmp_path / "other.pth")
    with pytest.raises(PerceptualWeightsError, match="lacks features"):
        PerceptualLoss(_train(vgg_weights=str(tmp_path / "other.pth")), _expert())


def test_average_follows_and_does_not_keep_a_random_start() -> None:
    module = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(module.weight, 0.0)
    averaged = Averaged(module, decay=0.999)
    torch.nn.init.constant_(module.weight, 1.0)
    averaged.update(module)
    assert averaged.module.weight.item() == pytest.approx(0.9)  # the first decay is 1/10
    for _ in range(300):
        averaged.update(module)
    assert averaged.module.weight.item() > 0.999 and not averaged.module.weight.requires_grad


def test_watch_stops_at_nan_with_advice() -> None:
    watch, bad = LossWatch(), {"pix": 1.0, "adv": float("nan")}
    for step, values in enumerate([bad, bad, {"pix": 1.0, "adv": 1.0}, bad, bad]):
        watch.see(step, values)
    again = LossWatch()
    again.restore(watch.state())
    assert again.skipped == 4
    with pytest.raises(TrainingDiverged, match="adv is nan, and 3 steps in a row.*no adv in the first of train.phases"):
        again.see(5, bad)


def test_watch_stops_at_lasting_spikes_and_forgives_short_ones() -> None:
    watch = LossWatch(patience=3)
    for step in range(30):
        watch.see(step, {"pix": 1.0})
    for total in (99.0, 99.0, 1.0, 99.0, 99.0):
        watch.see(40, {"pix": total})
    again = LossWatch(patience=3)
    again.restore(watch.state())
    with pytest.raises(TrainingDiverged, match="times its usual level"):
        again.see(41, {"pix": 99.0})
