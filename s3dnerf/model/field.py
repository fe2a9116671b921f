"""The field (3.1, 3.2): what stands at a point of the head's space, of one portrait and the speech of a frame.

:meth:`Field.encode_face` does what depends on the portrait alone (planes, aggregated embedding), once;
:meth:`Field.conditions` what depends on a frame's speech (speech code, cross attention); :meth:`Field.at` reads points:
deform, project into the source camera, read the planes, decode. Frames come grouped by identity: with B identities and
b frames, each identity has b / B consecutive frames.

Variants: ``full`` and ``no_sync`` (the same network; λ_sync is 0 in training) · ``naive``: deformation from position
and pooled speech · ``feature_concat``: deformation takes the tri-plane feature in place of F_cm · ``no_deform``: Δx =
0, speech joined to the tri-plane feature before the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from s3dnerf.core.shapes import Float, Tensor
from s3dnerf.model import cameras
from s3dnerf.model.aggregation import Aggregation
from s3dnerf.model.appearance import LEVELS, AppearanceEncoder
from s3dnerf.model.cameras import Camera
from s3dnerf.model.crossmodal import CrossAttention, SpeechNet
from s3dnerf.model.deformation import Deformation
from s3dnerf.model.lip_shapes import LipCode, LipShapes, lip_shape
from s3dnerf.model.rendering import Decoder
from s3dnerf.model.triplane import sample_planes
from s3dnerf.settings.schema import VARIANTS, ModelSettings

POINTS_AT_ONCE = 8192  # on a CPU


@dataclass(frozen=True)
class Portrait:
    """B portraits.

    Attributes
    ----------
    face, full : masked to the inner face, and whole; [0, 1]
    camera : that took it
    box : centre and half side of the head's cube
    landmarks : pixels of the frame
    """

    face: Float[Tensor, "b 3 256 256"]
    full: Float[Tensor, "b 3 256 256"]
    camera: Camera
    box: Float[Tensor, "b 4"]
    landmarks: Float[Tensor, "b 68 2"]


@dataclass
class Identity:
    """What is computed once for B portraits: F⁰…F³, F_agg, features of the source picture (empty where only the field
    is asked), and of the portrait its landmarks, camera and box.
    """

    planes: list[Float[Tensor, "b 3 c _h _w"]]
    aggregated: Float[Tensor, "b n d"] | None
    source: list[Float[Tensor, "b _c _h2 _w2"]]
    landmarks: Float[Tensor, "b 68 2"]
    camera: Camera
    box: Float[Tensor, "b 4"]

    def of_frames(self, frames: int) -> tuple[Float[Tensor, "b 68 2"], Camera, Float[Tensor, "b 4"]]:
        """Landmarks, camera and box of each frame's portrait. ValueError where frames do not divide among them."""
        each = frames // len(self.box)
        if each * len(self.box) != frames:
            raise ValueError(f"{frames} frames of {len(self.box)} identities: expected the same number of frames each")
        return self.landmarks.repeat_interleave(each, 0), self.camera.repeat(each), self.box.repeat_interleave(each, 0)


@dataclass
class Conditions:
    """What a point's deformation and colour depend on besides the point, a frame each, and the source cameras."""

    pooled: Float[Tensor, "b d"]
    cells: Float[Tensor, "b n d"] | None
    camera: Camera
    box: Float[Tensor, "b 4"]
    centre: Float[Tensor, "b 3 1"]
    lip_offsets: Float[Tensor, "b 20 2"] | None = None


class Field(nn.Module):
    """The field.

    Parameters
    ----------
    settings : ModelSettings
    speech_dim : width of a speech token
    variant : one of ``s3dnerf.settings.schema.VARIANTS``; ValueError for another
    """

    def __init__(self, settings: ModelSettings, speech_dim: int, variant: str = "full") -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ValueError(f"variant {variant!r} — accepted: {', '.join(VARIANTS)}")
        s = self.settings = settings
        self.variant, self.speech_dim = variant, speech_dim
        features = LEVELS * s.plane_channels
        self.appearance = AppearanceEncoder(s.encoder_width, s.plane_channels)
        self.speech = SpeechNet(speech_dim, s.slot_dim, s.speech_tokens)
        crossmodal = variant in ("full", "no_sync")
        self.lip_shapes = LipShapes(speech_dim, s.speech_tokens, s.lip_gain) if s.mouth_width else None
        self.lip_code = LipCode(s.slot_dim) if s.mouth_width else None
        self.aggregation = Aggregation(3 * features, s.slot_dim, s.slot_grid, s.slot_iterations) if crossmodal else None
        self.crossmodal = CrossAttention(s.slot_dim, s.heads) if crossmodal else None
        self.deformation = (
            None
            if variant == "no_deform"
            else Deformation(
                s.deform_widths,
                s.position_octaves,
                s.slot_dim,
                s.slot_dim if crossmodal else 0,
                features if variant == "feature_concat" else 0,
                s.deform_bound,
            )
        )
        self.decoder = Decoder(
            features, s.decoder_width, s.feature_channels, s.slot_dim if variant == "no_deform" else 0
        )
        # torch's overloads lack it; twice as fast on a CPU
        self.appearance.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode_face(self, portrait: Portrait) -> Identity:
        """All that the field depends on of the portraits alone."""
        face, camera, box = portrait.face, portrait.camera, portrait.box
        planes = self.appearance(cameras.source_window(face, camera.pose, camera.intrinsics, box, face.shape[-1]))
        aggregated = self.aggregation(planes) if self.aggregation is not None else None
        return Identity(planes, aggregated, [], portrait.landmarks, camera, box)

    def conditions(
        self, identity: Identity, speech: Float[Tensor, "b k s"], offsets: Float[Tensor, "b 20 2"] | None = None
    ) -> Conditions:
        """Speech code (with the lips, where ``model.mouth_width`` adds them), F_cm and source camera of each frame.

        Parameters
        ----------
        offsets : of the target's lips, in training; None takes those that speech tells
        """
        landmarks, camera, box = identity.of_frames(len(speech))
        tokens, pooled = self.speech(speech)
        if self.lip_shapes is not None and self.lip_code is not None:
            offsets = self.lip_shapes(speech, landmarks) if offsets is None else offsets
            pooled = pooled + self.lip_code(lip_shape(landmarks), offsets)
        cells = None
        if self.crossmodal is not None:
            assert identity.aggregated is not None
            frames_each = len(speech) // len(identity.box)
            cells = self.crossmodal(identity.aggregated.repeat_interleave(frames_each, 0), tokens)
        return Conditions(pooled, cells, camera, box, cameras.box_centre(camera.pose, box), offsets)

    def deform(
        self,
        identity: Identity,
        conditions: Conditions,
        x: Float[Tensor, "b 3 p"],
        camera_points: Float[Tensor, "b 3 p"],
    ) -> Float[Tensor, "b 3 p"]:
        """Δx, canonical units, of canonical points ``x``; ``camera_points`` are the same points in the source camera's
        frame.
        """
        if self.deformation is None:
            return torch.zeros_like(x)
        half_side = conditions.box[:, 3, None, None]
        window = points = None
        if self.deformation.from_cells is not None:
            window = cameras.window_coordinates(camera_points, conditions.centre, conditions.box)
        if self.deformation.from_points is not None:
            local = cameras.local_coordinates(camera_points, conditions.centre, conditions.box)
            points = self._by_frame(sample_planes(identity.planes, self._by_identity(local, identity)), len(x))
        return (
            self.deformation(
                (x - conditions.box[:, :3, None]) / half_side, conditions.pooled, conditions.cells, window, points
            )
            * half_side
        )

    @staticmethod
    def _by_identity(x: Tensor, identity: Identity) -> Tensor:
        """(b, c, p) → (B, c, T·p): frames of one identity side by side."""
        return x.unflatten(0, (len(identity.box), -1)).transpose(1, 2).flatten(2)

    @staticmethod
    def _by_frame(x: Tensor, frames: int) -> Tensor:
        """Inverse of :meth:`_by_identity`."""
        return x.unflatten(2, (frames // len(x), -1)).transpose(1, 2).flatten(0, 1)

    def at(
        self, identity: Identity, conditions: Conditions, x: Float[Tensor, "b 3 p"]
    ) -> tuple[Float[Tensor, "b 1 p"], Float[Tensor, "b c p"]]:
        """Density, and values to composite at canonical points: ray features, projection into the source (2, grid
        coordinates), Δx (3).

        Eq. 2's order: canonical ray point → deform → world-to-source camera → recentre → divide by the box → planes.
        """
        camera_points = cameras.to_camera(x, conditions.camera.pose)
        delta = self.deform(identity, conditions, x, camera_points)
        camera_points = camera_points + cameras.turned(delta, conditions.camera.pose)  # R (x + Δx) + t
        local = cameras.local_coordinates(camera_points, conditions.centre, conditions.box)
        planes = sample_planes(identity.planes, self._by_identity(local, identity))
        speech = (
            conditions.pooled.unflatten(0, (len(identity.box), -1)) if self.decoder.from_speech is not None else None
        )
        density, features = (self._by_frame(v, len(x)) for v in self.decoder(planes, speech))
        source_coordinates = (
            cameras.project(camera_points, conditions.camera.intrinsics) * (2.0 / cameras.FRAME_PX) - 1.0
        )
        return density, torch.cat([features, source_coordinates, delta], 1)

    def at_in_pieces(
        self, identity: Identity, conditions: Conditions, x: Float[Tensor, "b 3 p"]
    ) -> tuple[Float[Tensor, "b 1 p"], Float[Tensor, "b c p"]]:
        """:meth:`at`, on a CPU in pieces whose activations stay in its cache (a third of the time is saved)."""
        points_at_once = max(1, POINTS_AT_ONCE // len(x)) if x.device.type == "cpu" else x.shape[2]
        fields = [self.at(identity, conditions, part) for part in x.split(points_at_once, 2)]
        return torch.cat([density for density, _ in fields], 2), torch.cat([values for _, values in fields], 2)
