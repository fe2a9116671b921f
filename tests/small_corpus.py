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


def solid_picture(pose: np.ndarray, shade: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A frame of a head with depth, its mask and its landmarks: a disc whose blue eyes, red nose and mouth lie before it
    and move against it as it turns.

    Parameters
    ----------
    pose : world to camera (3, 4)
    """

    def seen(x: float, y: float, z: float) -> np.ndarray:
        point = INTRINSICS @ (pose[:, :3] @ np.array([x, y, z]) + pose[:, 3])
        return point[:2] / point[2]

    y, x = np.mgrid[:256, :256] + 0.5
    frame, found = np.full((256, 256, 3), (60, 90, 120), np.uint8), np.zeros((68, 2), np.float32)
    around = np.pi * (1 + np.arange(17) / 16)
    found[:17] = [seen(0.95 * np.cos(a), 1.15 * np.sin(a), 0.0) for a in around]
    middle = seen(0.0, 0.0, 0.0)
    face = ((x - middle[0]) / 62) ** 2 + ((y - middle[1]) / 76) ** 2 < 1
    frame[face] = (np.array([220, 170, 140]) * shade).astype(np.uint8)
    found[27:36] = [seen(0.0, 0.35 - 0.05 * i, 0.7) for i in range(9)]
    for first, side in ((36, -1), (42, 1)):
        eye = seen(0.35 * side, 0.4, 0.35)
        found[first : first + 6] = [eye + (9 * np.cos(a), 4 * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 6, False)]
        frame[((x - eye[0]) / 9) ** 2 + ((y - eye[1]) / 5) ** 2 < 1] = (30, 40, 200)
    for first, count in ((48, 12), (60, 8)):
        angle = np.linspace(np.pi, 3 * np.pi, count, endpoint=False)
        found[first : first + count] = [seen(0.35 * np.cos(a), -0.5 - 0.12 * np.sin(a), 0.42) for a in angle]
    mouth, nose = found[48:].mean(0), found[35]
    frame[((x - mouth[0]) / 22) ** 2 + ((y - mouth[1]) / 8) ** 2 < 1] = (90, 20, 30)
    frame[((x - nose[0]) / 8) ** 2 + ((y - nose[1]) / 10) ** 2 < 1] = (230, 30, 30)
    return frame, face, found


def make_corpus(
    data_dir: Path,
    clips: dict[str, tuple[str, str]],
    frames: int = 12,
    speech_dim: int = 20,
    corpus: str = "hdtf",
    yaws: np.ndarray | None = None,
) -> None:
    """Write ingest, align, masks, lips and speech of one corpus. ``clips``: id → (speaker, split). With ``yaws``, an
    angle a frame, heads are :func:`solid_picture`.
    """
    rows, parts = [], {stage: {} for stage in ("align", "masks", "lips", "speech")}
    for number, (clip, (speaker, split)) in enumerate(sorted(clips.items())):
        rng = np.random.default_rng(number)
        opening = 0.5 + 0.5 * np.sin(np.arange(frames) * 1.1 + number)
        poses = np.stack([turn(0.05 * np.sin(i)) if yaws is None else turn(yaws[i]) for i in range(frames)])
        flat = [(*picture(o, 0.7 + 0.3 * rng.random()), landmarks(o)) for o in opening] if yaws is None else []
        drawn = flat or [solid_picture(pose, 0.85) for pose in poses]
        tokens = np.repeat(opening, 2)[:, None] * np.linspace(-1, 1, speech_dim) + 0.1 * rng.standard_normal(
            (2 * frames, speech_dim)
        )
        mel = np.repeat(opening * 4 - 2, 4)[:, None] * np.ones(80)
        mel = np.concatenate([mel, np.full((16, 80), -4.0)])[: int(80 * (frames - 1) / 25) + 16]
        rows.append({"clip": clip, "corpus": corpus, "speaker": speaker, "split": split, "pack": f"{corpus}-0000"})
        parts["align"][clip] = {
            "mp4": encode_clip([f for f, _, _ in drawn], crf=10),
            "landmarks.npy": np.stack([found for _, _, found in drawn]),
        }
        parts["masks"][clip] = {
            "world_to_camera.npy": poses,
            "intrinsics.npy": np.repeat(INTRINSICS[None], frames, 0),
            "box.npy": BOX,
            "mask.npy": np.packbits(np.stack([m for _, m, _ in drawn]), axis=-1),
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
