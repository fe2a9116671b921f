"""Stage ``speech``: tokens at 50 Hz (two a frame) and the lip-sync networks' mel, from the 16 kHz sound; the optional
sync filter.

Reads the packs of ``resample`` (``wav``) of the clips that ``align`` kept; writes ``tokens.npy`` float16 (2 N, D) and
``mel.npy`` float32 (int(80 N / 25) + 16, 80). With ``speech.sync_filter`` on, the sound of a clip that is out of step
with its lips is shifted first, or the clip quarantined as ``out_of_sync``; ``sync.json`` then says of each clip what
was found and done (:class:`s3dnerf.sync.filtering.ClipSync`), and :func:`s3dnerf.sync.filtering.clip_samples` gives
everyone else the same sound. Run: ``python -m flows.run speech``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s3dnerf.core.devices import chosen_device
from s3dnerf.core.errors import MissingWeights
from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.settings.schema import Settings, SpeechSettings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.speech.features import SpeechBackend, speech_backend
from s3dnerf.speech.mel import clip_mel
from s3dnerf.speech.wav2vec2 import SpeechModelError, model_files
from s3dnerf.speech.whisper import model_files as whisper_files
from s3dnerf.speech.whisper_weights import WhisperWeightsError
from s3dnerf.sync.filtering import EXCLUDED, SYNC_PART, ClipSync, judge_clip, shift_samples, threshold
from s3dnerf.sync.mouth_offset import MouthOffset, mouth_offset, pooled_offset
from s3dnerf.video.encoding import VideoError, decode_clip
from s3dnerf.video.packs import CorpusPacks
from stages.context import Context
from stages.preprocessing import ClipResult, PackJob, PackStage, Quarantine, StageError, each_clip, run_packs

if TYPE_CHECKING:
    from s3dnerf.sync.syncnet import SyncNet

SYNCNET_SETTING = "speech.sync_weights"


def weights(settings: Settings) -> list[Path]:
    """wav2vec2's or Whisper's files and SyncNet's. Raises StageError, before any work, when they are not here or not
    what they should be.
    """
    speech, files = settings.speech, []
    try:
        if speech.backend == "wav2vec2":
            files += model_files(speech.model)
        if speech.backend == "whisper":
            files += whisper_files(speech.whisper_model)
        if speech.sync_filter == "syncnet":
            files.append(_syncnet_file(speech.sync_weights))
    except (SpeechModelError, WhisperWeightsError, MissingWeights) as missing:
        raise StageError(str(missing)) from missing
    return files


def _syncnet_file(path: str | None) -> Path:
    # torch takes longer to import than speech that needs no network to process: only where it is used
    from s3dnerf.sync.syncnet import SyncNetWeightsError, load_syncnet

    try:
        load_syncnet(path, SYNCNET_SETTING)
    except SyncNetWeightsError as missing:
        raise StageError(str(missing)) from missing
    return Path(str(path))


SPEC = PackStage("speech", ("resample", "align"), weights)


@functools.lru_cache(maxsize=1)
def _backend(settings: SpeechSettings) -> SpeechBackend:
    return speech_backend(settings)


@functools.lru_cache(maxsize=1)
def _syncnet(path: str) -> SyncNet:
    from s3dnerf.sync.syncnet import load_syncnet

    return load_syncnet(path, SYNCNET_SETTING).to(chosen_device())


def mouth_verdicts(
    found: dict[str, MouthOffset], videos: dict[str, str], speech: SpeechSettings
) -> dict[str, ClipSync]:
    """Verdict on each clip by its own offset, or where that is not to be told, by the offset of all clips cut from its
    video.

    Cut from one recording, clips are out of step together, and together they are told more often
    (:mod:`benchmarks.sync`).
    """
    verdicts = {}
    for clip, own in found.items():
        if own.confidence >= threshold(speech):
            verdicts[clip] = judge_clip(own.offset_frames, own.confidence, "clip", speech)
        else:
            together = pooled_offset([found[other] for other in found if videos[other] == videos[clip]])
            verdicts[clip] = judge_clip(together.offset_frames, together.confidence, "video", speech)
    return verdicts


def in_step(job: PackJob, sounds: dict[str, np.ndarray]) -> tuple[dict[str, ClipSync], dict[str, np.ndarray]]:
    """What the sync filter says of each clip of ``sounds``, nothing at all where it is off; and the mels that it made
    to say so.
    """
    speech = job.settings.speech
    if speech.sync_filter == "off":
        return {}, {}
    aligned = CorpusPacks(job.upstream["align"], job.pack)
    if speech.sync_filter == "mouth":
        mels = {clip: clip_mel(sound) for clip, sound in sounds.items()}
        found = {clip: mouth_offset(aligned.read(clip, "landmarks.npy"), mel) for clip, mel in mels.items()}
        return mouth_verdicts(found, {record["clip"]: record["video"] for record in job.clips}, speech), mels
    from s3dnerf.sync.offsets import shifted_distances, sync_result
    from s3dnerf.sync.syncnet import syncnet_embeddings

    verdicts = {}
    for clip, sound in sounds.items():
        embedded = syncnet_embeddings(_syncnet(str(speech.sync_weights)), decode_clip(aligned.read(clip, "mp4")), sound)
        measured = sync_result(shifted_distances(*embedded))
        verdicts[clip] = judge_clip(measured.offset_frames, measured.lse_c, "clip", speech)
    return verdicts, {}


def _batches(sounds: dict[str, np.ndarray], size: int) -> Iterator[list[str]]:
    """Clips of equal length, at most ``size`` together, in a fixed order."""
    by_length: dict[int, list[str]] = {}
    for clip in sorted(sounds):
        by_length.setdefault(len(sounds[clip]), []).append(clip)
    for _, clips in sorted(by_length.items()):
        yield from (clips[i : i + size] for i in range(0, len(clips), size))


def process(job: PackJob) -> Iterator[ClipResult]:
    """Tokens and mel of each clip of a pack."""
    packs, backend = CorpusPacks(job.upstream["resample"], job.pack), _backend(job.settings.speech)
    sounds: dict[str, np.ndarray] = {}
    faults: dict[str, str] = {}
    for record in job.clips:
        clip = record["clip"]
        try:
            samples = wav_samples(packs.read(clip, "wav"))
        except (VideoError, ValueError) as fault:
            faults[clip] = str(fault)[:300]
            continue
        if len(samples) % SAMPLES_PER_FRAME or not len(samples):
            faults[clip] = f"{len(samples)} samples, expected a multiple of {SAMPLES_PER_FRAME}"
        elif not np.isfinite(samples).all():
            faults[clip] = "samples that are not finite"
        else:
            sounds[clip] = samples
    verdicts, mels = in_step(job, sounds)
    for clip, verdict in verdicts.items():
        if verdict.shifted_frames:
            sounds[clip] = shift_samples(sounds[clip], verdict.shifted_frames)
            mels.pop(clip, None)  # it is of the sound as it was
        if verdict.verdict == EXCLUDED:
            del sounds[clip]
    tokens: dict[str, np.ndarray] = {}
    for clips in _batches(sounds, job.settings.speech.batch):
        tokens.update(zip(clips, backend.tokens_of_many([sounds[clip] for clip in clips])))

    def make(record: dict[str, Any]) -> dict[str, Any]:
        clip = record["clip"]
        if clip in faults:
            raise Quarantine("bad_audio", faults[clip])
        if clip not in sounds:
            raise Quarantine("out_of_sync", verdicts[clip].why(job.settings.speech))
        mel = mels[clip] if clip in mels else clip_mel(sounds[clip])
        parts = {"tokens.npy": tokens[clip].astype(np.float16), "mel.npy": mel}
        return parts | ({SYNC_PART: verdicts[clip].as_dict()} if clip in verdicts else {})

    yield from each_clip(job, make)


def main(context: Context) -> dict[str, Any]:
    """Run the stage over all corpora."""
    return run_packs(SPEC, context)
