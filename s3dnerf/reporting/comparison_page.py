"""A comparison of two reports (:mod:`s3dnerf.reporting.comparison`) as Markdown and as a page."""

from __future__ import annotations

from s3dnerf.reporting.comparison import ALPHA, Comparison, Row
from s3dnerf.reporting.templates import render

METHOD = (
    "Differences are B − A; interval: bootstrap over speakers; p: sign flips of whole speakers; Holm over all tests "
    f"with enough speakers to show anything; level {ALPHA:g}."
)
HEADS = [
    "corpus",
    "method",
    "metric",
    "A",
    "B",
    "B − A",
    "95 % interval",
    "p",
    "p (Holm)",
    "clips",
    "speakers",
    "verdict",
]


def _cells(row: Row) -> list[str]:
    interval = "–" if row.low is None or row.high is None else f"{row.low:+.4g} … {row.high:+.4g}"
    p, corrected = ("–" if x is None else f"{x:.3g}" for x in (row.p, row.p_holm))
    unit = f" {row.unit}" if row.unit else ""
    values = [f"{row.mean_a:.4g}{unit}", f"{row.mean_b:.4g}{unit}", f"{row.difference:+.4g}", interval, p, corrected]
    return [row.corpus, row.method, row.metric, *values, str(row.clips), str(row.speakers), row.verdict]


def _sections(found: Comparison) -> list[tuple[str, list[str], list[list[str]]]]:
    """Title, heads and rows of every table."""
    parts: list[tuple[str, list[str], list[list[str]]]] = [
        ("Metrics", HEADS, [_cells(row) for row in found.rows]),
        (
            "Clips",
            ["corpus", "common", "A alone", "B alone"],
            [[corpus, *map(str, n)] for corpus, n in found.clips.items()],
        ),
    ]
    for title, changed in (
        ("Settings", found.settings),
        ("Code and machine", found.code),
        ("Data", found.data),
        ("Membership", found.membership),
    ):
        parts.append(
            (f"{title} that changed", ["what", "A", "B"], [[key, str(x), str(y)] for key, (x, y) in changed.items()])
        )
    return parts


def _warnings(found: Comparison) -> list[str]:
    forced = [f"Forced: {reason}. The numbers do not mean the same." for reason in found.forced]
    unchecked = [f"Not checked in full: {line}." for line in found.unchecked]
    return forced + unchecked + [f"Control: {line}." for line in found.controls]


def markdown(found: Comparison) -> str:
    """The comparison to read in a terminal or on a code host."""
    lines = [f"# Comparison: A = {found.a}, B = {found.b}", ""]
    lines += [f"> **{line}**  " for line in _warnings(found)] + [""]
    lines += [found.verdict(), ""]
    for title, heads, rows in _sections(found):
        lines += [f"## {title}", ""]
        if rows:
            lines += ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
            lines += [
                "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows
            ] + [""]
        else:
            lines += ["None.", ""]
    return "\n".join([*lines, METHOD]) + "\n"


def page(found: Comparison) -> str:
    """The comparison as one self-contained HTML page."""
    about = {"a": found.a, "b": found.b, "warnings": _warnings(found), "verdict": found.verdict(), "method": METHOD}
    return render("comparison.html", sections=_sections(found), **about)
