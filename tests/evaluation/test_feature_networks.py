"""Networks of FID and FVD from files of the published formats, made here small or with random values; what is missing is
said.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional

from s3dnerf.evaluation import i3d, inception
from s3dnerf.evaluation.feature_networks import feature_networks, features_of, one_a_second
from s3dnerf.evaluation.inception import FeatureWeightsError, InceptionV3, load_inception
from s3dnerf.evaluation.picture_sets import PictureSets
from s3dnerf.settings.schema import EvaluateSettings

FRAMES = np.random.default_rng(0).integers(0, 256, (33, 32, 32, 3), dtype=np.uint8)


class SmallInception(nn.Module):
    """A program that is called as StyleGAN's Inception is."""

    def __init__(self, width: int = 6) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)

    def forward(self, pixels: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        x = self.conv(pixels.float() / 255)
        return x.mean(dim=[2, 3]) if return_features else x


class SmallI3D(nn.Module):
    """A program that is called as the FVD reference's I3D is: it asks for pixels of 0 … 255 and scales them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, 4, 3)

    def forward(
        self, x: torch.Tensor, rescale: bool = False, resize: bool = False, return_features: bool = False
    ) -> torch.Tensor:
        assert rescale and resize and return_features
        assert x.shape[1] == 3 and x.shape[2] == 16
        return self.conv(x / 127.5 - 1.0).mean(dim=[2, 3, 4])


@pytest.fixture(scope="module")
def network() -> InceptionV3:
    torch.manual_seed(0)
    return InceptionV3().eval()


def test_the_network_is_inception_v3(network: InceptionV3) -> None:
    """torchvision states 27,161,264 parameters for 1000 classes; 3,326,696 of them are its auxiliary head's and
    2,049,000 the classifier's, which are not read here."""
    assert sum(p.numel() for p in network.parameters()) == 27_161_264 - 3_326_696 - 2_049_000
    assert network(torch.zeros(1, 3, 299, 299)).shape == (1, inception.FEATURES)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert shapes["Mixed_6b.branch7x7_2.conv.weight"] == (128, 128, 1, 7)
    assert shapes["Mixed_6b.branch7x7dbl_2.conv.weight"] == (128, 128, 7, 1)
    assert shapes["Mixed_7c.branch3x3dbl_3b.conv.weight"] == (384, 384, 3, 1)


def test_padding_is_not_averaged_and_the_last_block_takes_the_maximum(network: InceptionV3) -> None:
    """Where the FID reference differs from torchvision: a constant picture stays constant at its edge under pooling."""
    constant = torch.full((1, 192, 5, 5), 2.0)
    assert torch.equal(inception._pooled(constant), constant)
    x = torch.rand(1, 2048, 4, 4)
    pooled = network.Mixed_7c.branch_pool(functional.max_pool2d(x, 3, 1, 1))
    assert torch.allclose(network.Mixed_7c(x)[:, -192:], pooled, atol=1e-5)
    assert not network.Mixed_7b.maximum


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_state_dict_with_its_classifier_loads(network: InceptionV3, tmp_path: Path, suffix: str) -> None:
    given = {k: v.half() for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    given |= {"fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}
    path = tmp_path / f"pt_inception-2015-12-05-6726825d{suffix}"
    torch.save(given, path) if suffix == ".pth" else save_file(given, path)
    loaded = load_inception(path)
    found = inception.features(loaded, FRAMES[:3], batch=2)
    pixels = torch.from_numpy(FRAMES[:3].transpose(0, 3, 1, 2)).float() / 255
    with torch.inference_mode():
        expected = loaded(2 * functional.interpolate(pixels, (299, 299), mode="bilinear") - 1)
    assert found.shape == (3, 2048) and np.allclose(found, expected.numpy(), atol=1e-4)
    del given["Mixed_5b.branch1x1.bn.running_var"]
    torch.save(given, tmp_path / "less.pth")
    with pytest.raises(
        FeatureWeightsError, match=r"expected Mixed_5b.branch1x1.bn.running_var of shape \(64,\), got nothing"
    ):
        load_inception(tmp_path / "less.pth")
    torch.save({**given, "Conv2d_1a_3x3.conv.weight": torch.zeros(32, 1, 3, 3)}, tmp_path / "other.pth")
    with pytest.raises(FeatureWeightsError, match=r"Conv2d_1a_3x3.conv.weight of shape \(32, 3, 3, 3\), got shape"):
        load_inception(tmp_path / "other.pth")


def test_programs_are_called_as_the_published_ones_are(tmp_path: Path) -> None:
    torch.manual_seed(1)
    small, video = SmallInception(), SmallI3D()
    torch.jit.script(small).save(str(tmp_path / "inception-2015-12-05.pt"))
    torch.jit.script(video).save(str(tmp_path / "i3d_torchscript.pt"))
    chosen = EvaluateSettings(
        fid="inception", fid_weights=str(tmp_path / "inception-2015-12-05.pt"),
        fvd="i3d", fvd_weights=str(tmp_path / "i3d_torchscript.pt"),
    )  # fmt: skip
    networks, why = feature_networks(chosen, None, "no AlexNet here")
    assert set(networks) == {"inception", "i3d"} and why == {"alexnet": "no AlexNet here"}
    found = features_of(networks, FRAMES)
    assert found["inception"].shape == (2, 6) and found["i3d"].shape == (2, 4)  # two seconds begun, two whole windows
    window = torch.from_numpy(FRAMES[16:32].transpose(3, 0, 1, 2)).float()[None]
    expected = video(window, rescale=True, resize=True, return_features=True)
    assert np.allclose(found["i3d"][1], expected.detach().numpy(), atol=1e-5)
    assert set(features_of(networks, FRAMES[:10])) == {"inception"}  # too short for a window
    sets = PictureSets(networks, why)
    for clip in "abc":
        sets.add(None, clip, FRAMES)
        sets.add("dark", clip, FRAMES // 2)
    lines = sets.lines()
    assert lines[0] == "kid_alexnet, fid_alexnet: not measured: no AlexNet here"
    assert lines[1].startswith("dark: kid_inception ") and "6 pictures of 3 clips against 6 true ones" in lines[1]
    assert lines[2].startswith("dark: fvd_i3d ") and "kid" not in lines[2] and "6 windows of 3 clips" in lines[2]
    assert sets.distances("i3d")["dark"].fid > 0


def test_what_is_missing_or_something_else_is_said(tmp_path: Path) -> None:
    networks, why = feature_networks(EvaluateSettings(), None, "no AlexNet here")
    assert not networks and why["inception"].startswith("switched off (evaluate.fid: off)")
    gone = EvaluateSettings(
        fid="inception", fid_weights=str(tmp_path / "a.pth"), fvd="i3d", fvd_weights=str(tmp_path / "b.pt")
    )
    _, why = feature_networks(gone, None, "")
    assert "a.pth: no such file (Inception-v3 of the FID reference" in why["inception"]
    assert "b.pt: no such file (I3D of the FVD reference" in why["i3d"] and "s3dnerf fetch fvd" in why["i3d"]
    for name, load in (("b.pt", i3d.load_i3d), ("a.pt", load_inception), ("a.pth", load_inception)):
        (tmp_path / name).write_bytes(b"no weights")
        with pytest.raises(FeatureWeightsError, match=name):
            load(tmp_path / name)
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(FeatureWeightsError, match="holds a list"):
        load_inception(tmp_path / "list.pth")


def test_a_still_picture_is_looked_at_once_and_counts_for_every_second() -> None:
    seen: list[int] = []

    def of_pictures(pictures: np.ndarray) -> np.ndarray:
        seen.append(len(pictures))
        return pictures[:, 0, 0, :2].astype(float)

    of_video = one_a_second(of_pictures)
    still = np.broadcast_to(FRAMES[:1], (75, *FRAMES.shape[1:]))
    assert np.array_equal(of_video(still), np.repeat(FRAMES[:1].reshape(1, -1)[:, :2], 3, axis=0)) and seen == [1]
    moving = np.concatenate([still[:50], FRAMES[:1] // 2])
    assert np.array_equal(of_video(moving), moving[::25].reshape(3, -1)[:, :2]) and seen == [1, 2]
    assert len(of_video(FRAMES[:0])) == 0
