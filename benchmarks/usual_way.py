"""The usual way to preprocess talking-head video, as the baseline of :mod:`benchmarks.preprocess`.

What the scripts of this field do, one clip at a time: ffmpeg re-encodes to 25 frames a second (its own default quality)
and takes 16 kHz mono sound; ffmpeg writes every frame as a full-size PNG; each PNG is read, the face detected at full
size, its 68 landmarks found, the face cut out to 256×256 and written as a PNG. Detector, predictor and cut are this
project's (dlib's HOG detector without enlargement, the predictor's one answer), one thread each. What follows has no
usual way of its own, so it is this project's code on the usual way's landmarks and sound: masks and coefficients, lip
boxes, speech tokens and mel, with the same settings.

Reads a video; writes in a temporary folder that it removes.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.faces.dlib_backend import DlibBackend
from s3dnerf.faces.lips import lip_boxes
from s3dnerf.faces.recon.reconstruct import reconstructor
from s3dnerf.faces.warping import apply, warp
from s3dnerf.settings.schema import Settings
from s3dnerf.speech.audio import wav_bytes, wav_samples
from s3dnerf.speech.features import speech_backend
from s3dnerf.speech.mel import clip_mel
from s3dnerf.video.encoding import ffmpeg_path
from stages.masks import CONTOUR, masks_of


def _ffmpeg(*arguments: str) -> None:
    subprocess.run([ffmpeg_path(), "-v", "error", "-nostdin", "-threads", "1", *arguments], check=True)


def align_usually(
    video: Path, folder: Path, settings: Settings, seconds: float | None = None
) -> tuple[np.ndarray, Path]:
    """Landmarks float32 (N, 68, 2) in the 256×256 cuts of a video (of its first ``seconds``), and its sound as a wav.

    A frame without a face repeats the landmarks before it, as the scripts do; frames before the first face are left
    out.
    """
    clip, sound, frames, cuts = folder / "25.mp4", folder / "16k.wav", folder / "frames", folder / "cuts"
    frames.mkdir()
    cuts.mkdir()
    part = [] if seconds is None else ["-t", f"{seconds:g}"]
    _ffmpeg(*part, "-i", str(video), "-r", "25", "-threads", "1", "-ar", "16000", str(clip))
    _ffmpeg("-i", str(clip), "-vn", "-ac", "1", "-ar", "16000", str(sound))
    _ffmpeg("-i", str(clip), "-threads", "1", str(frames / "%06d.png"))
    backend, found = DlibBackend(), []
    last: np.ndarray | None = None
    for path in sorted(frames.iterdir()):
        image = cv2.imread(str(path))
        assert image is not None, path
        frame = np.ascontiguousarray(image[..., ::-1])
        faces = backend.detect(frame, None)  # every pixel; only where none is found is the search repeated enlarged
        if faces:
            last = backend.plain_landmarks(frame, faces[0].box_px)
        if last is None:
            continue
        low, high = last.min(axis=0), last.max(axis=0)
        scale = settings.align.size_px / (settings.align.crop_factor * float((high - low).max()))
        shift = settings.align.size_px / 2 - scale * (low + high) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
        cv2.imwrite(str(cuts / path.name), warp(frame, matrix, settings.align.size_px)[..., ::-1])
        found.append(apply(matrix, last))
    return np.array(found, np.float32), sound


def preprocess_usually(video: Path, settings: Settings, seconds: float | None = None) -> int:
    """A video from raw to speech tokens; returns how many frames.

    Raises ValueError where no face is found, Quarantine where the landmarks are no face's.
    """
    with tempfile.TemporaryDirectory() as place:
        landmarks, sound = align_usually(video, Path(place), settings, seconds)
        if not len(landmarks):
            raise ValueError(f"{video.name}: no face")
        recon = reconstructor(settings.masks, CONTOUR["dlib"], settings.align.size_px)
        masks_of(landmarks, None, recon)
        lip_boxes(landmarks, settings.lips.scale)
        samples = wav_samples(sound.read_bytes())
        whole = wav_samples(
            wav_bytes(np.pad(samples, (0, SAMPLES_PER_FRAME * len(landmarks)))[: SAMPLES_PER_FRAME * len(landmarks)])
        )
        speech_backend(settings.speech).tokens_of_many([whole])
        clip_mel(whole)
        return len(landmarks)
