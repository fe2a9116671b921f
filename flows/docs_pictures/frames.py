"""A test clip made from one portrait: what the generator makes on the way, a film strip beside truth and controls, and
an animation.

Reads the preprocessed clip, the trained generator and the expert's curves; bytes out. The clip is made as ``evaluate``
makes it (:func:`stages.evaluate.generate`), so that a picture shows what the report measures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from flows.docs_pictures.panels import GAP_PX, animation, grid, resized, webp
from s3dnerf.core.rates import FPS_HZ
from s3dnerf.evaluation.other_speech import OtherSpeech
from s3dnerf.model import cameras
from s3dnerf.model.cameras import Camera
from s3dnerf.model.crossmodal import speech_windows
from s3dnerf.model.field import Conditions, Identity
from s3dnerf.model.rendering import render_rays
from s3dnerf.reporting.pictures import colour_scale
from s3dnerf.settings.schema import Settings
from s3dnerf.synthesis.source_frame import source_frame
from s3dnerf.synthesis.synthesizer import Synthesizer, frame_pixels, load_card, load_generator
from s3dnerf.training.clips import Clip, ClipFolder
from stages.evaluate import fit_length, generate, portrait_of
from stages.evaluate_out import main_variant

PANEL_PX, STRIP_PX, STRIP_FRAMES, MOVING_PX = 168, 128, 6, 208
MOVING_S, EVERY = 2.8, 2  # of the animation: how long, and which frames of 25 Hz


@dataclass(frozen=True)
class MadeClip:
    """A clip with what was made of it; frames uint8 (n, 256, 256, 3).

    Attributes
    ----------
    clip : the truth, its first ``evaluate.clip_s`` seconds
    source : number of the frame that is the portrait
    ours, wrong : made with the clip's speech, and with another person's
    """

    clip: Clip
    source: int
    made: Synthesizer
    identity: Identity
    ours: np.ndarray
    wrong: np.ndarray

    @property
    def portrait(self) -> np.ndarray:
        """The one picture that the generator is given."""
        return self.clip.frames[self.source]


def made_clip(settings: Settings, corpus: str, clip: str) -> MadeClip:
    """Make a test clip with the main variant, and with another person's speech.

    Raises ValueError where no other person's speech is there.
    """
    folder = ClipFolder(settings.data_dir, corpus)
    record = folder.record(clip)
    truth = folder.load(record, max_frames=int(settings.evaluate.clip_s * FPS_HZ))
    trained = settings.data_dir / "train_s3dnerf" / main_variant(settings)
    made = Synthesizer(load_generator(trained), load_card(trained))
    source = source_frame(truth.landmarks, settings.evaluate.source_frame)
    identity = portrait_of(made, truth, source)
    other = OtherSpeech(folder.of_split("test"), folder.records).of(record)
    if other is None:
        raise ValueError(f"{clip}: nobody else speaks in {corpus}, expected a second person's speech")
    tokens = folder.packs["speech"].read(other[1], "tokens.npy").astype(np.float32)
    ours = generate(made, identity, truth.tokens, truth)[0]
    wrong = generate(made, identity, fit_length(tokens, len(truth.tokens)), truth)[0]
    return MadeClip(truth, source, made, identity, ours, wrong)


def _coloured(values: torch.Tensor, low: float | None = None, high: float | None = None) -> np.ndarray:
    """Numbers (h, w) as colours uint8 (h, w, 3), between their own lowest and highest where nothing is given."""
    numbers = values.detach().float().cpu().numpy().astype(np.float64)
    least = numbers.min() if low is None else low
    most = numbers.max() if high is None else high
    return colour_scale((numbers - least) / max(most - least, 1e-9))


def _photo(picture: torch.Tensor) -> np.ndarray:
    """A picture (3, h, w) in about [0, 1] as uint8 (h, w, 3)."""
    return (picture.detach().float().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy()


@torch.inference_mode()
def depth(made: Synthesizer, identity: Identity, conditions: Conditions, camera: Camera) -> torch.Tensor:
    """Distance of the face from the camera, in half sides of the box from its centre (positive: behind), (r, r); the
    box's far side where a ray meets no face.

    Composited as a colour is (eq. 5): Σ T_i (1 − exp(−σ_i δ_i)) z_i.
    """
    s, generator = made.generator.settings, made.generator
    middle = cameras.box_centre(camera.pose, conditions.box)

    def field(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        density, values = generator.at_in_pieces(identity, conditions, x)
        away = (cameras.to_camera(x, camera.pose)[:, 2:] - middle[:, 2:]) / conditions.box[:, 3, None, None]
        return density, torch.cat([away, values[:, -3:]], 1)

    pixels = cameras.all_pixels(1, s.raw_px, conditions.box.device)
    origins, directions = cameras.camera_rays(camera.pose, camera.intrinsics, pixels, s.raw_px)
    counted = torch.ones(pixels.shape[:2], dtype=torch.bool, device=pixels.device)
    samples = s.coarse_samples, s.fine_samples
    values, alpha, _ = render_rays(field, origins, directions, conditions.box, samples, None, counted)
    return (values[0, 0] + (1.0 - alpha[0]) * 1.0).unflatten(0, (s.raw_px, s.raw_px))


@torch.inference_mode()
def model_picture(shown: MadeClip) -> bytes:
    """One frame on its way through the generator: tri-planes, F_cm, coarse picture, alpha, depth, Δx, the source looked
    up, the final frame and the truth.
    """
    made, identity, clip = shown.made, shown.identity, shown.clip
    at = _widest_open(clip)
    windows = speech_windows(torch.from_numpy(clip.tokens).to(made.device), made.generator.settings.speech_tokens)
    windows = windows[at : at + 1]
    camera = Camera(
        torch.from_numpy(clip.world_to_camera[at : at + 1]).to(made.device),
        torch.from_numpy(clip.intrinsics[at : at + 1]).to(made.device),
    )
    conditions = made.generator.conditions(identity, windows)
    rendered = made.generator.render(identity, windows, camera)
    planes = identity.planes[0][0].abs().mean(1)  # [3, h, w]
    shown_face = clip.frames[shown.source] * clip.masks[shown.source][..., None]
    tiles: list[tuple[np.ndarray, str, bool]] = [
        (shown.portrait, "portrait", True),
        (shown_face, "inner face (input)", True),
        *((_coloured(plane), f"plane {name} of F⁰", False) for plane, name in zip(planes, ("XY", "YZ", "XZ"))),
    ]
    if rendered.cross_modal is not None:
        cells = rendered.cross_modal[0].mean(1)
        side = round(len(cells) ** 0.5)
        tiles.append((_coloured(cells.unflatten(0, (side, side))), "F_cm, mean", False))
    moved = rendered.delta_x[0].norm(dim=0)
    tiles += [
        (_photo(rendered.coarse[0]), "coarse picture", False),
        (_coloured(rendered.alpha[0, 0], 0.0, 1.0), "alpha", False),
        (_coloured(-depth(made, identity, conditions, camera)), "depth (bright is near)", False),
        (_coloured(moved), f"‖Δx‖, up to {float(moved.max()):.2f}", False),
        (frame_pixels(rendered)[0], "final frame", True),
        (clip.frames[at], "truth", True),
    ]
    half = (len(tiles) + 1) // 2
    rows = [tiles[:half], tiles[half:]]
    pictures = [[resized(picture, PANEL_PX, smooth) for picture, _, smooth in row] for row in rows]
    return webp(grid(pictures, [[name for _, name, _ in row] for row in rows]))


def _widest_open(clip: Clip) -> int:
    """The frame whose mouth is widest open."""
    from s3dnerf.metrics.lmd import mouth_opening

    return int(np.nanargmax(mouth_opening(clip.landmarks)))


def face_square(landmarks: np.ndarray, size_px: int) -> tuple[slice, slice]:
    """Rows and columns of a square that holds the face throughout a clip, with a quarter of its side around it.

    Parameters
    ----------
    landmarks : (n, 68, 2), pixels (x, y) of frames that are ``size_px`` wide and high
    """
    found = landmarks[np.isfinite(landmarks).all(axis=(1, 2))].reshape(-1, 2)
    low, high = found.min(axis=0), found.max(axis=0)
    side = int(min(1.5 * (high - low).max(), size_px))
    x, y = (int(np.clip((a + b - side) / 2, 0, size_px - side)) for a, b in zip(low, high))
    return slice(y, y + side), slice(x, x + side)


def film_picture(shown: MadeClip) -> bytes:
    """The portrait, and the face in frames spread over the clip: ours, truth, wrong speech, still."""
    at = np.round(np.linspace(0, len(shown.ours) - 1, STRIP_FRAMES)).astype(int)
    rows, columns = face_square(shown.clip.landmarks, shown.portrait.shape[0])
    still = np.broadcast_to(shown.portrait, shown.ours.shape)
    methods = {"ours": shown.ours, "truth": shown.clip.frames, "wrong speech": shown.wrong, "still": still}
    faces = [[resized(frames[i, rows, columns], STRIP_PX) for i in at] for frames in methods.values()]
    strips = grid(faces, names=list(methods))
    times = grid([[np.full((1, STRIP_PX, 3), 255, np.uint8)] * len(at)], [[f"{i / FPS_HZ:.2f} s" for i in at]])
    edge = (0, 0), (strips.shape[1] - times.shape[1], 0), (0, 0)  # times under the pictures, not under the names
    strips = np.concatenate([strips, np.pad(times[GAP_PX + 2 :], edge, constant_values=255)])
    portrait = grid([[resized(shown.portrait, 2 * STRIP_PX)]], [["portrait (input)"]])
    above = (len(strips) - len(portrait)) // 2
    beside = np.pad(portrait, ((above, len(strips) - len(portrait) - above), (0, 0), (0, 0)), constant_values=255)
    return webp(np.concatenate([beside, strips], axis=1))


def moving_picture(shown: MadeClip) -> bytes:
    """Portrait, ours and truth side by side as an animation of at most :data:`MOVING_S` seconds."""
    names = ["portrait (input)", "ours (synthetic)", "truth"]
    still = resized(shown.portrait, MOVING_PX)
    count = min(len(shown.ours), round(MOVING_S * FPS_HZ))
    pictures = [
        grid([[still, resized(shown.ours[i], MOVING_PX), resized(shown.clip.frames[i], MOVING_PX)]], [names])
        for i in range(0, count, EVERY)
    ]
    return animation(pictures, 1000 * EVERY // FPS_HZ)
