"""Deep3DFaceRecon's coefficient network: a ResNet-50 with seven small heads instead of its classifier. Torch alone.

The layers carry the names of the official checkpoint (``net_recon`` in ``epoch_20.pth``: ``backbone.`` with
torchvision's names, then ``final_layers.0`` … ``.6``: id 80, exp 64, tex 80, angle 3, gamma 27, tx ty 2, tz 1). Width
and depth are read from the checkpoint's own shapes. Files are opened with ``weights_only=True``: nothing in them is
executed.

Source: He et al., "Deep Residual Learning"; Deng et al., "Accurate 3D Face Reconstruction with Weakly-Supervised
Learning".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from s3dnerf.core.errors import MissingWeights
from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.core.weight_files import WeightFileError, read_tensors

HEADS = (80, 64, 80, 3, 27, 2, 1)
EXPANSION = 4
NETWORK_WHERE = "epoch_20.pth of github.com/sicxu/Deep3DFaceRecon_pytorch (README, 'Prepare prerequisite models')"
NETWORK_LICENCE = (
    "Deep3DFaceRecon: MIT for the code; the weights are tied to the Basel Face Model's non-commercial licence"
)
PREFIXES = ("module.", "net_recon.", "face_3drecon.")


class Bottleneck(nn.Module):
    """1×1, 3×3, 1×1 with a shortcut; the stride is in the 3×3."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * EXPANSION, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * EXPANSION)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or channels != width * EXPANSION:
            shortcut = nn.Conv2d(channels, width * EXPANSION, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(width * EXPANSION))

    def forward(self, x: Tensor) -> Tensor:
        """(b, c, h, w) → (b, o, h / stride, w / stride)."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.downsample(x))


class Backbone(nn.Module):
    """A residual network up to its pooled features (b, 32·width, 1, 1), torchvision's layer names.

    Parameters
    ----------
    width : int
        Channels of the first convolution (64 in ResNet-50).
    blocks : (int, int, int, int)
        Bottlenecks a level (3, 4, 6, 3 in ResNet-50).
    """

    def __init__(self, width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = width
        for level, count in enumerate(blocks):
            inner, layers = width * 2**level, []
            for i in range(count):
                layers.append(Bottleneck(channels, inner, 2 if level and not i else 1))
                channels = inner * EXPANSION
            setattr(self, f"layer{level + 1}", nn.Sequential(*layers))
        self.levels, self.channels = len(blocks), channels

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (b, 3, h, w) → pooled features (b, 32 · width, 1, 1)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for level in range(self.levels):
            x = getattr(self, f"layer{level + 1}")(x)
        return x.mean(dim=(2, 3), keepdim=True)


class ReconNetwork(nn.Module):
    """224-pixel crops to 257 coefficients."""

    def __init__(self, width: int = 64, blocks: tuple[int, ...] = (3, 4, 6, 3)) -> None:
        super().__init__()
        self.backbone = Backbone(width, blocks)
        self.final_layers = nn.ModuleList([nn.Conv2d(self.backbone.channels, size, 1) for size in HEADS])

    def forward(self, images: Float[Tensor, "b 3 224 224"]) -> Float[Tensor, "b 257"]:
        """Coefficients of RGB crops in [0, 1] (not normalised further)."""
        features = self.backbone(images)
        return torch.cat([head(features) for head in self.final_layers], dim=1).flatten(1)


def plain_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's tensors under this module's names: wrappers' prefixes and the old name ``fc_layers`` are
    undone.
    """
    result = {}
    for name, value in state.items():
        while name.startswith(PREFIXES):
            name = name.split(".", 1)[1]
        if name.startswith("fc_layers."):
            name = "final_layers." + name.split(".", 1)[1]
        if name.startswith(("backbone.", "final_layers.")) and not name.startswith("backbone.fc."):
            result[name] = value
    return result


def load_network(path: str | Path | None, setting: str = "masks.network") -> ReconNetwork:
    """The network of a checkpoint file, ready to run.

    Raises
    ------
    MissingWeights
        When the file is absent.
    ValueError
        When the file is no such checkpoint; the message names what is missing or of another shape.
    """
    if path is None or not Path(path).is_file():
        raise MissingWeights(setting, path, NETWORK_WHERE, NETWORK_LICENCE, "masks.backend: fitted needs no weights")
    try:
        data = read_tensors(path)
    except WeightFileError as error:
        raise ValueError(f"{setting}: {error}") from error
    state = plain_names(data.get("net_recon", data) if isinstance(data, Mapping) else {})
    if "backbone.conv1.weight" not in state:
        raise ValueError(
            f"{setting}: {path} has no net_recon with backbone.conv1.weight: expected Deep3DFaceRecon's epoch_20.pth"
        )
    blocks = []
    for level in range(1, 5):
        numbers = {int(name.split(".")[2]) for name in state if name.startswith(f"backbone.layer{level}.")}
        blocks.append(len(numbers))
    network = ReconNetwork(len(state["backbone.conv1.weight"]), tuple(blocks))
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{setting}: {path} does not fit the network: {error}") from error
    return network.eval().requires_grad_(False)
