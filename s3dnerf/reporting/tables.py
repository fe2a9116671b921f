"""Tables as data: cells with text, a sort key and what they are (measured, quoted from the paper, not measured with a
reason).

The HTML page and the Markdown file print the same tables. Tables 1 to 3 follow the paper's; each has the controls
``still`` and ``wrong speech``, and the paper's numbers in columns of their own, marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from s3dnerf.metrics.result import Recipe
from s3dnerf.reporting import paper
from s3dnerf.reporting.summary import DYNAMICS

MEASURED, QUOTED, MISSING, LABEL = "measured", "quoted", "missing", "label"
CONTROL_TITLES = {"still": "Still picture (control)", "wrong_speech": "Wrong speech (control)", "truth": "Truth (GT)"}
CORPUS_TITLES = {"hdtf": "HDTF", "mead": "MEAD", "lrs2": "LRS2", "portraits": "Portraits"}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes
    ----------
    sort : the number (or text) to sort by
    note : a small second line
    title : what a pointer shows
    """

    text: str
    kind: str = LABEL
    sort: float | str | None = None
    note: str = ""
    title: str = ""
    best: bool = False


@dataclass
class Table:
    """Rows of cells under groups of columns, with footnotes.

    Attributes
    ----------
    groups : (title, how many columns) over the columns
    """

    name: str
    title: str
    groups: list[tuple[str, int]]
    columns: list[str]
    rows: list[list[Cell]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    row_kinds: list[str] = field(default_factory=list)


def number(value: float, metric: str = "") -> str:
    """Three decimals, as the paper prints them (two for dB, none needed for whole numbers)."""
    digits = 2 if metric == "psnr" else 3
    return f"{value:.{digits}f}".replace("-", "−")


def measured_cell(
    cell: dict[str, Any] | None, metric: str, why: str, clips: int = 0, ours: float | None = None
) -> Cell:
    """A cell of ``summary.json`` as a table cell.

    Parameters
    ----------
    why : the reason where the summary has no such method
    clips : how many the corpus has; a mean over fewer says so, and shows ``ours`` on just those
    """
    if cell is None:
        return Cell("–", MISSING, None, "", why)
    if cell["mean"] is None:
        return Cell("–", MISSING, None, "", cell["reason"] or why)
    span = (
        f"{number(cell['low'], metric)}–{number(cell['high'], metric)}"
        if cell["low"] is not None and cell["low"] < cell["high"]
        else ""
    )
    span = span.replace("–−", " to −") if "−" in span else span
    failed = f", {cell['clips_failed']} without a value" if cell["clips_failed"] else ""
    frames = (
        f"; {cell['frames_failed']} of {cell['frames'] + cell['frames_failed']} frames left out"
        if cell["frames_failed"]
        else ""
    )
    if cell["clips"] < clips:
        span = f"{cell['clips']} of {clips} clips" + ("" if ours is None else f"\nours there {number(ours, metric)}")
    title = f"{cell['clips']} clips{failed}, {cell['speakers']} speakers{frames}; {cell['version']}"
    return Cell(
        number(cell["mean"], metric),
        MEASURED,
        cell["mean"],
        span,
        title + (f"; {cell['reason']}" if cell["reason"] else ""),
    )


def quoted_cell(value: float | str | None) -> Cell:
    """A number of the paper."""
    if value is None:
        return Cell("N/A", QUOTED, None, "", "the paper prints N/A")
    if isinstance(value, str):
        return Cell(value, QUOTED, float(value.strip("< ")), "", "quoted from the paper")
    return Cell(
        number(value) if value not in (0, 1) else f"{value:g}", QUOTED, float(value), "", "quoted from the paper"
    )


def no_cell() -> Cell:
    """The paper has no such row."""
    return Cell("", QUOTED, None)


@dataclass(frozen=True)
class Row:
    """A row to be: its method in the summary, its title, its name in the paper, what it is, and why it may be
    missing.
    """

    method: str
    title: str
    quoted: str
    kind: str
    why: str


def comparison(
    name: str,
    title: str,
    rows: Sequence[Row],
    summary: dict[str, Any] | None,
    quoted: dict[str, dict[str, float | None]],
    recipes: Sequence[Recipe],
) -> Table:
    """A table of methods by metrics: the paper's metrics with a measured and a quoted column each; without ``quoted``,
    all metrics given, measured.

    Parameters
    ----------
    summary : the corpus's part of ``summary.json``, or None when the corpus was not measured
    """
    methods = summary["methods"] if summary else {}
    recipes = [r for r in recipes if r.name in paper.METRICS] if quoted else recipes
    table = Table(name, title, [("", 1)], ["method"])
    for recipe in recipes:
        both = recipe.name in paper.METRICS and bool(quoted)
        table.groups.append(
            (f"{recipe.title} {recipe.arrow}".strip() + (f" ({recipe.unit})" if recipe.unit else ""), 2 if both else 1)
        )
        table.columns += ["here", "paper"] if both else ["here"]
    best = _best(methods, rows, recipes)
    for row in rows:
        cells = [Cell(row.title, LABEL, row.title)]
        for recipe in recipes:
            found = methods.get(row.method, {}).get(recipe.name)
            there = _ours_there(summary, row, recipe.name) if summary and row.kind == "other" else None
            cell = measured_cell(found, recipe.name, row.why, summary["clips"] if summary else 0, there)
            if row.method and best.get(recipe.name) == row.method:
                cell = Cell(cell.text, cell.kind, cell.sort, cell.note, cell.title, best=True)
            cells.append(cell)
            if recipe.name in paper.METRICS and quoted:
                cells.append(quoted_cell(quoted[row.quoted][recipe.name]) if row.quoted in quoted else no_cell())
        table.rows.append(cells)
        table.row_kinds.append(row.kind)
    return table


def _ours_there(summary: dict[str, Any], row: Row, metric: str) -> float | None:
    """Our mean on the clips that another method has: its own mean plus the paired difference."""
    for name, found in summary["differences"].items():
        if name.endswith(f" - {row.method}") and found.get(metric, {}).get("mean") is not None:
            theirs = summary["methods"][row.method][metric]
            return theirs["mean"] + found[metric]["mean"] if found[metric]["clips"] == theirs["clips"] else None
    return None


def _best(methods: dict[str, Any], rows: Sequence[Row], recipes: Sequence[Recipe]) -> dict[str, str]:
    """Metric → the best measured method, the truth left out; nobody where fewer than two were measured on the same
    clips.

    Only methods that cover the most clips compete: a mean over other clips is no comparison.
    """
    found = {}
    for recipe in recipes:
        if recipe.direction not in ("up", "down"):
            continue
        values = {
            r.method: methods[r.method][recipe.name]["mean"]
            for r in rows
            if r.kind != "truth"
            and r.method in methods
            and methods[r.method].get(recipe.name, {}).get("mean") is not None
        }
        most = max((methods[m][recipe.name]["clips"] for m in values), default=0)
        values = {m: v for m, v in values.items() if methods[m][recipe.name]["clips"] == most}
        if len(values) > 1:
            pick = max if recipe.direction == "up" else min
            found[recipe.name] = pick(values, key=lambda m: values[m])
    return found


def _controls(why: str) -> list[Row]:
    return [Row(name, CONTROL_TITLES[name], "", "control", why) for name in ("wrong_speech", "still")]


def _other_rows(quoted: Sequence[str], methods: Sequence[str], corpus: str, taken: set[str]) -> list[Row]:
    """A row for each method the paper has or somebody laid videos of."""
    laid = {paper.paper_name(m): m for m in methods if m not in taken}
    names = [n for n in quoted if n not in ("GT", "S³D-NeRF")]
    absent = f"not measured: no videos of this method (evaluate.methods: <method>/{CORPUS_TITLES[corpus]}/<clip>.mp4)"
    rows = [Row(laid.get(n, ""), n, n, "other", absent) for n in names]
    rows += [Row(laid[n], n, "", "other", "") for n in sorted(laid) if n not in names]
    return rows


def table_1(
    corpus: str,
    summary: dict[str, Any] | None,
    recipes: Sequence[Recipe],
    ours: str,
    variants: dict[str, str],
    why: str,
) -> Table:
    """Single-shot methods on one corpus.

    Parameters
    ----------
    variants : method → variant of our rows
    why : the reason when nothing was measured
    """
    quoted = paper.table_1(corpus)
    taken = {*variants, "truth", "still", "wrong_speech"}
    rows = [Row("truth", CONTROL_TITLES["truth"], "GT", "truth", why)]
    rows += _other_rows(list(quoted), list(summary["methods"]) if summary else [], corpus, taken)
    rows.append(Row(ours, "S³D-NeRF (this run)", "S³D-NeRF", "ours", why))
    title = f"Table 1 · {CORPUS_TITLES.get(corpus, corpus)}"
    table = comparison(f"table-1-{corpus}", title, rows + _controls(why), summary, quoted, recipes)
    if not quoted:
        table.notes.append("The paper has no numbers on this corpus.")
    return table


def table_2(
    summary: dict[str, Any] | None,
    recipes: Sequence[Recipe],
    ours: str,
    variants: dict[str, str],
    speed: dict[str, Any] | None,
    why: str,
) -> Table:
    """NeRF-based methods on the videos of AD-NeRF and GeneFace (corpus ``portraits``), with FPS and fit time."""
    quoted = paper.table_2()
    taken = {*variants, "truth", "still", "wrong_speech"}
    rows = [Row("truth", CONTROL_TITLES["truth"], "GT", "truth", why)]
    rows += _other_rows(list(quoted), list(summary["methods"]) if summary else [], "portraits", taken)
    rows.append(Row(ours, "S³D-NeRF (this run)", "S³D-NeRF", "ours", why))
    table = comparison(
        "table-2", "Table 2 · videos of AD-NeRF and GeneFace", rows + _controls(why), summary, quoted, recipes
    )
    table.groups += [("FPS ↑ (frames/s)", 2), ("Fit time ↓", 2)]
    table.columns += ["here", "paper", "here", "paper"]
    for row, cells in zip(rows + _controls(why), table.rows):
        fps, fit = paper.SPEED_2.get(row.quoted, ("", ""))
        here_fps = here_fit = Cell("–", MISSING, None, "", "not measured: a speed is measured for our own network only")
        if row.method == ours and speed:
            note = f"{speed['with_portrait_fps']:.2f} · {speed['with_files_fps']:.2f}"
            where = f"{speed['frames']} frames on {speed['device']}"
            here_fps = Cell(f"{speed['network_fps']:.2f}", MEASURED, speed["network_fps"], note, where)
            hours = speed["fit_time_s"] / 3600
            here_fit = Cell(f"{speed['fit_time_s']:.2f} s", MEASURED, hours, "", "from the portrait to the first frame")
        cells += [
            here_fps,
            quoted_cell(fps) if fps else no_cell(),
            here_fit,
            Cell(f"{fit} h", QUOTED, float(fit.strip("< ")), "", "quoted from the paper") if fit else no_cell(),
        ]
    table.notes.append(
        "FPS, on a test clip of the first corpus measured: the network alone, the portrait cached; beside it, with "
        "the portrait's "
        "encoding · with reading and writing. "
        "FPS and fit time are this machine's and vary by nature: they are in timings.json, never in summary.json."
    )
    return table


def table_3(summary: dict[str, Any] | None, recipes: Sequence[Recipe], variants: dict[str, str], why: str) -> Table:
    """The variants of the ablation, on HDTF."""
    quoted = paper.table_3()
    trained = {variant: method for method, variant in variants.items()}
    rows = []
    for variant in quoted:
        reason = why if variant in trained else "not trained in this run (train.variants)"
        kind = "ours" if variant == "full" else "other"
        rows.append(Row(trained.get(variant, ""), paper.VARIANT_TITLES[variant], variant, kind, reason))
    table = comparison("table-3", "Table 3 · variants, HDTF", rows + _controls(why), summary, quoted, recipes)
    table.notes.append(
        "The paper's full model has SSIM 0.819 in its table 1 and 0.829 in its table 3, all else equal: both are "
        "quoted."
    )
    return table


def further(
    corpus: str, summary: dict[str, Any], recipes: Sequence[Recipe], ours: str, variants: dict[str, str]
) -> list[Table]:
    """The measures that the paper's tables do not have, for every method measured on a corpus: one table, and one of
    motion and time where these were measured.
    """
    rows = [Row("truth", CONTROL_TITLES["truth"], "", "truth", "")]
    others = [m for m in summary["methods"] if m not in {*variants, *CONTROL_TITLES}]
    rows += [Row(m, paper.paper_name(m), "", "other", "") for m in others]
    rows += [Row(m, f"S³D-NeRF ({v})", "", "ours" if m == ours else "other", "") for m, v in variants.items()]
    rows += _controls("")
    beyond = [r for r in recipes if r.name not in paper.METRICS]
    still, moving = ([r for r in beyond if (r.name in DYNAMICS) == dynamic] for dynamic in (False, True))
    where = CORPUS_TITLES.get(corpus, corpus)
    tables = [comparison(f"further-{corpus}", f"Further measures · {where}", rows, summary, {}, still)]
    if moving:
        tables.append(comparison(f"dynamics-{corpus}", f"Dynamics · {where}", rows, summary, {}, moving))
        tables[-1].notes += [
            "Where a column has no arrow neither more nor less is better: what is nearer to the truth's row is. "
            "A still picture does not move: 0 is no aim.",
        ]
    return tables


def markdown(table: Table) -> str:
    """The table in Markdown: quoted numbers in italics, the best measured in bold, intervals beside, missing ones as a
    footnote.
    """
    heads, i = [], 0
    for title, count in table.groups:
        for column in table.columns[i : i + count]:
            heads.append(f"{title} {column}".strip() if count > 1 else title or column)
        i += count
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    reasons: list[str] = []
    for cells in table.rows:
        words = []
        for cell in cells:
            text = cell.text.replace("|", "\\|")
            if cell.kind == MISSING and cell.title:
                if cell.title not in reasons:
                    reasons.append(cell.title)
                text += f" [{reasons.index(cell.title) + 1}]"
            if cell.kind == MEASURED and cell.note:
                text += " (" + cell.note.replace("\n", "; ") + ")"
            if cell.kind == QUOTED and text:
                text = f"*{text}*"
            words.append(f"**{text}**" if cell.best else text)
        lines.append("| " + " | ".join(words) + " |")
    lines += [
        "",
        *(f"[{k + 1}] {reason}  " for k, reason in enumerate(reasons)),
        *(f"{note}  " for note in table.notes),
    ]
    return f"### {table.title}\n\n" + "\n".join(lines).rstrip() + "\n"
