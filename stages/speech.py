"""Stage ``speech``: tokens at 50 Hz (two a frame) and the lip-sync networks' mel, from the 16 kHz sound.

Reads the packs of ``resample`` (``wav``) of the clips that ``align`` kept; writes ``tokens.npy`` float16 (2 N, D) and
``mel.npy`` float32 (int(80 N / 25) + 16, 80). Run: ``python -m flows.run speech``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.config import Settings, SpeechSettings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.speech.features import SpeechBackend, speech_backend
from s3dnerf.speech.mel import SAMPLES_PER_FRAME, clip_mel
from s3dnerf.speech.wav2vec2 import SpeechModelError, model_files
from s3dnerf.video.packs import CorpusPacks, PackError
from stages.context import Context
from stages.packs import ClipResult, PackJob, PackStage, Quarantine, StageError, each_clip, run_packs


def weights(settings: Settings) -> list[Path]:
    """wav2vec2's files. Raises StageError, before any work, when they are not here."""
    if settings.speech.backend != "wav2vec2":
        return []
    try:
        return model_files(settings.speech.model)
    except SpeechModelError as missing:
        raise StageError(str(missing)) from missing


SPEC = PackStage("speech", ("resample", "align"), ("speech",), "stages.speech", weights)


@functools.lru_cache(maxsize=1)
def _backend(settings: SpeechSettings) -> SpeechBackend:
    return speech_backend(settings)


def _batches(sounds: dict[str, np.ndarray], size: int) -> Iterator[list[str]]:
    """Clips of equal length, at most ``size`` together, in a fixed order."""
    by_length: dict[int, list[str]] = {}
    for clip in sorted(sounds):
        by_length.setdefault(len(sounds[clip]), []).append(clip)
    for _, clips in sorted(by_length.items()):
        yield from (clips[i : i + size] for i in range(0, len(clips), size))


def process(job: PackJob) -> Iterator[ClipResult]:
    """Tokens and mel of each clip of a pack."""
    packs, backend = CorpusPacks(job.upstream["resample"]), _backend(job.settings.speech)
    sounds: dict[str, np.ndarray] = {}
    faults: dict[str, str] = {}
    for record in job.clips:
        clip = record["clip"]
        try:
            samples = wav_samples(packs.read(clip, "wav"))
        except (PackError, ValueError) as fault:
            faults[clip] = str(fault)[:300]
            continue
        if len(samples) % SAMPLES_PER_FRAME or not len(samples):
            faults[clip] = f"{len(samples)} samples, expected a multiple of {SAMPLES_PER_FRAME}"
        elif not np.isfinite(samples).all():
            faults[clip] = "samples that are not finite"
        else:
            sounds[clip] = samples
    tokens: dict[str, np.ndarray] = {}
    for clips in _batches(sounds, job.settings.speech.batch):
        tokens.update(zip(clips, backend.tokens_of_many([sounds[clip] for clip in clips])))

    def make(record: dict[str, Any]) -> dict[str, Any]:
        clip = record["clip"]
        if clip in faults:
            raise Quarantine("bad_audio", faults[clip])
        return {"tokens.npy": tokens[clip].astype(np.float16), "mel.npy": clip_mel(sounds[clip])}

    yield from each_clip(job, make)


def main(context: Context) -> dict[str, Any]:
    """Run the stage over all corpora."""
    return run_packs(SPEC, context)
