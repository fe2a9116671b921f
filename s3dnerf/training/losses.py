"""The generator's and the discriminator's losses (3.5, eq. 9), and their step size over the training.

    L = λ_pix L_pix + λ_per L_per + λ_adv L_adv + λ_sync L_sync + λ_deform L_deform (+ λ_mouth L_mouth + λ_flow L_flow)

The weights are the settings' (``train.phases``; :mod:`s3dnerf.training.phases`).

Every image loss is taken on the coarse and on the fine image: coarse against the masked target, fine against the whole
target. The lip-sync loss is eq. 8 as METHOD corrects it (:func:`s3dnerf.sync.losses.generator_sync_loss`). L_mouth
and L_flow (ours, without weight in the paper's preset) are :func:`mouth_loss` and :func:`landmark_flow_loss`.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.settings.schema import TrainSettings
from s3dnerf.sync.crops import FRAME_PX

FLOW_PX = 4.0


def step_size(settings: TrainSettings, step: int) -> float:
    """Factor of both step sizes at ``step``: 1, then over the last half of training a half cosine down to
    ``lr_final``.
    """
    done = max(2.0 * step / settings.steps - 1.0, 0.0)
    return settings.lr_final + (1.0 - settings.lr_final) * 0.5 * (1.0 + math.cos(math.pi * done))


def inside(boxes: Float[Tensor, "b 4"], size_px: int) -> Float[Tensor, "b 1 s s"]:
    """1 inside the boxes (x0, y0, x1, y1 in pixels of a 256-pixel frame), 0 outside."""
    place = (torch.arange(size_px, device=boxes.device, dtype=boxes.dtype) + 0.5) * (FRAME_PX / size_px)
    inside_x = (place >= boxes[:, :1]) & (place < boxes[:, 2:3])  # [b, s]
    inside_y = (place >= boxes[:, 1:2]) & (place < boxes[:, 3:4])
    return (inside_y[:, :, None] & inside_x[:, None, :]).to(boxes.dtype)[:, None]


def lip_emphasis(boxes: Float[Tensor, "b 4"], size_px: int, weight: float) -> Float[Tensor, "b 1 s s"]:
    """Factors of the pixel loss: ``weight`` inside the lip box, 1 outside, scaled to a mean of one a frame.

    Parameters
    ----------
    boxes : x0, y0, x1, y1 in pixels of a 256-pixel frame
    """
    emphasis = 1.0 + (weight - 1.0) * inside(boxes, size_px)
    return emphasis / emphasis.mean((2, 3), keepdim=True)


def pixel_loss(
    generated: Float[Tensor, "b c h w"], target: Float[Tensor, "b c h w"], emphasis: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, ""]:
    """Weighted mean squared difference."""
    return ((generated.float() - target).square() * emphasis).mean()


def mouth_loss(
    generated: Float[Tensor, "b 3 h w"], target: Float[Tensor, "b 3 h w"], boxes: Float[Tensor, "b 4"]
) -> Float[Tensor, ""]:
    """Mean absolute difference inside the lip boxes: teeth and edges of lips count that a squared one averages away.

    Parameters
    ----------
    boxes : x0, y0, x1, y1 in pixels of a 256-pixel frame
    """
    within = inside(boxes, target.shape[-1])
    return ((generated.float() - target).abs() * within).sum() / (3.0 * within.sum()).clamp_min(1.0)


def landmark_flow_loss(
    source_xy: Float[Tensor, "b 2 r r"],
    alpha: Float[Tensor, "b 1 r r"],
    target: Float[Tensor, "b 68 2"],
    source: Float[Tensor, "b 68 2"],
) -> Float[Tensor, ""]:
    """How far from the source's landmarks the rendered face leads from the target's, pixels² of the 256-pixel frame.

    What stands at a landmark of the target stands at the same landmark of the source: that says how deep each part of
    the face lies (a nose moves against the jaw as the head turns) and where lips went. Beyond :data:`FLOW_PX` pixels
    the loss grows linearly: landmarks miss at times. Each landmark counts as much as the face is opaque there, and
    where it leads does not depend on how opaque: a face that vanishes gains nothing.

    Parameters
    ----------
    source_xy, alpha : as rendered; ``source_xy`` carries alpha
    target, source : landmarks of the same frames and of their sources, pixels
    """
    at = (target * (2.0 / FRAME_PX) - 1.0)[:, None]  # [b, 1, 68, 2]
    rendered = torch.cat([source_xy, alpha], 1).float()
    read = functional.grid_sample(rendered, at, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)
    led, opaque = read[..., :2] / read[..., 2:].clamp_min(0.05), read[..., 2].detach()  # [b, 68, 2], [b, 68]
    apart = (led + 1.0) * (FRAME_PX / 2) - source
    # Huber's is half a square
    square = 2.0 * functional.huber_loss(apart, torch.zeros_like(apart), reduction="none", delta=FLOW_PX).sum(-1)
    return (square * opaque).sum() / opaque.sum().clamp_min(1e-3)


def over(
    colours: Float[Tensor, "b 3 h w"], alpha: Float[Tensor, "b 1 h w"], backdrop: Float[Tensor, "b 3"]
) -> Float[Tensor, "b 3 h w"]:
    """Colours that carry their alpha, laid over one colour a frame.

    The coarse image and the masked target are compared over a random colour: over black alone, density painted black
    outside the face would do as well as none, and alpha could not join anything.
    """
    return colours + (1.0 - alpha) * backdrop[:, :, None, None]


def generator_adversarial_loss(scores_of_generated: Float[Tensor, "b 1"]) -> Float[Tensor, ""]:
    """Non-saturating logistic loss: mean softplus(−D(generated)); falls as the discriminator takes them for real."""
    return functional.softplus(-scores_of_generated.float()).mean()


def discriminator_loss(
    scores_of_generated: Float[Tensor, "b 1"], scores_of_real: Float[Tensor, "b 1"]
) -> Float[Tensor, ""]:
    """Logistic loss: mean softplus(D(generated)) + mean softplus(−D(real))."""
    return functional.softplus(scores_of_generated.float()).mean() + functional.softplus(-scores_of_real.float()).mean()


def r1_penalty(scores_of_real: Float[Tensor, "b 1"], real: Float[Tensor, "b c h w"]) -> Float[Tensor, ""]:
    """Half the mean squared norm of the scores' gradient in the real pairs (Mescheder et al., 2018), with a graph of
    its own.

    ``real`` must require gradients and ``scores_of_real`` come from it.
    """
    (gradient,) = torch.autograd.grad(scores_of_real.sum(), real, create_graph=True)
    return 0.5 * gradient.float().square().sum((1, 2, 3)).mean()
