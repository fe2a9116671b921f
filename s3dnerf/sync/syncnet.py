"""SyncNet v2 (Chung & Zisserman 2016): the network that the field's LSE-C and LSE-D are measured with.

The layer names and shapes are those of the authors' file ``syncnet_v2.model`` (joonson/syncnet_python), which the user
has to fetch; it is read with ``weights_only=True``. Inputs: five 224 × 224 frames BGR 0–255, not normalised, and 20
columns of 13 cepstra.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.core.weight_files import WeightFileError, read_tensors
from s3dnerf.sync.mfcc import mfcc

FRAMES, SIDE_PX = 5, 224
COLUMNS, COLUMNS_PER_FRAME, COEFFICIENTS = 20, 4, 13
EMBED = 1024
WHERE = (
    "SyncNet v2's weights come from its authors: syncnet_v2.model, linked in the README of "
    "github.com/joonson/syncnet_python; lay it where "
)
INSTEAD = {
    "evaluate.syncnet_weights": "evaluate.judge: trained",
    "speech.sync_weights": "speech.sync_filter: off (or mouth)",
}


class SyncNetWeightsError(S3DNeRFError, RuntimeError):
    """SyncNet's file is missing or not what it should be; the message says what to do."""


def _convolutions(dimensions: int, layers: list[tuple]) -> nn.Sequential:
    """Convolution, batch norm and ReLU for each (channels in, out, kernel, stride, padding, pool); pool: (kernel,
    stride, padding).
    """
    conv, norm, pool = (
        (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d) if dimensions == 2 else (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d)
    )
    modules: list[nn.Module] = []
    for channels_in, channels, kernel, stride, padding, pooling in layers:
        modules += [conv(channels_in, channels, kernel, stride, padding), norm(channels), nn.ReLU()]
        if pooling:
            modules.append(pool(*pooling))
    return nn.Sequential(*modules)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, EMBED))


class SyncNet(nn.Module):
    """The two towers of SyncNet v2, 1024-d."""

    def __init__(self) -> None:
        super().__init__()
        self.netcnnaud = _convolutions(
            2,
            [
                (1, 64, 3, 1, 1, (1, 1, 0)),
                (64, 192, 3, 1, 1, (3, (1, 2), 0)),
                (192, 384, 3, 1, 1, None),
                (384, 256, 3, 1, 1, None),
                (256, 256, 3, 1, 1, (3, 2, 0)),
                (256, 512, (5, 4), 1, 0, None),
            ],
        )
        self.netfcaud = _head()
        self.netfclip = _head()
        self.netcnnlip = _convolutions(
            3,
            [
                (3, 96, (5, 7, 7), (1, 2, 2), 0, ((1, 3, 3), (1, 2, 2), 0)),
                (96, 256, (1, 5, 5), (1, 2, 2), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
                (256, 256, (1, 3, 3), 1, (0, 1, 1), None),
                (256, 256, (1, 3, 3), 1, (0, 1, 1), None),
                (256, 256, (1, 3, 3), 1, (0, 1, 1), ((1, 3, 3), (1, 2, 2), 0)),
                (256, 512, (1, 6, 6), 1, 0, None),
            ],
        )

    def visual(self, frames: Float[Tensor, "b 3 5 224 224"]) -> Float[Tensor, "b 1024"]:
        """Embedding of five frames, BGR 0–255."""
        return self.netfclip(self.netcnnlip(frames).flatten(1))

    def audio(self, cepstra: Float[Tensor, "b 1 13 20"]) -> Float[Tensor, "b 1024"]:
        """Embedding of 20 columns of cepstra (0.2 s)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))


def load_syncnet(path: str | Path | None, setting: str = "evaluate.syncnet_weights") -> SyncNet:
    """The network with the authors' weights, frozen and in evaluation mode; ``setting`` is the one that named ``path``.

    Raises SyncNetWeightsError when the file is missing, unreadable without running code from it, or of another layout.
    """
    where = f"{WHERE}{setting} points, or set {INSTEAD[setting]}"
    if path is None or not Path(path).is_file():
        raise SyncNetWeightsError(f"{setting}: {path}: no such file — {where}")
    try:
        state = read_tensors(path)
    except WeightFileError as error:
        raise SyncNetWeightsError(f"{error} — {where}") from error
    network = SyncNet()
    if not isinstance(state, dict):
        raise SyncNetWeightsError(f"{path}: holds a {type(state).__name__}, expected named weights — {where}")
    wanted = network.state_dict()
    for name, value in wanted.items():
        if name not in state and name.endswith("num_batches_tracked"):
            state[name] = value  # files older than this counter lack it; it plays no part in evaluation
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise SyncNetWeightsError(f"{path}: not SyncNet v2's layers: {str(error)[:300]} — {where}") from error
    return network.eval().requires_grad_(False)


def syncnet_frames(frames: np.ndarray) -> torch.Tensor:
    """Frames as SyncNet takes them: uint8 RGB (n, h, w, 3) → float32 (n, 3, 224, 224) BGR 0–255, resized bilinearly."""
    bgr = torch.from_numpy(np.ascontiguousarray(frames[..., ::-1])).permute(0, 3, 1, 2).float()
    if bgr.shape[2:] == (SIDE_PX, SIDE_PX):
        return bgr
    return torch.nn.functional.interpolate(bgr, size=(SIDE_PX, SIDE_PX), mode="bilinear", align_corners=False)


def syncnet_cepstra(samples: np.ndarray) -> torch.Tensor:
    """Cepstra as SyncNet takes them: 16 kHz samples → float32 (13, columns)."""
    return torch.from_numpy(mfcc(samples).T.astype(np.float32).copy())


def syncnet_windows(frames: int, samples: int) -> int:
    """How many windows the protocol measures: min(frames, samples // 640) − 5."""
    return min(frames, samples // SAMPLES_PER_FRAME) - FRAMES


def syncnet_embeddings(
    network: SyncNet, frames: np.ndarray, samples: np.ndarray, batch: int = 20
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings of every window of a clip: lips and sound, float32 (windows, 1024) each.

    Window i shows frames i … i + 4 and hears the 20 cepstra from column 4 i. Raises ValueError for a clip of fewer than
    six frames.
    """
    windows = syncnet_windows(len(frames), len(samples))
    if windows < 1:
        raise ValueError(
            f"{len(frames)} frames and {len(samples)} samples: SyncNet needs at least {FRAMES + 1} frames with sound"
        )
    device = next(network.parameters()).device
    cepstra = syncnet_cepstra(samples)
    lips, audio = [], []
    for first in range(0, windows, batch):
        count = min(batch, windows - first)
        pictures = syncnet_frames(frames[first : first + count + FRAMES - 1])  # [count + 4, 3, 224, 224]
        stacked = pictures.unfold(0, FRAMES, 1).permute(0, 1, 4, 2, 3)  # [count, 3, 5, 224, 224]
        starts = range(first * COLUMNS_PER_FRAME, (first + count) * COLUMNS_PER_FRAME, COLUMNS_PER_FRAME)
        sound_windows = torch.stack([cepstra[:, s : s + COLUMNS] for s in starts])[:, None]  # [count, 1, 13, 20]
        with torch.no_grad():
            lips.append(network.visual(stacked.contiguous().to(device)).cpu())
            audio.append(network.audio(sound_windows.to(device)).cpu())
    return torch.cat(lips), torch.cat(audio)
