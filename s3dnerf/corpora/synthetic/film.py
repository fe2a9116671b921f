"""One synthetic video from its plan: speech, motion, frames, an ordinary mp4 (and m4a), and the truth apart.

A plan says everything and is picklable, so that any runner can make videos in any order: the result depends on the
plan alone. Files appear under their name only when they are whole.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from s3dnerf.corpora.synthetic.deform import field_amplitudes
from s3dnerf.corpora.synthetic.head import Head, Light
from s3dnerf.corpora.synthetic.identity import Person, make_person
from s3dnerf.corpora.synthetic.motion import Motion, make_motion, rotation
from s3dnerf.corpora.synthetic.scene import Camera, Shot, background
from s3dnerf.corpora.synthetic.sentences import SENTENCES
from s3dnerf.corpora.synthetic.speech import Speech, cut, join, loudness, room, synthesise
from s3dnerf.corpora.synthetic.truth import MASK_EVERY, Truth, truth_path, write_truth
from s3dnerf.corpora.synthetic.visemes import CHANNELS, articulation, segments_of
from s3dnerf.video.encoding import ffmpeg_path

MOODS = {
    "neutral": {},
    "happy": {"smile": 0.65, "brows": 0.15},
    "angry": {"frown": 1.0, "brows": -0.3, "press": 0.1},
    "sad": {"smile": -0.55, "frown": -0.5},
    "surprised": {"brows": 0.9, "upper": 0.06},
}


@dataclass(frozen=True)
class VideoPlan:
    """Everything that decides one video.

    Attributes
    ----------
    corpus : hdtf, lrs2 or mead
    person, seed : who (see ``identity.make_person``); ``female`` fixes the sex
    raw_root, truth_root : folder of the corpus; folder of the sample (truth lies under it)
    video, audio : paths in the corpus; audio '' when it is in the video
    fps : numerator and denominator
    size : (height, width) in pixels
    place : (centre x, centre y of the eyes, pixels a head unit)
    parts : (start_s, end_s, 'card' or 'speaker') in order, without gaps: what is in the picture
    transcript : text file beside the video in LRS2's manner
    """

    corpus: str
    person: str
    seed: int
    number: int
    raw_root: str
    sample_root: str
    video: str
    audio: str
    fps: tuple[int, int]
    size: tuple[int, int]
    places: tuple[tuple[float, float, float], ...]
    parts: tuple[tuple[float, float, str], ...]
    female: bool | None = None
    mood: str = "neutral"
    audio_rate_hz: int = 44100
    audio_channels: int = 2
    audio_shorter_s: float = 0.0
    whole_words: bool = False
    transcript: str = ""
    crf: int = 19


@lru_cache(maxsize=3)
def _head(person: Person, texels_per_unit: int) -> Head:
    return Head(person, float(texels_per_unit))


def make_video(plan: VideoPlan) -> dict[str, Any]:
    """Make one video with its sound, transcript and truth. Returns its name, frames and seconds."""
    cv2.setNumThreads(1)
    person = make_person(plan.person, plan.seed, plan.female)
    rng = np.random.default_rng([person.seed, plan.number, 77])
    fps = Fraction(*plan.fps)
    speech, parts = _speech(plan, person, rng)
    end_s = parts[-1][1]
    times = np.arange(int(np.ceil(end_s * fps - 1e-6))) / float(fps)
    segments = segments_of(speech.phonemes)
    motion = make_motion(times, loudness(speech, times), person.liveliness, rng)
    truth = Truth(
        time_s=times,
        valid=np.zeros(len(times), bool),
        angles_deg=motion.angles_deg.copy(),
        world_to_camera=np.full((len(times), 3, 4), np.nan),
        intrinsics=np.full((len(times), 3, 3), np.nan),
        landmarks=np.full((len(times), 68, 2), np.nan, np.float32),
        mouth_opening=np.full(len(times), np.nan),
        mouth_width=np.full(len(times), np.nan),
        blink=motion.blink,
        mask_frames=np.zeros(0, int),
        masks=np.zeros((0, *plan.size), bool),
        visemes=[(s.viseme, s.phoneme, s.start_s, s.end_s) for s in segments],
        words=speech.words,
    )
    frames = _frames(plan, person, parts, times, articulation(segments, times), motion, truth, rng)
    heard = cut(speech, end_s - plan.audio_shorter_s)
    target = Path(plan.raw_root) / plan.video
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        _write_wav(wav, heard)
        _encode(plan, frames, wav, target)
        if plan.audio:
            _encode_audio(plan, wav, Path(plan.raw_root) / plan.audio)
    if plan.transcript:
        text = " ".join(word.upper() for word, _, _ in speech.words)
        (Path(plan.raw_root) / plan.transcript).write_text(
            f"Text:  {text} \nConf:  {int(rng.integers(3, 8))}\n", encoding="utf-8"
        )
    write_truth(truth_path(plan.sample_root, plan.corpus, plan.video), truth)
    return {"video": plan.video, "frames": len(times), "seconds": end_s}


def _speech(
    plan: VideoPlan, person: Person, rng: np.random.Generator
) -> tuple[Speech, tuple[tuple[float, float, str], ...]]:
    """What is said, on the video's clock; with ``whole_words`` the video ends shortly after the last word that fits."""
    end_s = plan.parts[-1][1]
    lead = next(start for start, _, kind in plan.parts if kind == "speaker") + (0.12 if plan.whole_words else 0.05)
    order = np.random.default_rng([person.seed, 3]).permutation(len(SENTENCES))
    count = int(np.ceil(end_s / 1.8)) + 1
    texts = [SENTENCES[order[(plan.number * 5 + i) % len(SENTENCES)]] for i in range(count)]
    said = synthesise(texts, person.voice, seed=person.seed % 30000 + plan.number)
    speech = join(said, gap_s=float(rng.uniform(0.08, 0.22)), lead_s=lead)
    parts = plan.parts
    if plan.whole_words:
        kept = [word for word in speech.words if word[2] <= end_s - 0.1]
        last = kept[-1][2]
        speech.words = kept
        speech.phonemes = [p for p in speech.phonemes if p[1] < last - 1e-6] + [("_", last, last + 0.2)]
        speech.samples = speech.samples[: round(last * speech.rate_hz)]
        parts = (*parts[:-1], (parts[-1][0], float(last + 0.12), parts[-1][2]))
    speech = cut(speech, parts[-1][1])
    level = float(np.sqrt(np.mean(speech.samples**2)))
    return room(speech, 0.09 / max(level, 1e-4), float(rng.uniform(-62, -52)), int(rng.integers(2**31))), parts


def _frames(
    plan: VideoPlan,
    person: Person,
    parts: tuple[tuple[float, float, str], ...],
    times: np.ndarray,
    curves: np.ndarray,
    motion: Motion,
    truth: Truth,
    rng: np.random.Generator,
) -> Iterator[np.ndarray]:
    """The frames in order; fills ``truth`` as it goes."""
    amplitudes = field_amplitudes(curves, person, motion.blink, motion.brows, MOODS[plan.mood])
    base_angles = np.array([rng.normal(0, 5), rng.normal(0, 2.5), rng.normal(0, 1.5)])
    tongue = curves[:, CHANNELS.index("tongue")]
    shots = _shots(plan, person, parts, rng)
    masks, mask_frames = [], []
    for (start, end, _), shot in zip(parts, shots, strict=True):
        for t in np.flatnonzero((times >= start - 1e-9) & (times < end - 1e-9)):
            if isinstance(shot, np.ndarray):
                yield shot
                continue
            angles = motion.angles_deg[t] + base_angles
            turn = rotation(angles)
            wanted = t % MASK_EVERY == 0
            made = shot.frame(
                amplitudes[t], float(tongue[t]), tuple(motion.gaze[t]), turn, motion.translation[t], wanted
            )
            lips = made.landmarks
            truth.valid[t], truth.angles_deg[t], truth.world_to_camera[t] = True, angles, made.world_to_camera
            truth.intrinsics[t], truth.landmarks[t] = shot.camera.intrinsics, made.landmarks_px
            truth.mouth_opening[t], truth.mouth_width[t] = (
                np.linalg.norm(lips[62] - lips[66]),
                np.linalg.norm(lips[48] - lips[54]),
            )
            if made.mask is not None:
                masks.append(made.mask)
                mask_frames.append(t)
            yield made.image
    truth.masks, truth.mask_frames = np.array(masks).reshape(-1, *plan.size), np.array(mask_frames, int)


def _shots(
    plan: VideoPlan, person: Person, parts: tuple[tuple[float, float, str], ...], rng: np.random.Generator
) -> list[Shot | np.ndarray]:
    """A Shot for each part with the speaker (its own camera), a picture for each title card."""
    shots: list[Shot | np.ndarray] = []
    places = iter(plan.places)
    for _, _, kind in parts:
        if kind == "card":
            card = background(plan.size, rng)
            height, width = plan.size
            for i in range(3):
                y = int(height * (0.40 + 0.09 * i))
                cv2.rectangle(
                    card,
                    (int(width * 0.2), y),
                    (int(width * rng.uniform(0.45, 0.8)), y + max(2, height // 40)),
                    (235, 235, 235),
                    -1,
                )
            shots.append(card)
            continue
        centre_x, centre_y, per_unit = next(places)
        distance = float(rng.uniform(9.0, 13.0))
        camera = Camera(per_unit * distance, (centre_x, centre_y + 0.30 * per_unit), plan.size, distance)
        light = np.array([rng.choice([-1, 1]) * rng.uniform(0.15, 0.75), rng.uniform(0.25, 0.65), 0.8])
        exposure = (
            165.0 / float(np.mean(person.skin))
        ) ** 0.45  # a camera opens for a dark face and closes for a pale one
        lamp = Light(
            light / np.linalg.norm(light),
            key=exposure * float(rng.uniform(0.60, 0.76)),
            ambient=exposure * float(rng.uniform(0.36, 0.45)),
            fill=exposure * float(rng.uniform(0.08, 0.18)),
            warm=(float(rng.uniform(0.98, 1.05)), 1.0, float(rng.uniform(0.92, 1.03))),
        )
        over = 1.5 if per_unit > 60 else 2.0
        shots.append(
            Shot(
                _head(person, round(over * per_unit * 1.15)),
                camera,
                lamp,
                rng,
                over,
                body_yaw_deg=float(rng.normal(0, 9)),
            )
        )
    return shots


def _ffmpeg() -> list[str]:
    return [ffmpeg_path(), "-hide_banner", "-loglevel", "error", "-y"]


_EXACT = [
    "-map_metadata",
    "-1",
    "-threads",
    "1",
    "-fflags",
    "+bitexact",
    "-flags:v",
    "+bitexact",
    "-flags:a",
    "+bitexact",
]


def _encode(plan: VideoPlan, frames: Iterator[np.ndarray], wav: Path, target: Path) -> None:
    """Frames (and the sound, unless it is kept apart) to H.264 + AAC under a temporary name, then renamed."""
    part = target.with_name(f".{target.stem}.{os.getpid()}.part.mp4")
    height, width = plan.size
    command = [
        *_ffmpeg(),
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-s",
        f"{width}x{height}",
        "-r",
        f"{plan.fps[0]}/{plan.fps[1]}",
        "-i",
        "pipe:0",
    ]
    sound = [] if plan.audio else ["-i", str(wav)]
    code_sound = (
        []
        if plan.audio
        else ["-c:a", "aac", "-b:a", "96k", "-ar", str(plan.audio_rate_hz), "-ac", str(plan.audio_channels)]
    )
    command += [
        *sound,
        "-c:v",
        "libx264",
        "-preset",
        "veryfast",
        "-crf",
        str(plan.crf),
        "-g",
        "60",
        "-pix_fmt",
        "yuv420p",
        *code_sound,
        *_EXACT,
        str(part),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None and process.stderr is not None
    try:
        for frame in frames:
            process.stdin.write(frame.tobytes())
        process.stdin.close()
        message = process.stderr.read().decode(errors="replace")
        if process.wait():
            raise RuntimeError(f"ffmpeg on {plan.video}: {message[-500:]}")
        os.replace(part, target)
    except BrokenPipeError as error:
        raise RuntimeError(
            f"ffmpeg on {plan.video}: {process.stderr.read().decode(errors='replace')[-500:]}"
        ) from error
    finally:
        process.kill()
        process.wait()
        part.unlink(missing_ok=True)


def _encode_audio(plan: VideoPlan, wav: Path, target: Path) -> None:
    """The sound alone, AAC in an m4a."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.stem}.{os.getpid()}.part.m4a")
    try:
        subprocess.run(
            [
                *_ffmpeg(),
                "-i",
                str(wav),
                "-c:a",
                "aac",
                "-b:a",
                "128k",
                "-ar",
                str(plan.audio_rate_hz),
                "-ac",
                str(plan.audio_channels),
                *_EXACT,
                "-f",
                "ipod",
                str(part),
            ],
            check=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        os.replace(part, target)
    finally:
        part.unlink(missing_ok=True)


def _write_wav(path: Path, speech: Speech) -> None:
    import wave

    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(speech.rate_hz)
        out.writeframes((np.clip(speech.samples, -1, 1) * 32767).astype("<i2").tobytes())
