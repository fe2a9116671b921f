"""LPIPS's weights out of a package's archive: names, layouts, and what is refused."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from flows import lpips_archive
from s3dnerf.core.array_pickles import read_arrays
from s3dnerf.core.weight_files import WeightFileError
from s3dnerf.metrics import lpips
from s3dnerf.training.perceptual import VGG

VGG16 = ((3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256), (256, 512), *[(512, 512)] * 3)
SHAPES = ((11, 11, 3, 64), (5, 5, 64, 192), (3, 3, 192, 384), (3, 3, 384, 256), (3, 3, 256, 256))


def flax_weights() -> dict[str, Any]:
    """Random weights as the package keeps them."""
    rng = np.random.default_rng(0)
    convolutions = {
        f"Conv_{n}": {
            "kernel": rng.normal(0, 0.05, shape).astype(np.float32),
            "bias": rng.normal(0, 0.1, shape[3]).astype(np.float32),
        }
        for n, shape in enumerate(SHAPES)
    }
    heads = {
        f"NetLinLayer_{n}": {"Conv_0": {"kernel": rng.random((1, 1, shape[3], 1)).astype(np.float32)}}
        for n, shape in enumerate(SHAPES)
    }
    return {"AlexNet_0": convolutions, **heads}


def flax_vgg() -> dict[str, Any]:
    """A VGG-16 as the package keeps it, each convolution filled with a number of its own."""
    filled = {
        f"Conv_{n}": {"kernel": np.full((3, 3, *shape), n, np.float32), "bias": np.full(shape[1], -n, np.float32)}
        for n, shape in enumerate(VGG16)
    }
    return {"VGG16_0": filled}


def packed(folder: Path, content: bytes) -> tuple[Path, str]:
    """An archive with this pickle in AlexNet's place and :func:`flax_vgg` in VGG-16's, and its hash."""
    path = folder / "package.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as archive:
        for name, data in ((lpips_archive.ALEXNET, content), (lpips_archive.VGG16, pickle.dumps(flax_vgg()))):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_network_computes_with_the_package_s_weights(tmp_path: Path) -> None:
    weights = flax_weights()
    archive, sha256 = packed(tmp_path, pickle.dumps(weights))
    written = lpips_archive.convert(archive, tmp_path / "lpips", sha256)
    assert [path.name for path in written] == [*lpips.CONVERTED, "vgg16.safetensors"]
    network = lpips.load_lpips(tmp_path / "lpips")
    image = torch.from_numpy(np.random.default_rng(1).random((1, 3, 64, 64)).astype(np.float32))
    # the first convolution written out: height, width, in, out
    kernel, bias = (weights["AlexNet_0"]["Conv_0"][part] for part in ("kernel", "bias"))
    padded = np.pad(image[0].numpy(), ((0, 0), (2, 2), (2, 2)))
    window = padded[:, 4 * 3 : 4 * 3 + 11, 4 * 5 : 4 * 5 + 11]
    wanted = np.einsum("cyx,yxco->o", window, kernel) + bias
    assert np.abs(network.features[0](image)[0, :, 3, 5].detach().numpy() - wanted).max() < 1e-5
    assert np.array_equal(network.heads[4].numpy().ravel(), weights["NetLinLayer_4"]["Conv_0"]["kernel"].ravel())


def test_the_perceptual_network_takes_the_package_s_weights(tmp_path: Path) -> None:
    archive, sha256 = packed(tmp_path, pickle.dumps(flax_weights()))
    lpips_archive.convert(archive, tmp_path / "lpips", sha256)
    network = VGG("vgg16").load(tmp_path / "lpips" / "vgg16.safetensors")
    convolutions = [layer for layer in network.features if isinstance(layer, torch.nn.Conv2d)]
    for n, layer in enumerate(convolutions):
        assert bool((layer.weight == n).all()) and bool((layer.bias == -n).all())
    assert len(convolutions) == len(VGG16)


def test_another_archive_is_refused(tmp_path: Path) -> None:
    archive, _ = packed(tmp_path, pickle.dumps(flax_weights()))
    with pytest.raises(WeightFileError, match=r"package\.tar\.gz: sha256 .*expected a286e44ce15d"):
        lpips_archive.convert(archive, tmp_path / "lpips")
    assert not (tmp_path / "lpips").exists()


def test_a_missing_layer_is_named(tmp_path: Path) -> None:
    weights = flax_weights()
    del weights["AlexNet_0"]["Conv_3"]
    archive, sha256 = packed(tmp_path, pickle.dumps(weights))
    with pytest.raises(WeightFileError, match="Conv_3/kernel"):
        lpips_archive.convert(archive, tmp_path / "lpips", sha256)


class Trap:
    """What calls a function when an ordinary reader meets it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    weights = flax_weights() | {"more": Trap(tmp_path / "ran")}
    with pytest.raises(WeightFileError, match=r"x\.ckpt: it holds more than arrays, a call of posix\.mkdir"):
        read_arrays(pickle.dumps(weights), "x.ckpt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "value",
    [{"a": "text"}, {"a": np.array([{"b": 1}], object)}, [np.zeros(3)], {"a": None}],
    ids=["text", "objects", "a list", "nothing"],
)
def test_other_leaves_are_refused(value: Any) -> None:
    with pytest.raises(WeightFileError, match="no array of numbers|more than arrays"):
        read_arrays(pickle.dumps(value), "x.ckpt")


@pytest.mark.parametrize("data", [b"", b"no pickle", pickle.dumps({"a": np.zeros(100)})[:60]])
def test_damaged_pickles_are_refused(data: bytes) -> None:
    with pytest.raises(WeightFileError, match=r"^x\.ckpt: "):
        read_arrays(data, "x.ckpt")


def test_paths_of_nested_arrays() -> None:
    found = read_arrays(pickle.dumps({"a": {"b": np.arange(3), "c": {"d": np.ones((2, 2), np.float32)}}}), "x")
    assert sorted(found) == ["a/b", "a/c/d"] and found["a/c/d"].dtype == np.float32
