"""The real network's layers, names and files; nothing in a file is executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from s3dnerf.faces.recon.network import HEADS, MissingWeights, ReconNetwork, load_network, plain_names
from tests.faces.tiny_models import constant_network, write_checkpoint


def test_names_and_shapes_are_resnet_50_s() -> None:
    with torch.device("meta"):
        state = ReconNetwork().state_dict()
    assert tuple(state["backbone.conv1.weight"].shape) == (64, 3, 7, 7)
    assert tuple(state["backbone.layer1.0.downsample.0.weight"].shape) == (256, 64, 1, 1)
    assert tuple(state["backbone.layer4.2.conv2.weight"].shape) == (512, 512, 3, 3)
    assert tuple(state["backbone.layer3.5.bn3.running_var"].shape) == (1024,)
    assert [tuple(state[f"final_layers.{i}.weight"].shape) for i in range(7)] == [(size, 2048, 1, 1) for size in HEADS]
    weights = sum(
        v.numel() for k, v in state.items() if k.startswith("backbone") and not k.endswith("num_batches_tracked")
    )
    # torchvision's ResNet-50 without its classifier, with running statistics
    assert weights == 25_557_032 - 2048 * 1000 - 1000 + 53_120


def test_strides_and_heads_in_order() -> None:
    wanted = np.arange(257, dtype=np.float32) / 100
    network = constant_network(wanted).eval()
    with torch.inference_mode():
        images = torch.rand(2, 3, 224, 224)
        assert torch.allclose(network(images), torch.from_numpy(wanted).expand(2, 257))
        x = network.backbone.maxpool(torch.relu(network.backbone.bn1(network.backbone.conv1(images))))
        assert x.shape[-1] == 56
        for level, side in ((1, 56), (2, 28), (3, 14), (4, 7)):
            x = getattr(network.backbone, f"layer{level}")(x)
            assert x.shape[-1] == side


def test_a_checkpoint_of_the_official_layout_gives_the_same_answers(tmp_path: Path) -> None:
    torch.manual_seed(3)
    network = ReconNetwork(4, (2, 1, 1, 1)).eval()
    write_checkpoint(tmp_path / "epoch_20.pth", network)
    loaded = load_network(tmp_path / "epoch_20.pth")
    images = torch.rand(1, 3, 224, 224)
    with torch.inference_mode():
        assert torch.equal(loaded(images), network(images)) and not loaded.training


def test_other_names_for_the_same_tensors() -> None:
    value = torch.zeros(1)
    names = {
        "module.backbone.conv1.weight",
        "net_recon.fc_layers.3.bias",
        "face_3drecon.backbone.bn1.weight",
        "backbone.fc.weight",
        "other.x",
    }
    assert set(plain_names(dict.fromkeys(names, value))) == {
        "backbone.conv1.weight",
        "final_layers.3.bias",
        "backbone.bn1.weight",
    }


def test_a_missing_file_is_said_plainly(tmp_path: Path) -> None:
    with pytest.raises(MissingWeights) as error:
        load_network(tmp_path / "epoch_20.pth")
    for word in ("masks.network", "epoch_20.pth", "Deep3DFaceRecon_pytorch", "licence", "masks.backend: fitted"):
        assert word in str(error.value)


def test_a_file_that_would_run_code_is_refused_and_does_not(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    with open(tmp_path / "bad.pth", "wb") as handle:
        pickle.dump({"net_recon": Trap()}, handle, protocol=2)
    with pytest.raises(ValueError, match="masks.network: .*more than tensors, a call of posix.mkdir: refused"):
        load_network(tmp_path / "bad.pth")
    torch.save({"net_recon": Trap()}, tmp_path / "worse.pth")
    with pytest.raises(ValueError, match="masks.network: .*more than tensors, a call of posix.mkdir: refused"):
        load_network(tmp_path / "worse.pth")
    assert not (tmp_path / "ran").exists()


def test_another_network_s_file_is_refused_by_name(tmp_path: Path) -> None:
    torch.save({"net_recon": {"backbone.conv9.weight": torch.zeros(1)}}, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="backbone.conv1.weight"):
        load_network(tmp_path / "a.pth")
    state = ReconNetwork(4, (1, 1, 1, 1)).state_dict()
    del state["final_layers.6.bias"]
    torch.save({"net_recon": state}, tmp_path / "b.pth")
    with pytest.raises(ValueError, match="final_layers.6.bias"):
        load_network(tmp_path / "b.pth")
