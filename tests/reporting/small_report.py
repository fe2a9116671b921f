"""Small whole reports for the auditor's tests: real tables and JSON, drawn numbers."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.evaluation.protocol import COLUMNS
from s3dnerf.metrics import cpbd, lmd, psnr, ssim
from s3dnerf.metrics.distribution import RECIPES as RECIPES_OF_CORPORA
from s3dnerf.reporting.distances import distances
from s3dnerf.reporting.document import SCHEMA, manifest
from s3dnerf.reporting.membership import COLUMNS as MEMBERSHIP
from s3dnerf.reporting.membership import IN_REPORT_BYTES, counts, table_bytes, table_facts, table_path
from s3dnerf.reporting.plots import flat_metrics
from s3dnerf.reporting.report_files import MANIFEST, Report
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.loading import as_dict, preset_settings
from s3dnerf.settings.protocols import stated_protocol

RECIPES = (ssim.RECIPE, psnr.RECIPE, lmd.FACE_RECIPE, lmd.MOUTH_RECIPE, cpbd.RECIPE)
TYPICAL = {"ssim": 0.87, "psnr": 26.0, "f_lmd": 2.1, "m_lmd": 1.4, "cpbd": 0.1}
SPREAD = {
    "ssim": 0.02,
    "psnr": 1.5,
    "f_lmd": 0.4,
    "m_lmd": 0.25,
    "cpbd": 0.03,
}  # between speakers; of reports/sample's order
SETTINGS = as_dict(preset_settings("tiny"))


def rows_of(
    speakers: int = 10,
    seed: int = 0,
    change: Callable[[str, str, np.random.Generator], float] = lambda method, metric, random: 0.0,
) -> list[dict[str, Any]]:
    """One clip a speaker; a value is the speaker's own plus ``change(method, metric, random)``."""
    base, random, rows = np.random.default_rng(99), np.random.default_rng(seed), []
    for i in range(speakers):
        for method in ("s3dnerf", "still", "truth", "wrong_speech"):
            for recipe in RECIPES:
                value = (
                    TYPICAL[recipe.name]
                    + SPREAD[recipe.name] * base.standard_normal()
                    + change(method, recipe.name, random)
                )
                about = {
                    "clip": f"hdtf_P{i:02d}_000",
                    "corpus": "hdtf",
                    "speaker": f"P{i:02d}",
                    "method": method,
                    "metric": recipe.name,
                }
                rows.append(
                    {
                        **about,
                        "value": value,
                        "unit": recipe.unit,
                        "direction": recipe.direction,
                        "version": recipe.version,
                        "counted": 75,
                        "failed": 0,
                        "reason": "",
                    }
                )
    return rows


def table(rows: list[dict[str, Any]], columns: list[str]) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(rows, columns=columns).to_parquet(buffer, index=False)
    return buffer.getvalue()


def membership_of(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The clips measured, and one of a person trained on."""
    empty = dict.fromkeys(MEMBERSHIP, "")
    clips = sorted({(r["corpus"], r["clip"], r["speaker"]) for r in rows})
    found = [
        {
            **empty,
            "corpus": c,
            "kind": "clip",
            "name": n,
            "speaker": s,
            "split": "test",
            "status": "used",
            "used_for": "evaluate",
        }
        for c, n, s in clips
    ]
    return [
        *found,
        {
            **empty,
            "corpus": "hdtf",
            "kind": "clip",
            "name": "hdtf_T_000",
            "speaker": "T",
            "split": "train",
            "status": "used",
            "used_for": "train_s3dnerf",
        },
    ]


def make_report(
    name: str,
    rows: list[dict[str, Any]],
    membership: list[dict[str, Any]] | None = None,
    settings: dict[str, Any] = SETTINGS,
    trained_on: tuple[str, ...] = ("T",),
    lock: dict[str, Any] | None = None,
    **document: Any,
) -> Report:
    """A report of these rows; ``lock``: its lock.yaml; ``document`` replaces parts of report.json.

    Its membership table is a file of the report, as that of every small corpus.
    """
    members = pd.DataFrame(membership_of(rows) if membership is None else membership, columns=MEMBERSHIP, dtype="str")
    kept = table_bytes(members)
    summary = summarise(rows, settings["preset"], "s3dnerf", settings["evaluate"]["bootstrap"])
    said = {
        "schema": SCHEMA,
        "preset": settings["preset"],
        "protocol": stated_protocol(settings),
        "settings": settings,
        "metrics": [{"name": r.name, "version": r.version, "direction": r.direction} for r in RECIPES],
        "methods": {"ours": "s3dnerf"},
        "distances": distances({}, rows, dict.fromkeys(RECIPES_OF_CORPORA, "no network"), 100),
        "cards": {"full": {"speakers": list(trained_on)}},
        "membership": counts(members),
        "membership_table": table_facts(table_path(settings["preset"]), kept, len(members), IN_REPORT_BYTES),
        "networks": {},
        "made": {},
        "origin": {
            "git": {"revision": "a", "dirty": False},
            "dvc_lock": {},
            "lock_sha256": "0",
            "packages": {},
            "hardware": {},
        },
    } | document
    files = {
        "clips.parquet": table(rows, COLUMNS),
        "membership.parquet": kept,
        "report.json": json.dumps(said).encode(),
        "summary.json": json.dumps(summary).encode(),
        "index.html": b"<p>",
        "report.md": b"#",
        "MODEL_CARD.md": b"#",
        "DATA_CARD.md": b"#",
        "timings.json": b"{}",
        "settings.yaml": dump_yaml(said["settings"]).encode(),
        "lock.yaml": dump_yaml(lock or {}).encode(),
        "metrics.json": json.dumps(flat_metrics(summary, said["cards"], settings["evaluate"]["corpora"])).encode(),
    }
    return Report(name, files | {MANIFEST: manifest(files).encode()})
