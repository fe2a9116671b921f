"""A portrait and speech → video: the trained generator behind one small interface.

``evaluate`` and ``s3dnerf synthesize`` both go through :class:`Synthesizer`. The portrait is encoded once; frames come
as a stream, so that memory does not grow with the speech. Reads a folder written by
:mod:`s3dnerf.training.train_s3dnerf` (generator.safetensors, card.json); writes an H.264 + AAC mp4 whose metadata says
that it is synthetic.
"""

from __future__ import annotations

import contextlib
import functools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.file_names import shown
from s3dnerf.core.rates import FPS_HZ, SAMPLES_PER_FRAME
from s3dnerf.core.whole_files import part_of, taking_the_place_of
from s3dnerf.model.cameras import Camera
from s3dnerf.model.crossmodal import speech_windows
from s3dnerf.model.field import Identity, Portrait
from s3dnerf.model.s3dnerf import Rendered, S3DNeRF
from s3dnerf.settings.loading import settings_from
from s3dnerf.synthesis.blinks import close_eyes
from s3dnerf.synthesis.enhancer import Enhancer, detail_of, enhanced
from s3dnerf.synthesis.replayed import Batches, Request

if TYPE_CHECKING:
    from s3dnerf.settings.schema import Settings
    from s3dnerf.speech.audio import Sound
    from s3dnerf.speech.features import TokenStream
    from s3dnerf.synthesis.whole_picture import WholePicture

FRAME_PX, SILENT = 256, 1e-3
# sound that mp4 holds and every player of it plays: codec, and the least rate
COPIED_FROM_HZ = {"aac": 0, "mp3": 16_000, "mp3float": 16_000}
PRETRAINED = Path(__file__).resolve().parent.parent / "pretrained"  # the generator that comes with the package


class SynthesisError(S3DNeRFError, RuntimeError):
    """A video cannot be made of what was given; the message says what was expected."""


def load_card(folder: str | Path) -> dict[str, Any]:
    """The generator's card. Raises SynthesisError where there is none."""
    path = Path(folder) / "card.json"
    if not path.is_file():
        raise SynthesisError(
            f"{path}: no such file — expected a folder written by train_s3dnerf, such as data/sample/train_s3dnerf/full"
        )
    return json.loads(path.read_text(encoding="utf-8"))


def trained_settings(card: dict[str, Any]) -> Settings:
    """The settings that a generator was trained with. Raises SettingsError where they are not valid."""
    values = {name: dict(v) if isinstance(v, dict) else v for name, v in card["settings"].items()}
    for section in ("align", "masks"):  # of cards from before there was one rule for devices
        values[section].pop("device", None)
    return settings_from(values)


def load_generator(folder: str | Path) -> S3DNeRF:
    """The averaged generator of a folder, in evaluation mode on the CPU.

    Raises SynthesisError for a folder without one, or whose weights are another network's.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder, card = Path(folder), load_card(folder)
    if not (folder / "generator.safetensors").is_file():
        raise SynthesisError(f"{folder / 'generator.safetensors'}: no such file — run: dvc repro train_s3dnerf")
    generator = S3DNeRF(trained_settings(card).model, card["speech_dim"], card["variant"])
    try:
        generator.load_state_dict(load_file(folder / "generator.safetensors"))
    except SafetensorError as error:
        raise SynthesisError(f"{folder / 'generator.safetensors'}: not a safetensors file: {error}") from error
    except RuntimeError as error:
        raise SynthesisError(f"{folder}: weights and card do not belong together: {str(error)[:300]}") from error
    return generator.eval().requires_grad_(False)


class Synthesizer:
    """The generator as evaluation and users call it: arrays in, frames out.

    Parameters
    ----------
    generator : as :func:`load_generator` gives it; it stays on its device
    card : its card
    bf16 : make frames in bfloat16 on a CUDA device (:meth:`frames`; :meth:`render` is float32 everywhere)
    """

    def __init__(self, generator: S3DNeRF, card: dict[str, Any], bf16: bool = False) -> None:
        self.generator, self.card, self.bf16 = generator, card, bf16
        self.device = next(generator.parameters()).device

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32)).to(self.device)

    @torch.inference_mode()
    def portrait(
        self,
        frame: np.ndarray,
        mask: np.ndarray,
        world_to_camera: np.ndarray,
        intrinsics: np.ndarray,
        box: np.ndarray,
        landmarks: np.ndarray,
    ) -> Identity:
        """Encode one portrait.

        Parameters
        ----------
        frame : uint8 (256, 256, 3), RGB, aligned
        mask : bool (256, 256), the inner face
        world_to_camera, intrinsics, box, landmarks : (3, 4), (3, 3), (4,), (68, 2), as
            :class:`s3dnerf.training.clips.Clip` has them
        """
        if frame.shape != (FRAME_PX, FRAME_PX, 3) or mask.shape != (FRAME_PX, FRAME_PX):
            raise SynthesisError(
                f"portrait of {frame.shape} with a mask of {mask.shape}: expected (256, 256, 3) and (256, 256)"
            )
        full = self._tensor(frame).permute(2, 0, 1)[None] / 255.0
        face = full * self._tensor(mask)
        pose, k, cube, points = (self._tensor(array)[None] for array in (world_to_camera, intrinsics, box, landmarks))
        return self.generator.encode(Portrait(face, full, Camera(pose, k), cube, points))

    @torch.inference_mode()
    def render(
        self,
        identity: Identity,
        tokens: np.ndarray | TokenStream,
        world_to_camera: np.ndarray,
        intrinsics: np.ndarray,
        batch: int = 5,
        shut: np.ndarray | None = None,
    ) -> Iterator[Rendered]:
        """Rendered batches of all frames. ``tokens`` (2N, D), read forwards; cameras (N, 3, 4) and (N, 3, 3); at most
        ``batch`` frames at a time; ``shut`` (N,): how far the portrait's eyes are closed, 0 … 1 (None: not at all).

        Raises SynthesisError where tokens and cameras do not have the same number of frames, or tokens the wrong width.
        """
        n = self._check(tokens, world_to_camera, intrinsics)
        closed = closing(identity)
        for first in range(0, n, batch):
            count = min(batch, n - first)
            windows = self.windows(tokens, first, count).to(self.device)
            part = slice(first, first + count)
            camera = Camera(self._tensor(world_to_camera[part]), self._tensor(intrinsics[part]))
            pictures = None
            if shut is not None and shut[part].any():
                pictures = torch.stack([closed(float(s)) for s in shut[part]]).to(self.device)
            yield self.generator.render(identity, windows, camera, pictures=pictures)

    def _check(self, tokens: np.ndarray | TokenStream, world_to_camera: np.ndarray, intrinsics: np.ndarray) -> int:
        n = len(world_to_camera)
        if len(tokens) != 2 * n or len(intrinsics) != n or tokens.shape[1] != self.generator.speech_dim:
            raise SynthesisError(
                f"tokens {tokens.shape}, {n} poses, {len(intrinsics)} intrinsics: expected (2N, "
                f"{self.generator.speech_dim}), N and N"
            )
        return n

    def windows(self, tokens: np.ndarray | TokenStream, first: int, count: int) -> torch.Tensor:
        """The tokens around each of ``count`` frames from ``first`` on, (count, k, D), on the CPU; those frames must be
        there.
        """
        reach = self.generator.settings.speech_tokens  # frames, twice as far as a window goes
        begin = max(0, first - reach)
        part = np.ascontiguousarray(tokens[2 * begin : 2 * (first + count + reach)], dtype=np.float32)
        return speech_windows(torch.from_numpy(part), reach, first - begin, count)

    def frames(
        self,
        identity: Identity,
        tokens: np.ndarray | TokenStream,
        world_to_camera: np.ndarray,
        intrinsics: np.ndarray,
        batch: int = 5,
        shut: np.ndarray | None = None,
        around: WholePicture | None = None,
        enhancer: Enhancer | None = None,
    ) -> Iterator[np.ndarray]:
        """Final frames, uint8 (256, 256, 3) RGB, one after the other, as large as ``enhancer`` makes them; with
        ``around`` (H, W, 3), the whole picture. Parameters as for :meth:`render`.
        """

        def shown(made: Rendered) -> tuple[torch.Tensor, ...]:
            final = final_pixels(made) if around is None or enhancer is not None else ()
            return final if around is None else (*painted_and_moved(made), *final)

        if self.device.type == "cuda":
            batches = self._replayed(identity, tokens, world_to_camera, intrinsics, batch, shut, shown)
        else:
            rendered = self.render(identity, tokens, world_to_camera, intrinsics, batch, shut)
            batches = ([part.numpy() for part in shown(made)] for made in rendered)
        number = 0
        for parts in batches:
            final = parts.pop() if around is None or enhancer is not None else None
            better = None if enhancer is None or final is None else [enhanced(enhancer, frame) for frame in final]
            if around is None:
                assert final is not None
                yield from final if better is None else better
                continue
            ways = parts[1] if len(parts) > 1 else None
            for i, added in enumerate(parts[0]):
                detail = None if better is None or final is None else detail_of(final[i], better[i])
                closed = 0.0 if shut is None else float(shut[number])
                yield around.frame(None if ways is None else ways[i], added, closed, detail)
                number += 1

    def _replayed(
        self,
        identity: Identity,
        tokens: np.ndarray | TokenStream,
        world_to_camera: np.ndarray,
        intrinsics: np.ndarray,
        batch: int,
        shut: np.ndarray | None,
        shown: Callable[[Rendered], tuple[torch.Tensor, ...]],
    ) -> Iterator[list[np.ndarray]]:
        """:meth:`frames` in batches on a CUDA device."""
        self._check(tokens, world_to_camera, intrinsics)
        close = closing(identity)

        def closed(number: int) -> torch.Tensor | None:
            return None if shut is None or shut[number] <= 0 else close(float(shut[number]))

        camera = Camera(self._tensor(world_to_camera), self._tensor(intrinsics))
        request = Request(functools.partial(self.windows, tokens), camera, closed)
        return iter(Batches(self.generator, identity, request, batch, shown, self.bf16))


def closing(identity: Identity) -> Callable[[float], torch.Tensor]:
    """How far shut → the portrait (3, 256, 256) with its eyes closed so far, on the CPU."""
    picture = identity.source[-1][0].permute(1, 2, 0).cpu().numpy()
    landmarks = identity.landmarks[0].cpu().numpy()
    return lambda shut: torch.from_numpy(close_eyes(picture, landmarks, shut)).permute(2, 0, 1)


@torch.inference_mode()
def final_pixels(rendered: Rendered) -> tuple[torch.Tensor]:
    """Final frames as uint8 (b, 256, 256, 3)."""
    return ((rendered.fine.float().clamp(0, 1) * 255.0 + 0.5).to(torch.uint8).permute(0, 2, 3, 1),)


def frame_pixels(rendered: Rendered) -> np.ndarray:
    """The same as an array."""
    return final_pixels(rendered)[0].cpu().numpy()


@torch.inference_mode()
def painted_and_moved(rendered: Rendered) -> tuple[torch.Tensor, ...]:
    """Of each frame: what it has besides what it looked up in the portrait, float32 (b, 256, 256, 3), of 1; and how far
    from each raw pixel that stands there, float32 (b, 2, r, r), pixels of 256² (left out where everything is in place).
    """
    assert rendered.picture is not None
    painted = (rendered.fine.float().clamp(0, 1) - rendered.picture.float().clamp(0, 1)).permute(0, 2, 3, 1)
    return (painted,) if rendered.shift is None else (painted, rendered.shift.float() * (FRAME_PX / 2))


def whole_frames(samples: np.ndarray) -> np.ndarray:
    """Speech (n,) at 16 kHz, continued by silence to a whole number of frames. Raises SynthesisError for none or
    silence.
    """
    samples = np.asarray(samples, np.float32)
    if samples.ndim != 1 or not len(samples):
        raise SynthesisError(f"speech of shape {samples.shape}: expected (n,) samples at 16 kHz, n ≥ 1")
    largest = max(float(samples.max()), -float(samples.min()))  # an hour's samples are 230 MB: no copy of them
    if largest < SILENT:
        raise SynthesisError(f"speech: silent throughout (largest sample {largest:.2g} of 1): expected a voice")
    lacking = -len(samples) % SAMPLES_PER_FRAME
    return np.pad(samples, (0, lacking)) if lacking else samples


def beside_each_other(streams: list[list[Iterator[np.ndarray]]]) -> Iterator[np.ndarray]:
    """Streams of frames (h, w, 3) in rows and columns as one stream (rows·h, columns·w, 3), frame by frame; equal
    lengths.
    """
    for rows in zip(*(zip(*row, strict=True) for row in streams), strict=True):
        yield np.concatenate([np.concatenate(row, axis=1) for row in rows])


@functools.lru_cache(maxsize=4)
def label(text: str, height_px: int) -> np.ndarray:
    """A word in white on black, uint8 (h, w, 3), its letters so high."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=height_px)
    left, top, right, bottom = (round(v) for v in font.getbbox(text))
    edge = max(2, height_px // 4)
    image = Image.new("RGB", (right - left + 2 * edge, bottom - top + 2 * edge))
    ImageDraw.Draw(image).text((edge - left, edge - top), text, fill="white", font=font)
    return np.asarray(image)


def marked(frame: np.ndarray, text: str = "SYNTHETIC") -> np.ndarray:
    """The frame with a word in its lower left corner, a twentieth of the shorter side high."""
    side = min(frame.shape[:2])
    word = label(text, max(10, side // 20))
    edge = max(2, side // 64)
    word = word[: frame.shape[0] - edge, : frame.shape[1] - edge]
    frame = frame.copy()
    frame[-len(word) - edge : -edge, edge : edge + word.shape[1]] = word
    return frame


def write_video(
    path: str | Path,
    frames: Iterable[np.ndarray],
    samples: np.ndarray,
    comment: str,
    crf: int = 16,
    recording: tuple[str | Path, Sound] | None = None,
    sign: Callable[[Path, Path], None] | None = None,
) -> int:
    """Write frames and sound as H.264 mp4 at 25 Hz, frame by frame. Returns the number of frames.

    Parameters
    ----------
    frames : uint8 (h, w, 3), RGB, as they come; memory does not grow with their number
    samples : float (n,), 16 kHz; continued by silence to whole frames; written as AAC where there is no ``recording``
    recording : the file that the samples came from, and what was read of it: its own sound goes into the video, with
        the rate and channels it has; AAC and MP3 are copied as they are, others become AAC
    comment : goes into the metadata (``comment`` and ``description``)
    sign : makes the file that is kept (its second argument) of the one that was encoded (its first), such as
        :func:`s3dnerf.synthesis.content_credentials.signing`; for that moment the disk holds both

    The file appears whole or not at all. Raises SynthesisError when ffmpeg fails or there are no frames.
    """
    from s3dnerf.speech.audio import wav_bytes
    from s3dnerf.video.encoding import NoFrames, VideoError, feed_ffmpeg

    path = Path(path)
    picture = ["-c:v", "libx264", "-preset", "medium", "-crf", str(crf), "-pix_fmt", "yuv420p", "-profile:v", "high"]
    # said and so converted: a player takes a large picture's colours for BT.709 whatever they are
    picture += ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709", "-color_range", "tv"]
    picture += ["-color_primaries", "bt709", "-color_trc", "iec61966-2-1"]
    metadata = ["-map_metadata", "-1", "-metadata", f"comment={comment}", "-metadata", f"description={comment}"]
    if recording is None:
        sound_codec, track = ["-c:a", "aac", "-b:a", "128k"], 0
    else:
        track, least_hz = recording[1].track.number, COPIED_FROM_HZ.get(recording[1].track.codec)
        as_it_is = least_hz is not None and recording[1].track.rate_hz >= least_hz
        sound_codec = ["-c:a", "copy"] if as_it_is else ["-c:a", "aac", "-b:a", "256k"]
    output = ["-map", "0:v", "-map", f"1:a:{track}", *picture, *sound_codec, "-sn", "-dn", *metadata]
    with contextlib.ExitStack() as held:
        folder = held.enter_context(tempfile.TemporaryDirectory(prefix="s3dnerf-"))
        part = held.enter_context(taking_the_place_of(path))
        encoded = part if sign is None else held.enter_context(part_of(path))
        sound = Path(folder, "speech.wav")
        if recording is None:
            sound.write_bytes(wav_bytes(whole_frames(samples)))
        else:
            sound = Path(recording[0])
        # file: so that no name is taken for a protocol or an option
        target = ["-movflags", "+faststart", "-f", "mp4", f"file:{encoded}"]
        try:
            count = feed_ffmpeg(
                frames, [*output, *target], FPS_HZ, inputs=["-protocol_whitelist", "file", "-i", f"file:{sound}"]
            )
            if sign is not None:
                sign(encoded, part)
            return count
        except NoFrames as none:
            raise SynthesisError("no frames to write") from none
        except VideoError as failed:
            raise SynthesisError(f"{shown(path)} cannot be written: {failed}") from failed
        except OSError as fault:  # of a full disk: name the file that a person asked for
            if fault.errno is not None:
                fault.filename = str(path)
            raise
