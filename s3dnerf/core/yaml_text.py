"""YAML 1.2, as DVC reads and writes it: the one place where this project parses or makes YAML.

YAML 1.1, which PyYAML reads, takes a bare ``off`` for False and ``1e-4`` for text; DVC writes both bare. What is
written here is read alike by both: such words are quoted, and a float has its point.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.text_files import read_text

# strings that YAML 1.1 takes for something else where 1.2 does not: truth values and times of day
OTHERWISE_IN_1_1 = re.compile(r"(?i:y|n|yes|no|on|off)|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?")


class YamlError(S3DNeRFError, ValueError):
    """A text is not YAML; the message says where."""


def load_yaml(text: str | bytes) -> Any:
    """The value of a YAML 1.2 text; None for an empty one. Raises YamlError.

    >>> load_yaml("{filter: off, lr: 1e-4, other: true}")
    {'filter': 'off', 'lr': 0.0001, 'other': True}
    """
    from ruamel.yaml import YAML, YAMLError

    try:
        return YAML(typ="safe").load(text if isinstance(text, str) else text.decode("utf-8"))
    except (YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, bytes that are no text
        raise YamlError(" ".join(str(error).split())[:300]) from error


def read_yaml(path: str | Path, then: str = "") -> Any:
    """The value of a YAML file. Raises YamlError naming it; TextFileError where it is no text that can be used, or a
    merge left a conflict in it (``then``: what is to be done after that was settled); FileNotFoundError.
    """
    text = read_text(path, then)
    try:
        return load_yaml(text)
    except YamlError as error:
        raise YamlError(f"{path}: not YAML: {error}") from error


def read_mapping(path: str | Path, then: str = "") -> dict[str, Any]:
    """A YAML file's mapping; empty for an empty file. Raises as :func:`read_yaml` does, YamlError also for another
    value.
    """
    value = read_yaml(path, then)
    if value is not None and not isinstance(value, dict):
        raise YamlError(f"{path}: expected a mapping (name: value), got {type(value).__name__} — restore it from git")
    return value or {}


def _writer() -> Any:
    """A YAML writer in DVC's own style, so that a setting changed through DVC changes one line of the file."""
    from ruamel.yaml import YAML
    from ruamel.yaml.representer import RoundTripRepresenter

    class Representer(RoundTripRepresenter):
        pass

    def text(representer: Any, value: str) -> Any:
        style = "'" if OTHERWISE_IN_1_1.fullmatch(value) else None
        return representer.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def number(representer: Any, value: float) -> Any:
        node = representer.represent_float(value)
        if "e" in node.value and "." not in node.value:
            node.value = node.value.replace("e", ".0e")
        return node

    Representer.add_representer(str, text)
    Representer.add_representer(float, number)
    yaml = YAML()
    yaml.Representer = Representer
    yaml.default_flow_style = False
    return yaml


def dump_yaml(value: Any) -> str:
    """Mappings, lists and scalars as YAML, keys in their order.

    >>> print(dump_yaml({"filter": "off", "lr": 1e-05, "variants": ["full"]}), end="")
    filter: 'off'
    lr: 1.0e-05
    variants:
    - full
    """
    stream = io.StringIO()
    _writer().dump(value, stream)
    return stream.getvalue()
