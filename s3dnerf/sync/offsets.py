"""How far picture and sound are apart: the mean distance of lips and sound at each offset, and what is read off it.

Offset o means that the sound which fits the picture of frame f stands at frame f − o in the file: o > 0, the sound is
early (SyncNet's sign: offset = 15 − argmin).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from s3dnerf.core.rates import REACH_FRAMES
from s3dnerf.core.shapes import Float, Tensor

PAIRWISE_EPSILON = (
    1e-6  # torch.nn.functional.pairwise_distance, which the protocol's authors use, adds it to each difference
)


@dataclass(frozen=True)
class SyncResult:
    """What a judge says of one clip.

    Attributes
    ----------
    lse_c : float, LSE-C: median minus minimum of the curve, higher is better
    lse_d : float, LSE-D: minimum of the curve, lower is better
    offset_frames : int, −15 … 15: o as above
    curve : list of 31 floats, mean distance; entry j is offset 15 − j
    windows : int, windows measured
    """

    lse_c: float
    lse_d: float
    offset_frames: int
    curve: list[float]
    windows: int


def shifted_distances(
    lips: Float[Tensor, "n e"], audio: Float[Tensor, "n e"], reach: int = REACH_FRAMES, zero_padded: bool = True
) -> Float[Tensor, "k n"]:
    """L2 distance of each lip window to the sound windows from −reach to +reach windows away.

    Row j holds the distances to sound j − reach windows later. Where there is no such sound: with ``zero_padded`` the
    distance to the zero vector (the protocol of SyncNet), else NaN.
    """
    n = len(lips)
    padded = torch.nn.functional.pad(audio, (0, 0, reach, reach))  # [n + 2 reach, e]
    rows = [torch.linalg.vector_norm(lips - padded[j : j + n] + PAIRWISE_EPSILON, dim=1) for j in range(2 * reach + 1)]
    distances = torch.stack(rows)  # [2 reach + 1, n]
    if not zero_padded:
        there = torch.arange(n, device=lips.device)[None] + torch.arange(-reach, reach + 1, device=lips.device)[:, None]
        distances = distances.masked_fill((there < 0) | (there >= n), float("nan"))
    return distances


def sync_result(distances: Float[Tensor, "k n"]) -> SyncResult:
    """LSE-C, LSE-D and the offset of :func:`shifted_distances`. NaN entries are left out of the means.

    Raises ValueError when an offset has no pair at all (a clip of fewer than reach + 1 windows, not zero-padded).
    """
    curve = distances.nanmean(dim=1)  # [k]
    if bool(curve.isnan().any()):
        raise ValueError(
            f"{distances.shape[1]} windows: expected more than {len(distances) // 2} to measure every offset"
        )
    least, where = curve.min(dim=0)
    return SyncResult(
        lse_c=float(curve.median() - least),
        lse_d=float(least),
        offset_frames=len(curve) // 2 - int(where),
        curve=[float(x) for x in curve],
        windows=int(distances.shape[1]),
    )
