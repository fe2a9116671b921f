"""The model's plain, slow path: what the fast one in :mod:`s3dnerf.model.s3dnerf` must equal, written to be read.

Every ray of the raw image (no window), one frame at a time, points as rows; the deformation's inputs concatenated at
each point; planes read by hand, plane by plane and level by level; compositing one sample after the other; what comes
before the rays and after them is :mod:`s3dnerf.model.reference_finish`'s. Of the fast path it shares the networks'
layers, the importance samples and the bounds of the box. Evaluation only (no noise). For tests: it needs a hundred
times the time.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model import cameras
from s3dnerf.model.appearance import SLOPE
from s3dnerf.model.cameras import Camera
from s3dnerf.model.deformation import position_code
from s3dnerf.model.field import Conditions, Field, Identity
from s3dnerf.model.reference_finish import bilinear, head_plane, plain_conditions, plain_frame
from s3dnerf.model.reference_mouth import plain_lips, plain_mouth
from s3dnerf.model.rendering import importance
from s3dnerf.model.s3dnerf import Rendered, S3DNeRF
from s3dnerf.model.triplane import PLANES


def plane_features(planes: list[Tensor], local: Float[Tensor, "p 3"]) -> Float[Tensor, "p f"]:
    """Eq. 2 by hand: three planes of each level read and averaged, levels concatenated.

    Parameters
    ----------
    planes : F^i of one identity
    """
    levels = []
    for level in planes:
        read = [bilinear(level[k], local[:, a], local[:, b]) for k, (a, b) in enumerate(PLANES)]
        levels.append((read[0] + read[1] + read[2]) / 3)
    return torch.cat(levels, 1)


def bias(layer: nn.Conv1d | nn.Linear) -> Tensor:
    """The bias of a layer that has one."""
    assert layer.bias is not None
    return layer.bias


def deform_points(
    model: Field,
    planes: list[Tensor],
    given: Conditions,
    frame: int,
    x: Float[Tensor, "p 3"],
    seen: Float[Tensor, "p 3"],
) -> Tensor:
    """Eq. 4 by hand for one frame: all inputs concatenated at each point, one matrix a layer."""
    net = model.deformation
    if net is None:
        return torch.zeros_like(x)
    centre, half = given.box[frame, :3], given.box[frame, 3]
    inputs = [position_code(((x - centre) / half).T[None], net.octaves)[0].T, given.pooled[frame].expand(len(x), -1)]
    matrices = [net.from_position.weight[..., 0], net.from_speech.weight]
    if net.from_cells is not None:
        assert given.cells is not None
        window = cameras.window_coordinates(
            seen.T[None], given.centre[frame : frame + 1], given.box[frame : frame + 1]
        )[0]
        side = math.isqrt(given.cells.shape[1])
        inputs.append(bilinear(given.cells[frame].T.unflatten(1, (side, side)), window[0], window[1]))
        matrices.append(net.from_cells.weight)
    if net.from_points is not None:
        inputs.append(plane_features(planes, (seen - given.centre[frame, :, 0]) / half))
        matrices.append(net.from_points.weight[..., 0])
    h = functional.leaky_relu(torch.cat(inputs, 1) @ torch.cat(matrices, 1).T + bias(net.from_position), SLOPE)
    down, half_way = [h], len(net.layers) // 2
    for i, layer in enumerate(net.layers):
        assert isinstance(layer, nn.Conv1d)
        h = functional.leaky_relu(h @ layer.weight[..., 0].T + bias(layer), SLOPE)
        if i < half_way:
            down.append(h)
        else:
            h = h + down[len(net.layers) - 1 - i]
    return torch.tanh(h @ net.out.weight[..., 0].T + bias(net.out)) * net.bound * half


def field_points(
    model: S3DNeRF, planes: list[Tensor], given: Conditions, frame: int, x: Float[Tensor, "p 3"]
) -> tuple[Tensor, Tensor]:
    """Density (p,) and values (p, c) at canonical points of one frame."""
    rotation, shift = given.camera.pose[frame, :, :3], given.camera.pose[frame, :, 3]
    delta = deform_points(model, planes, given, frame, x, x @ rotation.T + shift)
    seen = (x + delta) @ rotation.T + shift
    features = plane_features(planes, (seen - given.centre[frame, :, 0]) / given.box[frame, 3])
    decoder = model.decoder
    h = features @ decoder.hidden.weight[..., 0].T + bias(decoder.hidden)
    if decoder.from_speech is not None:
        h = h + given.pooled[frame] @ decoder.from_speech.weight.T
    d = torch.log1p(torch.exp(h)) @ decoder.out.weight[..., 0].T + bias(decoder.out)
    colour = 1.002 / (1 + torch.exp(-d[:, 1:4])) - 0.001
    k = given.camera.intrinsics[frame]
    pixel = torch.stack([k[0, 0] * seen[:, 0] / seen[:, 2] + k[0, 2], k[1, 1] * seen[:, 1] / seen[:, 2] + k[1, 2]], 1)
    return functional.softplus(d[:, 0] - 1), torch.cat([colour, d[:, 4:], pixel / 128 - 1, delta], 1)


def composite_ray(
    density: Float[Tensor, " s"],
    values: Float[Tensor, "s c"],
    distances: Float[Tensor, " s"],
    near: Tensor,
    far: Tensor,
) -> tuple[Tensor, Tensor]:
    """Eq. 5 one sample after the other: composited values (c,) and the samples' weights (s,). Lengths in units of
    ``distances``.
    """
    edges = torch.cat([near[None], (distances[1:] + distances[:-1]) / 2, far[None]])
    through, total, sample_weights = torch.ones(()), torch.zeros(values.shape[1]), []
    for i in range(len(distances)):
        stopped = 1 - torch.exp(-density[i] * (edges[i + 1] - edges[i]))
        sample_weights.append(through * stopped)
        total = total + sample_weights[-1] * values[i]
        through = through * (1 - stopped)
    return total, torch.stack(sample_weights)


@torch.no_grad()
def render_reference(
    model: S3DNeRF,
    identity: Identity,
    speech: Float[Tensor, "b k s"],
    camera: Camera,
) -> Rendered:
    """:meth:`S3DNeRF.render` the plain way."""
    s, given = model.settings, plain_conditions(model, identity, speech)
    each, hits = len(speech) // len(identity.box), 0
    images: list[Tensor] = []
    frames: list[Tensor] = []
    energies: Tensor | float = 0.0
    for frame in range(len(speech)):
        planes = [level[frame // each] for level in identity.planes]
        pose, k, box = camera.pose[frame], camera.intrinsics[frame], given.box[frame]
        origin = -pose[:, :3].T @ pose[:, 3]
        image = torch.zeros(s.feature_channels + 6, s.raw_px, s.raw_px)
        for row in range(s.raw_px):
            for column in range(s.raw_px):
                u, v = (column + 0.5) * 256 / s.raw_px, (row + 0.5) * 256 / s.raw_px
                toward = torch.stack([(u - k[0, 2]) / k[0, 0], (v - k[1, 2]) / k[1, 1], torch.ones(())])
                direction = pose[:, :3].T @ (toward / toward.norm())
                near, far, hit = (x[0, 0] for x in cameras.box_bounds(origin[None], direction[None, None], box[None]))
                if not hit:
                    continue
                coarse = near + (far - near) * (torch.arange(s.coarse_samples) + 0.5) / s.coarse_samples
                density, values = field_points(model, planes, given, frame, origin + coarse[:, None] * direction)
                distances = coarse
                if s.fine_samples:
                    unit = box[3]
                    _, sample_weights = composite_ray(density, values, coarse / unit, near / unit, far / unit)
                    fine = importance(
                        coarse[None, None],
                        sample_weights[None, None],
                        near[None, None],
                        far[None, None],
                        s.fine_samples,
                        None,
                    )[0, 0]
                    distances = torch.cat([coarse, fine]).sort().values
                    density, values = field_points(model, planes, given, frame, origin + distances[:, None] * direction)
                total, sample_weights = composite_ray(density, values, distances / box[3], near / box[3], far / box[3])
                image[:, row, column] = torch.cat([total, sample_weights.sum()[None]])
                energies, hits = energies + values[:, -3:].square().sum(), hits + len(values)
        raw, seen, _, alpha = image.split([s.feature_channels, 2, 3, 1])
        rigid = head_plane(camera[frame : frame + 1], given.camera[frame : frame + 1], box, s.raw_px)
        source = [level[frame // each] for level in identity.source]
        shown = plain_frame(model.superres, raw, alpha, seen, rigid, source)
        if model.mouth is not None and model.lip_shapes is not None:
            of_frame = slice(frame, frame + 1)
            taken, seen_by = given.camera[of_frame], camera[of_frame]
            portrait = identity.landmarks[frame // each]
            lips = plain_lips(model.lip_shapes, speech[frame], portrait, taken, seen_by, box)
            shown = plain_mouth(model.mouth, shown, lips)
        frames.append(shown)
        images.append(image)
    whole = torch.stack(images)
    raw, source_xy, delta, alpha = whole.split([s.feature_channels, 2, 3, 1], 1)
    energy = torch.as_tensor(energies / max(hits, 1))
    return Rendered(raw[:, :3], torch.stack(frames), alpha, delta, given.cells, energy, source_xy)
