"""Lessons before step 0 (``train.shape_steps``, ``train.motion_steps``; ours): landmarks alone teach, nothing is
rendered.

First the speech network learns which lip shape a window of speech goes with (a linear layer reads its pooled code, and
is then thrown away); then speech, cross attention and deformation learn
:func:`s3dnerf.training.lip_motion.lip_motion_loss`, the encoder standing still. A minute on a CPU. The step size falls
by a half cosine to a tenth. It is not checkpointed: a run killed here begins again, and the same settings give the same
weights.

Reads the training clips through :class:`s3dnerf.training.generator_data.GeneratorData`; writes nothing.
"""

from __future__ import annotations

import dataclasses
import logging
import math

import torch
from torch import nn

from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.schema import TrainSettings
from s3dnerf.training.distributed import World
from s3dnerf.training.generator_data import GeneratorData, make_motion_batch
from s3dnerf.training.lip_motion import lip_motion_loss

logger = logging.getLogger(__name__)

WINDOWS = 64  # speech windows a step, over all processes
BETAS = (0.9, 0.99)


class _Teacher:
    """Adam over some parameters with falling steps, gradients averaged over the processes and clipped."""

    def __init__(self, parameters: list[nn.Parameter], settings: TrainSettings, world: World) -> None:
        self.parameters, self.settings, self.world = parameters, settings, world
        self.optimiser = torch.optim.Adam(parameters, settings.lr_lessons, betas=BETAS)

    def step(self, loss: torch.Tensor, done: float) -> None:
        """One step of training ``done`` (0 … 1) of which is over."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.world.average_gradients(self.parameters)
        torch.nn.utils.clip_grad_norm_(self.parameters, self.settings.gradient_clip)
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.lr_lessons * (0.55 + 0.45 * math.cos(math.pi * done))
        self.optimiser.step()


def learn_shapes(generator: S3DNeRF, data: GeneratorData, settings: TrainSettings, seed: int, world: World) -> float:
    """Teach the speech network lip shapes. Returns the last steps' mean squared error, in variances of the shapes (1:
    knows nothing).
    """
    speech, shapes = data.lip_shapes()
    torch.manual_seed(seed)  # the same reader in every process
    reader = nn.Linear(generator.settings.slot_dim, shapes.shape[1]).to(world.device)
    teacher = _Teacher([*generator.speech.parameters(), *reader.parameters()], settings, world)
    draw, errors = torch.Generator().manual_seed(seed), []
    for step in range(settings.shape_steps):
        rows = torch.randint(len(speech), (WINDOWS,), generator=draw)
        # the whole batch in each process: the draws stay alike
        varied = data.variation.of(speech[rows], data.speech_std, draw)
        varied, wanted = (x[world.rank :: world.size].to(world.device) for x in (varied, shapes[rows]))
        loss = (reader(generator.speech(varied)[1]) - wanted).square().mean()
        teacher.step(loss, step / settings.shape_steps)
        errors.append(loss.detach())
    return float(world.mean(torch.stack(errors[-20:]).mean()))


def learn_motion(
    generator: S3DNeRF, data: GeneratorData, settings: TrainSettings, numbers: range, world: World
) -> float:
    """Teach the deformation the lips' motion. Returns the mean loss of the last steps, pixels²."""
    blocks = (
        generator.speech,
        generator.source_lips,
        generator.aggregation,
        generator.crossmodal,
        generator.deformation,
    )
    taught = [block for block in blocks if block is not None]
    teacher = _Teacher([p for module in taught for p in module.parameters()], settings, world)
    errors = []
    for step in range(settings.motion_steps):
        batch = make_motion_batch([data.motion_sample(step, number) for number in numbers], world.device)
        with torch.no_grad():
            identity = generator.encode_face(batch.source)
        if generator.aggregation is not None:
            identity = dataclasses.replace(identity, aggregated=generator.aggregation(identity.planes))
        loss = lip_motion_loss(generator, identity, batch.motion)
        teacher.step(loss, step / settings.motion_steps)
        errors.append(loss.detach())
    return float(world.mean(torch.stack(errors[-20:]).mean()))


def landmarks_first(
    generator: S3DNeRF,
    data: GeneratorData,
    settings: TrainSettings,
    seed: int,
    numbers: range,
    world: World,
) -> None:
    """The lessons that have steps.

    Parameters
    ----------
    numbers : this process's samples of a batch
    """
    results = []
    if settings.shape_steps:
        results.append(
            f"{learn_shapes(generator, data, settings, seed, world):.0%} of the lip shapes' variance unexplained"
        )
    if settings.motion_steps:
        results.append(f"{learn_motion(generator, data, settings, numbers, world):.2f} px² of lip motion left")
    logger.info(f"  landmarks first: {', '.join(results)}")
