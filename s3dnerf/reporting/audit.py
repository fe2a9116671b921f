"""What an auditor asks of a report, as named rules over its files alone: no data, no network, no clock.

Reads the bytes of a report's files (see :mod:`stages.report`); writes nothing. Each rule gives one :class:`Finding`;
what needs git, the lock or the data stands in ``flows/audit.py``. The rules over the membership table are in
:mod:`s3dnerf.reporting.membership_audit`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from s3dnerf.core.errors import SettingsError
from s3dnerf.evaluation.protocol import every_recipe
from s3dnerf.metrics import identity, sync
from s3dnerf.metrics.distribution import RECIPES as DISTANCES
from s3dnerf.reporting.document import SCHEMA, SCHEMA_1, SCHEMA_2, SCHEMA_3
from s3dnerf.reporting.membership_audit import accounted, people, table
from s3dnerf.reporting.plots import flat_metrics
from s3dnerf.reporting.report_files import (
    CARDS,
    FILES,
    MANIFEST,
    SIGNATURE,
    Finding,
    Report,
    ReportError,
    TableNotHere,
    some,
    too_large,
)
from s3dnerf.reporting.summary import SCHEMA as SUMMARY_SCHEMA
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.dotted import differing, flat
from s3dnerf.settings.loading import experiment, settings_from
from s3dnerf.settings.protocols import stated_protocol

NOT_LISTED = (MANIFEST, SIGNATURE)
CONTROLS = ("still", "wrong_speech", "truth")
# the versions that today's code computes, of the metrics whose version does not name a judge or a recogniser (where
# landmarks count, the landmark finder's name follows it)
_NAMING = {recipe.name for recipe in (*sync.recipes_of(""), *identity.recipes_of("dlib"))}
CURRENT = {r.name: r.version for r in every_recipe("", "dlib") if r.name not in _NAMING}


def manifest(report: Report) -> Finding:
    """Every file is in the manifest with its hash, and nothing else is."""
    rule = "manifest"
    try:
        lines = [line.split("  ", 1) for line in report.files.get(MANIFEST, b"").decode().splitlines()]
        listed = {name: digest for digest, name in lines}
    except (UnicodeDecodeError, ValueError):
        return Finding(rule, False, f"{MANIFEST} is not a list of hashes and names")
    here = {name: hashlib.sha256(data).hexdigest() for name, data in report.files.items() if name not in NOT_LISTED}
    wrong = [
        f"{name} differs from {MANIFEST}" for name in sorted(here) if name in listed and listed[name] != here[name]
    ]
    wrong += [f"{name} is not in {MANIFEST}" for name in sorted(set(here) - set(listed))]
    wrong += [f"{name} is missing" for name in sorted((set(listed) | set(FILES)) - set(here))]
    return Finding(rule, not wrong, some(wrong) or f"{len(here)} files as listed")


def schema(report: Report) -> Finding:
    """The report has schemas that this code reads, and the files that its schema asks for."""
    found = {"report.json": report.document.get("schema"), "summary.json": report.summary.get("schema")}
    accepted = {"report.json": (SCHEMA, SCHEMA_3, SCHEMA_2, SCHEMA_1), "summary.json": (SUMMARY_SCHEMA,)}
    wrong = [
        f"{name}: {found[name]}, accepted: {' or '.join(accepted[name])}"
        for name in found
        if found[name] not in accepted[name]
    ]
    if found["report.json"] in (SCHEMA, SCHEMA_3):
        wrong += [
            f"{name} is missing, expected in every report of {found['report.json']}"
            for name in CARDS
            if name not in report.files
        ]
    return Finding("schema", not wrong, some(wrong) or ", ".join(map(str, found.values())))


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
    return Finding(rule, False, f"summary.json is not what clips.parquet gives ({some(differ) or 'its head'} differ)")


def settings(report: Report, params: Mapping[str, Any] | None, where: str) -> Finding:
    """The report's settings are valid, those of its settings.yaml, and those of ``params``; its protocol is theirs.

    Reports made before protocols had names state none.

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
        protocol = report.document.get("protocol")
        if protocol is not None:
            given, due = ({k: held.get(k) for k in ("name", "values")} for held in (protocol, stated_protocol(stated)))
            wrong += [f"protocol.{k}: {a!r}, by the settings {b!r}" for k, (a, b) in differing(given, due).items()]
    except SettingsError as error:
        return Finding(rule, False, f"{where}, settings.yaml or report.json: {error}")
    return Finding(rule, not wrong, some(wrong) or f"{len(flat(stated))} settings as in {where}")


def versions(report: Report) -> Finding:
    """One version a metric throughout, and the versions that today's code computes."""
    stated, wrong = report.versions, []
    for name, version in sorted({(r["metric"], r["version"]) for r in report.rows}):
        if stated.get(name) != version:
            wrong.append(f"{name}: {version} in clips.parquet, {stated.get(name)} in report.json")
    wrong += [
        f"{n}: measured with {stated[n]}, this code computes {v}"
        for n, v in CURRENT.items()
        if n in stated and stated[n] != v and not stated[n].startswith(f"{v}-")
    ]
    return Finding("metric versions", not wrong, some(wrong) or ", ".join(sorted(stated.values())))


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
            wrong.append(f"{control} lacks {some(sorted(metrics))}")
    clips = len({clip for clip, _ in having.get(ours, set())})
    return Finding("controls", not wrong, some(wrong) or f"{', '.join(CONTROLS)} beside {clips} clips")


def whole_corpora(report: Report) -> Finding:
    """Every whole-corpus distance is measured with its controls and its floor by today's recipe, or its reason stated.

    Reports made before these distances (schemas 1 to 3) have none.
    """
    rule = "whole corpora"
    if report.document.get("schema") != SCHEMA:
        return Finding(rule, True, f"none in a report of {report.document.get('schema')}")
    found, ours = report.document["distances"], report.document["methods"]["ours"]
    wrong, measured = [], 0
    for recipe in (r for recipes in DISTANCES.values() for r in recipes if r):
        if recipe.name not in found["versions"]:
            if not found["not_measured"].get(recipe.name):
                wrong.append(f"{recipe.name} is neither measured nor said to be missing")
            continue
        if found["versions"][recipe.name] != recipe.version:
            wrong.append(f"{recipe.name}: {found['versions'][recipe.name]}, this code computes {recipe.version}")
        for corpus in sorted({row["corpus"] for row in report.rows}):
            cells = found["corpora"].get(corpus, {}).get(recipe.name, {})
            lacking = sorted({ours, *CONTROLS} - cells.keys())
            wrong += [f"{recipe.name} on {corpus} lacks {', '.join(lacking)}"] if lacking else []
            measured += not lacking
    return Finding(rule, not wrong, some(wrong) or f"{measured} distances with {', '.join(CONTROLS)} beside them")


def size(report: Report) -> Finding:
    """The report has at most 5 MB."""
    sizes = {name: len(data) for name, data in report.files.items()}
    return Finding("size", not (wrong := too_large(sizes)), wrong or f"{sum(sizes.values()) / 1e6:.2f} MB")


def verify(report: Report, params: Mapping[str, Any] | None, where: str = "params.yaml") -> list[Finding]:
    """All rules that need the report's files and the settings in ``where`` alone. A rule that cannot read what it needs
    fails and says so.
    """
    rules: list[tuple[str, Callable[[], Finding]]] = [
        ("schema", lambda: schema(report)),
        ("summary", lambda: summary(report)),
        ("settings", lambda: settings(report, params, where)),
        ("membership", lambda: table(report)),
        ("people", lambda: people(report)),
        ("metric versions", lambda: versions(report)),
        ("controls", lambda: controls(report)),
        ("whole corpora", lambda: whole_corpora(report)),
        ("accounted for", lambda: accounted(report)),
    ]
    found = [manifest(report), size(report)]
    for name, rule in rules:
        try:
            found.append(rule())
        except TableNotHere as error:
            found.append(Finding(name, True, "nothing looked at", str(error)))
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
