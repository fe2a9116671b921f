"""Settings from ``params.yaml``, a preset or a plain mapping, and back to plain mappings.

Reads YAML files; raises :class:`s3dnerf.core.errors.SettingsError` naming the field and what it accepts.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.yaml_text import YamlError, load_yaml
from s3dnerf.settings.checking import build
from s3dnerf.settings.schema import PRESETS, Settings


def settings_from(given: dict[str, Any]) -> Settings:
    """Settings of a plain mapping. Raises SettingsError naming the field and what it accepts."""
    return build(Settings, given, "")


def load_settings(path: str | Path = "params.yaml") -> Settings:
    """Settings of a YAML file. Raises SettingsError when the file is missing, unreadable or wrong."""
    path = Path(path)
    if not path.is_file():
        raise SettingsError(f"{path}: no such file — write one with: s3dnerf preset sample")
    try:
        given = load_yaml(path.read_bytes())
    except YamlError as error:
        raise SettingsError(f"{path}: not YAML: {error}") from error
    return settings_from(given)


def preset_settings(name: str) -> Settings:
    """The settings of a preset. Raises SettingsError for an unknown name."""
    if name not in PRESETS:
        raise SettingsError(f"preset: got {name!r} — accepted: one of {', '.join(PRESETS)}")
    text = (Path(__file__).parent / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return settings_from(load_yaml(text))


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain mappings, lists and scalars (for YAML, JSON and hashes)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(settings))
