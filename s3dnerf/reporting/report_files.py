"""A report by its files: what they hold, read once, and what a rule of the auditor says of them.

Reads the bytes of a report's files (see :mod:`stages.report`) and, where the membership table is not one of them, the
table that the caller finds; writes nothing.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.core.yaml_text import YamlError, load_yaml
from s3dnerf.reporting.membership import CLIPS, TABLE

if TYPE_CHECKING:
    import pandas as pd

MANIFEST = "MANIFEST.sha256"
# of the manifest, by whoever answers for the report: of no file that it lists
SIGNATURE = "MANIFEST.signature.json"
# of every report; the tables of small corpora are among them as well
FILES = (
    "index.html",
    "lock.yaml",
    "metrics.json",
    "report.json",
    "report.md",
    "settings.yaml",
    "summary.json",
    "timings.json",
)
# of every report since schema 3 as well
CARDS = ("DATA_CARD.md", "MODEL_CARD.md")
# what a report in git may have, bytes: there is one a run, and git keeps them all
MOST_BYTES = 5_000_000
Find = Callable[[Mapping[str, Any]], bytes | None]


class ReportError(S3DNeRFError, RuntimeError):
    """A report cannot be read; the message says what was expected."""


class TableNotHere(ReportError):
    """A report's table is under DVC and not on this machine; the message says how to get it."""


@dataclass(frozen=True)
class Finding:
    """One rule's answer.

    Attributes
    ----------
    detail : what is wrong, or what was looked at
    unchecked : what the rule could not check here and how to get what it needs; empty where it checked all
    """

    rule: str
    passed: bool
    detail: str
    unchecked: str = ""

    def __str__(self) -> str:
        word = "FAIL" if not self.passed else "PART" if self.unchecked else "PASS"
        return f"{word}  {self.rule}: {self.detail}" + (f"; not checked: {self.unchecked}" if self.unchecked else "")


class Report:
    """A report by its files.

    Attributes
    ----------
    name : what to call it in messages
    files : name → bytes
    find : gives the membership table from where DVC keeps it, or None; it is asked with what ``report.json`` says of
        the table (:func:`s3dnerf.reporting.membership.table_facts`)
    """

    def __init__(self, name: str, files: Mapping[str, bytes], find: Find = lambda facts: None) -> None:
        self.name, self.files, self.find = name, dict(files), find

    def _json(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self.files[name])
        except KeyError:
            raise ReportError(f"{self.name}: no {name}: expected the files of a report, {', '.join(FILES)}") from None
        except ValueError as error:
            raise ReportError(f"{self.name}/{name}: not JSON: {error}") from error
        if not isinstance(value, dict):
            raise ReportError(f"{self.name}/{name}: expected a JSON object")
        return value

    def _table(self, name: str, data: bytes | None) -> pd.DataFrame:
        import pandas as pd

        try:
            return pd.read_parquet(io.BytesIO(self.files[name] if data is None else data))
        except KeyError:
            raise ReportError(f"{self.name}: no {name}: expected the files of a report, {', '.join(FILES)}") from None
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors or OSErrors
            raise ReportError(f"{self.name}/{name}: not a table: {str(error)[:200]}") from error

    def _yaml(self, name: str) -> dict[str, Any]:
        try:
            value = load_yaml(self.files[name])
        except KeyError:
            raise ReportError(f"{self.name}: no {name}: expected the files of a report, {', '.join(FILES)}") from None
        except YamlError as error:
            raise ReportError(f"{self.name}/{name}: not YAML: {error}") from error
        if not isinstance(value, dict):
            raise ReportError(f"{self.name}/{name}: expected a mapping")
        return value

    @functools.cached_property
    def settings(self) -> dict[str, Any]:
        """settings.yaml: all settings that the report was made with"""
        return self._yaml("settings.yaml")

    @functools.cached_property
    def lock(self) -> dict[str, Any]:
        """lock.yaml: what dvc.lock held of the preset's stages when the report was made"""
        return self._yaml("lock.yaml")

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """report.json"""
        return self._json("report.json")

    @functools.cached_property
    def summary(self) -> dict[str, Any]:
        """summary.json"""
        return self._json("summary.json")

    @functools.cached_property
    def rows(self) -> list[dict[str, Any]]:
        """clips.parquet: one row a clip × method × metric; the report's own file, or the one under DVC.

        Raises TableNotHere where report.json says that it is under DVC alone and it is not here.
        """
        facts = self.document.get("clips_table") or {}
        if CLIPS in self.files or facts.get("in_report", True):
            return self._table(CLIPS, None).to_dict("records")
        data = self.find(facts)
        if data is None or hashlib.sha256(data).hexdigest() != facts["sha256"]:
            raise TableNotHere(how_to_get(facts["path"]))
        return self._table(CLIPS, data).to_dict("records")

    @property
    def table(self) -> dict[str, Any] | None:
        """What report.json says of the membership table; None in a report of the first schema, whose own file it is."""
        return self.document.get("membership_table")

    @functools.cached_property
    def membership(self) -> pd.DataFrame | None:
        """The membership table, one row a raw file, one a clip: the report's own file, or the one under DVC.

        None where there is none here whose sha256 is the one in report.json.
        """
        if self.table is None:
            return self._table(TABLE, None)
        data = self.files.get(TABLE)
        if data is None or hashlib.sha256(data).hexdigest() != self.table["sha256"]:
            data = self.find(self.table)
        if data is None or hashlib.sha256(data).hexdigest() != self.table["sha256"]:
            return None
        return self._table(TABLE, data)

    @property
    def table_not_here(self) -> str:
        """How to get the membership table where it is not here."""
        return how_to_get((self.table or {}).get("path"))

    @property
    def versions(self) -> dict[str, str]:
        """Metric → version, as report.json states them."""
        return {m["name"]: m["version"] for m in self.document["metrics"]}


def how_to_get(path: str | None) -> str:
    """How to get a table that is under DVC alone."""
    fetch = f"dvc pull {path} (of an earlier commit: dvc fetch --all-commits {path})"
    return f"{path} is not here as report.json names it; get it: {fetch}"


def some(names: list[str]) -> str:
    """The first five of a list in words."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def too_large(sizes: Mapping[str, int]) -> str:
    """One sentence that names the largest files where a report has more than :data:`MOST_BYTES`; else empty.

    Parameters
    ----------
    sizes : file → bytes

    Examples
    --------
    >>> too_large({"index.html": 4_600_000, "report.md": 900_000})
    '5.5 MB, accepted: 5 MB at most in git; the largest: index.html 4.6 MB, report.md 0.9 MB'
    >>> too_large({"index.html": 4_600_000})
    ''
    """
    total = sum(sizes.values())
    if total <= MOST_BYTES:
        return ""
    largest = sorted(sizes, key=lambda name: (-sizes[name], name))[:3]
    named = ", ".join(f"{name} {sizes[name] / 1e6:.1f} MB" for name in largest)
    return f"{total / 1e6:.1f} MB, accepted: {MOST_BYTES / 1e6:g} MB at most in git; the largest: {named}"
