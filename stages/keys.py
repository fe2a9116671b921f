"""What decides the bytes that a stage makes, as the store's keys hold it: settings, versions of code, packages, inputs.

A key is a hash of values, never of places or times: not where the raw folders lie, not which file a clip was called by,
not its speaker, split or text. What is not in a key can change, and what was made stays.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from s3dnerf.settings.schema import Settings
from stages.code_lock import stage_versions
from stages.environment import stage_environment
from stages.stage_fields import key_fields

# what preprocessing makes of a clip follows from these of its record; the other columns say whose it is and who may see
# it
CLIP_FIELDS = ("clip", "video_sha256", "audio_sha256", "start_s", "end_s", "crop_x", "crop_y", "crop_w", "crop_h")
DIGITS = 32


def stage_basis(stage: str, settings: Settings, node: str = "") -> dict[str, Any]:
    """What all keys of a stage have in common.

    Parameters
    ----------
    stage : str
        The module in ``stages`` (``train_sync``).
    settings : Settings
    node : str
        The stage's name in ``dvc.yaml`` where it has several (``train_sync_expert``).

    Returns
    -------
    ``fields`` (setting → value), ``versions`` (part of the code → version), ``packages`` (package → version).
    """
    return {
        "fields": key_fields(node or stage, settings),
        "versions": stage_versions(stage, settings),
        "packages": stage_environment(stage, settings, tables=False),
    }


def clip_basis(record: dict[str, Any]) -> dict[str, Any]:
    """What a pack's key holds of a clip's record."""
    return {name: record[name] for name in CLIP_FIELDS}


def key_of(*content: Any) -> str:
    """Hex hash of plain values. The same values give the same key, in whatever order a mapping has them."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:DIGITS]
