"""The report's page: one self-contained HTML file from the summary, the sources and the run's provenance.

Fills the template ``page.html``; writes nothing. The page asks nothing of the network, its tables sort, it reads at
phone width and prints.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from s3dnerf.core.yaml_text import dump_yaml
from s3dnerf.reporting import distances, figures, forest, narrative, region_ratios, videos
from s3dnerf.reporting.backends import Backend
from s3dnerf.reporting.clip_order import edges_in_words, places
from s3dnerf.reporting.membership import COUNTED, USED, clips_path, table_path
from s3dnerf.reporting.sheets import contact_sheets
from s3dnerf.reporting.sources import Sources
from s3dnerf.reporting.summary import DYNAMICS
from s3dnerf.reporting.tables import CORPUS_TITLES, MISSING, Table, further, number, table_1, table_2, table_3
from s3dnerf.reporting.templates import render
from s3dnerf.settings.loading import experiment
from s3dnerf.settings.protocols import protocol_line

MOST_ROWS = 400
# what of the page shows raw videos, and says where it cannot: not every machine that makes the page again has them
SOURCE_PICTURES = re.compile(
    rb'<div class="tiles source">.*?</div>|<p class="empty">The source cannot be shown: .*?</p>'
)
SECTIONS = [
    ("stand", "Where the numbers stand"),
    ("words", "In plain words"),
    ("pictures", "Videos and frames"),
    ("tables", "Tables"),
    ("distances", "Whole corpora"),
    ("controls", "Does the speech matter?"),
    ("mouth", "Mouth"),
    ("heat", "Heat map"),
    ("sync", "Lip sync"),
    ("curves", "Training"),
    ("preprocessing", "Preprocessing"),
    ("clips", "Clips"),
    ("membership", "Membership"),
    ("backends", "Backends"),
    ("origin", "Origin"),
]


def why_not_measured(sources: Sources, corpus: str) -> str:
    """The reason why a corpus has no rows."""
    s = sources.settings
    if getattr(s.raw, corpus) is None:
        return f"not measured: the corpus is not configured (raw.{corpus}: null)"
    if corpus not in s.evaluate.corpora:
        return "not measured: not in evaluate.corpora"
    return "not measured: no test clip came through preprocessing"


def all_tables(sources: Sources, summary: dict[str, Any]) -> list[Table]:
    """Table 1 for each measured corpus (HDTF and MEAD always), table 2, table 3."""
    corpora = ["hdtf", "mead", *(c for c in summary["corpora"] if c not in ("hdtf", "mead", "portraits"))]
    parts, recipes, speed = summary["corpora"], sources.recipes, sources.timings.get("evaluate", {}).get("fps")
    tables = [
        table_1(c, parts.get(c), recipes, sources.ours, sources.variants, why_not_measured(sources, c)) for c in corpora
    ]
    portraits = why_not_measured(sources, "portraits")
    tables.append(table_2(parts.get("portraits"), recipes, sources.ours, sources.variants, speed, portraits))
    tables.append(table_3(parts.get("hdtf"), recipes, sources.variants, why_not_measured(sources, "hdtf")))
    judge = sources.methods.get("backends", {}).get("judge", {})
    if not judge.get("real") and not judge.get("missing"):
        said = f"{judge.get('name', 'a trained judge')} ({judge.get('protocol', '')})"
        for table in tables:
            table.notes.append(
                f"Sync is judged here by {said}, in the paper by SyncNet: the two columns do not compare."
            )
    for corpus, part in parts.items():
        tables += further(corpus, part, recipes, sources.ours, sources.variants)
    return tables


def _numbered(table: Table) -> dict[str, Any]:
    """The table with its missing cells' reasons as numbered notes."""
    reasons: list[str] = []
    body = []
    for kind, cells in zip(table.row_kinds, table.rows):
        shown = []
        for cell in cells:
            note_number = None
            if cell.kind == MISSING and cell.title:
                if cell.title not in reasons:
                    reasons.append(cell.title)
                note_number = reasons.index(cell.title) + 1
            shown.append({**vars(cell), "number": note_number})
        body.append({"kind": kind, "cells": shown})
    return {
        "name": table.name,
        "title": table.title,
        "groups": table.groups,
        "columns": table.columns,
        "body": body,
        "reasons": reasons,
        "notes": table.notes,
    }


def cards(sources: Sources, summary: dict[str, Any]) -> list[dict[str, Any]]:
    """The key figures of the first measured corpus, each against the controls."""
    corpus = next((c for c in sources.settings.evaluate.corpora if c in summary["corpora"]), None)
    if corpus is None:
        return []
    part, ours = summary["corpora"][corpus], sources.ours
    found = []
    for recipe in sources.recipes:
        cell = part["methods"].get(ours, {}).get(recipe.name, {})
        if recipe.name not in ("m_lmd", "f_lmd", "ssim", "cpbd", "lse_c") or cell.get("mean") is None:
            continue
        versus = []
        for control, name in (("wrong_speech", "wrong speech"), ("still", "still")):
            other = part["methods"].get(control, {}).get(recipe.name, {}).get("mean")
            verdict = part["differences"].get(f"{ours} - {control}", {}).get(recipe.name, {}).get("verdict", "")
            if other is not None:
                colour = {"better": "good", "worse": "bad"}.get(verdict, "flat")
                versus.append({"text": f"{number(other, recipe.name)} {name}: {verdict}", "colour": colour})
        unit = f" {recipe.unit}" if recipe.unit else ""
        found.append(
            {
                "what": f"{CORPUS_TITLES[corpus]} · {recipe.title} {recipe.arrow}",
                "value": number(cell["mean"], recipe.name) + unit,
                "versus": versus,
            }
        )
    speed = sources.timings.get("evaluate", {}).get("fps")
    if speed:
        more = f"{speed['with_files_fps']:.1f} fps with files, first frame after {speed['fit_time_s']:.2f} s"
        found.append(
            {
                "what": "Speed on this machine",
                "value": f"{speed['network_fps']:.1f} fps",
                "versus": [{"text": more, "colour": "flat"}],
            }
        )
    return found


def clip_table(sources: Sources) -> tuple[list[str], list[list[Any]]]:
    """Our rows clip by clip in the page's order (:mod:`s3dnerf.reporting.clip_order`), with the controls' M-LMD beside;
    without the measures of motion and time, whose columns are as many again (``clips.parquet`` has them).
    """
    value: dict[tuple[str, str, str], float] = {(r["clip"], r["method"], r["metric"]): r["value"] for r in sources.rows}
    failed = {(r["clip"], r["method"], r["metric"]): r["failed"] for r in sources.rows}
    about = {r["clip"]: (r["corpus"], r["speaker"]) for r in sources.rows}
    metrics = [
        r.name
        for r in sources.recipes
        if r.name not in DYNAMICS and any(math.isfinite(value.get((c, sources.ours, r.name), math.nan)) for c in about)
    ]
    titles = {r.name: r.title for r in sources.recipes}

    def text(clip: str, method: str, metric: str) -> float | None:
        found = value.get((clip, method, metric), math.nan)
        return round(found, 3) if math.isfinite(found) else None

    columns = [("m_lmd", sources.ours), ("m_lmd", "wrong_speech"), ("m_lmd", "still")]
    columns += [(metric, sources.ours) for metric in metrics if metric != "m_lmd"]
    rows = []
    for clip in (place.clip for place in places(sources.rows, sources.ours)):
        corpus, speaker = about[clip]
        lost = failed.get((clip, sources.ours, "m_lmd"), 0)
        rows.append([clip, corpus, speaker, *(text(clip, method, metric) for metric, method in columns), lost])
    return [
        "clip",
        "corpus",
        "speaker",
        "M-LMD",
        "wrong",
        "still",
        *(titles[m] for m, _ in columns[3:]),
        "frames lost",
    ], rows


def origin(provenance: dict[str, Any], sources: Sources) -> list[tuple[str, str]]:
    """Revision, machine, seeds, determinism, as key and value."""
    git, hardware, s = provenance.get("git", {}), provenance.get("hardware", {}), sources.settings
    dirty = {True: "with uncommitted changes", False: "clean"}.get(git.get("dirty"), "state unknown")
    machine = ", ".join(str(hardware[k]) for k in ("cpu", "gpu", "os") if hardware.get(k)) or "unknown"
    cores, memory, python = (hardware.get(k, "unknown") for k in ("cores", "memory_gb", "python"))
    size = f"{cores} cores, {memory} GB, Python {python}"
    return [
        ("Git revision", f"{git.get('revision', 'unknown')}, {dirty}"),
        ("requirements.lock sha256", str(provenance.get("lock_sha256", "unknown"))),
        ("Preset", s.preset),
        ("Protocol", protocol_line(experiment(s))),
        ("Seeds", f"generator {s.seed}, expert {s.sync.expert_seed}, judge {s.sync.judge_seed}"),
        ("Hardware", machine),
        ("", size),
        *((f"Made: {part}", text) for part, found in provenance.get("made", {}).items() for text in made_lines(found)),
        ("Determinism", "CPU: one thread a process, fixed batches; equal inputs give equal bytes"),
    ]


def made_lines(found: dict[str, Any]) -> list[str]:
    """Who made a network or the measurements, a line for each record of ``found["by"]``."""
    lines = []
    for by in found["by"]:
        git, entries = by.get("git", {}), by["entries"]
        machines = [
            ", ".join([str(m["cpu"]), *(m["gpu"] or ["no GPU"]), *([f"CUDA {m['cuda']}"] if m["gpu"] else [])])
            for m in by.get("machines", [])
        ]
        state = {True: " with uncommitted changes", False: ""}.get(git.get("dirty"), ", state unknown")
        words = [
            by.get("date", ""),
            f"revision {str(git['revision'])[:12]}{state}" if git.get("revision") else "",
            f"torch {by['packages']['torch']}" if by.get("packages", {}).get("torch") else "",
            "; ".join(dict.fromkeys(machines)),
        ]
        said = ", ".join(word for word in words if word) or "not recorded"
        lines.append(f"{said} ({narrative.many(entries, 'clip')})" if entries > 1 else said)
    return lines or ["not recorded"]


def _range(low: float, high: float) -> str:
    def end(value: float) -> str:
        return f"{value:g}".replace("inf", "∞").replace("-", "−")

    return f"{'[' if math.isfinite(low) else '('}{end(low)}, {end(high)}{']' if math.isfinite(high) else ')'}"


def _head(
    sources: Sources, summary: dict[str, Any], listed: list[Backend], provenance: dict[str, Any]
) -> dict[str, Any]:
    """what the page says in words."""
    git, s = provenance.get("git", {}), sources.settings
    chips = [
        f"preset {s.preset}",
        f"revision {str(git.get('revision', 'unknown'))[:10]}" + (" (dirty)" if git.get("dirty") else ""),
    ]
    for corpus, part in summary["corpora"].items():
        clips, speakers = narrative.many(part["clips"], "clip"), narrative.many(part["speakers"], "speaker")
        chips.append(f"{CORPUS_TITLES[corpus]}: {clips}, {speakers}")
    return {
        "preset": s.preset,
        "chips": chips,
        "warnings": narrative.warnings(sources, listed),
        "trained_on": narrative.trained_on(sources),
        "verdicts": narrative.verdicts(sources, summary),
        "membership_line": narrative.membership_line(sources),
        "cards": cards(sources, summary),
    }


def _stand(sources: Sources, summary: dict[str, Any]) -> dict[str, Any]:
    """The forest plots and their table, and the worst and best clips by name."""
    found, left_out = forest.shares(sources.rows, summary, sources.recipes, sources.ours)
    return {
        "forest": forest.plots(found),
        "forest_columns": forest.COLUMNS,
        "forest_rows": forest.table_rows(found),
        "forest_left_out": left_out,
        "edge_clips": edges_in_words(places(sources.rows, sources.ours)),
    }


def _figures(sources: Sources, summary: dict[str, Any]) -> dict[str, Any]:
    """What the page shows."""
    differences = []
    for corpus, part in summary["corpora"].items():
        for control, title in (("wrong_speech", "right against wrong speech"), ("still", "against the still picture")):
            body = figures.difference_plot(part, sources.recipes, sources.ours, control)
            differences.append(figures.Figure(f"{CORPUS_TITLES[corpus]}: {title}", body))
    trainings = [("expert", "Lip-sync expert"), ("judge", "Lip-sync judge")]
    trainings += [(v, f"Generator, {v}") for v in sources.settings.train.variants]
    curves = [figures.curve_group(sources.curves.get(name, []), title) for name, title in trainings]
    offsets = [figures.offset_curve(sources, role) for role in ("expert", "judge")]
    people = sources.settings.report.people
    return {
        "differences": differences,
        "people": people,
        "strips": figures.strips(sources),
        "clips_without_pictures": len({r["clip"] for r in sources.rows} - sources.strips.keys()),
        "mouths": figures.mouths(sources),
        "heat_maps": figures.heat_maps(sources),
        "region_ratios": region_ratios.in_words(sources.region_ratios),
        "offsets": [f for f in offsets if f],
        "curves": [c for c in curves if c],
        "contact_sheets": contact_sheets(sources.settings) if people else [],
    }


def _lists(sources: Sources, listed: list[Backend], provenance: dict[str, Any]) -> dict[str, Any]:
    """Clips, membership, backends and origin, as rows."""
    columns, clip_rows = clip_table(sources)
    excluded = sources.membership[sources.membership["status"] != USED]
    why = ["corpus", "kind", "name", "stage", "reason", "detail"]
    lock = provenance.get("dvc_lock") or {}
    networks = {name: card for name, card in sources.cards.items() if card}
    return {
        "clip_columns": columns,
        "clip_rows": clip_rows[:MOST_ROWS],
        "clips_left": max(0, len(clip_rows) - MOST_ROWS),
        "membership_counts": [[row[k] for k in (*COUNTED, "count")] for row in sources.membership_counts],
        "membership_table": table_path(sources.settings.preset),
        "clips_table": clips_path(sources.settings.preset),
        "exclusions": excluded[why].head(MOST_ROWS).to_numpy().tolist(),
        "exclusions_total": len(excluded),
        "backends": listed,
        "origin": origin(provenance, sources),
        "recipe_rows": [
            [r.title, r.version, r.direction, r.unit, _range(r.low, r.high), r.source] for r in sources.recipes
        ],
        "lock_rows": [
            [stage, path, value] for stage, outs in sorted(lock.items()) for path, value in sorted(outs.items())
        ],
        "package_rows": sorted([name, version] for name, version in (provenance.get("packages") or {}).items()),
        "settings_text": dump_yaml(experiment(sources.settings)),
        "cards_text": json.dumps(_short(networks), indent=1, ensure_ascii=False),
        "timings_text": json.dumps(sources.timings, indent=1, ensure_ascii=False),
    }


def render_page(
    sources: Sources, summary: dict[str, Any], listed: list[Backend], provenance: dict[str, Any], others: int = 0
) -> str:
    """The whole page as text; videos are inside while the report has room for them.

    ``others``: bytes of the report's other files.
    """
    shown = _figures(sources, summary)
    values = {
        "sections": [x for x in SECTIONS if x[0] != "heat" or shown["heat_maps"]],
        "tables": [_numbered(t) for t in all_tables(sources, summary)],
        "distances_about": distances.ABOUT,
        "distances": [_numbered(t) for t in distances.tables(sources.distances, sources.ours, sources.variants)],
        "distances_lacking": distances.nothing(sources.distances),
        **_head(sources, summary, listed, provenance),
        **_stand(sources, summary),
        **shown,
        **_lists(sources, listed, provenance),
    }
    posters = videos.posters(sources)
    page = render("page.html", players=videos.players(sources, posters, ()), **values)
    # the same choice of videos with and without the raw videos
    used = others + len(SOURCE_PICTURES.sub(b"", page.encode())) + sum(map(len, posters.values()))
    inside = videos.fitting(sources, used)
    return render("page.html", players=videos.players(sources, posters, inside), **values) if inside else page


def _short(value: Any, depth: int = 0) -> Any:
    """Cards without the settings that stand above already, long lists cut."""
    if isinstance(value, dict):
        return {k: _short(v, depth + 1) for k, v in value.items() if not (depth == 1 and k == "settings")}
    return [*value[:40], f"… {len(value) - 40} more"] if isinstance(value, list) and len(value) > 40 else value
