"""A preprocessed corpus and an untrained expert small enough for tests: drawn discs with mouths, made in a second.

The cameras are honest: the disc's place and turn follow from the pose, so that geometry can be tested on it.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from s3dnerf.faces.camera import world_to_camera
from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings, SyncSettings
from s3dnerf.sync.expert import SyncExpert, save_expert
from s3dnerf.video.encoding import encode_clip
from s3dnerf.video.packs import INDEX_COLUMNS, QUARANTINE_COLUMNS, write_pack, write_table

BOX = np.array([0.0, 0.0, 0.0, 1.1], np.float32)
INTRINSICS = np.array([[640.0, 0, 128], [0, 640.0, 128], [0, 0, 1]], np.float32)
LIP_BOX = np.array([92.0, 128.0, 164.0, 200.0], np.float32)


def turn(yaw: float, pitch: float = 0.0) -> np.ndarray:
    """World-to-camera (3, 4) of a head at the usual distance, angles in radians."""
    return world_to_camera(np.array([pitch, yaw, 0.0]), np.zeros(3)).astype(np.float32)


def picture(opening: float, shade: float) -> tuple[np.ndarray, np.ndarray]:
    """A face-like frame uint8 (256, 256, 3) and its mask; ``opening`` of the mouth in [0, 1]."""
    y, x = np.mgrid[:256, :256] + 0.5
    face = ((x - 128) / 58) ** 2 + ((y - 132) / 74) ** 2 < 1
    frame = np.full((256, 256, 3), (60, 90, 120), np.uint8)
    frame[face] = (np.array([220, 170, 140]) * shade).astype(np.uint8)
    for eye in (106, 150):
        frame[((x - eye) / 10) ** 2 + ((y - 108) / 5) ** 2 < 1] = (30, 30, 40)
    frame[((x - 128) / 24) ** 2 + ((y - 164) / (3 + 16 * opening)) ** 2 < 1] = (90, 20, 30)
    return frame, face


def landmarks(opening: float) -> np.ndarray:
    """68 landmarks (68, 2) of :func:`picture`: sides of the face, a nose that keeps still, and lips on the mouth's
    edge; the rest at 0.
    """
    found = np.zeros((68, 2), np.float32)
    found[[0, 16]] = (70, 130), (186, 130)
    found[27:36] = np.stack([np.full(9, 128.0), np.linspace(112, 144, 9)], 1)
    for first, count in ((48, 12), (60, 8)):
        angle = np.linspace(np.pi, 3 * np.pi, count, endpoint=False)  # from the left corner over the upper lip
        found[first : first + count] = np.stack([128 + 24 * np.cos(angle), 164 + (3 + 16 * opening) * np.sin(angle)], 1)
    return found


def make_corpus(
    data_dir: Path, clips: dict[str, tuple[str, str]], frames: int = 12, speech_dim: int = 20, corpus: str = "hdtf"
) -> None:
    """Write ingest, align, masks, lips and speech of one corpus. ``clips``: id → (speaker, split)."""
    rows, parts = [], {stage: {} for stage in ("align", "masks", "lips", "speech")}
    for number, (clip, (speaker, split)) in enumerate(sorted(clips.items())):
        rng = np.random.default_rng(number)
        opening = 0.5 + 0.5 * np.sin(np.arange(frames) * 1.1 + number)
        drawn = [picture(o, 0.7 + 0.3 * rng.random()) for o in opening]
        tokens = np.repeat(opening, 2)[:, None] * np.linspace(-1, 1, speech_dim) + 0.1 * rng.standard_normal(
            (2 * frames, speech_dim)
        )
        mel = np.repeat(opening * 4 - 2, 4)[:, None] * np.ones(80)
        mel = np.concatenate([mel, np.full((16, 80), -4.0)])[: int(80 * (frames - 1) / 25) + 16]
        rows.append({"clip": clip, "corpus": corpus, "speaker": speaker, "split": split, "pack": f"{corpus}-0000"})
        parts["align"][clip] = {
            "mp4": encode_clip([f for f, _ in drawn], crf=10),
            "landmarks.npy": np.stack([landmarks(o) for o in opening]),
        }
        parts["masks"][clip] = {
            "world_to_camera.npy": np.stack([turn(0.05 * np.sin(i)) for i in range(frames)]),
            "intrinsics.npy": np.repeat(INTRINSICS[None], frames, 0),
            "box.npy": BOX,
            "mask.npy": np.packbits(np.stack([m for _, m in drawn]), axis=-1),
        }
        parts["lips"][clip] = {"lip_box.npy": LIP_BOX, "crop_boxes.npy": np.repeat(LIP_BOX[None], frames, 0)}
        parts["speech"][clip] = {"tokens.npy": tokens.astype(np.float16), "mel.npy": mel.astype(np.float32)}
    (data_dir / "ingest" / corpus).mkdir(parents=True, exist_ok=True)
    write_table(data_dir / "ingest" / corpus / "clips.parquet", rows, ["clip", "corpus", "speaker", "split", "pack"])
    for stage, of_clips in parts.items():
        index = write_pack(data_dir / stage / corpus / f"{corpus}-0000.tar", of_clips)
        write_table(
            data_dir / stage / corpus / "index.parquet",
            [{"pack": f"{corpus}-0000", **row} for row in index],
            INDEX_COLUMNS,
        )
        write_table(data_dir / stage / corpus / "quarantine.parquet", [], QUARANTINE_COLUMNS)


def make_expert(folder: Path, settings: SyncSettings, passes: bool = True) -> None:
    """Write an untrained expert whose card says that it passed its gate, or not."""
    torch.manual_seed(5)
    card = {
        "role": "expert",
        "settings": as_dict(settings),
        "gate": settings.gate,
        "passes": passes,
        "monitor": [],
        "held_out": {"accuracy": 0.9 if passes else 0.55},
    }
    save_expert(folder, SyncExpert(settings).state_dict(), card)


def make_training_data(settings: Settings, data_dir: Path, passes: bool = True, frames: int = 12) -> None:
    """Two training people and one test person, and an expert."""
    clips = {"hdtf_A_000": ("A", "train"), "hdtf_B_000": ("B", "train"), "hdtf_C_000": ("C", "test")}
    make_corpus(data_dir, clips, frames)
    make_expert(data_dir / "train_sync" / "expert", settings.sync, passes)
