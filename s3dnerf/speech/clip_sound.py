"""A clip's sound as training heard it: ``resample``'s samples, moved in step where ``speech`` moved them.

Reads ``wav`` of the ``resample`` packs and, where the sync filter ran, ``sync.json`` of the ``speech`` packs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.speech.audio import wav_samples
from s3dnerf.sync.filtering import shift_samples
from s3dnerf.video.packs import CorpusPacks

SYNC_PART = "sync.json"


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
