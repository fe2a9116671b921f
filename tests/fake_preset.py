"""A whole preset as the stages would have left it, in a second: drawn talkers, random networks, and a landmark finder
that reads them.

For the tests of ``evaluate`` and ``report``. The faces are those of ``tests/small_corpus.py``; :class:`DrawnFaces`
finds their mouth by colour, so that landmarks follow what is drawn; :class:`FakeJudge` hears nothing and always says
the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch

from s3dnerf.faces.types import Face
from s3dnerf.model.s3dnerf import S3DNeRF
from s3dnerf.settings.loading import settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.speech.audio import wav_bytes
from s3dnerf.speech.mel import clip_mel
from s3dnerf.video.packs import INDEX_COLUMNS, QUARANTINE_COLUMNS, write_pack, write_table
from tests.small_corpus import LIP_BOX, make_corpus

SPEECH_DIM = 20
FRAMES = 12
SMALL_MODEL = {
    # fmt: off
    "slot_dim": 16,
    "encoder_width": 8,
    "plane_channels": 4,
    "slot_grid": 4,
    "slot_iterations": 1,
    "heads": 2,
    "deform_widths": [16, 8, 16],
    "position_octaves": 2,
    "decoder_width": 16,
    "feature_channels": 6,
    "coarse_samples": 4,
    "fine_samples": 4,
    "raw_px": 16,
    "image_px": 64,
    "superres_width": 8,
    "discriminator_width": 4,
}

# fmt: on


def settings_of(**changes: object) -> Settings:
    """The fake preset's settings: named ``tiny``; ``evaluate=…`` and the like replace single fields."""
    given: dict = {
        "preset": "tiny",
        "raw": {"hdtf": "raw/HDTF", "lrs2": None, "mead": "raw/MEAD", "portraits": None},
        "sample": {"enabled": True},
        "align": {"backend": "dlib", "model_dir": None},
        "masks": {"backend": "fitted", "network": None, "morphable_model": None},
        "speech": {"backend": "logmel", "model": None},
        "model": SMALL_MODEL,
        "train": {"perceptual": "stand_in", "vgg_weights": None},
        "evaluate": {
            "clip_s": 0.8,
            "judge": "trained",
            "syncnet_weights": None,
            "lpips": "off",
            "lpips_weights": None,
            "identity": "off",
            "bootstrap": 200,
            "picture_every": 6,
        },
        "report": {"people": True, "strips": 2, "strip_frames": 3},
    }
    for section, values in changes.items():
        given[section] = {**given.get(section, {}), **values} if isinstance(values, dict) else values
    return settings_from(given)


class DrawnFaces:
    """Landmarks of the drawn faces: 68 points whose mouth follows the dark red of the picture; no face where there is
    none.
    """

    name, real, contour = "drawn", False, "fixed"

    def detect(self, image: np.ndarray, max_px: int | None = None) -> list[Face]:
        skin = (image[..., 0].astype(int) - image[..., 2] > 25) & (image[..., 0] > 110)
        if skin.sum() < 2000:
            return []
        ys, xs = np.nonzero(skin)
        return [Face((float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max())), 1.0)]

    def landmarks(self, image: np.ndarray, box_px: tuple[float, float, float, float]) -> np.ndarray:
        x0, y0, x1, y1 = box_px
        turn = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        points = np.zeros((68, 2), np.float32)
        points[:48] = np.stack(
            [(x0 + x1) / 2 + (x1 - x0) / 2 * np.cos(turn), (y0 + y1) / 2 + (y1 - y0) / 2 * np.sin(turn)], 1
        )
        mouth = np.abs(image.astype(int) - (90, 20, 30)).max(axis=-1) < 32
        mouth[:130] = False  # eyes are dark as well
        ys, xs = np.nonzero(mouth) if mouth.any() else (np.array([y1]), np.array([x0]))
        (left, right), (top, bottom) = np.percentile(xs, [2, 98]), np.percentile(ys, [2, 98])
        for first, count, share in ((48, 12, 1.0), (60, 8, 0.8)):  # outer lips, then inner ones: 62 stands above 66
            turn = np.pi + np.arange(count) * 2 * np.pi / count
            points[first : first + count] = np.stack(
                [
                    (left + right) / 2 + share * (right - left) / 2 * np.cos(turn),
                    (top + bottom) / 2 + share * (bottom - top) / 2 * np.sin(turn),
                ],
                1,
            )
        return points

    def track_box(self, landmarks: np.ndarray) -> tuple[float, float, float, float]:
        low, high = landmarks[:48].min(0), landmarks[:48].max(0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


@dataclass
class FakeJudge:
    """Says how dark the frames are: a number that differs between videos."""

    name: str = "a fake judge"
    real: bool = False
    protocol: str = "none"
    reads: str = "mel"

    def audio_of(self, samples: np.ndarray) -> np.ndarray:
        return clip_mel(samples)

    def measure(
        self, frames: np.ndarray, lip_box: np.ndarray, samples: np.ndarray, audio: np.ndarray
    ) -> SimpleNamespace:
        level = float(frames.mean()) / 255
        return SimpleNamespace(
            lse_c=1 + level, lse_d=8 - level, offset_frames=0, curve=[8.0] * 31, windows=len(frames) - 5
        )


def _more_of_ingest(data: Path, corpus: str) -> None:
    """The columns that small_corpus leaves out, the raw files, one exclusion, and the resampled sound."""
    table = pd.read_parquet(data / "ingest" / corpus / "clips.parquet")
    table["video"] = [f"clips/{c.split('_', 1)[1]}.mp4" for c in table["clip"]]
    for name, value in {
        "audio": "",
        "start_s": 0.0,
        "end_s": FRAMES / 25,
        "crop_x": -1,
        "crop_y": -1,
        "crop_w": -1,
        "crop_h": -1,
        "fps_hz": 25.0,
        "width_px": 256,
        "height_px": 256,
        "duration_s": FRAMES / 25,
        "text": "",
    }.items():
        table[name] = value
    table.to_parquet(data / "ingest" / corpus / "clips.parquet", index=False)
    files = [
        {"path": v, "role": "video", "status": "used", "reason": "", "detail": "", "clips": 1} for v in table["video"]
    ]
    files.append(
        {
            "path": "clips/broken.mp4",
            "role": "video",
            "status": "excluded",
            "reason": "unreadable",
            "detail": "moov atom not found",
            "clips": 0,
        }
    )
    pd.DataFrame(files).to_parquet(data / "ingest" / corpus / "files.parquet", index=False)
    write_table(
        data / "ingest" / corpus / "excluded.parquet",
        [{"clip": f"{corpus}_short_000", "stage": "ingest", "reason": "too_short", "detail": "0.2 s"}],
        ["clip", "stage", "reason", "detail"],
    )
    tone = (0.3 * np.sin(np.arange(640 * FRAMES) * 0.2)).astype(np.float32)
    parts = {clip: {"wav": wav_bytes(tone), "frames.npy": np.arange(FRAMES, dtype=np.int32)} for clip in table["clip"]}
    rows = write_pack(data / "resample" / corpus / f"{corpus}-0000.tar", parts)
    write_table(
        data / "resample" / corpus / "index.parquet", [{"pack": f"{corpus}-0000", **r} for r in rows], INDEX_COLUMNS
    )
    write_table(data / "resample" / corpus / "quarantine.parquet", [], QUARANTINE_COLUMNS)


def add_parts(data: Path, stage: str, corpus: str, more: dict[str, dict[str, np.ndarray]]) -> None:
    """Further parts (clip → kind → value) in a stage's only pack; a kind that is there is replaced."""
    from s3dnerf.video.packs import CorpusPacks

    packs = CorpusPacks(data / stage / corpus)
    parts = {c: {k: packs.read(c, k) for k in packs.kinds(c)} | more.get(c, {}) for c in packs.clips}
    rows = write_pack(data / stage / corpus / f"{corpus}-0000.tar", parts)
    write_table(data / stage / corpus / "index.parquet", [{"pack": f"{corpus}-0000", **r} for r in rows], INDEX_COLUMNS)


def _more_parts(data: Path, corpus: str) -> None:
    """What small_corpus leaves out: the alignment matrix (the identity), detector scores, coefficients, boxes a frame."""
    clips = pd.read_parquet(data / "ingest" / corpus / "clips.parquet")["clip"]
    scores = np.where(np.arange(FRAMES) % 5, np.nan, 1.5).astype(np.float32)
    for stage, more in {
        "align": {"matrix.npy": np.eye(3)[:2], "scores.npy": scores},
        "masks": {"coefficients.npy": np.zeros((FRAMES, 257), np.float32)},
        "lips": {"boxes.npy": np.tile(LIP_BOX, (FRAMES, 1))},
    }.items():
        add_parts(data, stage, corpus, {clip: more for clip in clips})


def make_generator(
    folder: Path, settings: Settings, variant: str = "full", sync_weight: float = 0.5, speech_dim: int = SPEECH_DIM
) -> None:
    """A random generator with its card, curves and nothing else."""
    from safetensors.torch import save_file

    from s3dnerf.settings.loading import as_dict

    torch.manual_seed(3)
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {k: v.contiguous() for k, v in S3DNeRF(settings.model, speech_dim, variant).state_dict().items()},
        folder / "generator.safetensors",
    )
    card = {
        "variant": variant,
        "speech_dim": speech_dim,
        "steps": 4,
        "settings": as_dict(settings),
        "seed": 0,
        "sync_weight": {"value": sync_weight, "why": "settings: train.phases"},
        "perceptual": {"name": "stand_in", "real": False},
        "speakers": ["A", "B"],
        "clips": 2,
        "corpora": ["hdtf"],
    }
    (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
    lines = [json.dumps({"step": i, "total": 1 / (i + 1), "pix": 0.1 / (i + 1)}) for i in range(12)]
    (folder / "curves.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def make_preset(root: Path, settings: Settings, passes: bool = True) -> None:
    """Everything that ``evaluate`` and ``report`` read, under ``root``: three HDTF and two MEAD test people, two to
    train on.
    """
    data = root / settings.data_dir
    clips = {f"hdtf_{n}_000": (n, "test") for n in ("C", "D", "E")} | {
        f"hdtf_{n}_000": (n, "train") for n in ("A", "B")
    }
    make_corpus(data, clips, FRAMES, SPEECH_DIM)
    make_corpus(data, {"mead_M1_000": ("M1", "test"), "mead_M2_000": ("M2", "test")}, FRAMES, SPEECH_DIM, "mead")
    inventory = []
    for corpus in ("hdtf", "mead"):
        _more_of_ingest(data, corpus)
        _more_parts(data, corpus)
        files = pd.read_parquet(data / "ingest" / corpus / "files.parquet")
        inventory += [{"corpus": corpus, "path": p, "size": 10, "sha256": "0" * 64, "kind": ""} for p in files["path"]]
    (data / "inventory").mkdir(parents=True)
    pd.DataFrame(inventory).to_parquet(data / "inventory" / "files.parquet", index=False)
    for role in ("expert", "judge"):
        folder = data / "train_sync" / role
        folder.mkdir(parents=True)
        held = {
            "accuracy": 0.91 if passes else 0.55,
            "low": 0.85,
            "high": 0.95,
            "trials": 400,
            "speakers": 4,
            "clips": 9,
        }
        card = {
            "role": role,
            "passes": passes,
            "gate": 0.75,
            "held_out": held,
            "monitor": [],
            "settings": {},
            "speakers": ["hdtf/A"] if role == "expert" else [],
            "held_out_speakers": ["hdtf/B"] if role == "expert" else [],
        }
        (folder / "card.json").write_text(json.dumps(card), encoding="utf-8")
        (folder / "weights.safetensors").write_bytes(b"no weights: the judge is a fake one")
        offsets = list(range(15, -16, -1))
        distance = [1.2 - 0.5 * np.exp(-((o / 2) ** 2)) for o in offsets]
        shape = {
            "offset_frames": offsets,
            "distance": distance,
            "by_corpus": {"lrs2": distance},
            "extreme_offset_frames": 0,
            "windows": 90,
        }
        (folder / "offsets.json").write_text(json.dumps(shape), encoding="utf-8")
        (folder / "curves.jsonl").write_text(
            "".join(json.dumps({"step": i, "loss": 1 - i / 30}) + "\n" for i in range(20)), encoding="utf-8"
        )
    for variant in settings.train.variants:
        make_generator(data / "train_s3dnerf" / variant, settings, variant)


PROVENANCE = {
    "git": {"revision": "0123456789abcdef", "dirty": False},
    "dvc_lock": {"evaluate": {"data/tiny/evaluate": "d41d8cd9.dir"}},
    "lock": {
        "schema": "2.0",
        "stages": {"evaluate": {"outs": [{"path": "data/tiny/evaluate", "md5": "d41d8cd9.dir"}]}},
    },
    "lock_sha256": "ab" * 32,
    "packages": {"numpy": "2.4.6", "torch": "2.13.0"},
    "hardware": {"cpu": "a CPU", "cores": 2, "memory_gb": 23.4, "gpu": None, "os": "Linux", "python": "3.11"},
}
