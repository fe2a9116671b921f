"""S³D-NeRF whole: one source picture and speech to frames, in the five variants of table 3.

The field (:mod:`s3dnerf.model.field`) says what stands at a point; rays inside the box's window are sampled and
composited (:mod:`s3dnerf.model.rendering`); super-resolution (:mod:`s3dnerf.model.superres`) makes the final frame of
that and of the source. :meth:`S3DNeRF.encode` does what depends on the portrait alone, once; :meth:`S3DNeRF.render` the
rest, for any number of frames. The plain path that tests compare with is :mod:`s3dnerf.model.reference`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from s3dnerf.core.shapes import Float, Int, Tensor
from s3dnerf.faces.types import LIPS
from s3dnerf.model import cameras
from s3dnerf.model.cameras import Camera
from s3dnerf.model.field import Conditions, Field, Identity, Portrait
from s3dnerf.model.lip_shapes import lip_offsets, lip_places
from s3dnerf.model.mouth import MouthPainter
from s3dnerf.model.rendering import render_rays
from s3dnerf.model.superres import SuperResolution
from s3dnerf.settings.schema import ModelSettings


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
    source_xy : where the face's points stand in the source, normalised (−1 and 1 are the frame's edges), composited
        like a colour: it carries alpha
    shift : how far from each raw pixel what the final frame shows there stands in the source picture, normalised; None
        where the source is read in place
    picture : the source picture looked up so, which ``fine`` was painted over
    """

    coarse: Float[Tensor, "b 3 r r"]
    fine: Float[Tensor, "b 3 256 256"]
    alpha: Float[Tensor, "b 1 r r"]
    delta_x: Float[Tensor, "b 3 r r"]
    cross_modal: Float[Tensor, "b n d"] | None
    deform_energy: Float[Tensor, ""]
    source_xy: Float[Tensor, "b 2 r r"]
    shift: Float[Tensor, "b 2 r r"] | None = None
    picture: Float[Tensor, "b 3 256 256"] | None = None


class S3DNeRF(Field):
    """The generator: the field, whose parameters it takes, rays through it, and the final frame."""

    def __init__(self, settings: ModelSettings, speech_dim: int, variant: str = "full") -> None:
        super().__init__(settings, speech_dim, variant)
        s = settings
        self.superres = SuperResolution(s.feature_channels, s.superres_width, s.raw_px, s.image_px, s.carry_source)
        self.mouth = MouthPainter(s.mouth_width) if s.mouth_width else None
        for painter in (self.superres, self.mouth):
            if painter is not None:
                painter.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, portrait: Portrait) -> Identity:
        """Everything that depends on the portraits alone."""
        return replace(self.encode_face(portrait), source=self.superres.encode(portrait.full))

    def render(
        self,
        identity: Identity,
        speech: Float[Tensor, "b k s"],
        camera: Camera,
        noise: Float[Tensor, "b r2 s2"] | None = None,
        rays: Int[Tensor, "b n"] | None = None,
        landmarks: Float[Tensor, "b 68 2"] | None = None,
        pictures: Float[Tensor, "b 3 256 256"] | None = None,
        extent: tuple[int, int] | None = None,
    ) -> Rendered:
        """Frames of target cameras.

        Parameters
        ----------
        speech : the tokens around each frame (:func:`s3dnerf.model.crossmodal.speech_windows`)
        noise : in training, [0, 1) for each of raw_px² rays and each sample; None takes the middles (evaluation)
        rays : in training, the raw pixels to render (row · raw_px + column; raw_px² fills up a row of fewer); the
            others stay empty. None renders every ray that can meet the box.
        landmarks : in training, the true ones, pixels of the frame, whose lips the mouth is made by; None takes those
            that speech tells
        pictures : what stands in the source's place in each final frame (the portrait with its eyes closed); None: the
            portrait as it is
        extent : width and height in raw pixels of the rectangle of rays, at least every frame's
            (:func:`s3dnerf.model.cameras.box_rectangle`); None: the largest of these frames

        Raises ValueError when the frames do not divide among the identities.
        """
        s, frames = self.settings, len(speech)
        source, taken_by, box = identity.of_frames(frames)
        offsets = None
        if landmarks is not None and self.lip_shapes is not None:
            offsets = lip_offsets(landmarks, source, camera, taken_by, box)
        conditions = self.conditions(identity, speech, offsets)
        if rays is None:
            pixels = cameras.ray_window(camera.pose, camera.intrinsics, conditions.box, s.raw_px, extent)
            index = pixels[..., 1] * s.raw_px + pixels[..., 0]  # [b, n]
        else:
            index = rays
            inside = index.clamp_max(s.raw_px**2 - 1)
            pixels = torch.stack([inside % s.raw_px, inside // s.raw_px], -1)
        if noise is not None:
            noise = noise.gather(1, index.clamp_max(s.raw_px**2 - 1)[..., None].expand(-1, -1, noise.shape[-1]))
        origins, directions = cameras.camera_rays(camera.pose, camera.intrinsics, pixels, s.raw_px)
        values, alpha, energy = render_rays(
            lambda x: self.at_in_pieces(identity, conditions, x),
            origins,
            directions,
            conditions.box,
            (s.coarse_samples, s.fine_samples),
            noise,
            index < s.raw_px**2,
        )
        composited = torch.cat([values, alpha[:, None]], 1)  # [b, c, n]
        # the last place takes what only fills up
        image = composited.new_zeros(frames, composited.shape[1], s.raw_px**2 + 1)
        image = image.scatter(2, index[:, None].expand(-1, composited.shape[1], -1), composited)[..., :-1].unflatten(
            2, (s.raw_px, s.raw_px)
        )
        lips = None if landmarks is None else landmarks[:, LIPS]
        if lips is None and conditions.lip_offsets is not None:
            lips = lip_places(conditions.lip_offsets, source, camera, taken_by, box)
        return self.finish(identity, conditions, image, camera, energy, lips, pictures)

    def finish(
        self,
        identity: Identity,
        conditions: Conditions,
        image: Float[Tensor, "b c r r"],
        camera: Camera,
        energy: Float[Tensor, ""],
        lips: Float[Tensor, "b 20 2"] | None,
        pictures: Float[Tensor, "b 3 256 256"] | None = None,
    ) -> Rendered:
        """Super-resolution of composited values (ray features, 2 source coordinates, 3 Δx, alpha), and the mouth."""
        s, source = self.settings, conditions.camera
        raw, source_coordinates, delta, alpha = image.split([s.feature_channels, 2, 3, 1], 1)
        frames_each = len(image) // len(identity.box)
        encoded = [level.repeat_interleave(frames_each, 0) for level in identity.source]
        if pictures is not None:
            encoded[-1] = pictures
        rigid = cameras.head_motion(
            camera.pose, camera.intrinsics, source.pose, source.intrinsics, conditions.box, s.raw_px
        )
        shift = (
            self.superres.moved(encoded[-2], alpha, source_coordinates.permute(0, 2, 3, 1), rigid)
            if s.carry_source
            else None
        )
        fine, picture = self.superres(raw, alpha, shift, encoded)
        if self.mouth is not None and lips is not None:
            fine = self.mouth(fine, lips)
        return Rendered(raw[:, :3], fine, alpha, delta, conditions.cells, energy, source_coordinates, shift, picture)
