"""Volume rendering (3.3): sample distances along rays, decode tri-plane features, composite them, eq. 5.

    C(r) = Σ_i T_i (1 − exp(−σ_i δ_i)) c_i,   T_i = exp(−Σ_{j<i} σ_j δ_j)

δ_i are the lengths of the cells around the samples; the first begins where the ray enters the box and the last ends
where it leaves, so a constant density gives the closed form exactly. Lengths are in units of the box's half side: a
density means the same for a child and a giant. Compositing is in float32 whatever the autocast.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Bool, Float, Tensor
from s3dnerf.model.appearance import init_convolutions
from s3dnerf.model.cameras import box_bounds
from s3dnerf.model.grid_reading import pointwise


class Decoder(nn.Module):
    """Tri-plane feature (and, in ``no_deform``, speech) → density and ray features, the first three of which are
    colour.

    Density is softplus(d − 1), colour a sigmoid stretched by 0.1 % (as EG3D's, so that black and white are reachable).
    """

    def __init__(self, inputs: int, width: int, features: int, speech_dim: int = 0) -> None:
        super().__init__()
        self.hidden = nn.Conv1d(inputs, width, 1)
        self.from_speech = nn.Linear(speech_dim, width, bias=False) if speech_dim else None
        self.out = nn.Conv1d(width, 1 + features, 1)
        init_convolutions(self)

    def forward(
        self, features: Float[Tensor, "b f p"], speech: Float[Tensor, "b t d"] | None
    ) -> tuple[Float[Tensor, "b 1 p"], Float[Tensor, "b c p"]]:
        """Density (b, 1, p) and features of points.

        Parameters
        ----------
        features : (b, f, p), read from the tri-planes
        speech : pooled speech of each of t frames; p = t · points, frames slowest
        """
        h = pointwise(self.hidden, features)
        if self.from_speech is not None:
            assert speech is not None
            h = (h.unflatten(2, (speech.shape[1], -1)) + self.from_speech(speech).transpose(1, 2)[..., None]).flatten(2)
        d = pointwise(self.out, functional.softplus(h)).float()
        colour = torch.sigmoid(d[:, 1:4]) * 1.002 - 0.001
        return functional.softplus(d[:, :1] - 1.0), torch.cat([colour, d[:, 4:]], 1)


def stratified(
    near: Float[Tensor, "b r"], far: Float[Tensor, "b r"], count: int, noise: Float[Tensor, "b r s"] | None
) -> Float[Tensor, "b r s"]:
    """One distance in each of ``count`` equal parts of [near, far]: at ``noise`` in [0, 1) of the part, or its
    middle.
    """
    place = torch.arange(count, device=near.device, dtype=near.dtype)
    place = (place + (0.5 if noise is None else noise)) / count
    return near[..., None] + (far - near)[..., None] * place


def cell_lengths(
    distances: Float[Tensor, "b r s"], near: Float[Tensor, "b r"], far: Float[Tensor, "b r"]
) -> Float[Tensor, "b r s"]:
    """δ: lengths of the cells around sorted distances; they add up to far − near."""
    edges = torch.cat([near[..., None], 0.5 * (distances[..., 1:] + distances[..., :-1]), far[..., None]], -1)
    return edges[..., 1:] - edges[..., :-1]


def ray_weights(density: Float[Tensor, "b r s"], lengths: Float[Tensor, "b r s"]) -> Float[Tensor, "b r s"]:
    """T_i (1 − exp(−σ_i δ_i)): what each sample adds to its ray."""
    optical = density.float() * lengths.float()
    through = torch.cumsum(optical, -1)
    return torch.exp(optical - through) * -torch.expm1(-optical)


def importance(
    distances: Float[Tensor, "b r s"],
    sample_weights: Float[Tensor, "b r s"],
    near: Float[Tensor, "b r"],
    far: Float[Tensor, "b r"],
    count: int,
    noise: Float[Tensor, "b r n"] | None,
) -> Float[Tensor, "b r n"]:
    """Distances drawn where the coarse weights are (inverse transform, no gradient); spread evenly along a ray without
    any.
    """
    edges = torch.cat([near[..., None], 0.5 * (distances[..., 1:] + distances[..., :-1]), far[..., None]], -1)
    lengths = edges[..., 1:] - edges[..., :-1]
    floor = 0.02 * lengths / lengths.sum(-1, keepdim=True).clamp_min(1e-9)
    mass = sample_weights.detach() + floor + 1e-9
    cdf = torch.cumsum(mass, -1)
    cdf = torch.cat([torch.zeros_like(cdf[..., :1]), cdf / cdf[..., -1:]], -1)  # [b, r, s + 1]
    u = (
        torch.arange(count, device=distances.device, dtype=distances.dtype) + (0.5 if noise is None else noise)
    ) / count
    u = u.expand(*distances.shape[:2], count).contiguous()
    above = torch.searchsorted(cdf, u, right=True).clamp(1, cdf.shape[-1] - 1)
    low, high = cdf.gather(-1, above - 1), cdf.gather(-1, above)
    start, end = edges.gather(-1, above - 1), edges.gather(-1, above)
    return start + (end - start) * ((u - low) / (high - low).clamp_min(1e-9)).clamp(0.0, 1.0)


def composite(sample_weights: Float[Tensor, "b r s"], values: Float[Tensor, "b c r s"]) -> Float[Tensor, "b c r"]:
    """Σ_i w_i v_i, in float32."""
    return (values.float() * sample_weights[:, None]).sum(-1)


def render_rays(
    field: Callable[[Float[Tensor, "b 3 p"]], tuple[Float[Tensor, "b 1 p"], Float[Tensor, "b c p"]]],
    origins: Float[Tensor, "b 3"],
    directions: Float[Tensor, "b r 3"],
    box: Float[Tensor, "b 4"],
    samples: tuple[int, int],
    noise: Float[Tensor, "b r s"] | None,
    counted: Bool[Tensor, "b r"],
) -> tuple[Float[Tensor, "b c r"], Float[Tensor, "b r"], Float[Tensor, ""]]:
    """Composited values, alpha, and mean ‖Δx‖², of rays through a field.

    Parameters
    ----------
    field : canonical points → density and the values to composite, of which the last three are Δx
    samples : how many a ray, coarse (stratified) and fine (where the coarse ones found something)
    noise : [0, 1), coarse then fine samples; None in evaluation
    counted : False for rays that only fill up a row
    """
    coarse, fine = samples
    near, far, hit = box_bounds(origins, directions, box)
    hit = hit & counted
    unit = box[:, 3, None, None]
    coarse_noise, fine_noise = (None, None) if noise is None else noise.split([coarse, fine], -1)

    def sample_field(distances: Tensor) -> tuple[Tensor, Tensor]:
        points = origins[:, None, None] + directions[:, :, None] * distances[..., None]  # [b, r, s, 3]
        density, values = field(points.flatten(1, 2).transpose(1, 2))
        return density.unflatten(2, (-1, distances.shape[-1]))[:, 0], values.unflatten(2, (-1, distances.shape[-1]))

    distances = stratified(near, far, coarse, coarse_noise)
    density, values = sample_field(distances)
    if fine:
        sample_weights = ray_weights(density.detach(), cell_lengths(distances, near, far) / unit)
        finer = importance(distances, sample_weights, near, far, fine, fine_noise)
        more_density, more_values = sample_field(finer)
        distances, order = torch.cat([distances, finer], -1).sort(-1)
        density = torch.cat([density, more_density], -1).gather(-1, order)
        values = torch.cat([values, more_values], -1)
        values = values.gather(-1, order[:, None].expand(-1, values.shape[1], -1, -1))
    sample_weights = ray_weights(density, cell_lengths(distances, near, far) / unit)
    energy = values[:, -3:].square().sum(1) * hit[..., None]  # ‖Δx‖² [b, r, s]
    energy = energy.sum() / (hit.sum() * energy.shape[-1]).clamp_min(1)
    return composite(sample_weights, values), sample_weights.sum(-1), energy
