"""Settings from ``params.yaml``, a preset or a plain mapping, and back to plain mappings.

Reads YAML files; raises :class:`s3dnerf.core.errors.SettingsError` naming the field and what it accepts.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.text_files import TextFileError
from s3dnerf.core.yaml_text import YamlError, read_yaml
from s3dnerf.settings.checking import build
from s3dnerf.settings.schema import PRESETS, Settings

LOCAL = "local.yaml"


def settings_from(given: dict[str, Any]) -> Settings:
    """Settings of a plain mapping. Raises SettingsError naming the field and what it accepts."""
    return build(Settings, given, "")


def load_settings(path: str | Path = "params.yaml") -> Settings:
    """Settings of a YAML file, with the raw folders of this machine.

    Where raw corpora lie is not part of an experiment: ``raw`` comes from the preset, over it from the file where that
    names it, and over both from ``local.yaml`` beside the file (untracked; preset → ``raw`` → corpus → folder or null).
    Raises SettingsError when a file is missing, unreadable or wrong.
    """
    path = Path(path)
    if not path.exists():
        raise SettingsError(f"{path}: no such file — write one with: s3dnerf preset sample")
    given = _read(path)
    if not isinstance(given, dict):
        return settings_from(given)
    preset = given.get("preset", "paper")
    raw = preset_values(preset).get("raw", {}) if preset in PRESETS else {}
    given["raw"] = {**raw, **_mapping(given.get("raw", {}), f"{path}: raw"), **local_raw(path.with_name(LOCAL), preset)}
    return settings_from(given)


def local_raw(path: Path, preset: str) -> dict[str, Any]:
    """``raw`` of a preset as this machine's ``local.yaml`` has it; empty where there is no such file or entry.

    Raises SettingsError for another form than ``{preset: {raw: {corpus: folder}}}``.
    """
    if not path.exists():
        return {}
    given = _mapping(_read(path) or {}, str(path))
    unknown = sorted(set(given) - set(PRESETS))
    if unknown:
        accepted = f"presets ({', '.join(PRESETS)}), each with raw: {{corpus: folder}}"
        raise SettingsError(f"{path}: {', '.join(unknown)} — accepted: {accepted}")
    found = _mapping(given.get(preset, {}) or {}, f"{path}: {preset}")
    if set(found) - {"raw"}:
        extra = ", ".join(sorted(set(found) - {"raw"}))
        raise SettingsError(f"{path}: {preset}: {extra} — accepted: raw alone; other settings are in params.yaml")
    return _mapping(found.get("raw", {}) or {}, f"{path}: {preset}.raw")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{where}: got {value!r} — accepted: a mapping")
    return value


def _read(path: Path) -> Any:
    try:
        return read_yaml(path)
    except (TextFileError, YamlError) as error:
        raise SettingsError(str(error)) from error


def preset_values(name: str) -> dict[str, Any]:
    """What a preset's file says, which is what differs from ``paper``. Raises SettingsError for an unknown name."""
    if name not in PRESETS:
        raise SettingsError(f"preset: got {name!r} — accepted: one of {', '.join(PRESETS)}")
    return _read(Path(__file__).parent / "presets" / f"{name}.yaml")


def preset_settings(name: str) -> Settings:
    """The settings of a preset. Raises SettingsError for an unknown name."""
    return settings_from(preset_values(name))


def experiment(settings: Settings) -> dict[str, Any]:
    """Settings as plain mappings without those of the machine (``raw``): what ``params.yaml`` and reports hold."""
    values = as_dict(settings)
    del values["raw"]
    return values


def as_dict(settings: Any) -> dict[str, Any]:
    """Settings as plain mappings, lists and scalars (for YAML, JSON and hashes)."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: plain(v) for k, v in value.items()}
        return [plain(v) for v in value] if isinstance(value, (list, tuple)) else value

    return plain(dataclasses.asdict(settings))
