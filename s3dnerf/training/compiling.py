"""torch.compile for the networks of the training whose shapes never change (``train.compile``).

Rays, samples and the cross-modal features read sizes and indices from data: compiled as one they break into dozens of
graphs. The convolutional networks are one graph each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import nn

from s3dnerf.model.discriminator import Discriminator
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.training.perceptual import PerceptualLoss


def convolutional_networks(
    generator: S3DNeRF, discriminator: Discriminator, perceptual: PerceptualLoss
) -> list[nn.Module]:
    """The image encoder, super-resolution, the discriminator and the perceptual loss's network."""
    return [generator.appearance, generator.superres, discriminator, perceptual.network]


def compile_networks(networks: Iterable[nn.Module], backend: str | Callable = "inductor") -> None:
    """Have each call of the networks compiled, at its first use; their parameters and ``forward`` stay as they are.

    Parameters
    ----------
    backend : torch.compile's; ``inductor`` writes C++, on a GPU Triton. A callable gets the graph and its inputs.
    """
    for network in networks:
        network.compile(dynamic=False, fullgraph=True, backend=backend)
