"""A clip with everything preprocessing knows of it, as arrays: what training, evaluation and reports read.

Reads the corpus folders of ``align``, ``masks``, ``lips`` and ``speech`` under ``data/<preset>/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from s3dnerf.video.encoding import decode_clip, decode_frames
from s3dnerf.video.packs import CorpusPacks

STAGES = ("align", "masks", "lips", "speech")


@dataclass(frozen=True)
class ClipArrays:
    """What is known of one clip of N frames at 25 Hz, but for its pictures.

    Attributes
    ----------
    record : dict
        Ingest's record: clip, corpus, speaker, split, ….
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

    def first(self, frames: int) -> ClipArrays:
        """The clip's first ``frames`` frames, its speech cut to match."""
        n = frames
        return ClipArrays(
            record=self.record,
            landmarks=self.landmarks[:n],
            world_to_camera=self.world_to_camera[:n],
            intrinsics=self.intrinsics[:n],
            box=self.box,
            lip_boxes=self.lip_boxes[:n],
            tokens=self.tokens[: 2 * n],
            mel=self.mel[: int(80 * n / 25) + 16],
        )


@dataclass(frozen=True)
class Clip(ClipArrays):
    """One clip with its pictures.

    Attributes
    ----------
    frames : uint8 (N, 256, 256, 3), RGB
    masks : bool (N, 256, 256), the inner face with the mouth filled
    """

    frames: np.ndarray
    masks: np.ndarray


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
        self._by_clip = {r["clip"]: r for r in self.records}

    def record(self, clip: str) -> dict[str, Any]:
        """The record of a clip. Raises KeyError where it did not come through."""
        return self._by_clip[clip]

    def of_split(self, *splits: str) -> list[dict[str, Any]]:
        """Records of these splits (``train``, ``val``, ``test``), sorted by clip."""
        return [r for r in self.records if r["split"] in splits]

    def load(self, record: dict[str, Any], max_frames: int | None = None) -> Clip:
        """One clip, decoded; its first ``max_frames`` frames where given (speech is cut to match)."""
        arrays = self.arrays(record)
        frames = decode_clip(self.packs["align"].read(record["clip"], "mp4"))
        masks = _unpacked(self.packs["masks"].read(record["clip"], "mask.npy"))
        if not len(frames) == len(masks) == len(arrays.tokens) // 2:
            raise ValueError(
                f"{record['clip']}: {len(frames)} frames, {len(masks)} masks, {len(arrays.tokens)} tokens: expected N, "
                "N, 2 N"
            )
        n = len(frames) if max_frames is None else min(len(frames), max_frames)
        return Clip(**vars(arrays.first(n)), frames=frames[:n], masks=masks[:n])

    def arrays(self, record: dict[str, Any]) -> ClipArrays:
        """What is known of a clip but for its pictures, which are not read."""
        clip = record["clip"]

        def read(stage: str, kind: str) -> np.ndarray:
            return self.packs[stage].read(clip, kind)

        return ClipArrays(
            record=record,
            landmarks=read("align", "landmarks.npy"),
            world_to_camera=read("masks", "world_to_camera.npy"),
            intrinsics=read("masks", "intrinsics.npy"),
            box=read("masks", "box.npy"),
            lip_boxes=read("lips", "crop_boxes.npy"),
            tokens=read("speech", "tokens.npy").astype(np.float32),
            mel=read("speech", "mel.npy").astype(np.float32),
        )

    def pictures(self, record: dict[str, Any], at: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Some frames of a clip, uint8 (n, 256, 256, 3), and their masks, bool (n, 256, 256); no other is decoded.

        Parameters
        ----------
        at : numbers of the frames, in any order; a number may come twice
        """
        clip = record["clip"]
        masks = _unpacked(self.packs["masks"].read(clip, "mask.npy")[list(at)])
        return decode_frames(self.packs["align"].read(clip, "mp4"), at), masks


def _unpacked(bits: np.ndarray) -> np.ndarray:
    """Masks kept as bits, uint8 (n, 256, 32), as bool (n, 256, 256)."""
    return np.unpackbits(bits, axis=-1)[..., :256].astype(bool)
