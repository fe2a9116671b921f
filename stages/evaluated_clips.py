"""Evaluated clips in the store: what decides a clip's rows and pictures, and its entry.

``evaluate`` keeps each clip as soon as it is measured, so that a killed run of thousands goes on where it was. An entry
holds ``result.json`` (rows, mouth openings, notes, maps), ``features.safetensors`` (of each method by each feature
network, where there is one) and, of a pictured clip, ``strip.png``, ``source.png`` and
``video.mp4`` (methods beside each other, with sound).
Speeds are not among it: they are measured apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from s3dnerf.evaluation.feature_files import features_bytes, read_features
from s3dnerf.evaluation.other_methods import MethodVideo
from s3dnerf.settings.schema import Settings
from s3dnerf.training.clips import ClipFolder
from s3dnerf.video.packs import CorpusPacks, file_sha256
from stages.code_lock import stage_versions
from stages.content_store import ContentStore, Entry
from stages.environment import stage_environment
from stages.keys import key_of
from stages.made import made_now
from stages.stage_fields import fields_of
from stages.weight_hashes import describe, evaluation_weights

KIND = "evaluate"
RESULT, FEATURES, STRIP, SOURCE, VIDEO = "result.json", "features.safetensors", "strip.png", "source.png", "video.mp4"
# what decides how a clip is measured; which clips are, and by which weights, the rest of the key says
FIELDS = (
    "align.backend", "evaluate.clip_s", "evaluate.source_frame", "evaluate.judge", "evaluate.lpips",
    "evaluate.fid", "evaluate.fvd",
    "evaluate.identity", "evaluate.landmark_every", "evaluate.picture_every", "evaluate.identity_frames",
)  # fmt: skip
# of ingest's record, what the measurement reads
RECORD = ("clip", "corpus", "speaker", "start_s", "crop_x", "crop_y", "crop_w", "crop_h", "width_px", "height_px")
NUMBERS = {"value": float, "counted": int, "failed": int}


@dataclass(frozen=True)
class ClipResult:
    """What was measured on one test clip.

    Attributes
    ----------
    rows : list of dict
        Of ``clips.parquet``.
    mouth : dict
        Method → mouth opening over time, pixels.
    notes : dict
        Method → how its video was framed, or whose speech the control got.
    acts : dict or None
        Lower face against upper (:mod:`s3dnerf.reporting.region_ratios`).
    strip, heat : dict or None
        Of a pictured clip, what belongs to its pictures; ``strip["video"]`` names the methods of its video.
    features : dict
        (method, network) → float32 (m, d), what whole-corpus distances are computed from.
    pictures : dict
        ``strip.png``, ``source.png``, ``video.mp4`` → bytes.
    """

    rows: list[dict[str, Any]]
    mouth: dict[str, list[float | None]]
    notes: dict[str, str]
    acts: dict[str, Any] | None = None
    strip: dict[str, Any] | None = None
    heat: dict[str, Any] | None = None
    pictures: dict[str, bytes] = field(default_factory=dict)
    features: dict[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def files(self) -> dict[str, bytes]:
        """The files of its entry; equal results are equal bytes, also of one that was read back from a table."""
        rows = [{k: NUMBERS[k](v) if k in NUMBERS else v for k, v in row.items()} for row in self.rows]
        rows.sort(key=lambda row: (row["method"], row["metric"]))
        values = {
            "rows": rows,
            "mouth": self.mouth,
            "notes": self.notes,
            "acts": self.acts,
            "strip": self.strip,
            "heat": self.heat,
        }
        features = {FEATURES: features_bytes(self.features)}
        return {
            RESULT: json.dumps(values, sort_keys=True).encode(),
            **(features if self.features else {}),
            **self.pictures,
        }


def common_basis(settings: Settings, main_variant: str) -> dict[str, Any]:
    """What decides all clips alike: code, settings, and the bytes of the networks and of whatever measures them."""
    data = settings.data_dir
    named = evaluation_weights(settings)  # other methods' videos each clip names itself
    files = [
        data / "train_s3dnerf" / v / f for v in settings.train.variants for f in ("generator.safetensors", "card.json")
    ]
    if settings.evaluate.judge == "trained":
        files += [data / "train_sync" / "judge" / f for f in ("weights.safetensors", "card.json")]
    return {
        "versions": stage_versions("evaluate", settings),
        "packages": stage_environment("evaluate", settings, tables=False),
        "fields": fields_of(settings, FIELDS),
        "variants": list(settings.train.variants),
        "main": main_variant,
        "networks": [file_sha256(path) if path.is_file() else "" for path in files],
        "weights": {name: describe(path).get("sha256", "") for name, path in sorted(named.items())},
    }


def part_hashes(folder: ClipFolder, resampled: CorpusPacks, clip: str) -> dict[str, dict[str, str]]:
    """Stage → kind → sha256 of all that preprocessing made of a clip. Raises PackError for a damaged pack."""
    packs = {**folder.packs, "resample": resampled}
    return {
        stage: {kind: hashlib.sha256(pack.read_bytes(clip, kind)).hexdigest() for kind in pack.kinds(clip)}
        for stage, pack in packs.items()
    }


def clip_key(
    basis: Mapping[str, Any],
    record: Mapping[str, Any],
    parts: Mapping[str, Any],
    wrong: tuple[str, str, str] | None,
    methods: Mapping[MethodVideo, str],
    strip_frames: int,
) -> str:
    """The store's name of a clip: hex hash of everything that decides its rows and pictures.

    ``wrong``: corpus, clip and sha256 of the speech of the control. ``methods``: other methods' videos → sha256.
    ``strip_frames``: columns of its strip, 0 where it is not pictured.
    """
    videos = sorted([video.name, video.corpus, video.clip, sha256] for video, sha256 in methods.items())
    content = [basis, {name: record.get(name) for name in RECORD}, parts, wrong, videos, strip_frames]
    return key_of(KIND, *content)


def keep_clip(key: str, result: ClipResult, provenance: Mapping[str, Any]) -> None:
    """Put a measured clip into the store, with who measured it (:mod:`stages.made`)."""
    ContentStore().put(KIND, key, result.files(), made_now(provenance))


def kept_clip(key: str) -> tuple[ClipResult, Entry] | None:
    """A clip from the store with its entry, or None (a damaged entry is removed, to be made again)."""

    def read(entry: Entry) -> tuple[ClipResult, Entry]:
        pictures = {name: entry.read(name) for name in entry.files if name not in (RESULT, FEATURES)}
        kept = read_features(entry.read(FEATURES)) if FEATURES in entry.files else {}
        features = {(method, network): values for (method, network), values in kept.items()}
        return ClipResult(**json.loads(entry.read(RESULT)), pictures=pictures, features=features), entry

    return ContentStore().use(KIND, key, read)
