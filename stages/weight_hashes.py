"""Which weight files the settings name, and their hashes: what makes a stage stale when its weights change.

``inventory`` (always run) writes one JSON a settings section, ``data/<preset>/inventory/weights/<section>.json``:
setting → path, sha256, size, or ``missing``. A stage depends on its own section's file, so a weight file that
appears, goes or changes makes just that stage stale, and a setting that names no file (null) costs nothing.

A folder that holds a file named :data:`RANDOM_MARKER` says that the weights in it are random values: the file's row
then has ``random: true``, and the report's first line says so.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import file_sha256, write_atomic

RANDOM_MARKER = "RANDOM_WEIGHTS"
SECTIONS = ("align", "masks", "speech", "train", "evaluate")


def evaluation_weights(settings: Settings) -> dict[str, str]:
    """Setting → path of the weight files that measure clips, where they are switched on."""
    align, evaluate = settings.align, settings.evaluate
    named = {
        "evaluate.syncnet_weights": evaluate.syncnet_weights if evaluate.judge == "syncnet" else None,
        "evaluate.lpips_weights": evaluate.lpips_weights if evaluate.lpips == "alexnet" else None,
        "evaluate.fid_weights": evaluate.fid_weights if evaluate.fid == "inception" else None,
        "evaluate.fvd_weights": evaluate.fvd_weights if evaluate.fvd == "i3d" else None,
        "align.model_dir": align.model_dir if align.backend == "insightface" else None,
    }
    return {name: path for name, path in named.items() if path}


def named_weights(settings: Settings) -> dict[str, dict[str, str]]:
    """Section → setting → path, for the backends that are switched on."""
    align, masks, speech, train = settings.align, settings.masks, settings.speech, settings.train
    named: dict[str, dict[str, str | None]] = {
        "align": {"align.model_dir": align.model_dir if align.backend == "insightface" else None},
        "masks": {
            "masks.network": masks.network if masks.backend == "deep3d" else None,
            "masks.morphable_model": masks.morphable_model if masks.backend == "deep3d" else None,
        },
        "speech": {
            "speech.model": speech.model if speech.backend == "wav2vec2" else None,
            "speech.whisper_model": speech.whisper_model if speech.backend == "whisper" else None,
            "speech.sync_weights": speech.sync_weights if speech.sync_filter == "syncnet" else None,
        },
        "train": {"train.vgg_weights": train.vgg_weights if train.perceptual != "stand_in" else None},
        # its methods are not weights, but files from outside that decide what evaluate says
        "evaluate": {**evaluation_weights(settings), "evaluate.methods": settings.evaluate.methods},
    }
    return {section: {name: path for name, path in rows.items() if path} for section, rows in named.items()}


def describe(path: str | Path) -> dict[str, Any]:
    """``{path, sha256, size}`` of a file, or of a folder's files together; ``{path, missing: true}`` where there is
    none. ``random: true`` as well where :data:`RANDOM_MARKER` lies beside the file or in the folder.
    """
    path = Path(path)
    marked = {"random": True} if ((path if path.is_dir() else path.parent) / RANDOM_MARKER).is_file() else {}
    if path.is_file():
        return {"path": str(path), "sha256": file_sha256(path), "size": path.stat().st_size, **marked}
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else []
    if not files:
        return {"path": str(path), "missing": True}
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.relative_to(path)}\0{file_sha256(file)}\n".encode())
    size = sum(f.stat().st_size for f in files)
    return {"path": str(path), "sha256": digest.hexdigest(), "size": size, **marked}


def write_weights(settings: Settings, folder: Path) -> None:
    """Write one JSON a section into ``folder``."""
    for section, rows in named_weights(settings).items():
        found = {name: describe(path) for name, path in sorted(rows.items())}
        write_atomic(folder / f"{section}.json", (json.dumps(found, indent=1, sort_keys=True) + "\n").encode())
