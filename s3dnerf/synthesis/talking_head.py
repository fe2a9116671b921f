"""The talking head from Python: what ``s3dnerf synthesize`` does, as three calls.

    from s3dnerf import TalkingHead

    head = TalkingHead.load()                       # the generator in the package, or a trained one's folder
    said = head.animate("me.jpg", "hello.wav")      # or a picture and samples as arrays
    said.write("hello.mp4")                         # or: for frame in said: …

Frames are made as they are asked for: memory does not grow with the speech, and the first is there before the second is
begun.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.rates import RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.core.user_folder import found_for_user
from s3dnerf.synthesis.blinks import blinking
from s3dnerf.synthesis.content_credentials import signing
from s3dnerf.synthesis.head_motion import (
    MOST_PITCH_DEG,
    MOST_YAW_DEG,
    MOTIONS,
    VIEWS,
    WHOLE_DEG,
    borrowed_limit,
    poses_for,
    views_of,
)
from s3dnerf.synthesis.origin import Origin
from s3dnerf.synthesis.signers import Choice
from s3dnerf.synthesis.synthesizer import (
    PRETRAINED,
    SynthesisError,
    Synthesizer,
    beside_each_other,
    marked,
    trained_settings,
    whole_frames,
    write_video,
)

if TYPE_CHECKING:
    from s3dnerf.speech.features import SpeechBackend
    from s3dnerf.synthesis.enhancer import Enhancer
    from s3dnerf.synthesis.portrait import PortraitFace

BATCH = {"cpu": 5, "cuda": 20}  # frames at a time


def check_motion(motion: str, views: str, yaw_deg: float, pitch_deg: float, dashes: str = "") -> None:
    """Raise SettingsError, naming the setting (after ``dashes``), for a motion or views that there are not."""
    if motion not in MOTIONS and not Path(motion).is_file():
        accepted = f"{', '.join(MOTIONS)}, or a video file of one person"
        raise SettingsError(f"{dashes}motion: got {motion} — accepted: {accepted}")
    if views not in VIEWS:
        raise SettingsError(f"{dashes}views: got {views} — accepted: {', '.join(VIEWS)}")
    if abs(yaw_deg) > MOST_YAW_DEG or abs(pitch_deg) > MOST_PITCH_DEG:
        accepted = f"yaw within ±{MOST_YAW_DEG:g}, pitch within ±{MOST_PITCH_DEG:g}"
        raise SettingsError(f"{dashes}yaw {yaw_deg:g} {dashes}pitch {pitch_deg:g} — accepted: {accepted}")


@dataclass
class Animation:
    """Frames of a portrait that speaks, made as they are asked for, once.

    Attributes
    ----------
    frames : uint8 (h, w, 3) RGB each, 25 a second
    count : how many there will be
    whole : whether they show the whole picture, or the aligned face alone
    samples : float32 (n,), 16 kHz, the sound that was used
    note : which of several sound tracks or channels was used, '' where there was nothing to choose
    origin : what made them; a video's metadata and Content Credentials say so
    recording : the sound's file, where there is one
    """

    frames: Iterator[np.ndarray]
    count: int
    whole: bool
    samples: np.ndarray
    note: str
    origin: Origin
    recording: tuple[Path, Any] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames

    def __len__(self) -> int:
        return self.count

    def write(
        self,
        path: str | Path,
        over: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]] = iter,
        crf: int = 16,
        signer: Choice = "default",
    ) -> int:
        """Write an H.264 mp4 with the recording's own sound and C2PA Content Credentials that say it is synthetic,
        whole or not at all. Returns the number of frames.

        Parameters
        ----------
        over : what the frames go through on their way, such as a progress bar
        crf : quality, lower is better
        signer : of the credentials: ``Signer.load(certificate, key)`` (:mod:`s3dnerf.synthesis.signers`),
            ``self-signed``, ``default`` (the certificate of the environment, else self-signed), or None for none

        Raises SynthesisError when it cannot be written; SettingsError, before a frame is made, for a certificate of the
        environment that cannot be used.
        """
        sign, frames = signing(self.origin, signer), over(self.frames)
        return write_video(path, frames, self.samples, self.origin.comment, crf, self.recording, sign)


@dataclass(frozen=True)
class PreparedPortrait:
    """A picture whose face was found, for any number of recordings.

    Attributes
    ----------
    picture : uint8 (h, w, 3), RGB, as a video can hold it; where it was cropped, as it was given
    face : aligned, with its landmarks, camera and mask
    cropped : whether it is for the aligned face alone
    """

    picture: np.ndarray
    face: PortraitFace
    cropped: bool = False


class TalkingHead:
    """A trained generator, ready to speak.

    Parameters
    ----------
    synthesizer : of the generator, on its device
    sha256 : of the generator's weights
    """

    def __init__(self, synthesizer: Synthesizer, sha256: str) -> None:
        self.synthesizer, self.sha256 = synthesizer, sha256
        self.settings = trained_settings(synthesizer.card)

    @classmethod
    def load(cls, model: str | Path | None = None, device: str | None = None, bf16: bool = False) -> TalkingHead:
        """The generator of a folder that train_s3dnerf wrote; None: the one that comes with the package.

        Parameters
        ----------
        device : ``cpu``, ``cuda`` or ``auto``; None takes the environment's ``S3DNERF_DEVICE``, or ``auto``
        bf16 : on CUDA, run the network in bfloat16: a tenth faster, frames differ by up to three levels of 255

        Raises SynthesisError for a folder without one, SettingsError for a device that is not there.
        """
        from s3dnerf.synthesis.synthesizer import load_card, load_generator
        from s3dnerf.video.packs import file_sha256

        folder, place = PRETRAINED if model is None else Path(model), chosen_device(device)
        synthesizer = Synthesizer(load_generator(folder).to(place), load_card(folder), bf16)
        return cls(synthesizer, file_sha256(folder / "generator.safetensors"))

    @functools.cached_property
    def speech(self) -> SpeechBackend:
        """What the generator hears with. Raises MissingWeights where its files are not here."""
        from s3dnerf.speech.features import speech_backend

        heard_by = self.settings.speech
        heard_by = replace(heard_by, whisper_model=found_for_user(heard_by.whisper_model))
        return speech_backend(heard_by, str(self.synthesizer.device))

    def prepare(
        self, portrait: str | Path | np.ndarray, face: str = "only", background: str = "white", crop: bool = False
    ) -> PreparedPortrait:
        """Read a picture and find its face: what :meth:`animate` does first, for showing it, or for many recordings.

        Parameters and errors as for :meth:`animate`.
        """
        from s3dnerf.synthesis.portrait import check_which, prepare_portrait
        from s3dnerf.synthesis.whole_picture import fitting
        from s3dnerf.video.pictures import colour_of, read_picture

        check_which(face)
        colour = colour_of(background)
        picture = portrait if isinstance(portrait, np.ndarray) else read_picture(portrait, colour)
        picture = picture if crop else fitting(picture)
        return PreparedPortrait(picture, prepare_portrait(picture, self.settings, which=face), crop)

    def animate(
        self,
        portrait: str | Path | np.ndarray | PreparedPortrait,
        speech: str | Path | np.ndarray,
        *,
        motion: str | np.ndarray = "gentle",
        views: str = "one",
        yaw_deg: float = 0.0,
        pitch_deg: float = 0.0,
        blinks: bool = True,
        crop: bool = False,
        mark: bool = False,
        face: str = "only",
        background: str = "white",
        enhancer: Enhancer | None = None,
        batch: int | None = None,
    ) -> Animation:
        """A portrait that says a recording.

        Parameters
        ----------
        portrait : a picture's file, or uint8 (h, w, 3) RGB: a photo of one person; or what :meth:`prepare` made of it
            (``face`` and ``background`` are then its)
        speech : a sound file, or float (n,) samples at 16 kHz
        motion : ``gentle`` (follows the speech), ``still``, a video's file whose head movement is borrowed, or poses
            (M, 3, 4)
        views : ``one``, ``orbit`` (the camera circles the face) or ``grid`` (nine views)
        yaw_deg, pitch_deg : by which the head is turned to the picture's right (±60) and lowered (±40)
        blinks : whether the eyes close now and then
        crop : the aligned face alone, 256², not the whole picture (so as well for other views and a head turned by
            more than 10°, which would tear from its neck)
        mark : write SYNTHETIC into each frame
        face : which, where the picture has several: ``only`` (refuse them), ``largest``, ``left``, ``right`` or a
            number, counted from the left
        background : what shows through where a picture's file is transparent: a colour's name, or ``#rrggbb``
        enhancer : what each frame's face goes through (:mod:`s3dnerf.synthesis.enhancer`)
        batch : frames that are made at a time; None: what is fastest on the device

        Frames are uint8 (256, 256, 3) RGB, or as large as the enhancer makes them; nine of them for a grid; of the
        whole picture (h, w, 3), sides even and at most 4096.

        Raises FaceError for a portrait without one usable face, VideoError for files that cannot be read,
        SynthesisError for silence or a speech backend that is not the generator's, SettingsError for another motion or
        other views. Everything but the frames
        themselves is checked before this returns.
        """
        from s3dnerf.speech.features import TokenStream
        from s3dnerf.synthesis.portrait import check_which
        from s3dnerf.synthesis.whole_picture import WholePicture
        from s3dnerf.video.pictures import colour_of

        check_which(face)
        colour_of(background)
        if isinstance(motion, str):
            check_motion(motion, views, yaw_deg, pitch_deg)
        recording, note = None, ""
        if isinstance(speech, np.ndarray):
            samples = np.asarray(speech, np.float32)
        else:
            from s3dnerf.speech.audio import read_sound

            sound = read_sound(speech)
            samples, note, recording = sound.samples, sound.note, (Path(speech), sound)
        heard, backend = whole_frames(samples), self.speech
        if backend.dim != self.synthesizer.generator.speech_dim:
            raise SynthesisError(
                f"speech backend {backend.name} makes tokens of {backend.dim} numbers, the generator was trained on "
                f"{self.synthesizer.generator.speech_dim}: use the settings it was trained with"
            )
        count = len(heard) // SAMPLES_PER_FRAME
        whole = not crop and views == "one" and max(abs(yaw_deg), abs(pitch_deg)) <= WHOLE_DEG
        prepared = portrait
        if not isinstance(prepared, PreparedPortrait):
            prepared = self.prepare(prepared, face, background, crop=not whole)
        if whole and prepared.cropped:
            raise SynthesisError("the portrait was prepared for the face alone: expected one prepared without crop")
        shown = prepared.face
        if isinstance(motion, str) and motion not in MOTIONS:
            from s3dnerf.synthesis.driving_video import poses_of_video

            motion = poses_of_video(motion, self.settings, len(samples) / RATE_HZ)
        centre = np.asarray(shown.box[:3], np.float64)
        most_deg = borrowed_limit(whole, yaw_deg, pitch_deg)
        poses = poses_for(motion, shown.world_to_camera, count, centre, heard, most_deg)
        identity = self.synthesizer.portrait(
            shown.frame, shown.mask, shown.world_to_camera, shown.intrinsics, shown.box, shown.landmarks
        )
        batch = batch or BATCH[self.synthesizer.device.type]
        tokens, intrinsics = TokenStream(backend, heard), np.repeat(shown.intrinsics[None], count, 0)
        shut = blinking(count) if blinks else None
        around = WholePicture(prepared.picture, shown.matrix, shown.landmarks) if whole else None
        frames = beside_each_other(
            [
                [
                    self.synthesizer.frames(identity, tokens, seen, intrinsics, batch, shut, around, enhancer)
                    for seen in row
                ]
                for row in views_of(poses, views, centre, yaw_deg, pitch_deg)
            ]
        )
        if mark:
            frames = map(marked, frames)
        origin = Origin.of(self.synthesizer.card, self.sha256)
        return Animation(frames, count, whole, samples, note, origin, recording)
