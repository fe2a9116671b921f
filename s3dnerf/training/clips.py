"""A clip with everything preprocessing knows of it, as arrays: what training, evaluation and reports read.

Reads the corpus folders of ``align``, ``masks``, ``lips`` and ``speech`` under ``data/<preset>/``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.video.encoding import decode_clip
from s3dnerf.video.packs import CorpusPacks

STAGES = ("align", "masks", "lips", "speech")


@dataclass(frozen=True)
class Clip:
    """One clip of N frames at 25 Hz.

    Attributes
    ----------
    record : dict
        Ingest's record: clip, corpus, speaker, split, ….
    frames : uint8 (N, 256, 256, 3), RGB
    masks : bool (N, 256, 256), the inner face with the mouth filled
    landmarks : float32 (N, 68, 2), pixels (x, y) of the aligned frame
    world_to_camera : float32 (N, 3, 4), canonical head frame → OpenCV camera (x right, y down, z forward)
    intrinsics : float32 (N, 3, 3), of the 256-pixel frame; pixel i covers [i, i + 1)
    box : float32 (4,), centre x, y, z and half side of the head's cube in the canonical frame
    lip_boxes : float32 (N, 4), x0, y0, x1, y1 in pixels of the aligned frame, squares of one side: what lip crops are
        cut by
    tokens : float32 (2 N, D), speech at 50 Hz
    mel : float32 (M, 80), the expert's mel at 80 Hz
    """

    record: dict[str, Any]
    frames: np.ndarray
    masks: np.ndarray
    landmarks: np.ndarray
    world_to_camera: np.ndarray
    intrinsics: np.ndarray
    box: np.ndarray
    lip_boxes: np.ndarray
    tokens: np.ndarray
    mel: np.ndarray

    @property
    def clip(self) -> str:
        """The clip's name."""
        return self.record["clip"]

    @property
    def speaker(self) -> str:
        """Who speaks, as ingest names the person."""
        return self.record["speaker"]


class ClipFolder:
    """The clips of one corpus that came through every preprocessing stage.

    Parameters
    ----------
    data_dir : path
        ``data/<preset>``.
    corpus : str
    """

    def __init__(self, data_dir: str | Path, corpus: str) -> None:
        import pandas as pd

        data_dir = Path(data_dir)
        self.corpus = corpus
        self.packs = {stage: CorpusPacks(data_dir / stage / corpus) for stage in STAGES}
        table = pd.read_parquet(data_dir / "ingest" / corpus / "clips.parquet").sort_values("clip")
        self.records = [r for r in table.to_dict("records") if all(r["clip"] in p for p in self.packs.values())]

    def of_split(self, *splits: str) -> list[dict[str, Any]]:
        """Records of these splits (``train``, ``val``, ``test``), sorted by clip."""
        return [r for r in self.records if r["split"] in splits]

    def load(self, record: dict[str, Any], max_frames: int | None = None) -> Clip:
        """One clip, decoded; its first ``max_frames`` frames where given (speech is cut to match)."""
        clip, read = record["clip"], lambda stage, kind: self.packs[stage].read(record["clip"], kind)
        frames = decode_clip(read("align", "mp4"))
        n = len(frames) if max_frames is None else min(len(frames), max_frames)
        masks = np.unpackbits(read("masks", "mask.npy"), axis=-1)[..., :256].astype(bool)
        tokens = read("speech", "tokens.npy").astype(np.float32)
        mel = read("speech", "mel.npy").astype(np.float32)
        if not len(frames) == len(masks) == len(tokens) // 2:
            raise ValueError(
                f"{clip}: {len(frames)} frames, {len(masks)} masks, {len(tokens)} tokens: expected N, N, 2 N"
            )
        return Clip(
            record=record,
            frames=frames[:n],
            masks=masks[:n],
            landmarks=read("align", "landmarks.npy")[:n],
            world_to_camera=read("masks", "world_to_camera.npy")[:n],
            intrinsics=read("masks", "intrinsics.npy")[:n],
            box=read("masks", "box.npy"),
            lip_boxes=read("lips", "crop_boxes.npy")[:n],
            tokens=tokens[: 2 * n],
            mel=mel[: int(80 * n / 25) + 16],
        )
