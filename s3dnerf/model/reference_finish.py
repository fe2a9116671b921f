"""The plain path's first and last steps: speech and attention before the rays, super-resolution after them.

Written to be read, one frame at a time, from the equations and the networks' layers alone; the counterpart of
:meth:`Field.conditions` and :meth:`S3DNeRF.finish`. For tests (:mod:`s3dnerf.model.reference`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.appearance import SLOPE
from s3dnerf.model.cameras import FRAME_PX, Camera
from s3dnerf.model.crossmodal import CrossAttention, SpeechNet
from s3dnerf.model.field import Conditions, Field, Identity
from s3dnerf.model.reference_mouth import plain_offsets
from s3dnerf.model.superres import FAR, NEAR, SuperResolution


def bilinear(picture: Float[Tensor, "c h w"], x: Float[Tensor, " p"], y: Float[Tensor, " p"]) -> Float[Tensor, "p c"]:
    """A picture read at normalised places (−1 and 1 are the outer edges of the outer pixels), edges repeated."""
    _, h, w = picture.shape
    column, row = ((x + 1) * w / 2 - 0.5).clamp(0, w - 1), ((y + 1) * h / 2 - 0.5).clamp(0, h - 1)
    left, top = column.floor().long().clamp(0, w - 1), row.floor().long().clamp(0, h - 1)
    right, bottom = (left + 1).clamp(max=w - 1), (top + 1).clamp(max=h - 1)
    fx, fy = (column - left)[:, None], (row - top)[:, None]
    at = lambda r, c: picture[:, r, c].T  # noqa: E731
    return (at(top, left) * (1 - fx) + at(top, right) * fx) * (1 - fy) + (
        at(bottom, left) * (1 - fx) + at(bottom, right) * fx
    ) * fy


def bicubic(picture: Float[Tensor, "c h w"], x: Float[Tensor, " p"], y: Float[Tensor, " p"]) -> Float[Tensor, "p c"]:
    """As :func:`bilinear`, by cubic convolution of four by four pixels (Keys, 1981; a = −0.75, as torch has it)."""
    _, h, w = picture.shape
    column, row = (x + 1) * w / 2 - 0.5, (y + 1) * h / 2 - 0.5
    total = torch.zeros(len(x), len(picture))
    for down in range(-1, 3):
        for across in range(-1, 3):
            c, r = column.floor() + across, row.floor() + down
            share = cubic((column - c).abs()) * cubic((row - r).abs())
            total += picture[:, r.clamp(0, h - 1).long(), c.clamp(0, w - 1).long()].T * share[:, None]
    return total


def cubic(distance: Tensor) -> Tensor:
    """The kernel of cubic convolution."""
    a, d = -0.75, distance
    near, far = ((a + 2) * d - (a + 3)) * d * d + 1, ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, 0.0))


def pixel_centres(side: int) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    """Normalised x and y of a picture's pixels, row by row."""
    line = (torch.arange(side) + 0.5) * 2 / side - 1
    return line.repeat(side), line.repeat_interleave(side)


def read_at(
    picture: Float[Tensor, "c h w"],
    places: Float[Tensor, "p 2"],
    read: Callable[[Tensor, Tensor, Tensor], Tensor] = bilinear,
) -> Float[Tensor, "c s s"]:
    """A square picture put together from what stands at ``places``, row by row."""
    side = round(len(places) ** 0.5)
    return read(picture, places[:, 0], places[:, 1]).T.unflatten(1, (side, side))


def enlarged(picture: Float[Tensor, "c h w"], side: int) -> Float[Tensor, "c s s"]:
    """A picture at another size, bilinear."""
    return read_at(picture, torch.stack(pixel_centres(side), 1))


def speech_codes(net: SpeechNet, speech: Float[Tensor, "k s"]) -> tuple[Float[Tensor, "k d"], Float[Tensor, " d"]]:
    """Kept tokens and pooled code of one frame's speech."""
    x = ((speech - net.mean) * net.scale).clamp(-6, 6)
    for number, layer in enumerate(net.layers):
        assert isinstance(layer, nn.Conv1d) and layer.bias is not None
        padded = torch.cat([torch.zeros(1, x.shape[1]), x, torch.zeros(1, x.shape[1])])
        rows = [layer.bias + sum(padded[t + k] @ layer.weight[..., k].T for k in range(3)) for t in range(len(x))]
        new = functional.leaky_relu(torch.stack(rows), SLOPE)
        x = new + net.place[0].T if number == 0 else (x + new) * 0.7071
    return x, (x * net.pool.T).sum(0)


def attended(block: CrossAttention, aggregated: Float[Tensor, "n d"], tokens: Float[Tensor, "k d"]) -> Tensor:
    """Eq. 3, a head after the other: F_cm (n, D)."""
    queries, keys, values = block.query(aggregated), block.key(tokens), block.value(tokens)
    wide = queries.shape[1] // block.heads
    heads = []
    for first in range(0, queries.shape[1], wide):
        part = slice(first, first + wide)
        weights = torch.softmax(queries[:, part] @ keys[:, part].T / wide**0.5, -1)
        heads.append(weights @ values[:, part])
    return block.out(torch.cat(heads, 1))


def plain_conditions(model: Field, identity: Identity, speech: Float[Tensor, "b k s"]) -> Conditions:
    """:meth:`Field.conditions`, one frame at a time."""
    each = len(speech) // len(identity.box)
    pooled, cells, centres = [], [], []
    for frame, window in enumerate(speech):
        person = frame // each
        tokens, code = speech_codes(model.speech, window)
        if model.lip_code is not None and model.lip_shapes is not None:
            lips, told = identity.landmarks[person, 48:68], model.lip_code
            width = (identity.landmarks[person, 0] - identity.landmarks[person, 16]).norm().clamp_min(1)
            shape = ((lips - lips.mean(0)) / width).flatten()
            code = code + told.of_source.weight @ ((shape - told.mean) * told.scale).clamp(-6, 6)
            offsets = plain_offsets(model.lip_shapes, window, identity.landmarks[person])
            code = code + told.of_target.weight @ (offsets.flatten() * told.scale).clamp(-6, 6)
        pooled.append(code)
        if model.crossmodal is not None:
            assert identity.aggregated is not None
            cells.append(attended(model.crossmodal, identity.aggregated[person], tokens))
        pose = identity.camera.pose[person]
        centres.append((pose[:, :3] @ identity.box[person, :3] + pose[:, 3])[:, None])
    people = torch.arange(len(speech)) // each
    return Conditions(
        torch.stack(pooled),
        torch.stack(cells) if cells else None,
        identity.camera[people],
        identity.box[people],
        torch.stack(centres),
    )


def head_plane(target: Camera, source: Camera, box: Float[Tensor, " 4"], side: int) -> Float[Tensor, "p 2"]:
    """Where the plane through the box's centre, parallel to the target's picture, stands in the source, pixel by
    pixel; of one camera each.
    """
    turn, shift, inverse = target.pose[0, :, :3], target.pose[0, :, 3], torch.linalg.inv(target.intrinsics[0])
    pose, k = source.pose[0], source.intrinsics[0]
    depth = (turn @ box[:3] + shift)[2]
    places = []
    for row in range(side):
        for column in range(side):
            u, v = (column + 0.5) * FRAME_PX / side, (row + 0.5) * FRAME_PX / side
            seen = depth * (inverse @ torch.tensor([u, v, 1.0]))
            point = pose[:, :3] @ (turn.T @ (seen - shift)) + pose[:, 3]
            places.append((k.diagonal()[:2] * point[:2] / point[2] + k[:2, 2]) / (FRAME_PX / 2) - 1)
    return torch.stack(places)


def averaged(alpha: Float[Tensor, "r r"]) -> Float[Tensor, "r r"]:
    """The mean over a square of a quarter of the side about each pixel; outside there is nothing."""
    side, reach = len(alpha), len(alpha) // 8
    found = torch.zeros_like(alpha)
    for row in range(side):
        for column in range(side):
            rows, columns = (slice(max(at - reach, 0), at + reach + 1) for at in (row, column))
            found[row, column] = alpha[rows, columns].sum() / (2 * reach + 1) ** 2
    return found


def plain_frame(
    net: SuperResolution,
    raw: Float[Tensor, "f r r"],
    alpha: Float[Tensor, "1 r r"],
    seen: Float[Tensor, "2 r r"],
    rigid: Float[Tensor, "p 2"],
    encoded: list[Tensor],
) -> Float[Tensor, "3 256 256"]:
    """:meth:`SuperResolution.forward` of one frame; ``encoded`` is its source's."""
    *levels, picture = encoded
    side = alpha.shape[-1]
    still, flow = torch.stack(pixel_centres(side), 1), None  # [r·r, 2]
    if net.carry_source:
        off = (rigid - still).T.unflatten(1, (side, side))
        told = net.share(torch.cat([levels[-1], alpha, off])[None])[0, 0] + NEAR * averaged(averaged(alpha[0])) - FAR
        share = (1 / (1 + torch.exp(-told))).flatten()[:, None]
        beside = still + share * (rigid - still)
        flow = (seen.flatten(1).T + (1 - alpha.flatten()[:, None]) * beside).T.unflatten(1, (side, side))

    def source(level: Tensor, read: Callable[[Tensor, Tensor, Tensor], Tensor] = bilinear) -> Tensor:
        size = level.shape[-1]
        if flow is None:
            return level
        shift = enlarged(flow - still.T.unflatten(1, (side, side)), size).flatten(1).T
        return read_at(level, torch.stack(pixel_centres(size), 1) + shift, read)

    near = source(levels[-1])
    h = net.join(torch.cat([raw, near * (1 - alpha) if flow is None else near, alpha])[None])
    h = functional.leaky_relu(h, SLOPE)
    h = (h + functional.leaky_relu(net.refine(h), SLOPE)) * 0.7071
    for number, block in enumerate(net.blocks):
        h = h.repeat_interleave(2, 2).repeat_interleave(2, 3)
        h = functional.leaky_relu(block(torch.cat([h[0], source(levels[-2 - number])])[None]), SLOPE)
    out, colours, inside = (enlarged(x, FRAME_PX) for x in (net.out(h)[0], raw[:3], alpha))
    shown = source(picture, bicubic)
    paint = colours + (1 - inside) * shown + out[:3]
    gate = 1 / (1 + torch.exp(-out[3:]))
    return gate * paint + (1 - gate) * shown
