"""Where a frame's lips stand, told from its speech (``model.mouth_width``; ours, off in the paper's preset).

A linear map: from the frame's speech tokens, on their largest principal directions, and the source's lip shape to each
lip landmark's way from where the head's pose alone carries the source's. It is fitted before training by ridge
regression (:mod:`s3dnerf.training.lip_regression`), once, in closed form: of people never seen it knows more than a
network that learns the same by steps on a small corpus. It tells the deformation where the lips go (:class:`LipCode`)
and the painter of the mouth (:mod:`s3dnerf.model.mouth`) what to paint. In training both are given the true landmarks
instead: they learn how a mouth looks that stands so, not what a mouth looks like on average.
"""

from __future__ import annotations

import torch
from torch import nn

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.faces.types import LIPS, NOSE
from s3dnerf.model.cameras import FRAME_PX, Camera, camera_rays, in_float32, project, to_camera

SHAPE = 2 * (LIPS.stop - LIPS.start)
DIRECTIONS = 64  # principal directions of the tokens: more explain unseen people no better
# of the lips before the box's centre, half sides: there the landmarks of turning heads stand still
DEPTH = 0.38


def lip_shape(landmarks: Float[Tensor, "n 68 2"]) -> Float[Tensor, "n 40"]:
    """The lips about their centre, in widths of the face."""
    lips = landmarks[:, LIPS]
    return ((lips - lips.mean(1, keepdim=True)) / face_width(landmarks)).flatten(1)


def carried(
    source: Camera, target: Camera, box: Float[Tensor, "b 4"], places: Float[Tensor, "b k 2"]
) -> Float[Tensor, "b k 2"]:
    """Where the head's pose alone carries ``places`` of the source, at the lips' depth; pixels of both."""
    origins, directions = camera_rays(source.pose, source.intrinsics, places - 0.5, FRAME_PX)
    distance = (box[:, 2:3] + DEPTH * box[:, 3:] - origins[:, 2:]) / directions[..., 2]
    points = origins[:, None] + directions * distance[..., None]  # [b, k, 3] canonical
    return project(to_camera(points.transpose(1, 2), target.pose), target.intrinsics).transpose(1, 2)


def face_width(landmarks: Float[Tensor, "b 68 2"]) -> Float[Tensor, "b 1 1"]:
    """From landmark 0 to 16, pixels."""
    return (landmarks[:, 0] - landmarks[:, 16]).norm(dim=-1).clamp_min(1.0)[:, None, None]


def lip_offsets(
    target: Float[Tensor, "b 68 2"],
    source: Float[Tensor, "b 68 2"],
    seen_by: Camera,
    taken_by: Camera,
    box: Float[Tensor, "b 4"],
) -> Float[Tensor, "b 20 2"]:
    """How far the target's lips lie from where the head's pose carries the source's, less the same of the nose (which
    does not speak: that part is the pose's error), in widths of the source's face.

    Parameters
    ----------
    target, source : landmarks, pixels
    seen_by, taken_by : cameras of target and source
    """
    parts = (NOSE, LIPS)
    at, start = (torch.cat([x[:, part] for part in parts], 1) for x in (target, source))
    apart = at - carried(taken_by, seen_by, box, start)
    noses = NOSE.stop - NOSE.start
    return (apart[:, noses:] - apart[:, :noses].mean(1, keepdim=True)) / face_width(source)


class LipShapes(nn.Module):
    """The map. All of it is given by :meth:`set_map`, nothing is trained by steps; before, lips move with the head.

    Parameters
    ----------
    speech_dim : width of a token
    tokens : around each frame
    gain : what speech tells is multiplied by. The most probable lips (1) are an average over all that may be said so,
        and move less than any mouth.
    """

    mean: Tensor
    directions: Tensor
    weight: Tensor

    def __init__(self, speech_dim: int, tokens: int, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        kept = min(DIRECTIONS, speech_dim)
        self.register_buffer("mean", torch.zeros(speech_dim))
        self.register_buffer("directions", torch.zeros(speech_dim, kept))
        self.register_buffer("weight", torch.zeros(tokens * kept + SHAPE + 1, SHAPE))

    def set_map(
        self, mean: Float[Tensor, " s"], directions: Float[Tensor, "s k"], weight: Float[Tensor, "n 40"]
    ) -> None:
        """Take the tokens' mean, what to multiply the rest with, and the map of :meth:`inputs` to offsets."""
        self.mean.copy_(mean)
        self.directions.copy_(directions)
        self.weight.copy_(weight)

    def inputs(self, speech: Float[Tensor, "b k s"], source: Float[Tensor, "b 68 2"]) -> Float[Tensor, "b n"]:
        """What the map reads: tokens, the source's lip shape, one."""
        heard = ((speech - self.mean) @ self.directions).flatten(1)
        return torch.cat([heard, lip_shape(source), torch.ones_like(heard[:, :1])], 1)

    @in_float32
    def forward(self, speech: Float[Tensor, "b k s"], source: Float[Tensor, "b 68 2"]) -> Float[Tensor, "b 20 2"]:
        """Offsets of the lips' landmarks, in widths of the source's face.

        Parameters
        ----------
        speech : the tokens around each frame
        source : landmarks of the source of each frame, pixels
        """
        given = self.inputs(speech, source)
        heard = given.shape[1] - SHAPE - 1
        factor = torch.cat([given.new_full((heard,), self.gain), given.new_ones(SHAPE + 1)])
        return ((given * factor) @ self.weight).unflatten(1, (-1, 2))


def lip_places(
    offsets: Float[Tensor, "b 20 2"],
    source: Float[Tensor, "b 68 2"],
    seen_by: Camera,
    taken_by: Camera,
    box: Float[Tensor, "b 4"],
) -> Float[Tensor, "b 20 2"]:
    """The lips' landmarks in the target, pixels: :func:`lip_offsets` backwards, for a pose without error."""
    return carried(taken_by, seen_by, box, source[:, LIPS]) + offsets * face_width(source)


class LipCode(nn.Module):
    """What the lips of source and target add to the pooled speech; nothing before training.

    Δx leads from where the target's lips are to where the same lips stand in the source picture: it depends on two
    mouths. Eq. 3 makes F_cm of speech alone, and nothing in it says how far the source's mouth stands open.

    Parameters
    ----------
    dim : width of the code
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(SHAPE))
        self.register_buffer("scale", torch.ones(()))
        self.of_source, self.of_target = (nn.Linear(SHAPE, dim, bias=False) for _ in range(2))
        nn.init.zeros_(self.of_source.weight)
        nn.init.zeros_(self.of_target.weight)

    def set_statistics(self, shapes: Float[Tensor, "n 40"]) -> None:
        """Take the mean of the training lips, a value a number, and their spread about it, one for all."""
        self.mean.copy_(shapes.mean(0))
        self.scale.copy_(1.0 / (shapes - shapes.mean(0)).square().mean().sqrt().clamp_min(1e-6))

    def forward(self, source: Float[Tensor, "n 40"], offsets: Float[Tensor, "n 20 2"]) -> Float[Tensor, "n d"]:
        """Codes (n, dim) of the source's lip shapes and the target's offsets from them."""
        known = ((source - self.mean) * self.scale).clamp(-6.0, 6.0)
        return self.of_source(known) + self.of_target((offsets.flatten(1) * self.scale).clamp(-6.0, 6.0))
