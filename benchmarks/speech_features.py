"""How much of unseen people's mouths each speech backend tells: ridge regression from tokens to the lips, speakers left
out in turn.

    python -m benchmarks.speech_features [--corpora ../shared/corpora] [--work FOLDER] [--whisper FILE] [--layers 3]
    python -m benchmarks.speech_features --data data/sample     # after `make demo`: the synthetic people

Over the real clips in HDTF's layout, preprocessed by this project's stages ingest to align with the preset ``mini``
(one process; 12 ms a frame or so; with ``--work`` they are kept and found again). Targets, frame by frame: the inner
lips' opening (mean of three distances) and the mouth's width (corner to corner) in units of the distance between the
eyes' outer corners, after a similarity has laid eyes and nose of each frame on the clip's mean; less the clip's own
mean, which no speech tells. Inputs: the two tokens of a frame averaged, of the frames −8, −6, … 8 around it, less the
clip's mean, each standardised. Every second frame counts.

Who is left out is a person: all clips of one ``speaker`` (``ingest.same_person`` included). Leaving out is exact: for a
ridge with fixed strength the residuals of rows s left out are (I − H_ss)⁻¹ (y_s − ŷ_s). The strength (of
:data:`STRENGTHS`, times the number of rows) is chosen for each person by the errors on everybody else. R² is 1 − Σ
error² / Σ target² over all left-out frames.

Twice: with the sound as recorded, and with each clip's sound moved as the sync filter of ``mini`` would (by the mouth's
opening against loudness, its own clips' or its recording's offset; a clip that it cannot tell stays as it is, one that
it would exclude is left out). Backends whose weights are not here are named with what they lack. Writes
``benchmarks/results/speech_features.json``, for the sample ``speech_features_sample.json`` (as recorded alone: its
sound is in step).
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.record import origin, write
from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.processes import one_thread
from s3dnerf.settings.loading import as_dict, preset_settings, settings_from
from s3dnerf.settings.schema import Settings, SpeechSettings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.speech.features import SpeechBackend, speech_backend
from s3dnerf.speech.mel import clip_mel
from s3dnerf.sync.filtering import EXCLUDED, shift_samples
from s3dnerf.sync.mouth_offset import mouth_offset
from s3dnerf.video.packs import CorpusPacks
from stages.context import Context
from stages.speech import mouth_verdicts

STAGES = ("inventory", "ingest", "resample", "align")
RIGID = (27, 28, 29, 30, 31, 33, 35, 36, 39, 42, 45)  # bridge and base of the nose, corners of the eyes
EYES, CORNERS, INNER = (36, 45), (48, 54), ((61, 67), (62, 66), (63, 65))
TAPS = range(-8, 9, 2)  # frames around the one that is told
EVERY = 2  # frames
STRENGTHS = (0.1, 0.3, 1.0, 3.0)
TARGETS = ("opening", "width")


@dataclasses.dataclass(frozen=True)
class Clip:
    """One preprocessed clip of N frames: name, speaker, video, samples (640 N,), landmarks (N, 68, 2)."""

    name: str
    speaker: str
    video: str
    samples: np.ndarray
    landmarks: np.ndarray


def mouth(landmarks: np.ndarray) -> np.ndarray:
    """Opening and width without the head's motion in the picture: (N, 68, 2) → float64 (N, 2), in eye distances."""
    points = np.asarray(landmarks, np.float64) @ np.array([1, 1j])  # [N, 68], the plane as complex numbers
    rigid = points[:, RIGID] - points[:, RIGID].mean(axis=1, keepdims=True)
    mean = rigid.mean(axis=0)
    turn = (rigid.conj() @ mean) / (abs(rigid) ** 2).sum(axis=1)  # the similarity that lays them on the mean
    unit = abs(mean[RIGID.index(EYES[0])] - mean[RIGID.index(EYES[1])])
    moved = points * turn[:, None]
    opening = sum((moved[:, low] - moved[:, top]).imag for top, low in INNER) / len(INNER)
    return np.stack([opening, abs(moved[:, CORNERS[1]] - moved[:, CORNERS[0]])], axis=1) / unit


def preprocessed(corpora: Path, work: Path) -> tuple[Settings, list[Clip]]:
    """The clips that ``align`` kept; made in ``work`` where they are not there."""
    given = as_dict(preset_settings("mini"))
    given["raw"] = {"hdtf": str(corpora / "HDTF"), "lrs2": None, "mead": None, "portraits": None}
    settings = settings_from(given)
    here = Path.cwd()
    os.chdir(work)
    try:
        if not (settings.data_dir / "align" / "hdtf").is_dir():
            for name in STAGES:
                importlib.import_module(f"stages.{name}").main(Context(settings=settings, stage=name))
        return settings, read_clips(settings.data_dir)
    finally:
        os.chdir(here)


def read_clips(data_dir: Path) -> list[Clip]:
    """HDTF's clips of ``data/<preset>`` that came through ``align``."""
    index = pd.read_parquet(data_dir / "ingest" / "hdtf" / "clips.parquet").sort_values("clip")
    sounds, aligned = (CorpusPacks(data_dir / stage / "hdtf") for stage in ("resample", "align"))
    return [
        Clip(
            row["clip"],
            row["speaker"],
            row["video"],
            wav_samples(sounds.read(row["clip"], "wav")),
            aligned.read(row["clip"], "landmarks.npy"),
        )
        for row in index.to_dict("records")
        if row["clip"] in aligned and row["clip"] in sounds
    ]


def in_step(clips: list[Clip], speech: SpeechSettings) -> tuple[list[Clip], dict[str, Any]]:
    """The clips with their sound moved as the sync filter would; and how many it moved, could not tell, left out."""
    found = {clip.name: mouth_offset(clip.landmarks, clip_mel(clip.samples)) for clip in clips}
    verdicts = mouth_verdicts(found, {clip.name: clip.video for clip in clips}, speech)
    kept = [
        dataclasses.replace(clip, samples=shift_samples(clip.samples, verdicts[clip.name].shifted_frames))
        for clip in clips
        if verdicts[clip.name].verdict != EXCLUDED
    ]
    moved = sum(verdicts[clip.name].shifted_frames != 0 for clip in kept)
    return kept, {"moved": moved, "left_out": len(clips) - len(kept)}


def rows(clip: Clip, backend: SpeechBackend) -> tuple[np.ndarray, np.ndarray]:
    """Inputs float32 (n, 9 D) and targets float32 (n, 2) of every second frame, both less the clip's mean."""
    tokens, wanted = backend.tokens(clip.samples), mouth(clip.landmarks)
    assert len(tokens) == 2 * len(wanted), f"{clip.name}: {len(tokens)} tokens for {len(wanted)} frames"
    frames = np.pad(tokens.reshape(len(wanted), 2, -1).mean(axis=1), ((8, 8), (0, 0)), mode="edge")
    around = np.concatenate([frames[8 + tap : 8 + tap + len(wanted)] for tap in TAPS], axis=1)
    return (around - around.mean(axis=0))[::EVERY], (wanted - wanted.mean(axis=0))[::EVERY].astype(np.float32)


def left_out_errors(inputs: torch.Tensor, targets: torch.Tensor, people: np.ndarray, strength: float) -> np.ndarray:
    """Sum of squared errors of each person, left out: float64 (people, targets).

    inputs (n, d), targets (n, k), people int (n,), strength > 0 as a share of n.
    """
    gram = inputs.T @ inputs + strength * len(inputs) * torch.eye(inputs.shape[1], dtype=inputs.dtype)
    factor = torch.linalg.cholesky(gram)
    residual = targets - inputs @ torch.cholesky_solve(inputs.T @ targets, factor)
    errors = np.empty((people.max() + 1, targets.shape[1]))
    for person in range(len(errors)):
        own = torch.from_numpy(people == person)
        half = torch.linalg.solve_triangular(factor, inputs[own].T, upper=False)  # [d, m]
        left = torch.eye(int(own.sum()), dtype=inputs.dtype) - half.T @ half
        errors[person] = torch.linalg.solve(left, residual[own]).double().square().sum(dim=0).numpy()
    return errors


def explained(clips: list[Clip], backend: SpeechBackend) -> dict[str, float]:
    """R² of each target over left-out people."""
    made = [rows(clip, backend) for clip in clips]
    names = sorted({clip.speaker for clip in clips})
    people = np.concatenate([np.full(len(y), names.index(clip.speaker)) for clip, (_, y) in zip(clips, made)])
    inputs = torch.from_numpy(np.concatenate([x for x, _ in made]))
    targets = torch.from_numpy(np.concatenate([y for _, y in made]))
    inputs /= inputs.std(dim=0).clamp(min=1e-6)
    errors = np.stack([left_out_errors(inputs, targets, people, strength) for strength in STRENGTHS])
    others = errors.sum(axis=1, keepdims=True) - errors  # [strength, person, target]: all but this person
    chosen = np.take_along_axis(errors, others.argmin(axis=0)[None], axis=0)[0]
    r2 = 1 - chosen.sum(axis=0) / targets.double().square().sum(dim=0).numpy()
    return {name: round(float(value), 4) for name, value in zip(TARGETS, r2)}


def backends(whisper: str, layers: list[int]) -> dict[str, SpeechSettings]:
    """Every backend there is, by the name it has in the result."""
    plain = SpeechSettings()
    found = {"logmel": dataclasses.replace(plain, backend="logmel")}
    for layer in layers:
        found[f"whisper layer {layer}"] = dataclasses.replace(
            plain, backend="whisper", whisper_model=whisper, whisper_layer=layer
        )
    return found | {"wav2vec2": plain}


def main() -> None:
    """Measure, print, write the result."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpora", type=Path, default=Path("../shared/corpora"))
    parser.add_argument("--data", type=Path, help="preprocessed clips, data/<preset>, in place of the corpora")
    parser.add_argument("--work", type=Path, help="folder where preprocessed clips are kept (default: a temporary one)")
    parser.add_argument("--whisper", default="weights/whisper_tiny_en.safetensors", help="what speech.whisper_model is")
    parser.add_argument("--layers", default="3", help="Whisper's layers, divided by commas")
    args = parser.parse_args()
    one_thread()
    sounds: dict[str, list[Clip]] = {}
    counts: dict[str, Any] = {}
    if args.data:
        clips = sounds["as recorded"] = read_clips(args.data)
        given = f"--data {args.data} --layers {args.layers}"
    else:
        with tempfile.TemporaryDirectory() as temporary:
            work = (args.work or Path(temporary)).resolve()
            work.mkdir(parents=True, exist_ok=True)
            settings, clips = preprocessed(args.corpora.resolve(), work)
        sounds["as recorded"] = clips
        sounds["sound moved by the sync filter"], counts = in_step(clips, settings.speech)
        given = f"--layers {args.layers}"
    result: dict[str, Any] = {
        **origin(f"python -m benchmarks.speech_features {given}", "git", "hardware"),
        "clips": len(clips),
        "people": len({clip.speaker for clip in clips}),
        "frames": sum(len(clip.landmarks) for clip in clips),
        **({"sync_filter": {"clips": len(clips), **counts}} if counts else {}),
        "r2": {},
    }
    for name, speech in backends(args.whisper, [int(layer) for layer in args.layers.split(",")]).items():
        try:
            backend = speech_backend(speech)
        except S3DNeRFError as lacking:
            result["r2"][name] = {"not measured": str(lacking).splitlines()[0].partition(" — ")[0]}
            continue
        begun = time.perf_counter()
        tokens = [backend.tokens(clip.samples) for clip in clips[:5]]
        seconds = (time.perf_counter() - begun) / sum(len(part) / 50 for part in tokens)
        result["r2"][name] = {
            **{name: explained(of, backend) for name, of in sounds.items()},
            "seconds_per_second": round(seconds, 4),
        }
        print(name, result["r2"][name], flush=True)
    print(write("speech_features_sample" if args.data else "speech_features", result))


if __name__ == "__main__":
    main()
