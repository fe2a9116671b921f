"""``report.json`` (the report as data, with a schema version), ``report.md`` and ``MANIFEST.sha256``.

Pure functions: provenance (revision, lock, hardware, packages) is an argument.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

from s3dnerf.reporting import distances, forest, narrative, region_ratios
from s3dnerf.reporting.backends import Backend
from s3dnerf.reporting.clip_order import edges_in_words, places
from s3dnerf.reporting.membership import CLIPS, COUNTED, TABLE
from s3dnerf.reporting.page import all_tables, origin
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.tables import markdown
from s3dnerf.settings.loading import experiment
from s3dnerf.settings.protocols import stated_protocol

SCHEMA = "s3dnerf-report-4"
# before whole-corpus distances
SCHEMA_3 = "s3dnerf-report-3"
# before the model card and the data card
SCHEMA_2 = "s3dnerf-report-2"
# before the membership table went under DVC: it is a file of the report, its counts are not by split
SCHEMA_1 = "s3dnerf-report-1"
UNKNOWN = "unknown"
MOST_LISTED = 2000  # clips: 230 bytes each, and git keeps every report


def _clip_by_clip(sources: Sources) -> dict[str, Any]:
    """Whose speech each clip's control got and how other methods' videos of it are framed, with the file under DVC that
    holds the same of all clips; above :data:`MOST_LISTED` clips it alone does.
    """
    wrong, notes = sources.methods.get("wrong_speech", {}), sources.methods.get("notes", {})
    few = len(wrong) <= MOST_LISTED
    return {
        "wrong_speech": wrong if few else {},
        "notes": notes if few else {},
        "listed_in": f"data/{sources.settings.preset}/evaluate/methods.json",
    }


def report_document(
    sources: Sources,
    summary: dict[str, Any],
    listed: list[Backend],
    provenance: dict[str, Any],
    table: dict[str, Any],
    measured: dict[str, Any],
) -> dict[str, Any]:
    """The report as one JSON document. Keys that provenance lacks are ``"unknown"``.

    ``table``, ``measured``: the facts of the membership table and of the measurements
    (:func:`s3dnerf.reporting.membership.table_facts`).
    """
    s = sources.settings

    def bound(value: float) -> float | None:
        return value if math.isfinite(value) else None

    return {
        "schema": SCHEMA,
        "preset": s.preset,
        "says": narrative.warnings(sources, listed)
        + [narrative.trained_on(sources)]
        + narrative.verdicts(sources, summary),
        "origin": {
            "git": {"revision": UNKNOWN, "dirty": UNKNOWN} | (provenance.get("git") or {}),
            "dvc_lock": provenance.get("dvc_lock") or UNKNOWN,
            "lock_sha256": provenance.get("lock_sha256") or UNKNOWN,
            "packages": provenance.get("packages") or UNKNOWN,
            "hardware": dict.fromkeys(("cpu", "cores", "memory_gb", "gpu", "os", "python"), UNKNOWN)
            | (provenance.get("hardware") or {}),
        },
        "determinism": {
            "seeds": {"generator": s.seed, "expert": s.sync.expert_seed, "judge": s.sync.judge_seed},
            "cpu": "one thread a process, fixed batches, single-threaded bit-exact ffmpeg: equal inputs give equal "
            "bytes",
            "byte_identical": ["summary.json", measured["path"], table["path"]]
            + [CLIPS] * measured["in_report"]
            + [TABLE] * table["in_report"],
            "varies": ["timings.json"],
        },
        "protocol": stated_protocol(experiment(s)),
        "settings": experiment(s),
        "backends": [b.as_dict() for b in listed],
        "metrics": [
            {
                "name": r.name,
                "title": r.title,
                "version": r.version,
                "direction": r.direction,
                "unit": r.unit,
                "low": bound(r.low),
                "high": bound(r.high),
                "recipe": r.source,
            }
            for r in sources.recipes
        ],
        "methods": {
            "ours": sources.ours,
            "variants": sources.variants,
            "controls": ["wrong_speech", "still"],
            "other": sources.methods.get("other_methods", []),
            "unused_videos": sources.methods.get("unused_videos", []),
            **_clip_by_clip(sources),
        },
        "networks": sources.hashes,
        "made": provenance.get("made") or UNKNOWN,
        "cards": {name: card for name, card in sources.cards.items() if card},
        "membership": sources.membership_counts,
        "membership_table": table,
        "clips_table": measured,
        "distances": sources.distances,
        "statistics": {"interval": summary["interval"], "test": summary["test"]},
    }


def _stand(sources: Sources, summary: dict[str, Any]) -> list[str]:
    """The numbers of the page's forest plot, and the worst and best clips, as Markdown; nothing where none is."""
    found, left_out = forest.shares(sources.rows, summary, sources.recipes, sources.ours)
    if not found:
        return []
    rows = [["–" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
            for row in forest.table_rows(found)]  # fmt: skip
    return [
        "## Where the numbers stand",
        "",
        "Ours against each control over the same clips, in percent of the control's mean; above 0 ours is better.",
        "",
        "| " + " | ".join(forest.COLUMNS) + " |",
        "|" + "---|" * len(forest.COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows),
        "",
        *(f"- {line}" for line in [*left_out, *edges_in_words(places(sources.rows, sources.ours))]),
        "",
    ]


def report_markdown(
    sources: Sources,
    summary: dict[str, Any],
    listed: list[Backend],
    provenance: dict[str, Any],
    table: dict[str, Any],
) -> str:
    """The report to read in a terminal or on a code host; ``table`` as in :func:`report_document`."""
    lines = [f"# S³D-NeRF report: {sources.settings.preset}", ""]
    lines += [f"> **{line}**  " for line in narrative.warnings(sources, listed)]
    lines += ["", narrative.trained_on(sources), ""]
    lines += [f"- {line}" for line in narrative.verdicts(sources, summary)]
    lines += [
        "",
        narrative.membership_line(sources),
        "",
        region_ratios.in_words(sources.region_ratios),
        "",
        *_stand(sources, summary),
        "## Tables",
        "",
        "Numbers in italics are the paper's, on other data; bold: best of the methods measured on the most clips.",
        "",
    ]
    for shown in all_tables(sources, summary):
        lines += [markdown(shown), ""]
    lines += ["## Whole-corpus distances", "", distances.ABOUT, ""]
    for shown in distances.tables(sources.distances, sources.ours, sources.variants):
        lines += [markdown(shown), ""]
    lines += [f"{line}\n" for line in distances.nothing(sources.distances)]
    lines += [
        "The paper's appendix and its user study were not available; nothing here replaces them.",
        "",
        "## Backends",
        "",
        "| component | ran with | status | the paper's | note |",
        "|---|---|---|---|---|",
    ]
    lines += [f"| {b.component} | {b.name} | {b.status} | {b.real_thing} | {b.note} |" for b in listed]
    lines += [
        "",
        "## Membership",
        "",
        f"Every raw file and clip by name: `{table['path']}` under DVC, {table['rows']} rows, "
        f"sha256 {table['sha256'][:12]}.",
        "",
        "| corpus | what | split | status | stage | reason | count |",
        "|---|---|---|---|---|---|---|",
    ]
    keys = (*COUNTED, "count")
    lines += ["| " + " | ".join(str(row[k]) for k in keys) + " |" for row in sources.membership_counts]
    lines += ["", "## Origin", ""] + [f"- {key or 'Machine'}: {value}" for key, value in origin(provenance, sources)]
    return "\n".join(lines) + "\n"


def manifest(files: dict[str, bytes]) -> str:
    """``sha256  name`` of every file, sorted by name, as ``sha256sum -c`` reads it."""
    return "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items()))
