"""``docs/reference/settings.md``: every setting, from :mod:`s3dnerf.settings.schema`, :mod:`stages.stage_fields` and
the presets' files.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any

from docs.generate.markdown import generated, literal, prose, table
from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.settings.schema import PRESETS, PhaseSettings, Settings
from stages.stage_fields import STAGE_FIELDS

KINDS = {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}
PHASES = "train.phases"
QUOTES_ALL = "report"  # the stage that reads every setting, to quote it

SOURCES = "`s3dnerf/settings/schema.py`, `stages/stage_fields.py` and `s3dnerf/settings/presets/`"
ABOUT = """\
`params.yaml` holds every value; `s3dnerf preset NAME` writes it, with `--change FIELD=VALUE` for values of your own.
A name or a value that is not accepted is refused before any work, with what is accepted. Defaults are those of the
preset `paper`, but for `evaluate.protocol`, which it sets to `paper`.

The column *made again* names the stages that a changed value makes stale. What comes after such a stage runs again
only if what the stage wrote differs. The stage `report` quotes every setting but `raw.*` and so is made again in any
case. `raw.*` belongs to a machine and makes nothing stale: it may be in `local.yaml` (not in git).
"""


def sections() -> Iterator[tuple[str, type]]:
    """Prefix of a setting's name → the class that holds it: first the settings without a section."""
    yield "", Settings
    kinds = typing.get_type_hints(Settings)
    for field in dataclasses.fields(Settings):
        if dataclasses.is_dataclass(kinds[field.name]):
            yield f"{field.name}.", kinds[field.name]
    yield "train.phases.N.", PhaseSettings


def fields_of(prefix: str, held: type) -> Iterator[tuple[str, dataclasses.Field]]:
    """Full name and field of each setting of a class."""
    for field in dataclasses.fields(held):
        if field.metadata:
            yield f"{prefix}{field.name}", field


def value(given: Any) -> str:
    """A value as ``params.yaml`` writes it."""
    if isinstance(given, (list, tuple)):
        return literal(f"[{', '.join(map(_flow, given))}]")
    return literal(_flow(given))


def _flow(given: Any) -> str:
    if isinstance(given, dict):
        return "{" + ", ".join(f"{name}: {_flow(part)}" for name, part in given.items()) + "}"
    if isinstance(given, (list, tuple)):
        return f"[{', '.join(map(_flow, given))}]"
    if given is None:
        return "null"
    return dump_yaml({"x": given}).strip().removeprefix("x:").strip()


def accepted(field: dataclasses.Field) -> str:
    """Kind and range of a setting, or its choices."""
    if choices := field.metadata["choices"]:
        return ", ".join(value(choice) for choice in choices)
    kind = str(field.type)
    nothing = ", or `null`" if kind.endswith(" | None") else ""
    kind = kind.removesuffix(" | None")
    if kind.startswith("tuple"):
        said = "list of lists" if "tuple[tuple" in kind else "list"
    else:
        said = KINDS[kind]
    low, high = (None if field.metadata[key] is None else f"{field.metadata[key]:g}" for key in ("ge", "le"))
    if low is not None:
        said += f", {low} or more" if high is None else f", {low} … {high}"
    elif high is not None:
        said += f", {high} or less"
    return said + nothing


def stages_of(name: str) -> str:
    """The stages that are made again when a setting changes, but for the report, which quotes every setting."""
    section = name.partition(".")[0]
    found = [
        stage
        for stage, fields in STAGE_FIELDS.items()
        if stage != QUOTES_ALL and (name in fields or (name.startswith("train.phases.") and "train.phases" in fields))
    ]
    return ", ".join(map(literal, found)) or ("none" if section in ("raw", "preset") else f"`{QUOTES_ALL}` alone")


def _by_preset() -> list[tuple[str, ...]]:
    """Rows of the settings in which a preset differs from ``paper``."""
    values = {name: as_dict(preset_settings(name)) for name in PRESETS}
    found = []
    for prefix, held in sections():
        for name, _field in fields_of(prefix, held) if prefix != "train.phases.N." else ():
            section, _, last = name.rpartition(".")
            row = [(values[preset][section] if section else values[preset])[last] for preset in PRESETS]
            if name != PHASES and any(one != row[0] for one in row):
                found.append((literal(name), *map(value, row)))
    return found


def _default(name: str, field: dataclasses.Field) -> str:
    return "one, of the defaults below" if name == PHASES else value(field.default)


def _phases() -> list[tuple[str, ...]]:
    """Rows of the phases of each preset."""
    return [
        (literal(preset), str(number), *map(value, as_dict(phase).values()))
        for preset in PRESETS
        for number, phase in enumerate(preset_settings(preset).train.phases)
    ]


def page() -> str:
    """The page."""
    lines = generated("Settings", SOURCES, ABOUT)
    for prefix, held in sections():
        title = f"`{prefix.rstrip('.')}`" if prefix else "Without a section"
        about = "" if held is Settings else (held.__doc__ or "")
        lines += [f"## {title}", "", *([*prose(" ".join(about.split())).splitlines(), ""] if about else [])]
        rows = [
            (
                literal(name),
                "one, of the defaults below" if name == PHASES else value(field.default),
                accepted(field),
                prose(field.metadata["help"]),
                stages_of(name),
            )
            for name, field in fields_of(prefix, held)
        ]
        lines += table(("setting", "default", "accepted", "meaning", "made again"), rows)
    lines += ["## Presets", "", "Settings in which the presets differ; in all others they have the default.", ""]
    lines += table(("setting", *map(literal, PRESETS)), _by_preset())
    lines += [f"### Phases of the presets: `{PHASES}`", ""]
    lines += table(("preset", "N", *(field.name for field in dataclasses.fields(PhaseSettings))), _phases())
    return "\n".join(lines).rstrip() + "\n"
