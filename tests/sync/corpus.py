"""A preprocessed corpus of made-up talkers on disk, as the stages before ``train_sync`` leave it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from s3dnerf.speech.logmel import LogMel
from s3dnerf.speech.mel import clip_mel
from s3dnerf.video.encoding import encode_clip
from s3dnerf.video.packs import INDEX_COLUMNS, QUARANTINE_COLUMNS, write_pack, write_table
from tests.sync.talking import talker, talkers_sound

BOX = np.array([104.0, 154.0, 152.0, 202.0], np.float32)
CLIP_COLUMNS = ["clip", "corpus", "speaker", "split", "pack", "video", "duration_s"]


def frames_of(lips: np.ndarray) -> np.ndarray:
    """256-pixel frames whose box ``BOX`` shows the crops (n, 3, 56, 56), the margin around it: uint8 (n, 256, 256, 3)."""
    frames = np.full((len(lips), 256, 256, 3), 128, np.uint8)
    frames[:, 150:206, 100:156] = lips.transpose(0, 2, 3, 1)
    return frames


def write_corpus(
    data_dir: Path, corpus: str, people: dict[str, str], seconds: float, clips: int = 1, shuffled: bool = False
) -> None:
    """Corpus folders of ingest, align, masks, lips and speech for ``people`` (name → split).

    ``shuffled``: every clip has the sound of another recording of the same length.
    """
    rows: list[dict] = []
    parts: dict[str, dict[str, dict]] = {stage: {} for stage in ("align", "masks", "lips", "speech")}
    for name, split in people.items():
        for i in range(clips):
            made = talker(name, seconds, i)
            samples = talkers_sound(name, seconds, i + 1000 if shuffled else i)
            clip = f"{corpus}_{name}_{i:03d}"
            n = len(made.lips)
            rows.append(
                {
                    "clip": clip,
                    "corpus": corpus,
                    "speaker": name,
                    "split": split,
                    "pack": f"{corpus}-0000",
                    "video": "v.mp4",
                    "duration_s": n / 25,
                }
            )
            parts["align"][clip] = {"mp4": encode_clip(frames_of(made.lips), crf=6)}
            parts["masks"][clip] = {"box.npy": np.zeros(4, np.float32)}
            parts["lips"][clip] = {"lip_box.npy": BOX, "crop_boxes.npy": np.repeat(BOX[None], n, 0)}
            parts["speech"][clip] = {
                "mel.npy": clip_mel(samples),
                "tokens.npy": LogMel().tokens(samples).astype(np.float16),
            }
    write_table(data_dir / "ingest" / corpus / "clips.parquet", rows, CLIP_COLUMNS)
    for stage, made_parts in parts.items():
        folder = data_dir / stage / corpus
        folder.mkdir(parents=True, exist_ok=True)
        index = write_pack(folder / f"{corpus}-0000.tar", made_parts)
        write_table(folder / "index.parquet", [{"pack": f"{corpus}-0000", **row} for row in index], INDEX_COLUMNS)
        write_table(folder / "quarantine.parquet", [], QUARANTINE_COLUMNS)
