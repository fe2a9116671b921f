"""I3D, the video network whose features FVD is computed from, as the TorchScript program that published FVDs use.

``i3d_torchscript.pt`` is I3D trained on Kinetics-400 (Carreira & Zisserman 2017), converted from the FVD reference; it
is called with ``rescale=True, resize=True, return_features=True`` on pixels in 0 … 255 and scales them itself: 400
numbers a window. A window is 16 neighbouring frames, as in the FVD reference (there at the video's own rate, here at
25 Hz); windows do not overlap, and frames that fill none are left out. The file is a program and runs what it holds,
inside TorchScript: name a file of a source that you trust.

Source: Unterthiner et al. 2018.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from s3dnerf.core.shapes import Float, UInt8
from s3dnerf.evaluation.inception import FeatureWeightsError, read_program

WINDOW = 16
NAME = "i3d_torchscript.pt"


def load_i3d(path: str | Path) -> torch.jit.ScriptModule:
    """The program. Raises FeatureWeightsError where the file is missing or no TorchScript program."""
    path = Path(path)
    if not path.is_file():
        raise FeatureWeightsError(
            f"{path}: no such file (I3D of the FVD reference as TorchScript, {NAME}): s3dnerf fetch fvd says where"
        )
    return read_program(path)


def features(
    network: torch.jit.ScriptModule, frames: UInt8[np.ndarray, "n h w 3"], batch: int = 4
) -> Float[np.ndarray, "m d"]:
    """Features of the n // 16 windows of a video, float64. Raises FeatureWeightsError where the program gives no row a
    window.
    """
    windows = len(frames) // WINDOW
    if not windows:
        return np.zeros((0, 0))
    found, device = [], next(iter(network.parameters()), torch.zeros(())).device
    clips = frames[: windows * WINDOW].reshape(windows, WINDOW, *frames.shape[1:])
    with torch.inference_mode():
        for i in range(0, windows, batch):
            pixels = np.ascontiguousarray(clips[i : i + batch].transpose(0, 4, 1, 2, 3))  # [b, 3, 16, h, w]
            given = network(
                torch.from_numpy(pixels).float().to(device), rescale=True, resize=True, return_features=True
            )
            if given.ndim != 2 or len(given) != len(pixels):
                raise FeatureWeightsError(f"I3D: got features of shape {tuple(given.shape)}, expected a row a window")
            found.append(given.double().cpu().numpy())
    return np.concatenate(found)
