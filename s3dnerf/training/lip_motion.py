"""Landmarks teach the deformation where the lips go (ours: ``train.motion_steps``, ``train.lambda_lips``; 0 in the
paper's preset).

Pixels alone move a mouth late: until speech moves the lips, a mean mouth is the best picture, and it gives the
deformation no gradient that agrees from frame to frame. Landmarks, which ``align`` found anyway, say outright where
what stands at each lip point of a target frame stands in the source frame:

    L_lips = mean over k of ‖(π(x_k + Δx_k) − π(x_k)) − r(p_k)‖²        pixels² of the 256-pixel frame

p_k: the target's nose and lip landmarks, jittered so that a neighbourhood moves and not a point; x_k: p_k's ray at the
depth of the lips; π: projection into the source; r: the source's landmark less where the pose alone carries the
target's, taken from the landmarks around p_k, relative to the nose (which does not speak). Nothing is rendered: a frame
costs 29 points.

Reads nothing, writes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.faces.types import LIPS, NOSE
from s3dnerf.model import cameras
from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Field, Identity

NOSE_POINTS, POINTS = 9, 29  # nose first, then lips
# of the lips before the box's centre, half sides: there the landmarks of turning heads stand still
DEPTH, DEPTH_SPREAD = (
    0.38,
    0.1,
)
JITTER_PX, REACH_PX = 2.0, 1.5  # how far points stray from landmarks; how far a landmark's word carries


@dataclass
class Motion:
    """B clips' frames for :func:`lip_motion_loss` (b = B · frames, those of a clip side by side).

    Attributes
    ----------
    jitter : standard normal
    """

    camera: Camera
    speech: Float[Tensor, "b k s"]
    landmarks: Float[Tensor, "b 68 2"]
    jitter: Float[Tensor, "b 29 3"]


def points_at(
    camera: Camera,
    box: Float[Tensor, "b 4"],
    places: Float[Tensor, "b k 2"],
    depth: Float[Tensor, "b k"],
) -> Float[Tensor, "b 3 k"]:
    """Canonical points behind ``places`` (pixels of the 256-pixel frame), ``depth`` half sides before the box's
    centre.
    """
    origins, directions = cameras.camera_rays(camera.pose, camera.intrinsics, places - 0.5, cameras.FRAME_PX)
    distance = (box[:, 2:3] + depth * box[:, 3:] - origins[:, 2:]) / directions[..., 2]
    return (origins[:, None] + directions * distance[..., None]).transpose(1, 2)


def lip_motion_loss(generator: Field, identity: Identity, motion: Motion) -> Float[Tensor, ""]:
    """L_lips in pixels². The gradient reaches speech, source lips, cross attention and deformation. ValueError without
    a deformation.
    """
    if generator.deformation is None:
        raise ValueError(f"variant {generator.variant}: it has no deformation, which landmarks could teach")
    given = generator.conditions(identity, motion.speech)
    each = len(motion.speech) // len(identity.box)
    with torch.no_grad():
        at, source = (torch.cat([x[:, NOSE], x[:, LIPS]], 1) for x in (motion.landmarks, identity.landmarks))
        depth = torch.full_like(at[..., 0], DEPTH)  # [b, 29]
        carried = cameras.to_camera(points_at(motion.camera, given.box, at, depth), given.camera.pose)
        # [b, 29, 2]
        residual = source.repeat_interleave(each, 0) - cameras.project(carried, given.camera.intrinsics).transpose(1, 2)
        residual = residual - residual[:, :NOSE_POINTS].mean(1, keepdim=True)
        places = at + JITTER_PX * motion.jitter[..., :2]
        # [b, 29, 29]
        near = torch.softmax((places[:, :, None] - at[:, None]).square().sum(-1) / (-2.0 * REACH_PX**2), -1)
        wanted = near @ residual
        x = points_at(motion.camera, given.box, places, depth + DEPTH_SPREAD * motion.jitter[..., 2])
        seen = cameras.to_camera(x, given.camera.pose)
        before = cameras.project(seen, given.camera.intrinsics)
    delta = generator.deform(identity, given, x, seen)
    moved = cameras.project(seen + cameras.turned(delta, given.camera.pose), given.camera.intrinsics) - before
    return (moved.float().transpose(1, 2) - wanted).square().sum(-1).mean()


def lip_shapes(landmarks: np.ndarray) -> np.ndarray:
    """A clip's lip shapes (n, 40) from its landmarks (n, 68, 2): pose's shift, the face's size and the clip's mean
    shape taken out.
    """
    lips = landmarks[:, LIPS].astype(np.float64)
    size = np.linalg.norm(landmarks[:, 0].astype(np.float64) - landmarks[:, 16], axis=1).mean()
    lips = (lips - lips.mean(1, keepdims=True)) / max(size, 1.0)
    return (lips - lips.mean(0)).reshape(len(lips), -1)
