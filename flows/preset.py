"""``s3dnerf preset``: write ``params.yaml`` from a preset, with settings of one's own changed."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import tyro

from s3dnerf.core.errors import SettingsError
from s3dnerf.core.yaml_text import YamlError, dump_yaml, load_yaml
from s3dnerf.settings.loading import as_dict, experiment, preset_settings, settings_from
from s3dnerf.settings.schema import Settings
from s3dnerf.video.packs import write_atomic

# an option that may be given again, with one value or several each time
Repeated = Annotated[tuple[tuple[str, ...], ...], tyro.conf.UseAppendAction]


def preset(name: Annotated[str, tyro.conf.Positional], change: Repeated = ()) -> int:
    """Write params.yaml from a preset: tiny, sample, mini or paper. Every value is written out.

    Args:
        name: The preset.
        change: FIELD=VALUE, a setting that differs from the preset's, for example train.steps=4000 (values as YAML
            writes them); several after one --change, or one after each.
    """
    changes = tuple(itertools.chain.from_iterable(change))
    settings = experiment(changed(preset_settings(name), changes))
    differs = f", with {', '.join(changes)}" if changes else ""
    head = (
        f"# Settings in force: the preset `{name}`{differs}, every value. Each one is explained in "
        "s3dnerf/settings/schema.py.\n"
    )
    text = head + dump_yaml(settings)
    path = Path("params.yaml")
    if path.is_file() and path.read_bytes() == text.encode():
        print(f"params.yaml holds the preset {name}{differs} already")
        return 0
    write_atomic(path, text.encode())
    print(f"params.yaml now holds the preset {name}{differs}; next: dvc repro")
    return 0


def changed(settings: Settings, changes: tuple[str, ...]) -> Settings:
    """Settings with some fields set: ``("train.steps=4000",)``. Raises SettingsError naming the field and what it
    accepts.
    """
    values = as_dict(settings)
    for change in changes:
        where, equals, text = change.partition("=")
        *path, name = where.split(".")
        holders: list[Any] = [values]
        for part in path:
            holders = [held for holder in holders for held in _parts(holder, part)]
        if not equals or not holders or not all(isinstance(holder, dict) and name in holder for holder in holders):
            raise SettingsError(
                f"--change {change}: accepted: FIELD=VALUE with a field of params.yaml, for example train.steps=4000 "
                "(train.phases.0.sync: of the first phase; train.phases.*.sync: of every one)"
            )
        try:
            value = load_yaml(text)
        except YamlError as error:
            raise SettingsError(f"--change {change}: the value is not YAML: {error}") from error
        for holder in holders:
            holder[name] = value
    return settings_from(values)


def _parts(holder: Any, part: str) -> list[Any]:
    """What a step of a dotted path leads to: a mapping's value, a list's item by number, or each of them by ``*``."""
    if isinstance(holder, dict):
        return [holder[part]] if part in holder else []
    if not isinstance(holder, list):
        return []
    return holder if part == "*" else holder[int(part) :][:1] if part.isdigit() else []
