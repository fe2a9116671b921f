"""One forward pass of the generator's training and one of the discriminator's: frames, and the terms of their losses.

Each is a module with one ``forward``, which DistributedDataParallel can wrap.
"""

from __future__ import annotations

import torch
from torch import nn

from s3dnerf.core.shapes import Tensor
from s3dnerf.model.discriminator import Discriminator, dual
from s3dnerf.model.s3dnerf import Rendered, S3DNeRF
from s3dnerf.settings.schema import PhaseSettings, TrainSettings
from s3dnerf.sync.crops import crop_lips
from s3dnerf.sync.expert import SyncExpert
from s3dnerf.sync.losses import generator_sync_loss
from s3dnerf.training import losses
from s3dnerf.training.batches import Batch, training_rays
from s3dnerf.training.perceptual import PerceptualLoss


def lip_windows(frames: torch.Tensor, boxes: torch.Tensor, expert: SyncExpert) -> torch.Tensor:
    """Lip crops (B, T, 3, s, s) of frames (B·T, 3, h, w) for the expert."""
    crops = crop_lips(frames.float(), boxes, expert.settings.crop_px)
    return crops.unflatten(0, (-1, expert.settings.frames))


def generator_losses(
    rendered: Rendered,
    batch: Batch,
    phase: PhaseSettings,
    lips_pix_weight: float,
    perceptual: PerceptualLoss,
    expert: SyncExpert,
    discriminator: Discriminator | None,
) -> dict[str, torch.Tensor]:
    """Each term of eq. 9, unweighted, on the coarse and the fine image, and ``total``. Terms whose weight is 0 are not
    computed.
    """
    fine, coarse = rendered.fine, rendered.coarse
    at = {
        size: losses.lip_emphasis(batch.lip_box, size, lips_pix_weight) for size in (fine.shape[-1], coarse.shape[-1])
    }
    seen = losses.over(coarse, rendered.alpha, batch.backdrop)
    wanted = losses.over(batch.coarse_target, batch.mask, batch.backdrop)
    terms = {
        "pix": losses.pixel_loss(fine, batch.target, at[fine.shape[-1]])
        + losses.pixel_loss(seen, wanted, at[coarse.shape[-1]])
    }
    terms["deform"] = rendered.deform_energy.float()
    if phase.mouth:
        terms["mouth"] = losses.mouth_loss(fine, batch.target, batch.lip_box)
    if phase.flow:
        each = len(batch.landmarks) // len(batch.source.box)
        source = batch.source.landmarks.repeat_interleave(each, 0)
        terms["flow"] = losses.landmark_flow_loss(rendered.source_xy, rendered.alpha, batch.landmarks, source)
    if phase.sync or (phase.per and not perceptual.real):
        # the expert knows whole frames: the coarse face stands before the true surroundings
        standing = coarse + (1.0 - rendered.alpha) * batch.outside
        lips = [lip_windows(image, batch.lip_box, expert) for image in (fine, standing)]
    if phase.per:
        terms["per"] = perceptual(fine, batch.target) + perceptual(coarse, batch.coarse_target)
        if not perceptual.real:
            true_lips = lip_windows(batch.target, batch.lip_box, expert)
            terms["per"] = terms["per"] + perceptual.lips(lips[0], true_lips) + perceptual.lips(lips[1], true_lips)
    if phase.sync:
        audio = expert.audio(batch.audio)
        terms["sync"] = generator_sync_loss(expert.visual(lips[0]), audio) + generator_sync_loss(
            expert.visual(lips[1]), audio
        )
    if phase.adv and discriminator is not None:
        terms["adv"] = losses.generator_adversarial_loss(discriminator(dual(fine, coarse)))
    terms["total"] = sum(value * getattr(phase, name) for name, value in terms.items())
    return terms


def render_targets(generator: S3DNeRF, batch: Batch, outside_rays: float) -> Rendered:
    """The batch's target frames, with this share of the rays outside the targets' faces."""
    rays = None if outside_rays == 1.0 else training_rays(batch.mask, batch.draw, outside_rays)
    identity = generator.encode(batch.source)
    return generator.render(identity, batch.speech, batch.camera, batch.noise, rays, batch.landmarks)


class GeneratorPass(nn.Module):
    """The generator's frames of a batch, and the terms of its loss. The networks that judge them are not trained by
    it: they are no part of the module.
    """

    def __init__(
        self,
        generator: S3DNeRF,
        train: TrainSettings,
        perceptual: PerceptualLoss,
        expert: SyncExpert,
        discriminator: Discriminator,
    ) -> None:
        super().__init__()
        self.generator, self.train_settings = generator, train
        self.judges = perceptual, expert, discriminator  # in a tuple: not registered

    def forward(self, batch: Batch, phase: PhaseSettings) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Fine frames (b, 3, 256, 256), coarse ones (b, 3, r, r), and :func:`generator_losses`."""
        rendered = render_targets(self.generator, batch, self.train_settings.outside_rays)
        terms = generator_losses(rendered, batch, phase, self.train_settings.lips_pix_weight, *self.judges)
        return rendered.fine, rendered.coarse, terms


class DiscriminatorPass(nn.Module):
    """The discriminator's loss, and where it is asked for R1's penalty (in float32)."""

    def __init__(self, discriminator: Discriminator) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, made: Tensor, real: Tensor, r1: bool) -> tuple[Tensor, Tensor | None]:
        """Loss, and penalty or None, of pairs of images as :func:`s3dnerf.model.discriminator.dual` joins them."""
        loss = losses.discriminator_loss(self.discriminator(made), self.discriminator(real))
        if not r1:
            return loss, None
        with torch.autocast(real.device.type, enabled=False):
            real = real.requires_grad_(True)
            # not the compiled call: compiled code has no second derivatives
            return loss, losses.r1_penalty(self.discriminator.forward(real), real)
