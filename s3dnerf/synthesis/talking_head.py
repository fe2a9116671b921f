"""The talking head from Python: what ``s3dnerf synthesize`` does, as three calls.

    from s3dnerf import TalkingHead

    head = TalkingHead.load()                       # the generator in the package, or a trained one's folder
    said = head.animate("me.jpg", "hello.wav")      # or a picture and samples as arrays
    said.write("hello.mp4")                         # or: for frame in said: …

Frames are made as they are asked for: memory does not grow with the speech, and the first is there before the second is
begun.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import SettingsError
from s3dnerf.core.rates import RATE_HZ, SAMPLES_PER_FRAME
from s3dnerf.synthesis.blinks import blinking
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
from s3dnerf.synthesis.synthesizer import (
    PRETRAINED,
    SynthesisError,
    Synthesizer,
    beside_each_other,
    marked,
    synthetic_comment,
    whole_frames,
    write_video,
)


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
    samples : float32 (n,), 16 kHz, what was heard
    note : which of several sound tracks or channels was heard, '' where there was nothing to choose
    comment : goes into a video's metadata
    recording : the sound's file, where there is one
    """

    frames: Iterator[np.ndarray]
    count: int
    whole: bool
    samples: np.ndarray
    note: str
    comment: str
    recording: tuple[Path, Any] | None = None

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.frames

    def __len__(self) -> int:
        return self.count

    def write(
        self, path: str | Path, over: Callable[[Iterable[np.ndarray]], Iterable[np.ndarray]] = iter, crf: int = 16
    ) -> int:
        """Write an H.264 mp4 with the recording's own sound, whole or not at all. Returns the number of frames.

        Parameters
        ----------
        over : what the frames go through on their way, such as a progress bar
        crf : quality, lower is better

        Raises SynthesisError when it cannot be written.
        """
        return write_video(path, over(self.frames), self.samples, self.comment, crf, self.recording)


class TalkingHead:
    """A trained generator, ready to speak.

    Parameters
    ----------
    synthesizer : of the generator, on its device
    sha256 : of the generator's weights
    """

    def __init__(self, synthesizer: Synthesizer, sha256: str) -> None:
        from s3dnerf.settings.loading import settings_from

        self.synthesizer, self.sha256 = synthesizer, sha256
        self.settings = settings_from(synthesizer.card["settings"])

    @classmethod
    def load(cls, model: str | Path | None = None, device: str = "auto") -> TalkingHead:
        """The generator of a folder that train_s3dnerf wrote; None: the one that comes with the package.

        Raises SynthesisError for a folder without one, SettingsError for a device that is not there.
        """
        from s3dnerf.synthesis.synthesizer import load_card, load_generator
        from s3dnerf.video.packs import file_sha256

        folder, place = PRETRAINED if model is None else Path(model), chosen_device(device)
        synthesizer = Synthesizer(load_generator(folder).to(place), load_card(folder))
        return cls(synthesizer, file_sha256(folder / "generator.safetensors"))

    def animate(
        self,
        portrait: str | Path | np.ndarray,
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
        batch: int = 5,
    ) -> Animation:
        """A portrait that says a recording.

        Parameters
        ----------
        portrait : a picture's file, or uint8 (h, w, 3) RGB: a photo of one person
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
        batch : frames that are made at a time

        Frames are uint8 (256, 256, 3) RGB; (768, 768, 3) for the nine views of a grid; of the whole picture (h, w, 3),
        sides even and at most 4096.

        Raises FaceError for a portrait without one usable face, VideoError for files that cannot be read,
        SynthesisError for silence or a speech backend that is not the generator's, SettingsError for another motion or
        other views. Everything but the frames
        themselves is checked before this returns.
        """
        from s3dnerf.speech.audio import read_sound
        from s3dnerf.speech.features import TokenStream, speech_backend
        from s3dnerf.synthesis.driving_video import poses_of_video
        from s3dnerf.synthesis.portrait import check_which, prepare_portrait
        from s3dnerf.synthesis.whole_picture import WholePicture, fitting
        from s3dnerf.video.pictures import read_picture

        check_which(face)
        if isinstance(motion, str):
            check_motion(motion, views, yaw_deg, pitch_deg)
        recording, note = None, ""
        if isinstance(speech, np.ndarray):
            samples = np.asarray(speech, np.float32)
        else:
            sound = read_sound(speech)
            samples, note, recording = sound.samples, sound.note, (Path(speech), sound)
        heard, backend = whole_frames(samples), speech_backend(self.settings.speech)
        if backend.dim != self.synthesizer.generator.speech_dim:
            raise SynthesisError(
                f"speech backend {backend.name} makes tokens of {backend.dim} numbers, the generator was trained on "
                f"{self.synthesizer.generator.speech_dim}: use the settings it was trained with"
            )
        count = len(heard) // SAMPLES_PER_FRAME
        if isinstance(motion, str) and motion not in MOTIONS:
            motion = poses_of_video(motion, self.settings, len(samples) / RATE_HZ)
        whole = not crop and views == "one" and max(abs(yaw_deg), abs(pitch_deg)) <= WHOLE_DEG
        picture = portrait if isinstance(portrait, np.ndarray) else read_picture(portrait)
        photo = fitting(picture) if whole else picture
        shown = prepare_portrait(photo, self.settings, which=face)
        centre = np.asarray(shown.box[:3], np.float64)
        most_deg = borrowed_limit(whole, yaw_deg, pitch_deg)
        poses = poses_for(motion, shown.world_to_camera, count, centre, heard, most_deg)
        identity = self.synthesizer.portrait(
            shown.frame, shown.mask, shown.world_to_camera, shown.intrinsics, shown.box, shown.landmarks
        )
        tokens, intrinsics = TokenStream(backend, heard), np.repeat(shown.intrinsics[None], count, 0)
        shut = blinking(count) if blinks else None
        around = WholePicture(photo, shown.matrix, shown.landmarks) if whole else None
        frames = beside_each_other(
            [
                [self.synthesizer.frames(identity, tokens, seen, intrinsics, batch, shut, around) for seen in row]
                for row in views_of(poses, views, centre, yaw_deg, pitch_deg)
            ]
        )
        if mark:
            frames = map(marked, frames)
        comment = synthetic_comment(self.synthesizer.card, self.sha256)
        return Animation(frames, count, whole, samples, note, comment, recording)
