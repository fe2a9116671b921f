"""Which backend ran for each component, whether it is the paper's or a replacement, and with which weights.

Names come from the settings and the cards; weight hashes from the inventory of weights and from the networks trained
here.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from s3dnerf.reporting.sources import Sources

REAL, REPLACEMENT, OFF = "real", "replacement", "not measured"


@dataclass(frozen=True)
class Backend:
    """One component: what ran, what the real thing would be, and the weights' hashes (setting → sha256)."""

    component: str
    name: str
    status: str
    real_thing: str
    weights: dict[str, str]
    note: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The fields as plain Python, for JSON."""
        return asdict(self)


def _hashes(sources: Sources, *settings: str) -> dict[str, str]:
    found = {name: sources.weights.get(name, {}) for name in settings}
    return {name: row.get("sha256", "missing") for name, row in found.items() if row}


def dlib_hash(name: str) -> dict[str, str]:
    """The hash of one of dlib's embedded files (``landmarks``, ``recogniser``); empty where it is not installed."""
    from s3dnerf.core.errors import MissingWeights
    from s3dnerf.faces.dlib_files import dlib_data
    from s3dnerf.video.packs import file_sha256

    try:
        return {dlib_data(name).name: file_sha256(dlib_data(name))}
    except MissingWeights:
        return {}


def backends(sources: Sources) -> list[Backend]:
    """All components in the order of the pipeline."""
    s = sources.settings
    measured_with = sources.methods.get("backends", {})
    asked: dict[str, Any] = {"name": s.train.perceptual, "real": s.train.perceptual == "vgg19"}
    perceptual = next(
        (c["perceptual"] for c in map(sources.cards.get, s.train.variants) if c and c.get("perceptual")), asked
    )
    judge, lpips, identity = (measured_with.get(k, {}) for k in ("judge", "lpips", "identity"))
    face_real = s.align.backend == "insightface"
    listed = [
        Backend(
            "Face detector and 68 landmarks",
            s.align.backend,
            REAL if face_real else REPLACEMENT,
            "insightface buffalo_l",
            _hashes(sources, "align.model_dir") if face_real else dlib_hash("landmarks"),
            "" if face_real else "dlib: HOG detector and regression trees",
        ),
        Backend(
            "3-D face and camera",
            s.masks.backend,
            REAL if s.masks.backend == "deep3d" else REPLACEMENT,
            "Deep3DFaceRecon with BFM 2009",
            _hashes(sources, "masks.network", "masks.morphable_model"),
            "" if s.masks.backend == "deep3d" else "a morphable model of our own, fitted to landmarks",
        ),
        Backend(
            "Speech features",
            s.speech.backend,
            REAL if s.speech.backend == "wav2vec2" else REPLACEMENT,
            "wav2vec2-base-960h",
            _hashes(sources, "speech.model", "speech.whisper_model"),
            {"wav2vec2": "", "whisper": f"Whisper's encoder, layer {s.speech.whisper_layer}"}.get(
                s.speech.backend, "log-mel windows"
            ),
        ),
        Backend(
            "Perceptual loss",
            perceptual["name"],
            REAL if perceptual["real"] else REPLACEMENT,
            "VGG-19",
            _hashes(sources, "train.vgg_weights"),
            {"vgg19": "", "vgg16": "another network of ImageNet"}.get(
                perceptual["name"], "features of the frozen expert and a fixed random pyramid"
            ),
        ),
        _judge(sources, judge),
        Backend(
            "LPIPS",
            lpips.get("name", "alexnet"),
            REAL if lpips.get("real") else OFF,
            "AlexNet with linear heads",
            _hashes(sources, "evaluate.lpips_weights"),
            lpips.get("missing", ""),
        ),
        Backend(
            "Identity similarity",
            identity.get("name", s.evaluate.identity),
            OFF if identity.get("missing") else REAL if identity.get("real") else REPLACEMENT,
            "insightface recogniser (ArcFace)",
            dlib_hash("recogniser") if s.evaluate.identity == "dlib" else _hashes(sources, "align.model_dir"),
            identity.get("missing", "")
            or ("" if identity.get("real") else "dlib's recogniser: numbers are not ArcFace cosines"),
        ),
    ]
    return listed


def _judge(sources: Sources, judge: dict[str, Any]) -> Backend:
    name, hashes = sources.settings.evaluate.judge, _hashes(sources, "evaluate.syncnet_weights")
    if judge.get("missing"):
        return Backend("Sync judge", name, OFF, "SyncNet v2", hashes, judge["missing"])
    if judge.get("real"):
        return Backend("Sync judge", name, REAL, "SyncNet v2", hashes)
    trained = {"train_sync/judge": sources.hashes["judge"]} if "judge" in sources.hashes else {}
    return Backend(
        "Sync judge",
        name,
        REPLACEMENT,
        "SyncNet v2",
        trained,
        f"{judge.get('name', '')}: trained on LRS2 alone, another seed, never trained a generator",
    )


def replacements(listed: list[Backend]) -> list[Backend]:
    """Those that replace the paper's backend."""
    return [b for b in listed if b.status == REPLACEMENT]
