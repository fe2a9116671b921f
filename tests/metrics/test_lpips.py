"""LPIPS against a literal version on the same random weights, its files, and what is said when they are missing or
wrong.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from s3dnerf.metrics import lpips, lpips_files
from tests.margins import Between, Margin

CONVOLUTIONS = {0: (64, 3, 11), 3: (192, 64, 5), 6: (384, 192, 3), 8: (256, 384, 3), 10: (256, 256, 3)}


def write_weights(folder: Path, seed: int = 0) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Files with torchvision's and LPIPS's own names, the classifier of AlexNet included."""
    torch.manual_seed(seed)
    backbone = {}
    for i, (out, channels, side) in CONVOLUTIONS.items():
        backbone[f"features.{i}.weight"] = (
            torch.randn(out, channels, side, side) * (2 / (channels * side * side)) ** 0.5
        )
        backbone[f"features.{i}.bias"] = torch.randn(out) * 0.1
    backbone["classifier.6.weight"] = torch.zeros(10, 16)
    heads = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate(lpips.CHANNELS)}
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(backbone, folder / lpips.BACKBONE)
    torch.save(heads, folder / lpips.HEADS)
    return backbone, heads


def literal(backbone: dict, heads: dict, x: np.ndarray, y: np.ndarray) -> float:
    """One pair of frames, layer by layer."""

    def features(image: np.ndarray) -> list[torch.Tensor]:
        h = torch.tensor(image / 127.5 - 1, dtype=torch.float64).permute(2, 0, 1)[None]
        h = (h - torch.tensor([-0.030, -0.088, -0.188], dtype=torch.float64)[None, :, None, None]) / torch.tensor(
            [0.458, 0.448, 0.450], dtype=torch.float64
        )[None, :, None, None]
        found = []
        for i, (stride, padding) in zip(CONVOLUTIONS, ((4, 2), (1, 2), (1, 1), (1, 1), (1, 1))):
            if i in (3, 6):
                h = functional.max_pool2d(h, 3, 2)
            h = functional.conv2d(
                h, backbone[f"features.{i}.weight"].double(), backbone[f"features.{i}.bias"].double(), stride, padding
            ).relu()
            found.append(h)
        return found

    total = 0.0
    for i, (a, b) in enumerate(zip(features(x), features(y))):
        a, b = (f / (f.square().sum(1, keepdim=True).sqrt() + 1e-10) for f in (a, b))
        total += float(((a - b).square() * heads[f"lin{i}.model.1.weight"].double()).sum(1).mean())
    return total


SIZES = ((64, 64), (96, 96), (71, 130))


def against_the_literal_version(folder: Path, size: tuple[int, int], seed: int = 0) -> float:
    """Relative difference of the metric and of the layers written out in float64."""
    backbone, heads = write_weights(folder, seed)
    random = np.random.default_rng(size)
    truth = random.integers(0, 256, (3, *size, 3), dtype=np.uint8)
    generated = (truth + random.normal(0, 20, truth.shape)).clip(0, 255).astype(np.uint8)
    measured = lpips.measure(lpips.load_lpips(folder), generated, truth, batch=2)
    expected = np.mean([literal(backbone, heads, x, y) for x, y in zip(generated, truth)])
    assert measured.counted == 3 and measured.value is not None
    assert lpips.measure(lpips.load_lpips(folder), truth, truth).value == 0
    return abs(measured.value / float(expected) - 1)


LITERAL = Margin(
    "test_equals_the_literal_version",
    lambda seed, folder: {
        "relative difference": max(against_the_literal_version(folder, size, seed) for size in SIZES)
    },
    {"relative difference": Between(high=1e-4)},
)


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_literal_version(tmp_path: Path, size: tuple[int, int]) -> None:
    LITERAL.check({"relative difference": against_the_literal_version(tmp_path, size)})


@pytest.mark.parametrize("new_format", [True, False])
def test_files_under_their_own_names_load(tmp_path: Path, new_format: bool) -> None:
    """As torch's hub and the lpips package name them, in torch's older file format as well."""
    backbone, heads = write_weights(tmp_path / "a")
    (tmp_path / "b").mkdir()
    torch.save(backbone, tmp_path / "b/alexnet-owt-7be5be79.pth", _use_new_zipfile_serialization=new_format)
    torch.save(heads, tmp_path / "b/alex.pth", _use_new_zipfile_serialization=new_format)
    one, other = (lpips.load_lpips(tmp_path / folder).state_dict() for folder in "ab")
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_grows_with_blur_and_shift(tmp_path: Path) -> None:
    write_weights(tmp_path)
    network = lpips.load_lpips(tmp_path)
    truth = gaussian_filter(np.random.default_rng(0).uniform(0, 255, (1, 64, 80, 3)), (0, 2, 2, 0))
    truth = ((truth - truth.min()) * 255 / np.ptp(truth)).astype(np.uint8)
    here = truth[:, :, :64]
    blurred = [lpips.measure(network, gaussian_filter(here, (0, s, s, 0)), here).value for s in (0, 0.7, 1.5, 3)]
    shifted = [lpips.measure(network, truth[:, :, k : k + 64], here).value for k in (0, 1, 2, 4)]
    for values in (blurred, shifted):
        assert values[0] == 0 and all(a < b for a, b in zip(values, values[1:])), values


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    write_weights(tmp_path)
    torch.save([torch.zeros(1)], tmp_path / lpips.HEADS)
    with pytest.raises(lpips.LpipsWeightsError, match="lpips_alex.pth: not a plain file of tensors: holds a list"):
        lpips.load_lpips(tmp_path)


def test_missing_is_not_zero(tmp_path: Path) -> None:
    with pytest.raises(lpips.LpipsWeightsError, match="alexnet.pth: no such file"):
        lpips.load_lpips(tmp_path)
    measured, said = lpips_files.absent(), lpips_files.absent("why")
    assert measured.value is None and measured.reason == "no LPIPS weights"
    assert said.value is None and said.reason == "why"


def test_a_wrong_shape_is_named(tmp_path: Path) -> None:
    _, heads = write_weights(tmp_path)
    torch.save({**heads, "lin2.model.1.weight": torch.zeros(1, 5, 1, 1)}, tmp_path / lpips.HEADS)
    with pytest.raises(lpips.LpipsWeightsError, match=r"heads\.2 of shape \(1, 384, 1, 1\), got shape \(1, 5, 1, 1\)"):
        lpips.load_lpips(tmp_path)


class Evil:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("/tmp/lpips_pickle_was_executed"),))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_pickle_is_never_executed(tmp_path: Path) -> None:
    write_weights(tmp_path)
    (tmp_path / lpips.BACKBONE).write_bytes(pickle.dumps({"features.0.weight": Evil()}))
    with pytest.raises(lpips.LpipsWeightsError, match="not a plain file of tensors"):
        lpips.load_lpips(tmp_path)
    assert not Path("/tmp/lpips_pickle_was_executed").exists()


def test_kept_features_of_the_truth_change_no_bit_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(2)
    network = lpips.LPIPS().eval()
    random = np.random.default_rng(5)
    truth, *videos = (random.integers(0, 256, (7, 64, 64, 3), dtype=np.uint8) for _ in range(3))
    monkeypatch.setattr(lpips, "MOST_KEPT", 6)
    read: list[int] = []
    taps = network.taps
    monkeypatch.setattr(network, "taps", lambda images: (read.append(len(images)), taps(images))[1])
    kept: dict = {}
    with_them = [lpips.measure(network, video, truth, batch=3, kept=kept).value for video in videos]
    assert list(kept) == [(0, 3), (3, 3)] and sum(read) == 2 * 7 + 7 + 1  # of the truth's second pass the last frame
    assert with_them == [lpips.measure(network, video, truth, batch=3).value for video in videos]
    # a shorter video ends within a batch: its last batch is another one
    assert (
        lpips.measure(network, videos[0][:5], truth[:5], batch=3, kept=kept).value
        == lpips.measure(network, videos[0][:5], truth[:5], batch=3).value
    )
