"""S³D-NeRF whole: one source picture and speech to frames, in the five variants of table 3.

:meth:`S3DNeRF.encode` does what depends on the portrait alone (planes, aggregated embedding, source features), once;
:meth:`S3DNeRF.render` the rest, for any number of frames: cross attention, rays inside the box's window, deformation,
decoding, compositing, super-resolution. Frames come grouped by identity: with B identities and b frames, each identity
has b / B consecutive frames. The plain path that tests compare with is :mod:`s3dnerf.model.reference`.

Variants: ``full`` and ``no_sync`` (the same network; λ_sync is 0 in training) · ``naive``: deformation from position
and pooled speech · ``feature_concat``: deformation takes the tri-plane feature in place of F_cm · ``no_deform``: Δx =
0, speech joined to the tri-plane feature before the decoder.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.nn import functional

from s3dnerf.core.shapes import Bool, Float, Int, Tensor
from s3dnerf.model import cameras
from s3dnerf.model.aggregation import Aggregation
from s3dnerf.model.appearance import LEVELS, AppearanceEncoder
from s3dnerf.model.crossmodal import CrossAttention, SpeechNet
from s3dnerf.model.deformation import Deformation
from s3dnerf.model.rendering import Decoder, cell_lengths, composite, importance, ray_weights, stratified
from s3dnerf.model.source_lips import SourceLips, lip_shape
from s3dnerf.model.superres import SuperResolution
from s3dnerf.model.triplane import sample_planes
from s3dnerf.settings.schema import VARIANTS, ModelSettings

POINTS_AT_ONCE = 8192  # on a CPU


@dataclass
class Identity:
    """What is computed once for B portraits: F⁰…F³, F_agg, features of the source picture, its landmarks, and the
    source cameras.
    """

    planes: list[Float[Tensor, "b 3 c _h _w"]]
    aggregated: Float[Tensor, "b n d"] | None
    source: list[Float[Tensor, "b _c _h2 _w2"]]
    landmarks: Float[Tensor, "b 68 2"]
    world_to_camera: Float[Tensor, "b 3 4"]
    intrinsics: Float[Tensor, "b 3 3"]
    box: Float[Tensor, "b 4"]


@dataclass
class Rendered:
    """Frames of one call.

    Attributes
    ----------
    coarse : the inner face over black, about [0, 1]
    fine : the final frame, about [0, 1]
    alpha : share of each raw ray that the face stops, [0, 1]
    delta_x : Δx composited along each ray, canonical units
    cross_modal : F_cm, None in the variants without it
    deform_energy : mean ‖Δx‖² over the samples inside the box
    """

    coarse: Float[Tensor, "b 3 r r"]
    fine: Float[Tensor, "b 3 p p"]
    alpha: Float[Tensor, "b 1 r r"]
    delta_x: Float[Tensor, "b 3 r r"]
    cross_modal: Float[Tensor, "b n d"] | None
    deform_energy: Float[Tensor, ""]


@dataclass
class Conditions:
    """What a point's deformation and colour depend on besides the point, a frame each, and the source cameras."""

    pooled: Float[Tensor, "b d"]
    cells: Float[Tensor, "b n d"] | None
    world_to_camera: Float[Tensor, "b 3 4"]
    intrinsics: Float[Tensor, "b 3 3"]
    box: Float[Tensor, "b 4"]
    centre: Float[Tensor, "b 3 1"]


class S3DNeRF(nn.Module):
    """The generator.

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
        self.source_lips = SourceLips(s.slot_dim) if s.source_lips else None
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
                s.speech_gate,
            )
        )
        self.decoder = Decoder(
            features, s.decoder_width, s.feature_channels, s.slot_dim if variant == "no_deform" else 0
        )
        self.superres = SuperResolution(s.feature_channels, s.superres_width, s.raw_px, s.image_px, s.carry_source)
        for part in (self.appearance, self.superres):
            # torch's overloads lack it; twice as fast on a CPU
            part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(
        self,
        source_face: Float[Tensor, "b 3 256 256"],
        source_full: Float[Tensor, "b 3 256 256"],
        world_to_camera: Float[Tensor, "b 3 4"],
        intrinsics: Float[Tensor, "b 3 3"],
        box: Float[Tensor, "b 4"],
        landmarks: Float[Tensor, "b 68 2"],
    ) -> Identity:
        """Everything that depends on the portraits alone. ``source_face`` is masked to the inner face; both are in [0,
        1].
        """
        identity = self.encode_face(source_face, world_to_camera, intrinsics, box, landmarks)
        picture = functional.interpolate(source_full, (self.settings.image_px,) * 2, mode="area")
        return replace(identity, source=self.superres.encode(picture))

    def encode_face(
        self,
        source_face: Float[Tensor, "b 3 256 256"],
        world_to_camera: Float[Tensor, "b 3 4"],
        intrinsics: Float[Tensor, "b 3 3"],
        box: Float[Tensor, "b 4"],
        landmarks: Float[Tensor, "b 68 2"],
    ) -> Identity:
        """:meth:`encode` without the whole picture (``source`` stays empty): all that the deformation depends on."""
        planes = self.appearance(
            cameras.source_window(source_face, world_to_camera, intrinsics, box, source_face.shape[-1])
        )
        aggregated = self.aggregation(planes) if self.aggregation is not None else None
        return Identity(planes, aggregated, [], landmarks, world_to_camera, intrinsics, box)

    def conditions(self, identity: Identity, speech: Float[Tensor, "b k s"]) -> Conditions:
        """Speech code (with the source's lips, where ``model.source_lips`` adds them), F_cm and source camera of each
        frame.
        """
        frames_each = len(speech) // len(identity.box)
        if frames_each * len(identity.box) != len(speech):
            raise ValueError(
                f"{len(speech)} frames of {len(identity.box)} identities: expected the same number of frames each"
            )
        tokens, pooled = self.speech(speech)
        if self.source_lips is not None:
            pooled = pooled + self.source_lips(lip_shape(identity.landmarks)).repeat_interleave(frames_each, 0)
        cells = None
        if self.crossmodal is not None:
            assert identity.aggregated is not None
            cells = self.crossmodal(identity.aggregated.repeat_interleave(frames_each, 0), tokens)
        world_to_camera, intrinsics, box = (
            x.repeat_interleave(frames_each, 0) for x in (identity.world_to_camera, identity.intrinsics, identity.box)
        )
        return Conditions(pooled, cells, world_to_camera, intrinsics, box, cameras.box_centre(world_to_camera, box))

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

    def field(
        self, identity: Identity, conditions: Conditions, x: Float[Tensor, "b 3 p"]
    ) -> tuple[Float[Tensor, "b 1 p"], Float[Tensor, "b c p"]]:
        """Density, and values to composite at canonical points: ray features, projection into the source (2, grid
        coordinates), Δx (3).

        Eq. 2's order: canonical ray point → deform → world-to-source camera → recentre → divide by the box → planes.
        """
        camera_points = cameras.to_camera(x, conditions.world_to_camera)
        delta = self.deform(identity, conditions, x, camera_points)
        camera_points = camera_points + conditions.world_to_camera[:, :, :3] @ delta  # R (x + Δx) + t
        local = cameras.local_coordinates(camera_points, conditions.centre, conditions.box)
        planes = sample_planes(identity.planes, self._by_identity(local, identity))
        speech = (
            conditions.pooled.unflatten(0, (len(identity.box), -1)) if self.decoder.from_speech is not None else None
        )
        density, features = (self._by_frame(v, len(x)) for v in self.decoder(planes, speech))
        source_coordinates = cameras.project(camera_points, conditions.intrinsics) * (2.0 / cameras.FRAME_PX) - 1.0
        return density, torch.cat([features, source_coordinates, delta], 1)

    def field_in_pieces(
        self, identity: Identity, conditions: Conditions, x: Float[Tensor, "b 3 p"]
    ) -> tuple[Float[Tensor, "b 1 p"], Float[Tensor, "b c p"]]:
        """:meth:`field`, on a CPU in pieces whose activations stay in its cache (a third of the time is saved)."""
        points_at_once = max(1, POINTS_AT_ONCE // len(x)) if x.device.type == "cpu" else x.shape[2]
        fields = [self.field(identity, conditions, part) for part in x.split(points_at_once, 2)]
        return torch.cat([density for density, _ in fields], 2), torch.cat([values for _, values in fields], 2)

    def render_rays(
        self,
        identity: Identity,
        conditions: Conditions,
        origins: Float[Tensor, "b 3"],
        directions: Float[Tensor, "b r 3"],
        noise: Float[Tensor, "b r s"] | None,
        counted: Bool[Tensor, "b r"],
    ) -> tuple[Float[Tensor, "b c r"], Float[Tensor, "b r"], Float[Tensor, ""]]:
        """Composited values, alpha, and mean ‖Δx‖², of rays.

        Parameters
        ----------
        noise : [0, 1), coarse then fine samples; None in evaluation
        counted : False for rays that only fill up a row
        """
        s = self.settings
        near, far, hit = cameras.box_bounds(origins, directions, conditions.box)
        hit = hit & counted
        unit = conditions.box[:, 3, None, None]
        coarse_noise, fine_noise = (
            (None, None) if noise is None else noise.split([s.coarse_samples, s.fine_samples], -1)
        )

        def sample_field(distances: Tensor) -> tuple[Tensor, Tensor]:
            points = origins[:, None, None] + directions[:, :, None] * distances[..., None]  # [b, r, s, 3]
            density, values = self.field_in_pieces(identity, conditions, points.flatten(1, 2).transpose(1, 2))
            return density.unflatten(2, (-1, distances.shape[-1]))[:, 0], values.unflatten(2, (-1, distances.shape[-1]))

        distances = stratified(near, far, s.coarse_samples, coarse_noise)
        density, values = sample_field(distances)
        if s.fine_samples:
            sample_weights = ray_weights(density.detach(), cell_lengths(distances, near, far) / unit)
            finer = importance(distances, sample_weights, near, far, s.fine_samples, fine_noise)
            more_density, more_values = sample_field(finer)
            distances, order = torch.cat([distances, finer], -1).sort(-1)
            density = torch.cat([density, more_density], -1).gather(-1, order)
            values = torch.cat([values, more_values], -1)
            values = values.gather(-1, order[:, None].expand(-1, values.shape[1], -1, -1))
        sample_weights = ray_weights(density, cell_lengths(distances, near, far) / unit)
        energy = values[:, -3:].square().sum(1) * hit[..., None]  # ‖Δx‖² [b, r, s]
        energy = energy.sum() / (hit.sum() * energy.shape[-1]).clamp_min(1)
        return composite(sample_weights, values), sample_weights.sum(-1), energy

    def render(
        self,
        identity: Identity,
        speech: Float[Tensor, "b k s"],
        world_to_camera: Float[Tensor, "b 3 4"],
        intrinsics: Float[Tensor, "b 3 3"],
        noise: Float[Tensor, "b r2 s2"] | None = None,
        rays: Int[Tensor, "b n"] | None = None,
    ) -> Rendered:
        """Frames of target cameras.

        Parameters
        ----------
        speech : the tokens around each frame (:func:`s3dnerf.model.crossmodal.speech_windows`)
        noise : in training, [0, 1) for each of raw_px² rays and each sample; None takes the middles (evaluation)
        rays : in training, the raw pixels to render (row · raw_px + column; raw_px² fills up a row of fewer); the
            others stay empty. None renders every ray that can meet the box.

        Raises ValueError when the frames do not divide among the identities.
        """
        s, frames = self.settings, len(speech)
        conditions = self.conditions(identity, speech)
        if rays is None:
            pixels = cameras.ray_window(world_to_camera, intrinsics, conditions.box, s.raw_px)
            index = pixels[..., 1] * s.raw_px + pixels[..., 0]  # [b, n]
        else:
            index = rays
            inside = index.clamp_max(s.raw_px**2 - 1)
            pixels = torch.stack([inside % s.raw_px, inside // s.raw_px], -1)
        if noise is not None:
            noise = noise.gather(1, index.clamp_max(s.raw_px**2 - 1)[..., None].expand(-1, -1, noise.shape[-1]))
        origins, directions = cameras.camera_rays(world_to_camera, intrinsics, pixels, s.raw_px)
        values, alpha, energy = self.render_rays(identity, conditions, origins, directions, noise, index < s.raw_px**2)
        composited = torch.cat([values, alpha[:, None]], 1)  # [b, c, n]
        # the last place takes what only fills up
        image = composited.new_zeros(frames, composited.shape[1], s.raw_px**2 + 1)
        image = image.scatter(2, index[:, None].expand(-1, composited.shape[1], -1), composited)[..., :-1].unflatten(
            2, (s.raw_px, s.raw_px)
        )
        return self.finish(identity, conditions, image, world_to_camera, intrinsics, energy)

    def finish(
        self,
        identity: Identity,
        conditions: Conditions,
        image: Float[Tensor, "b c r r"],
        world_to_camera: Float[Tensor, "b 3 4"],
        intrinsics: Float[Tensor, "b 3 3"],
        energy: Float[Tensor, ""],
    ) -> Rendered:
        """Super-resolution of composited values (ray features, 2 source coordinates, 3 Δx, alpha)."""
        s = self.settings
        raw, source_coordinates, delta, alpha = image.split([s.feature_channels, 2, 3, 1], 1)
        frames_each = len(image) // len(identity.box)
        source = [level.repeat_interleave(frames_each, 0) for level in identity.source]
        rigid = cameras.head_motion(
            world_to_camera, intrinsics, conditions.world_to_camera, conditions.intrinsics, conditions.box, s.raw_px
        )
        fine = self.superres(raw, alpha, source_coordinates.permute(0, 2, 3, 1), rigid, source)
        return Rendered(raw[:, :3], fine, alpha, delta, conditions.cells, energy)
