"""LPIPS: learned perceptual distance of each frame pair: AlexNet features, unit-normalised, squared differences, linear
heads.

    d(x, y) = Σ_l mean_hw( w_l · (φ̂_l(x) − φ̂_l(y))² ),  l = the five ReLU outputs

Source: Zhang et al. 2018, version 0.1, AlexNet, inputs in [−1, 1] (so the frames go in as ``pixel / 127.5 − 1``). The
network is written here with torchvision's layer names, so that its files load as they are:

- ``alexnet.pth``, or torchvision's own name ``alexnet-owt-7be5be79.pth`` (``features.0.weight`` …; the classifier in it
  is ignored);
- ``lpips_alex.pth``, or lpips' own name ``alex.pth``: the linear heads (``lin0.model.1.weight`` …
  ``lin4.model.1.weight``);
- or both as ``s3dnerf fetch lpips`` writes them, ``CONVERTED`` in :mod:`s3dnerf.metrics.lpips_files`, with the
  same names inside.

The first two are loaded with ``weights_only=True``. Without them LPIPS is not measured. Unit: none. Range: [0, ∞). Less
is better.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.shapes import Float, Tensor, UInt8
from s3dnerf.core.weight_files import WeightFileError, read_named_tensors
from s3dnerf.metrics.lpips_files import BACKBONE, CONVERTED, HEADS, OWN_NAMES, RECIPE
from s3dnerf.metrics.result import Measured, over_frames

CHANNELS = (64, 192, 384, 256, 256)
TAPS = (1, 4, 7, 9, 11)  # the ReLUs of torchvision's ``features``
MOST_KEPT = 48  # frames of a truth whose features are kept for its next video: 2.6 MB each at 256²
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's mean and deviation for inputs in [−1, 1]


class LpipsWeightsError(S3DNeRFError, RuntimeError):
    """A weight file is missing or not what it should be; the message says which and what was expected."""


class LPIPS(nn.Module):
    """The distance network; random weights until :func:`load_lpips` fills it."""

    shift: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, 2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
        )
        self.heads = nn.ParameterList([nn.Parameter(torch.rand(1, c, 1, 1)) for c in CHANNELS])
        self.register_buffer("shift", torch.tensor(SHIFT)[None, :, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[None, :, None, None], persistent=False)

    def taps(self, images: Float[Tensor, "b 3 h w"]) -> list[Tensor]:
        """The five feature maps, each position of unit length."""
        x = (images - self.shift) / self.scale
        found = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in TAPS:
                found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))  # [b, c, h_l, w_l]
        return found

    def forward(self, generated: Float[Tensor, "b 3 h w"], truth: Float[Tensor, "b 3 h w"]) -> Float[Tensor, " b"]:
        """Distances of image pairs in [−1, 1]."""
        return self.distance(self.taps(generated), self.taps(truth))

    def distance(self, generated: list[Tensor], truth: list[Tensor]) -> Float[Tensor, " b"]:
        """Distances of image pairs whose :meth:`taps` are given."""
        total = torch.zeros(len(truth[0]), device=truth[0].device)
        for head, x, y in zip(self.heads, generated, truth):
            total = total + (head * (x - y) ** 2).sum(dim=1).mean(dim=(1, 2))
        return total


def _tensors(folder: Path, name: str) -> dict[str, Tensor]:
    names = (name, OWN_NAMES[name], CONVERTED[name == HEADS])
    path = next((folder / n for n in names if (folder / n).is_file()), None)
    if path is None:
        raise LpipsWeightsError(f"{folder / name}: no such file (nor {' or '.join(names[1:])}): s3dnerf fetch lpips")
    try:
        return read_named_tensors(path)
    except WeightFileError as error:
        raise LpipsWeightsError(str(error)) from error


def load_lpips(folder: str | Path) -> LPIPS:
    """The network with its weights from ``folder``.

    Raises
    ------
    LpipsWeightsError
        A file is missing, holds more than tensors, or a tensor has another name or shape than expected.
    """
    folder = Path(folder)
    backbone, heads = _tensors(folder, BACKBONE), _tensors(folder, HEADS)
    network = LPIPS()
    wanted = {f"features.{name}": value for name, value in network.features.state_dict().items()}
    wanted |= {f"heads.{i}": value for i, value in enumerate(network.heads)}
    found = {}
    for name, value in wanted.items():
        given = (
            heads.get(f"lin{name.removeprefix('heads.')}.model.1.weight")
            if name.startswith("heads.")
            else backbone.get(name)
        )
        if given is None or tuple(given.shape) != tuple(value.shape):
            shape = "nothing" if given is None else f"shape {tuple(given.shape)}"
            raise LpipsWeightsError(f"{folder}: expected {name} of shape {tuple(value.shape)}, got {shape}")
        found[name] = given.float()
    network.load_state_dict(found, strict=True)
    return network.eval().requires_grad_(False)


def as_input(frames: np.ndarray) -> Tensor:
    """uint8 (n, h, w, 3) → float32 (n, 3, h, w) in [−1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float() / 127.5 - 1


def measure(
    network: LPIPS,
    generated: np.ndarray,
    truth: np.ndarray,
    batch: int = 8,
    kept: dict[tuple[int, int], list[Tensor]] | None = None,
) -> Measured:
    """Mean LPIPS of a clip; where there is no network: :func:`s3dnerf.metrics.lpips_files.absent`.

    Parameters
    ----------
    generated, truth : uint8 (n, h, w, 3), RGB, frame k of one against frame k of the other
    batch : frames at once
    kept : first frame and number of frames → features of the truth, of its first :data:`MOST_KEPT` frames: a dict that
        belongs to this truth alone, filled by its first video and read by the others. None keeps nothing.

    Examples
    --------
    >>> frames = np.zeros((2, 64, 64, 3), np.uint8)
    >>> measure(LPIPS(), frames, frames).value
    0.0
    """
    values, device = [], network.shift.device
    with torch.inference_mode():
        for i in range(0, len(truth), batch):
            ours, theirs = generated[i : i + batch], truth[i : i + batch]
            place = i, len(theirs)
            wanted = None if kept is None else kept.get(place)
            if wanted is None:
                wanted = network.taps(as_input(theirs).to(device))
                if kept is not None and sum(place) <= MOST_KEPT:
                    kept[place] = wanted
            found = network.distance(network.taps(as_input(ours).to(device)), wanted)
            values.append(found.double().cpu().numpy())
    return over_frames(RECIPE, np.concatenate(values) if values else np.empty(0), "no frames to pair")


def features(network: LPIPS, frames: UInt8[np.ndarray, "n h w 3"], batch: int = 16) -> Float[np.ndarray, "n 256"]:
    """AlexNet's features of pictures of any size from 64 pixels on: float64 (n, 256)."""
    found = []
    with torch.inference_mode():
        for i in range(0, len(frames), batch):
            x = (as_input(frames[i : i + batch]).to(network.shift.device) - network.shift) / network.scale
            found.append(network.features(x).mean(dim=(2, 3)).double().cpu().numpy())
    return np.concatenate(found) if found else np.zeros((0, 256))
