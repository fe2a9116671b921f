"""Which settings each stage reads: its DVC params, and (less what only decides whether it may finish) what its keys
hold.

A field that is not listed here leaves the stage alone when it changes. ``s3dnerf deps --write`` writes the lists into
``dvc.yaml``; a test runs each stage and records every field that it reads.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from s3dnerf.settings.loading import as_dict
from s3dnerf.settings.schema import Settings

_SECTIONS = {
    f.name: f.default_factory for f in dataclasses.fields(Settings) if f.default_factory is not dataclasses.MISSING
}
FAILURES = "ingest.max_failed_fraction"


def _all(section: str, *less: str) -> tuple[str, ...]:
    """Every field of a section, in its order, but for some."""
    return tuple(f"{section}.{f.name}" for f in dataclasses.fields(_SECTIONS[section]) if f.name not in less)  # type: ignore[arg-type]


# DVC's stage → fields. Not raw.*: where the raw folders lie belongs to the machine.
STAGE_FIELDS: dict[str, tuple[str, ...]] = {
    "check": (),
    "sample": ("seed", *_all("sample"), "ingest.hdtf_test_speakers"),
    "inventory": (),
    "ingest": _all("ingest"),
    "resample": (*_all("resample"), FAILURES),
    "align": (*_all("align"), FAILURES),
    "masks": (*_all("masks"), "align.backend", "align.size_px", FAILURES),
    "lips": (*_all("lips"), "align.size_px", FAILURES),
    "speech": (*_all("speech"), FAILURES),
    "train_sync_expert": _all("sync", "judge_steps", "judge_seed", "checkpoint_every"),
    "train_sync_judge": _all("sync", "steps", "expert_seed", "hdtf_val_fraction", "checkpoint_every"),
    "train_s3dnerf": ("seed", *_all("model"), *_all("train", "variants", "checkpoint_every", "strip_every")),
    "evaluate": (
        "align.backend", "align.model_dir", "train.variants", *_all("evaluate", "bootstrap", "protocol"),
        "report.strip_frames",
    ),
    "report": ("seed", *(section for section in _SECTIONS if section != "raw")),  # it quotes every setting
}  # fmt: skip
# params that decide whether a stage finishes, or what its card says, but not what was computed
NOT_IN_KEYS = frozenset({FAILURES, "sync.gate"})


def fields_of(settings: Settings, names: tuple[str, ...]) -> dict[str, Any]:
    """Field → value, as plain lists and scalars. Raises KeyError for a field that does not exist."""
    values = as_dict(settings)
    found = {}
    for name in names:
        section, _, field = name.rpartition(".")
        found[name] = (values[section] if section else values)[field]
    return found


def key_fields(stage: str, settings: Settings) -> dict[str, Any]:
    """The settings that decide what DVC's stage computes: what its keys hold of them."""
    return fields_of(settings, tuple(name for name in STAGE_FIELDS[stage] if name not in NOT_IN_KEYS))
