"""Inception-v3 as the FID reference has it, whose pooled features published FIDs and KIDs are computed from.

The network of 2015-12-05 (Szegedy et al. 2016), written here from the paper with the names that its PyTorch files have.
Three things differ from torchvision's: average pooling does not count the padding, the last block pools by maximum, and
there are 1008 classes. Frames are scaled to 299² (bilinear, no antialiasing) and to [−1, 1]; the features are the mean
over places of the last block, 2048 numbers.

Accepted files:

- the state dict of the FID reference in PyTorch, ``pt_inception-2015-12-05-6726825d.pth``
  (``Conv2d_1a_3x3.conv.weight`` …, the classifier ``fc`` in it is ignored), or the same tensors as
  safetensors: read as data, nothing is run;
- the TorchScript program ``inception-2015-12-05.pt`` that StyleGAN's authors give: a program, called with
  ``return_features=True``. It runs what it holds, inside TorchScript: name a file of a source that you trust.

Source: Heusel et al. 2017 (FID), Bińkowski et al. 2018 (KID).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Tensor, UInt8
from s3dnerf.core.weight_files import WeightFileError, read_named_tensors

SIZE_PX, FEATURES = 299, 2048
NAME = "pt_inception-2015-12-05-6726825d.pth"


class FeatureWeightsError(S3DNeRFError, RuntimeError):
    """A feature network's file is missing or not what it should be; the message says which and what was expected."""


class _Conv(nn.Module):
    """Convolution without bias, normalisation, ReLU."""

    def __init__(
        self, inner: int, outer: int, size: int | tuple[int, int], stride: int = 1, padding: int | tuple[int, int] = 0
    ):
        super().__init__()
        self.conv = nn.Conv2d(inner, outer, size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outer, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


def _pooled(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class _Mixed5(nn.Module):
    """1×1, 5×5, twice 3×3 and pooling beside each other."""

    def __init__(self, inner: int, pool: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inner, 64, 1)
        self.branch5x5_1, self.branch5x5_2 = _Conv(inner, 48, 1), _Conv(48, 64, 5, padding=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inner, 64, 1), _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, padding=1)
        self.branch_pool = _Conv(inner, pool, 1)

    def forward(self, x: Tensor) -> Tensor:
        five = self.branch5x5_2(self.branch5x5_1(x))
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, double, self.branch_pool(_pooled(x))], dim=1)


class _Reduction6(nn.Module):
    """35² to 17²."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.branch3x3 = _Conv(inner, 384, 3, stride=2)
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inner, 64, 1), _Conv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = _Conv(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, functional.max_pool2d(x, 3, 2)], dim=1)


class _Mixed6(nn.Module):
    """7×7 as rows and columns, once and twice."""

    def __init__(self, inner: int, c: int) -> None:
        super().__init__()
        self.branch1x1 = _Conv(inner, 192, 1)
        self.branch7x7_1, self.branch7x7_2, self.branch7x7_3 = (
            _Conv(inner, c, 1),
            _Conv(c, c, (1, 7), padding=(0, 3)),
            _Conv(c, 192, (7, 1), padding=(3, 0)),
        )
        self.branch7x7dbl_1, self.branch7x7dbl_2 = _Conv(inner, c, 1), _Conv(c, c, (7, 1), padding=(3, 0))
        self.branch7x7dbl_3, self.branch7x7dbl_4 = (
            _Conv(c, c, (1, 7), padding=(0, 3)),
            _Conv(c, c, (7, 1), padding=(3, 0)),
        )
        self.branch7x7dbl_5 = _Conv(c, 192, (1, 7), padding=(0, 3))
        self.branch_pool = _Conv(inner, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(_pooled(x))], dim=1)


class _Reduction7(nn.Module):
    """17² to 8²."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.branch3x3_1, self.branch3x3_2 = _Conv(inner, 192, 1), _Conv(192, 320, 3, stride=2)
        self.branch7x7x3_1, self.branch7x7x3_2 = _Conv(inner, 192, 1), _Conv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3, self.branch7x7x3_4 = _Conv(192, 192, (7, 1), padding=(3, 0)), _Conv(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, functional.max_pool2d(x, 3, 2)], dim=1)


class _Mixed7(nn.Module):
    """3×3 as a row beside a column, once and after another 3×3; ``maximum``: how the last branch pools."""

    def __init__(self, inner: int, maximum: bool) -> None:
        super().__init__()
        self.maximum = maximum
        self.branch1x1 = _Conv(inner, 320, 1)
        self.branch3x3_1 = _Conv(inner, 384, 1)
        self.branch3x3_2a, self.branch3x3_2b = (
            _Conv(384, 384, (1, 3), padding=(0, 1)),
            _Conv(384, 384, (3, 1), padding=(1, 0)),
        )
        self.branch3x3dbl_1, self.branch3x3dbl_2 = _Conv(inner, 448, 1), _Conv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a, self.branch3x3dbl_3b = (
            _Conv(384, 384, (1, 3), padding=(0, 1)),
            _Conv(384, 384, (3, 1), padding=(1, 0)),
        )
        self.branch_pool = _Conv(inner, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        three, double = self.branch3x3_1(x), self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = functional.max_pool2d(x, 3, 1, 1) if self.maximum else _pooled(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        return torch.cat(
            [*parts, self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)], dim=1
        )


class InceptionV3(nn.Module):
    """The FID reference's network up to its pooled features; random weights until :func:`load_inception` fills it."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3, self.Conv2d_2a_3x3 = _Conv(3, 32, 3, stride=2), _Conv(32, 32, 3)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1, self.Conv2d_4a_3x3 = _Conv(64, 80, 1), _Conv(80, 192, 3)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _Mixed5(192, 32), _Mixed5(256, 64), _Mixed5(288, 64)
        self.Mixed_6a = _Reduction6(288)
        self.Mixed_6b, self.Mixed_6c, self.Mixed_6d = _Mixed6(768, 128), _Mixed6(768, 160), _Mixed6(768, 160)
        self.Mixed_6e = _Mixed6(768, 192)
        self.Mixed_7a = _Reduction7(768)
        self.Mixed_7b, self.Mixed_7c = _Mixed7(1280, False), _Mixed7(2048, True)

    def forward(self, images: Float[Tensor, "b 3 299 299"]) -> Float[Tensor, "b 2048"]:
        """Features of images in [−1, 1]."""
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        x = functional.max_pool2d(x, 3, 2)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))
        x = functional.max_pool2d(x, 3, 2)
        for block in (
            self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a, self.Mixed_6b, self.Mixed_6c, self.Mixed_6d,
            self.Mixed_6e, self.Mixed_7a, self.Mixed_7b, self.Mixed_7c,
        ):  # fmt: skip
            x = block(x)
        return x.mean(dim=(2, 3))


def read_program(path: Path) -> torch.jit.ScriptModule:
    """A TorchScript program on the CPU, ready to be called. Raises FeatureWeightsError for any other file."""
    try:
        return torch.jit.load(str(path), map_location="cpu").eval()
    except (RuntimeError, ValueError) as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise FeatureWeightsError(f"{path}: not a TorchScript program: {first[:200]}") from error


def load_inception(path: str | Path) -> InceptionV3 | torch.jit.ScriptModule:
    """The network with its weights from a file (which files: see the module).

    Raises
    ------
    FeatureWeightsError
        The file is missing, holds something else, or a tensor has another name or shape than expected.
    """
    path = Path(path)
    if not path.is_file():
        raise FeatureWeightsError(
            f"{path}: no such file (Inception-v3 of the FID reference, {NAME}): s3dnerf fetch fid says where"
        )
    if path.suffix == ".pt":
        return read_program(path)
    try:
        given = read_named_tensors(path)
    except WeightFileError as error:
        raise FeatureWeightsError(str(error)) from error
    network, found = InceptionV3(), {}
    for name, value in network.state_dict().items():
        if name.endswith("num_batches_tracked"):  # counts training steps, and old files lack it
            found[name] = value
            continue
        tensor = given.get(name)
        if tensor is None or tuple(tensor.shape) != tuple(value.shape):
            shape = "nothing" if tensor is None else f"shape {tuple(tensor.shape)}"
            raise FeatureWeightsError(f"{path}: expected {name} of shape {tuple(value.shape)}, got {shape}")
        found[name] = tensor.float()
    network.load_state_dict(found, strict=True)
    return network.eval().requires_grad_(False)


def features(
    network: InceptionV3 | torch.jit.ScriptModule, frames: UInt8[np.ndarray, "n h w 3"], batch: int = 16
) -> Float[np.ndarray, "n 2048"]:
    """Pooled features of pictures of any size, float64. Raises FeatureWeightsError where a program gives another
    shape.
    """
    found, program = [], isinstance(network, torch.jit.ScriptModule)
    device = next(iter(network.parameters()), torch.zeros(())).device
    with torch.inference_mode():
        for i in range(0, len(frames), batch):
            pixels = torch.from_numpy(np.ascontiguousarray(frames[i : i + batch].transpose(0, 3, 1, 2))).to(device)
            if program:  # it scales pictures itself
                given = network(pixels, return_features=True)
            else:
                scaled = functional.interpolate(pixels.float() / 255, (SIZE_PX, SIZE_PX), mode="bilinear")
                given = network(2 * scaled - 1)
            if given.ndim != 2 or len(given) != len(pixels):
                raise FeatureWeightsError(
                    f"Inception-v3: got features of shape {tuple(given.shape)}, expected (n, 2048)"
                )
            found.append(given.double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, FEATURES))
