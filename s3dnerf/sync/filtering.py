"""The sync filter: what becomes of a clip whose sound and picture are apart, and the sound moved back in step.

A clip is kept with its sound shifted, or excluded, as the settings say; offset and confidence are recorded either way.
The offset comes from SyncNet v2 (:mod:`s3dnerf.sync.syncnet`, LSE-C as its confidence) or from the mouth's opening
(:mod:`s3dnerf.sync.mouth_offset`). Source of the protocol: LatentSync keeps a clip of confidence ≥ 3 and |offset| ≤ 6
frames and shifts the sound by the offset.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.core.rates import SAMPLES_PER_FRAME
from s3dnerf.settings.schema import SpeechSettings
from s3dnerf.speech.audio import wav_samples
from s3dnerf.video.packs import CorpusPacks

SYNC_PART = "sync.json"  # what was found for a clip, in the packs of ``speech``
IN_STEP, SHIFTED, UNSURE, EXCLUDED = "in_step", "shifted", "unsure", "excluded"


@dataclass(frozen=True)
class ClipSync:
    """What was found for a clip, and what is done.

    Attributes
    ----------
    backend : syncnet or mouth
    measured_on : clip, or video: all clips of its recording together
    offset_frames : int, as found; > 0: the sound is early
    confidence : float, of that offset
    verdict : in_step, shifted, unsure (not to be told, kept as it is) or excluded
    shifted_frames : int, frames by which the sound was delayed (negative: brought forward); 0 unless shifted
    """

    backend: str
    measured_on: str
    offset_frames: int
    confidence: float
    verdict: str
    shifted_frames: int

    def as_dict(self) -> dict[str, Any]:
        """Plain values, the confidence to a thousandth."""
        return {**self.__dict__, "confidence": round(self.confidence, 3)}

    def why(self, speech: SpeechSettings) -> str:
        """One sentence for a quarantine's detail."""
        found = (
            f"offset {self.offset_frames:+d} frames, confidence {self.confidence:.2f} ({self.backend}, "
            f"{self.measured_on})"
        )
        if self.confidence < threshold(speech):
            return f"{found}: below {threshold(speech):g}, and speech.sync_unsure is {speech.sync_unsure}"
        if speech.sync_action == "shift":
            return f"{found}: more than speech.sync_max_frames = {speech.sync_max_frames}"
        return f"{found}: more than speech.sync_tolerance_frames = {speech.sync_tolerance_frames}"


def threshold(speech: SpeechSettings) -> float:
    """The confidence from which an offset is believed; each backend has a scale of its own."""
    return speech.syncnet_confidence if speech.sync_filter == "syncnet" else speech.mouth_confidence


def judge_clip(offset_frames: int, confidence: float, measured_on: str, speech: SpeechSettings) -> ClipSync:
    """The verdict on one clip, by the settings ``sync_*`` of ``speech``."""
    apart = abs(offset_frames)
    if confidence < threshold(speech):
        verdict = EXCLUDED if speech.sync_unsure == "exclude" else UNSURE
    elif apart <= speech.sync_tolerance_frames:
        verdict = IN_STEP
    else:
        verdict = SHIFTED if speech.sync_action == "shift" and apart <= speech.sync_max_frames else EXCLUDED
    return ClipSync(
        speech.sync_filter, measured_on, offset_frames, confidence, verdict, offset_frames if verdict == SHIFTED else 0
    )


def shift_samples(samples: np.ndarray, frames: int) -> np.ndarray:
    """Sound delayed by ``frames`` frames of 640 samples (negative: brought forward), silence where there is none: (n,)
    → (n,).

    >>> shift_samples(np.arange(1, 1281.0), 1)[[0, 639, 640, 1279]].tolist()
    [0.0, 0.0, 1.0, 640.0]
    """
    if frames == 0:
        return samples
    moved, by = np.zeros_like(samples), min(abs(frames) * SAMPLES_PER_FRAME, len(samples))
    if frames > 0:
        moved[by:] = samples[: len(samples) - by]
    else:
        moved[: len(samples) - by] = samples[by:]
    return moved


def clip_samples(data_dir: str | Path, record: dict[str, Any]) -> np.ndarray:
    """Samples float32 (640 N,) at 16 kHz of the clip of ingest's ``record``. Raises PackError when a pack is missing or
    lacks the clip.
    """
    clip, corpus, pack = record["clip"], record["corpus"], record["pack"]
    samples = wav_samples(CorpusPacks(Path(data_dir) / "resample" / corpus, pack).read(clip, "wav"))
    speech = CorpusPacks(Path(data_dir) / "speech" / corpus, pack)
    if SYNC_PART not in speech.kinds(clip):
        return samples
    return shift_samples(samples, speech.read(clip, SYNC_PART)["shifted_frames"])
