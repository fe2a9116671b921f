"""report: what was measured, on what, with what, as files that can be believed.

Reads everything the stages left under ``data/<preset>`` and ``.timings/<preset>``, and its provenance (git,
``dvc.lock``, hardware, packages). Writes ``reports/<preset>/``: ``summary.json`` and ``clips.parquet`` (byte-identical
between clean runs), ``report.json``, ``timings.json``, ``index.html``, ``report.md``, the cards that model hubs read
(``MODEL_CARD.md``, ``DATA_CARD.md``); what it was made with,
``settings.yaml`` and ``lock.yaml`` (this preset's stages in ``dvc.lock``, the report's own left out); for DVC,
``metrics.json`` and the tables of :mod:`s3dnerf.reporting.plots`; ``MANIFEST.sha256``. The membership table
goes to ``data/<preset>/report/membership.parquet``, which DVC keeps; a small one is a file of the report as well
(:mod:`s3dnerf.reporting.membership`). ``clips.parquet`` is that of ``evaluate``; a large one is under DVC alone.

A report in git has at most 5 MB: a larger one is written, and the stage fails and names the largest files.

Run: ``python -m flows.run report``.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.reporting.backends import backends
from s3dnerf.reporting.document import manifest, report_document, report_markdown
from s3dnerf.reporting.hub_cards import data_card, model_card
from s3dnerf.reporting.membership import (
    CLIPS,
    CLIPS_IN_REPORT_BYTES,
    IN_REPORT_BYTES,
    TABLE,
    clips_path,
    table_bytes,
    table_facts,
    table_path,
)
from s3dnerf.reporting.narrative import three_lines
from s3dnerf.reporting.page import render_page
from s3dnerf.reporting.plots import flat_metrics, plot_files
from s3dnerf.reporting.report_files import ReportError, too_large
from s3dnerf.reporting.sources import load_sources
from s3dnerf.reporting.summary import summarise
from s3dnerf.settings.loading import experiment
from s3dnerf.video.packs import write_atomic
from stages.context import Context
from stages.made import made_parts

logger = logging.getLogger(__name__)

REPORTS = Path("reports")


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n").encode()


def report_files(context: Context, timings: dict[str, Any] | None = None) -> tuple[dict[str, bytes], bytes, list[str]]:
    """Every file of the report by name, the membership table, and the three lines that the report comes down to.

    ``timings``: as in :func:`s3dnerf.reporting.sources.load_sources`.
    """
    settings = context.settings
    made = made_parts(settings)
    provenance = {**context.provenance, "made": made}
    if machines := [machine for by in made["evaluate"]["by"] for machine in by.get("machines", [])]:
        provenance["hardware"] = machines[-1]  # where the numbers were measured, not where they are written down
    sources = load_sources(settings, timings)
    summary = summarise(sources.rows, settings.preset, sources.ours, settings.evaluate.bootstrap)
    listed = backends(sources)
    lines = three_lines(sources, summary, listed)
    members = table_bytes(sources.membership)
    facts = table_facts(table_path(settings.preset), members, len(sources.membership), IN_REPORT_BYTES)
    clips = (settings.data_dir / "evaluate" / CLIPS).read_bytes()
    measured = table_facts(clips_path(settings.preset), clips, len(sources.rows), CLIPS_IN_REPORT_BYTES)
    document = report_document(sources, summary, listed, provenance, facts, measured) | {"lines": lines}
    files = {
        "summary.json": _json(summary),
        **({CLIPS: clips} if measured["in_report"] else {}),
        **({TABLE: members} if facts["in_report"] else {}),
        "report.json": _json(document),
        "timings.json": _json(sources.timings),
        "report.md": report_markdown(sources, summary, listed, provenance, facts).encode(),
        "MODEL_CARD.md": model_card(sources, summary, listed, provenance).encode(),
        "DATA_CARD.md": data_card(sources, facts).encode(),
        "settings.yaml": dump_yaml(experiment(settings)).encode(),
        "lock.yaml": dump_yaml(provenance.get("lock") or {}).encode(),
        "metrics.json": _json(flat_metrics(summary, document["cards"], settings.evaluate.corpora)),
        **plot_files(sources),
    }
    others = sum(map(len, files.values()))
    files["index.html"] = render_page(sources, summary, listed, provenance, others).encode()
    return files | {"MANIFEST.sha256": manifest(files).encode()}, members, lines


def main(context: Context) -> dict[str, Any]:
    """Write the report. Returns its three lines and where it is.

    Raises ReportError, after everything is written, when the report has more than 5 MB.
    """
    files, members, lines = report_files(context)
    write_atomic(context.out(TABLE), members)
    folder = REPORTS / context.settings.preset
    folder.mkdir(parents=True, exist_ok=True)
    for stale in sorted(set(p.name for p in folder.iterdir() if p.is_file()) - set(files)):
        (folder / stale).unlink()
    for name, data in files.items():
        write_atomic(folder / name, data)
        context.tracker.artifact(folder / name)
    for line in lines:
        logger.info(line)
    if wrong := too_large({name: len(data) for name, data in files.items()}):
        raise ReportError(
            f"{folder}: got {wrong} — lower report.strips or report.strip_frames, or set report.people: false"
        )
    return {"lines": lines, "report": str(folder / "index.html"), "bytes": sum(map(len, files.values()))}
