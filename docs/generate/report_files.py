"""``docs/reference/report.md``: every file of a report and every field in it.

The sentences are in ``report_fields.yaml`` beside this file; which files and fields there are, and of what kind, is
read from the committed report ``reports/sample``. What the two do not agree about is an error.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from docs.generate.markdown import generated, literal, table
from s3dnerf.core.yaml_text import read_yaml

SAMPLE = Path(__file__).resolve().parents[2] / "reports" / "sample"
FIELDS = Path(__file__).with_name("report_fields.yaml")
KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text", list: "list", type(None): "null"}
COLUMNS = {"i": "whole number", "f": "number", "b": "true or false"}

ABOUT = """\
A report is the folder `reports/<preset>/`, which git keeps: at most 5 MB, or the stage `report` fails. Fields of JSON
files are written with a dot between levels; `*` is a name that depends on the data, `[]` an item of a list, `**`
everything below. How to check a report: [audit](../how-to/audit.md).
"""


class FieldsDiffer(ValueError):
    """``report_fields.yaml`` and the committed report do not have the same files or fields."""


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Path and kind of every value in a JSON document; names are separated by a tab, items of a list are ``[]``.

    >>> list(leaves({"a": [{"b": 1}], "c": {}}))
    [('a[]\\tb', 'whole number')]
    """
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{path}\t{name}" if path else name)
    elif isinstance(value, list) and value and all(isinstance(inner, Mapping) for inner in value):
        for inner in value:
            yield from leaves(inner, f"{path}[]")
    else:
        yield path, KINDS[type(value)]


def pattern(field: str) -> re.Pattern[str]:
    """What matches a path of :func:`leaves`.

    >>> bool(pattern("a.*.b[].c").fullmatch("a\\tx.y\\tb[]\\tc")), bool(pattern("a.**").fullmatch("a\\tb\\tc"))
    (True, True)
    """
    parts = re.split(r"(\.\*\*|\.|\*)", field)
    known = {".**": "(\t.*|\\[\\].*)?", ".": "\t", "*": "[^\t]+"}
    return re.compile("".join(known.get(part, re.escape(part)) for part in parts), re.DOTALL)


def found_fields(name: str, data: bytes) -> list[tuple[str, str]]:
    """Path and kind of every field of a file; none for a file that is to be read by people."""
    if name.endswith(".json"):
        return list(dict.fromkeys(leaves(json.loads(data))))
    if name.endswith(".parquet"):
        columns = pd.read_parquet(io.BytesIO(data)).dtypes.items()
        return [(str(column), COLUMNS.get(kind.kind, "text")) for column, kind in columns]
    if name.endswith(".tsv"):
        columns = pd.read_csv(io.BytesIO(data), sep="\t").dtypes.items()
        return [(str(column), COLUMNS.get(kind.kind, "text")) for column, kind in columns]
    return []


def rows(name: str, described: Mapping[str, Any], data: bytes) -> list[tuple[str, str, str]]:
    """Field, kind and sentence. Raises FieldsDiffer, naming the field, for one without a sentence or a sentence without
    one.
    """
    sentences = described.get("fields", {})
    kinds: dict[str, set[str]] = {field: set() for field in sentences}
    patterns = {field: pattern(field) for field in sentences}
    for path, kind in found_fields(name, data):
        of = next((field for field, one in patterns.items() if one.fullmatch(path)), None)
        if of is None:
            shown = path.replace("\t", ".")
            raise FieldsDiffer(f"{name}: {shown}: no sentence in docs/generate/report_fields.yaml")
        kinds[of].add(kind)
    if missing := [field for field in kinds if not kinds[field] and field not in described.get("optional", ())]:
        raise FieldsDiffer(f"{name}: {', '.join(missing)}: in report_fields.yaml, and in no report (or say optional)")
    any_kind = {field: "any" if field.endswith("**") else " or ".join(sorted(kinds[field])) or "–" for field in kinds}
    return [(literal(field), any_kind[field], sentence) for field, sentence in sentences.items()]


def page() -> str:
    """The page."""
    described = read_yaml(FIELDS)
    here = {path.name: path.read_bytes() for path in sorted(SAMPLE.iterdir()) if path.is_file()}
    expected = {name for name, about in described.items() if not about.get("optional_file")}
    if unlike := (here.keys() - described.keys()) | (expected - here.keys()):
        raise FieldsDiffer(f"{', '.join(sorted(unlike))}: in one of reports/sample and report_fields.yaml alone")
    lines = generated("Report files", "`docs/generate/report_fields.yaml` and the report in `reports/sample`", ABOUT)
    lines += table(("file", "what it is"), [(literal(name), about["about"]) for name, about in described.items()])
    for name, about in described.items():
        if about.get("fields"):
            lines += [f"## {name}", "", about["about"], ""]
            lines += table(("field", "kind", "meaning"), rows(name, about, here[name]))
    return "\n".join(lines).rstrip() + "\n"
