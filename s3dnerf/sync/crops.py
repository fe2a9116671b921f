"""Lip crops, differentiable in the frames: the same cut for real and generated frames, at any resolution of the
frame.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from s3dnerf.core.shapes import Float, Tensor

FRAME_PX = 256


def crop_lips(
    frames: Float[Tensor, "b 3 h w"], boxes: Float[Tensor, "b 4"], size: int
) -> Float[Tensor, "b 3 size size"]:
    """Cut boxes out of frames by bilinear sampling.

    Parameters
    ----------
    frames
        Any range; a frame of h × w pixels shows what a frame of 256 × 256 does.
    boxes
        x0, y0, x1, y1 in pixels of a 256-pixel frame, where pixel i covers [i, i + 1). What lies beyond the frame
        repeats its edge.
    size
        Height and width of a crop.

    Returns
    -------
    Crops, pixel (r, c) sampled at the centre of its part of the box. A box at the frame's own pixel grid is cut
    exactly.
    """
    x0, y0, x1, y1 = (boxes.to(frames.dtype) / FRAME_PX).unbind(1)  # [b], parts of the frame
    place = (torch.arange(size, device=frames.device, dtype=frames.dtype) + 0.5) / size  # [size]
    x = x0[:, None] + (x1 - x0)[:, None] * place  # [b, size]
    y = y0[:, None] + (y1 - y0)[:, None] * place  # [b, size]
    b = len(frames)
    # [b, size, size, 2]
    grid = torch.stack([x[:, None, :].expand(b, size, size), y[:, :, None].expand(b, size, size)], dim=-1) * 2 - 1
    return F.grid_sample(frames, grid, mode="bilinear", padding_mode="border", align_corners=False)


def widened(boxes: Float[Tensor, "b 4"], factor: float) -> Float[Tensor, "b 4"]:
    """Boxes with the same centre and ``factor`` times the sides."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat([centre - half * factor, centre + half * factor], dim=1)


def cut_lips(frames: np.ndarray, lip_box: np.ndarray, size: int, margin: int, batch: int = 64) -> np.ndarray:
    """Lip crops of a clip: frames uint8 (n, 256, 256, 3) → uint8 (n, 3, size + 2 margin, size + 2 margin).

    ``lip_box`` is one box (4,), or a box a frame (at least n, 4). Without its margin a crop is :func:`crop_lips` of the
    box itself, to the rounding of whole grey levels. Raises ValueError for fewer boxes than frames.
    """
    side = size + 2 * margin
    given = torch.from_numpy(np.asarray(lip_box, dtype=np.float32))
    if given.ndim == 2 and len(given) < len(frames):
        raise ValueError(f"lip_box: expected (4,) or a box for each of {len(frames)} frames, got {len(given)}")
    boxes = widened(given.expand(len(frames), 4) if given.ndim == 1 else given, side / size)
    parts = []
    for i in range(0, len(frames), batch):
        part = torch.from_numpy(np.ascontiguousarray(frames[i : i + batch])).permute(0, 3, 1, 2).float()
        parts.append(crop_lips(part, boxes[i : i + len(part)], side).round().clamp(0, 255).to(torch.uint8))
    return torch.cat(parts).numpy()
