"""Reading multi-scale tri-planes at points, eq. 2.

A point arrives in local coordinates (source camera, recentred, divided by the box). Each of a level's three planes
is read bilinearly at two of the three coordinates, the three are averaged, the levels concatenated. Coordinates beyond
[−1, 1] read the edge.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model.grid_reading import by_kernels, read_planes

PLANES = ((0, 1), (1, 2), (0, 2))  # XY, YZ, XZ: the first coordinate runs along columns, the second along rows


def sample_planes(levels: list[Float[Tensor, "b 3 c _h _w"]], local: Float[Tensor, "b 3 p"]) -> Float[Tensor, "b f p"]:
    """Features of points: f = levels · C."""
    if by_kernels(local):
        return read_planes(levels, local)
    grid = torch.stack([torch.stack([local[:, i], local[:, j]], 2) for i, j in PLANES], 1)  # [b, 3, p, 2]
    grid = grid.flatten(0, 1)[:, None]  # [3b, 1, p, 2]
    features = []
    for level in levels:
        read = functional.grid_sample(
            level.flatten(0, 1).float(), grid.float(), padding_mode="border", align_corners=False
        )
        features.append(read[:, :, 0].unflatten(0, (-1, 3)).mean(1))  # [b, c, p]
    return torch.cat(features, 1)
