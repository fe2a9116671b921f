"""What an auditor asks of a report, as named rules over its files alone: no data, no network, no clock.

Reads the bytes of a report's files (see :mod:`stages.report`); writes nothing. Each rule gives one :class:`Finding`;
what needs git, the lock or the data stands in ``flows/audit.py``.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from s3dnerf.core.errors import S3DNeRFError, SettingsError
from s3dnerf.core.yaml_text import YamlError, load_yaml
from s3dnerf.metrics import cpbd, flicker, lmd, lpips, mouth_motion, parallax, psnr, ssim
from s3dnerf.reporting.document import SCHEMA
from s3dnerf.reporting.membership import UNACCOUNTED, USED, uses_of
from s3dnerf.reporting.plots import flat_metrics
from s3dnerf.reporting.summary import SCHEMA as SUMMARY_SCHEMA
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.dotted import differing, flat
from s3dnerf.settings.loading import experiment, settings_from

MANIFEST = "MANIFEST.sha256"
FILES = (
    "clips.parquet",
    "index.html",
    "lock.yaml",
    "membership.parquet",
    "metrics.json",
    "report.json",
    "report.md",
    "settings.yaml",
    "summary.json",
    "timings.json",
)
CONTROLS = ("still", "wrong_speech", "truth")
# metrics whose recipe does not depend on a judge or a recogniser: today's code says which version it computes
CURRENT = {
    r.name: r.version
    for r in (
        ssim.RECIPE, psnr.RECIPE, lpips.RECIPE, lmd.FACE_RECIPE, lmd.MOUTH_RECIPE, cpbd.RECIPE,
        mouth_motion.DEVIATION_RECIPE, mouth_motion.CORRELATION_RECIPE, parallax.RECIPE,
        flicker.FACE_RECIPE, flicker.BACKGROUND_RECIPE,
    )
}  # fmt: skip


class ReportError(S3DNeRFError, RuntimeError):
    """A report cannot be read; the message says what was expected."""


@dataclass(frozen=True)
class Finding:
    """One rule's answer. ``detail`` names what is wrong, or says what was looked at."""

    rule: str
    passed: bool
    detail: str

    def __str__(self) -> str:
        return f"{'PASS' if self.passed else 'FAIL'}  {self.rule}: {self.detail}"


class Report:
    """A report by its files.

    Attributes
    ----------
    name : what to call it in messages
    """

    def __init__(self, name: str, files: Mapping[str, bytes]) -> None:
        self.name, self.files = name, dict(files)

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

    def _rows(self, name: str) -> list[dict[str, Any]]:
        import pandas as pd

        try:
            return pd.read_parquet(io.BytesIO(self.files[name])).to_dict("records")
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
        """clips.parquet: one row a clip × method × metric"""
        return self._rows("clips.parquet")

    @functools.cached_property
    def membership(self) -> list[dict[str, Any]]:
        """membership.parquet: one row a raw file, one a clip"""
        return self._rows("membership.parquet")

    @property
    def versions(self) -> dict[str, str]:
        """Metric → version, as report.json states them."""
        return {m["name"]: m["version"] for m in self.document["metrics"]}


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def manifest(report: Report) -> Finding:
    """Every file is in the manifest with its hash, and nothing else is."""
    rule = "manifest"
    try:
        lines = [line.split("  ", 1) for line in report.files.get(MANIFEST, b"").decode().splitlines()]
        listed = {name: digest for digest, name in lines}
    except (UnicodeDecodeError, ValueError):
        return Finding(rule, False, f"{MANIFEST} is not a list of hashes and names")
    here = {name: hashlib.sha256(data).hexdigest() for name, data in report.files.items() if name != MANIFEST}
    wrong = [
        f"{name} differs from {MANIFEST}" for name in sorted(here) if name in listed and listed[name] != here[name]
    ]
    wrong += [f"{name} is not in {MANIFEST}" for name in sorted(set(here) - set(listed))]
    wrong += [f"{name} is missing" for name in sorted((set(listed) | set(FILES)) - set(here))]
    return Finding(rule, not wrong, _some(wrong) or f"{len(here)} files as listed")


def schema(report: Report) -> Finding:
    """The report has the schemas that this code reads."""
    found = {"report.json": report.document.get("schema"), "summary.json": report.summary.get("schema")}
    wanted = {"report.json": SCHEMA, "summary.json": SUMMARY_SCHEMA}
    wrong = [f"{name}: {found[name]}, expected {wanted[name]}" for name in wanted if found[name] != wanted[name]]
    return Finding("schema", not wrong, _some(wrong) or f"{SCHEMA}, {SUMMARY_SCHEMA}")


def summary(report: Report) -> Finding:
    """summary.json is what clips.parquet comes down to, computed again; metrics.json what the two and the cards do."""
    rule = "summary"
    resamples = int(report.document["settings"]["evaluate"]["bootstrap"])
    again = json.loads(
        json.dumps(summarise(report.rows, report.document["preset"], report.document["methods"]["ours"], resamples))
    )
    cards, corpora = report.document["cards"], report.document["settings"]["evaluate"]["corpora"]
    if report._json("metrics.json") != flat_metrics(again, cards, corpora):
        return Finding(rule, False, "metrics.json is not what clips.parquet and the cards in report.json give")
    if again == report.summary:
        return Finding(rule, True, f"computed again from {len(report.rows)} measurements: equal")
    parts = again["corpora"].keys() | report.summary.get("corpora", {}).keys()
    differ = sorted(c for c in parts if again["corpora"].get(c) != report.summary.get("corpora", {}).get(c))
    return Finding(rule, False, f"summary.json is not what clips.parquet gives ({_some(differ) or 'its head'} differ)")


def settings(report: Report, params: Mapping[str, Any] | None, where: str) -> Finding:
    """The report's settings are valid, those of its settings.yaml, and those of ``params``.

    Parameters
    ----------
    params : the mapping in ``where``, None where it cannot be read
    """
    rule, wrong = "settings", []
    if params is None:
        return Finding(rule, False, f"{where} cannot be read")
    try:
        stated = experiment(settings_from(report.document["settings"]))
        for name, given in {"settings.yaml": report.settings, where: params}.items():
            other = experiment(settings_from(dict(given)))
            wrong += [f"{k}: {a!r} in report.json, {b!r} in {name}" for k, (a, b) in differing(stated, other).items()]
    except SettingsError as error:
        return Finding(rule, False, f"{where}, settings.yaml or report.json: {error}")
    return Finding(rule, not wrong, _some(wrong) or f"{len(flat(stated))} settings as in {where}")


def people(report: Report) -> Finding:
    """Nobody was measured on whom a network was trained, or selected."""
    measured = {f"{r['corpus']}/{r['speaker']}" for r in report.rows}
    seen = {use: people & measured for use, people in uses_of(report.document["cards"]).items()}
    wrong = [f"{person} was measured and is in {use}" for use, both in sorted(seen.items()) for person in sorted(both)]
    roles: dict[str, set[str]] = {}
    for row in report.membership:
        if row["kind"] == "clip" and row["status"] == USED:
            roles.setdefault(f"{row['corpus']}/{row['speaker']}", set()).add(
                "test" if row["split"] == "test" else "train"
            )
    wrong += [
        f"{person} has clips to train on and clips to test on"
        for person, found in sorted(roles.items())
        if len(found) > 1
    ]
    return Finding("people", not wrong, _some(wrong) or f"{len(measured)} people measured, none of them trained on")


def versions(report: Report) -> Finding:
    """One version a metric throughout, and the versions that today's code computes."""
    stated, wrong = report.versions, []
    for name, version in sorted({(r["metric"], r["version"]) for r in report.rows}):
        if stated.get(name) != version:
            wrong.append(f"{name}: {version} in clips.parquet, {stated.get(name)} in report.json")
    wrong += [
        f"{n}: measured with {stated[n]}, this code computes {v}"
        for n, v in CURRENT.items()
        if n in stated and stated[n] != v
    ]
    return Finding("metric versions", not wrong, _some(wrong) or ", ".join(sorted(stated.values())))


def controls(report: Report) -> Finding:
    """Every clip of ours has its controls, by the same metrics."""
    ours = report.document["methods"]["ours"]
    having: dict[str, set[tuple[str, str]]] = {}
    for row in report.rows:
        having.setdefault(row["method"], set()).add((row["clip"], row["metric"]))
    wrong = [f"no row of {ours}"] if not having.get(ours) else []
    for control in CONTROLS:
        # what the truth itself cannot have, such as a distance to itself, truth's rows may leave out
        lacking = sorted(
            {clip for clip, _ in having.get(ours, set())} - {clip for clip, _ in having.get(control, set())}
        )
        if lacking:
            wrong.append(f"{control} is missing for {len(lacking)} clips ({lacking[0]} …)")
        metrics = {m for _, m in having.get(ours, set())} - {m for _, m in having.get(control, set())}
        if control != "truth" and metrics and not lacking:
            wrong.append(f"{control} lacks {_some(sorted(metrics))}")
    clips = len({clip for clip, _ in having.get(ours, set())})
    return Finding("controls", not wrong, _some(wrong) or f"{', '.join(CONTROLS)} stand beside {clips} clips")


def accounted(report: Report) -> Finding:
    """Every raw file and clip has a fate, every held-out clip meant to be measured was, and every missing value a
    reason.
    """
    wrong = [
        f"{r['corpus']} {r['kind']} {r['name']} is unaccounted for"
        for r in report.membership
        if r["status"] == UNACCOUNTED
    ]
    wrong += [
        f"{r['name']} is excluded without a reason"
        for r in report.membership
        if r["status"] not in (USED, UNACCOUNTED) and not r["reason"]
    ]
    meant = {
        r["name"]
        for r in report.membership
        if r["kind"] == "clip" and r["status"] == USED and r["used_for"] == "evaluate"
    }
    measured = {r["clip"] for r in report.rows}
    wrong += [f"{clip} is said to be measured and has no row" for clip in sorted(meant - measured)]
    wrong += [f"{clip} has rows and is no held-out clip" for clip in sorted(measured - meant)]
    twice = [key for key, n in Counter((r["clip"], r["method"], r["metric"]) for r in report.rows).items() if n > 1]
    wrong += [f"{' '.join(key)} is there twice" for key in sorted(twice)]
    wrong += [
        f"{r['clip']} {r['method']} {r['metric']}: no value and no reason"
        for r in report.rows
        if not math.isfinite(r["value"]) and not r["reason"]
    ]
    return Finding(
        "accounted for",
        not wrong,
        _some(wrong) or f"{len(report.membership)} files and clips, {len(measured)} clips measured",
    )


def verify(report: Report, params: Mapping[str, Any] | None, where: str = "params.yaml") -> list[Finding]:
    """All rules that need the report's files and the settings in ``where`` alone. A rule that cannot read what it needs
    fails and says so.
    """
    rules: list[tuple[str, Callable[[], Finding]]] = [
        ("schema", lambda: schema(report)),
        ("summary", lambda: summary(report)),
        ("settings", lambda: settings(report, params, where)),
        ("people", lambda: people(report)),
        ("metric versions", lambda: versions(report)),
        ("controls", lambda: controls(report)),
        ("accounted for", lambda: accounted(report)),
    ]
    found = [manifest(report)]
    for name, rule in rules:
        try:
            found.append(rule())
        except ReportError as error:
            found.append(Finding(name, False, str(error)))
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            OverflowError,
        ) as error:  # a damaged file is data, not a fault of ours
            found.append(
                Finding(name, False, f"{report.name} is not as a report is: {type(error).__name__}: {str(error)[:120]}")
            )
    return found
