"""Pictures of training samples: source, target, coarse, fine, alpha, |Δx| and the heat map of F_cm, a row a frame.

Writes PNG through zlib alone, so that equal pictures are equal bytes on every machine with the same zlib.
"""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.training.batches import Batch
from s3dnerf.video.packs import write_atomic

SIDE_PX = 128
FULL_DELTA = 0.1  # |Δx| drawn white, in units of the box's half side


def png_bytes(picture: np.ndarray) -> bytes:
    """A uint8 (h, w, 3) picture as PNG."""
    h, w, _ = picture.shape

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = np.concatenate([np.zeros((h, 1), np.uint8), picture.reshape(h, -1)], 1).tobytes()
    head = struct.pack(">IIBBBBB", w, h, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows, 6)) + chunk(b"IEND", b"")


def heat_map(cross_modal: Float[Tensor, "b n d"]) -> Float[Tensor, "b 1 h w"]:
    """Figure 3's map: F_cm averaged over channels, each frame's stretched to [0, 1]."""
    side = math.isqrt(cross_modal.shape[1])
    mean = cross_modal.float().mean(-1)
    low, high = mean.amin(1, keepdim=True), mean.amax(1, keepdim=True)
    return ((mean - low) / (high - low).clamp_min(1e-9)).unflatten(1, (side, side))[:, None]


@torch.no_grad()
def strip(generator: S3DNeRF, batch: Batch) -> np.ndarray:
    """One picture, uint8 (rows · 128, 7 · 128, 3), of a batch's frames."""
    rendered = generator.render(generator.encode(batch.source), batch.speech, batch.camera)
    each = len(batch.speech) // len(batch.source.box)
    half_side = batch.source.box[:, 3].repeat_interleave(each)[:, None, None, None]
    delta = rendered.delta_x.norm(dim=1, keepdim=True) / half_side / FULL_DELTA
    heat = heat_map(rendered.cross_modal) if rendered.cross_modal is not None else torch.zeros_like(rendered.alpha)
    columns = [
        batch.source.full.repeat_interleave(each, 0),
        batch.target,
        rendered.coarse,
        rendered.fine,
        rendered.alpha,
        delta,
        heat,
    ]
    tiles = [
        functional.interpolate(c.float().cpu(), (SIDE_PX, SIDE_PX), mode="bilinear", antialias=True).expand(
            -1, 3, -1, -1
        )
        for c in columns
    ]
    picture = torch.cat(tiles, 3).clamp(0, 1).permute(0, 2, 3, 1).flatten(0, 1)  # [rows · 128, 7 · 128, 3]
    return (picture * 255.0 + 0.5).to(torch.uint8).numpy()


def write_strip(path: str | Path, generator: S3DNeRF, batch: Batch) -> None:
    """Write :func:`strip` as a PNG file."""
    write_atomic(path, png_bytes(strip(generator, batch)))
