"""The plain path's mouth: where the lips stand, and how the painter fills them, one frame at a time.

The counterpart of :mod:`s3dnerf.model.lip_shapes` and :mod:`s3dnerf.model.mouth`, of which it shares the layers and the
fitted map. For tests (:mod:`s3dnerf.model.reference`).
"""

from __future__ import annotations

import torch
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.appearance import SLOPE
from s3dnerf.model.cameras import FRAME_PX, Camera
from s3dnerf.model.lip_shapes import LipShapes
from s3dnerf.model.mouth import MouthPainter

SIDE, BORDER, SCALE = 64, 8, 4.0


def plain_offsets(
    told: LipShapes, speech: Float[Tensor, "k s"], landmarks: Float[Tensor, "68 2"]
) -> Float[Tensor, "20 2"]:
    """:meth:`LipShapes.forward` of one frame."""
    lips, width = landmarks[48:], (landmarks[16] - landmarks[0]).norm().clamp_min(1)
    heard = torch.cat([(token - told.mean) @ told.directions for token in speech]) * told.gain
    shape = torch.cat([(point - lips.mean(0)) / width for point in lips])
    return (told.weight.T @ torch.cat([heard, shape, torch.ones(1)])).unflatten(0, (20, 2))


def plain_lips(
    told: LipShapes,
    speech: Float[Tensor, "k s"],
    landmarks: Float[Tensor, "68 2"],
    source: Camera,
    target: Camera,
    box: Float[Tensor, " 4"],
) -> Float[Tensor, "20 2"]:
    """Where lips stand that speech tells, landmark by landmark, of one frame and one camera each."""
    lips, width = landmarks[48:], (landmarks[16] - landmarks[0]).norm().clamp_min(1)
    offsets = plain_offsets(told, speech, landmarks)
    level, places = box[2] + 0.38 * box[3], []
    turn, shift, inverse = source.pose[0, :, :3], source.pose[0, :, 3], torch.linalg.inv(source.intrinsics[0])
    pose, k = target.pose[0], target.intrinsics[0]
    for point, offset in zip(lips, offsets):
        eye, ray = -turn.T @ shift, turn.T @ (inverse @ torch.cat([point, torch.ones(1)]))
        stands = eye + ray * (level - eye[2]) / ray[2]
        seen = k @ (pose[:, :3] @ stands + pose[:, 3])
        places.append(seen[:2] / seen[2] + offset * width)
    return torch.stack(places)


def plain_outline(outline: Float[Tensor, "k 2"], first: tuple[int, int]) -> Float[Tensor, "s s"]:
    """How far inside an outline the pixels of the square at ``first`` (column, row) lie, by edges one after another."""
    line = torch.arange(SIDE) + 0.5
    y, x = torch.meshgrid(first[1] + line, first[0] + line, indexing="ij")
    nearest, odd = torch.full((SIDE, SIDE), torch.inf), torch.zeros(SIDE, SIDE, dtype=torch.bool)
    for (x0, y0), (x1, y1) in zip(outline.tolist(), outline.roll(-1, 0).tolist()):
        length = max((x1 - x0) ** 2 + (y1 - y0) ** 2, 1e-6)
        along = (((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length).clamp(0, 1)
        nearest = torch.minimum(nearest, torch.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0)))
        if y0 != y1:  # edges that a line to the left meets
            met = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            odd ^= ((y >= min(y0, y1)) & (y < max(y0, y1))) & (met < x)
    return torch.where(odd, nearest, -nearest)


def plain_mouth(
    painter: MouthPainter, frame: Float[Tensor, "3 256 256"], lips: Float[Tensor, "20 2"]
) -> Float[Tensor, "3 256 256"]:
    """:meth:`MouthPainter.forward` of one frame."""
    column, row = (min(max(round(float(m) - SIDE / 2), 0), FRAME_PX - SIDE) for m in lips.mean(0))
    part = slice(row, row + SIDE), slice(column, column + SIDE)
    there = frame[:, part[0], part[1]]
    drawn = torch.stack([torch.tanh(plain_outline(o, (column, row)) / SCALE) for o in (lips[:12], lips[12:])])
    x = torch.cat([there * 2 - 1, drawn])[None]
    fine = functional.leaky_relu(painter.first(x), SLOPE)
    half = functional.leaky_relu(painter.down[0](fine), SLOPE)
    quarter = functional.leaky_relu(painter.down[1](half), SLOPE)
    h = (quarter + functional.leaky_relu(painter.middle(quarter), SLOPE)) * 0.7071
    for layer, level in zip(painter.up, (half, fine)):
        h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = functional.leaky_relu(layer(torch.cat([h, level], 1)), SLOPE)
    out = painter.out(h)[0]
    painted = frame.clone()
    for i in range(SIDE):
        for j in range(SIDE):
            share = min(1.0, (min(i, j, SIDE - 1 - i, SIDE - 1 - j) + 0.5) / BORDER)
            painted[:, row + i, column + j] += share * torch.tanh(out[:, i, j])
    return painted
