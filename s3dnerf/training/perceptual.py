"""L_per: distance in the features of a fixed network.

``vgg19``: VGG-19 up to ReLU 5_1 with torchvision's ImageNet weights, a file by the user (``train.vgg_weights``).
``stand_in``, named as such on the card and in the report: features of a fixed random pyramid over the frame (seeded,
never trained) and, where lip crops are given, of the first two levels of the frozen lip-sync expert.

Reads the weight file with ``weights_only=True``; nothing is downloaded.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.core.weight_files import WeightFileError, read_tensors
from s3dnerf.settings.schema import TrainSettings
from s3dnerf.sync.expert import SyncExpert

VGG19_CHANNELS = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, 256, "pool", 512, 512, 512, 512, "pool", 512)
VGG19_RELUS = (1, 6, 11, 20, 29)  # ReLU 1_1, 2_1, 3_1, 4_1, 5_1, torchvision's places in ``features``
WHERE_VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth (torchvision, BSD-3 licence)"


class PerceptualWeightsError(S3DNeRFError, RuntimeError):
    """The VGG-19 weights are missing or are not VGG-19's; the message says where to get them."""


class VGG19(nn.Module):
    """Features of VGG-19 at five depths. Layer names are torchvision's (``features.0.weight`` …)."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for step in VGG19_CHANNELS:
            if step == "pool":
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(channels, int(step), 3, padding=1), nn.ReLU()]
                channels = int(step)
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406])[None, :, None, None], persistent=False)
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225])[None, :, None, None], persistent=False)

    def load(self, path: str | Path | None) -> VGG19:
        """Take torchvision's weights. Raises PerceptualWeightsError where there is no such file or it is another
        network's.
        """
        if path is None or not Path(path).is_file():
            raise PerceptualWeightsError(
                f"train.vgg_weights: {path} — no such file. Get VGG-19's weights from {WHERE_VGG19}, or set "
                "train.perceptual: stand_in"
            )
        try:
            state = read_tensors(path)
        except WeightFileError as error:
            raise PerceptualWeightsError(f"train.vgg_weights: {error}") from error
        if not isinstance(state, dict):
            raise PerceptualWeightsError(
                f"train.vgg_weights: {path} — holds a {type(state).__name__}: expected {WHERE_VGG19}"
            )
        wanted = self.state_dict()
        missing = [name for name, value in wanted.items() if name not in state or state[name].shape != value.shape]
        if missing:
            raise PerceptualWeightsError(
                f"train.vgg_weights: {path} — lacks {missing[0]} (and {len(missing) - 1} more): expected {WHERE_VGG19}"
            )
        self.load_state_dict({name: state[name] for name in wanted})
        return self

    def forward(self, frames: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _c _h _w"]]:
        """Frames in 0 … 1 (b, 3, h, w) → features at five depths, shallowest first."""
        x = (frames - self.mean) / self.std
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in VGG19_RELUS:
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
    name, real : what ran, and whether it is the real thing
    """

    def __init__(self, settings: TrainSettings, expert: SyncExpert) -> None:
        super().__init__()
        self.real = settings.perceptual == "vgg19"
        self.name = (
            "vgg19" if self.real else "stand-in: fixed random pyramid and the frozen lip-sync expert's first levels"
        )
        self.network: nn.Module = VGG19().load(settings.vgg_weights) if self.real else RandomPyramid()
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
        """Distance of lip crops in the expert's first two levels; 0 with VGG-19, which sees the lips in the frame."""
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
