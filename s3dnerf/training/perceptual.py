"""L_per: distance in the features of a fixed network.

``vgg19`` (the paper's) or ``vgg16``: VGG up to ReLU 5_1 with torchvision's ImageNet weights, a file by the user or of
``s3dnerf fetch lpips`` (``train.vgg_weights``).
``stand_in``, named as such on the card and in the report: features of a fixed random pyramid over the frame (seeded,
never trained) and, where lip crops are given, of the first two levels of the frozen lip-sync expert.

Reads the weight file as data; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.core.weight_files import WeightFileError, read_safetensors, read_tensors
from s3dnerf.settings.schema import TrainSettings
from s3dnerf.sync.expert import SyncExpert

CHANNELS = (64, 128, 256, 512, 512)
CONVOLUTIONS = {"vgg16": (2, 2, 3, 3, 1), "vgg19": (2, 2, 4, 4, 1)}  # a block, as far as conv 5_1
FILES = {
    "vgg16": "s3dnerf fetch lpips writes weights/lpips/vgg16.safetensors; or torchvision's vgg16-397923af.pth (BSD-3)",
    "vgg19": "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth (torchvision, BSD-3 licence)",
}


class PerceptualWeightsError(S3DNeRFError, RuntimeError):
    """The VGG weights are missing or are another network's; the message says where to get them."""


class VGG(nn.Module):
    """Features of VGG-16 or VGG-19 (Simonyan & Zisserman, 2015) at ReLU 1_1, 2_1, 3_1, 4_1 and 5_1.

    Layer names are torchvision's (``features.0.weight`` …). ``name`` is ``vgg16`` or ``vgg19``.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        layers: list[nn.Module] = []
        self.relus: list[int] = []
        width = 3
        for block, (channels, count) in enumerate(zip(CHANNELS, CONVOLUTIONS[name], strict=True)):
            if block:
                layers.append(nn.MaxPool2d(2, 2))
            self.relus.append(len(layers) + 1)
            for _ in range(count):
                layers += [nn.Conv2d(width, channels, 3, padding=1), nn.ReLU()]
                width = channels
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[None, :, None, None], persistent=False)

    def load(self, path: str | Path | None) -> VGG:
        """Take the weights of a file: torchvision's, or safetensors with its names.

        Raises PerceptualWeightsError where there is no such file or it is another network's.
        """
        where = FILES[self.name]
        if path is None or not Path(path).is_file():
            raise PerceptualWeightsError(
                f"train.vgg_weights: {path} — no such file. Get {self.name}'s weights: {where}; or set "
                "train.perceptual: stand_in"
            )
        try:
            state = read_safetensors(path)[0] if Path(path).suffix == ".safetensors" else read_tensors(path)
        except WeightFileError as error:
            raise PerceptualWeightsError(f"train.vgg_weights: {error}") from error
        if not isinstance(state, dict):
            raise PerceptualWeightsError(
                f"train.vgg_weights: {path} — holds a {type(state).__name__}: expected {where}"
            )
        wanted = self.state_dict()
        missing = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
        if missing:
            raise PerceptualWeightsError(
                f"train.vgg_weights: {path} — lacks {missing[0]} (and {len(missing) - 1} more): expected {where}"
            )
        self.load_state_dict({name: state[name] for name in wanted})
        return self

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Frames in 0 … 1 (b, 3, h, w) → features at five depths, shallowest first."""
        x = (frames - self.mean) / self.std
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.relus:
                found.append(x)
        return found


class RandomPyramid(nn.Module):
    """Three strided convolutions with fixed random weights (seed 19), each followed by a leaky ReLU: edges and blobs at
    three scales.
    """

    def __init__(self, width: int = 12) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(19)
        layers = [
            nn.Conv2d(i, o, 4, stride=2, padding=1) for i, o in ((3, width), (width, 2 * width), (2 * width, 4 * width))
        ]
        self.layers = nn.ModuleList(layers)
        for layer in layers:
            assert layer.bias is not None
            weight = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.data = weight / weight.flatten(1).norm(dim=1)[:, None, None, None] * 1.4
            layer.bias.data.zero_()

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Frames in 0 … 1 (b, 3, h, w) → features at three scales, finest first."""
        x, found = frames * 2.0 - 1.0, []
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.2)
            found.append(x)
        return found


class PerceptualLoss(nn.Module):
    """Mean absolute difference of features, averaged over depths.

    Parameters
    ----------
    settings : TrainSettings
        ``perceptual`` and ``vgg_weights`` are used.
    expert : the frozen lip-sync expert (``stand_in`` alone uses it)

    Attributes
    ----------
    name, real : what ran, and whether it is a network trained on photographs
    """

    def __init__(self, settings: TrainSettings, expert: SyncExpert) -> None:
        super().__init__()
        self.real = settings.perceptual in CONVOLUTIONS
        self.name = (
            settings.perceptual
            if self.real
            else "stand-in: fixed random pyramid and the frozen lip-sync expert's first levels"
        )
        self.network: nn.Module = VGG(settings.perceptual).load(settings.vgg_weights) if self.real else RandomPyramid()
        self.network.eval().requires_grad_(False)
        self._expert = [expert]  # in a list: not a part of this module, its weights are the expert's

    def forward(self, generated: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"]) -> Float[Tensor, ""]:
        """Distance of whole frames."""
        with torch.no_grad():
            wanted = self.network(target)
        found = self.network(generated)
        return sum(
            ((a - b).abs().mean() for a, b in zip(found, wanted)), torch.zeros((), device=generated.device)
        ) / len(found)

    def lips(self, generated: Float[Tensor, "b t 3 s s"], target: Float[Tensor, "b t 3 s s"]) -> Float[Tensor, ""]:
        """Distance of lip crops in the expert's first two levels; 0 with VGG, which sees the lips in the frame."""
        if self.real:
            return torch.zeros((), device=generated.device)
        blocks = self._expert[0].visual_tower.blocks
        with torch.no_grad():
            mean, contrast = target.mean((1, 3, 4), keepdim=True), (target.std((1, 2, 3, 4), keepdim=True) + 1e-2)

        def features(lips: Tensor) -> list[Tensor]:
            first = blocks[0](((lips - mean) / contrast).flatten(1, 2))
            return [first, blocks[1](first)]

        with torch.no_grad():
            wanted = features(target)
        found = features(generated)
        return sum(
            ((a - b).abs().mean() for a, b in zip(found, wanted)), torch.zeros((), device=generated.device)
        ) / len(found)
