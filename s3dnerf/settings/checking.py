"""From plain mappings to typed settings: what a field accepts, exact conversion, errors that name the field.

A settings class is a frozen dataclass whose fields are made by :func:`opt`; :func:`build` makes one from YAML's or
JSON's mappings.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from dataclasses import field
from typing import Any

from s3dnerf.core.errors import SettingsError


def opt(
    default: Any, help: str, *, ge: float | None = None, le: float | None = None, choices: tuple | None = None
) -> Any:
    """One setting: default, a line of help, and the inclusive range or the choices it accepts."""
    return field(default=default, metadata={"help": help, "ge": ge, "le": le, "choices": choices})


def _accepts(spec: dataclasses.Field) -> str:
    """What a field accepts, in words."""
    meta = spec.metadata
    if meta.get("choices"):
        return "one of " + ", ".join(map(str, meta["choices"]))
    bounds = [f"{sign} {meta[key]:g}" for key, sign in (("ge", "≥"), ("le", "≤")) if meta.get(key) is not None]
    return " ".join([str(spec.type), *bounds])


def _convert(value: Any, kind: Any, where: str, accepts: str) -> Any:
    """``value`` as ``kind``, exactly: no truth from strings, no whole numbers from fractions."""

    def refuse() -> typing.NoReturn:
        raise SettingsError(f"{where}: got {value!r} — accepted: {accepts}")

    origin = typing.get_origin(kind)
    if origin in (types.UnionType, typing.Union):
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        return None if value is None else _convert(value, inner[0], where, accepts)
    if origin is tuple:
        item = typing.get_args(kind)[0]
        if not isinstance(value, (list, tuple)):
            refuse()
        return tuple(
            build(item, v, f"{where}.{i}")
            if isinstance(item, type) and dataclasses.is_dataclass(item)
            else _convert(v, item, where, accepts)
            for i, v in enumerate(value)
        )
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-4 as a string
        try:
            return float(value)
        except ValueError:
            refuse()
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        refuse()
    if kind is float and not math.isfinite(value):
        refuse()
    return value


def build(cls: type, given: Any, where: str) -> Any:
    """A settings class from a mapping; ``where`` is its name in error messages. Raises SettingsError."""
    if not isinstance(given, dict):
        raise SettingsError(f"{where or 'params.yaml'}: got {given!r} — accepted: a mapping of {cls.__name__}'s fields")
    specs = {f.name: f for f in dataclasses.fields(cls)}
    kinds = typing.get_type_hints(cls)
    for name in given:
        if name not in specs:
            near = difflib.get_close_matches(str(name), specs, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise SettingsError(
                f"{where + '.' if where else ''}{name}: no such setting — {hint}accepted: {', '.join(specs)}"
            )
    values = {}
    for name, spec in specs.items():
        path = f"{where}.{name}" if where else name
        if dataclasses.is_dataclass(kinds[name]):
            values[name] = build(kinds[name], given.get(name, {}), path)
        elif name in given:
            accepts = _accepts(spec)
            value = _convert(given[name], kinds[name], path, accepts)
            meta = spec.metadata
            low, high, choices = meta.get("ge"), meta.get("le"), meta.get("choices")
            if (choices and value not in choices) or (
                isinstance(value, (int, float))
                and ((low is not None and value < low) or (high is not None and value > high))
            ):
                raise SettingsError(f"{path}: got {value!r} — accepted: {accepts}")
            values[name] = value
    return cls(**values)
