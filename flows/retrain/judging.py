"""Whether a challenger is no worse than the best models ever promoted: margins, and what is compared with what.

The rule. A challenger is held against reports of earlier models, over the test clips that both have:

- the champion, in every metric that gates;
- in each metric and corpus, the promoted version that was the best in it, however long ago it lost the alias. Of these
  and the champion, the one that the challenger lies furthest behind counts. So a slide of many small steps is stopped
  where the steps add up to the margin, and not where a single step does;
- a fixed reference report, where one is named.

A metric passes on a corpus when the bad end of the 95 % interval of the paired difference lies within its margin, a
share of the better model's mean. What gates is a metric that :data:`MARGINS` (or ``--margin``) names; any other may
change freely. A metric that neither report measured does not gate, and a line says so.

The controls ``still`` and ``truth`` do not depend on the model. Where a gating metric of theirs moved against the
champion's report, the measuring or the data changed and the comparison means nothing: nothing is promoted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from s3dnerf.core.errors import SettingsError
from s3dnerf.metrics.result import NEITHER
from s3dnerf.reporting.comparison import Comparison, Row, compare
from s3dnerf.reporting.comparison_page import markdown, page
from s3dnerf.reporting.report_files import Report

# What must not get worse, and by which share of the better model's value it may at most be worse (the interval's bad
# end). The noise beside them: the bad end for equal systems trained twice, ten people of HDTF (four of MEAD), the
# larger of two pairs of reports in git (0e2f702 and a5ccef4; 663b7e4 and 49ad139), either way round. The rule, and why
# F-LMD's margin lies below its 12.9 %: docs/how-to/retraining.md.
MARGINS = {
    "m_lmd": 0.05,  # 3.3 % (6.4 %)
    "f_lmd": 0.05,  # 1.9 % (6.8 %); 12.9 % in the older pair, 3.0 % without one of its ten people
    "ssim": 0.02,  # 0.2 % (0.3 %)
    "opening_deviation": 0.25,  # 6.6 % (25.2 %): lip motion; a still picture has 0
    "lse_c": 0.15,  # 10.9 % (11.2 %): sync, by one judge
    "identity": 0.03,  # 1.6 % (1.8 %)
    "cpbd": 0.1,  # 6.0 % (2.5 %): sharpness
}
# share of a corpus's test clips, or of the clips with a value, that may be missing beside the other report's: lost
# clips may be the hard ones
MOST_LOST = 0.1
# by how much a control may differ: rounding on another processor; far below every margin. Of values below 1 absolute,
# of larger ones their share
CONTROL_TOLERANCE = 1e-4


def gateable() -> list[str]:
    """The metrics of the reports that have a better and a worse, in the tables' order."""
    from s3dnerf.evaluation.protocol import Tools

    recipes = Tools(faces=None).recipes()  # type: ignore[arg-type]  # nothing is measured
    return [recipe.name for recipe in recipes if recipe.direction != NEITHER]


def checked_margins(margins: Mapping[str, float] | None) -> Mapping[str, float]:
    """Margins of known metrics; :data:`MARGINS` where none are given. Raises SettingsError for another metric."""
    known = gateable()
    unknown = sorted(set(margins or {}) - set(known))
    if unknown:
        raise SettingsError(f"margins: got {', '.join(unknown)} — accepted: metrics of the report, {', '.join(known)}")
    return margins or MARGINS


def margins_of(words: tuple[str, ...]) -> dict[str, float] | None:
    """``("m_lmd=0.05",)`` as a mapping; None for none. Raises SettingsError for what is neither a metric nor a
    share.
    """
    found = {}
    for word in words:
        name, _, share = word.partition("=")
        try:
            found[name] = float(share)
        except ValueError:
            raise SettingsError(f"--margin {word}: accepted: METRIC=SHARE, for example m_lmd=0.05") from None
        if not 0 <= found[name] <= 10:
            raise SettingsError(f"--margin {word}: accepted: a share of the better model's value, 0 … 10")
    return found or None


@dataclass(frozen=True)
class Reference:
    """A report that a challenger is held against.

    Attributes
    ----------
    version : str
        The version of the registry that it is of; empty for a fixed reference report.
    report : Report
    metrics : frozenset of str
        The metrics in which it counts.
    again : bool
        Whether it was measured again tonight.
    against : tuple of str
        What forbids a promotion whatever the values: controls that moved since its report, metrics that it has and
        tonight's report does not.
    """

    version: str
    report: Report
    metrics: frozenset[str]
    again: bool = False
    against: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What lines call it."""
        return f"version {self.version}" if self.version else "the fixed reference"


@dataclass
class Judgement:
    """Whether the challenger is no worse.

    Attributes
    ----------
    good : bool
    lines : list of str
        What was compared with what, a line each.
    best : dict
        "corpus/metric" → the version that is still better than the challenger in it.
    judged : set of str
        Every "corpus/metric" in which promoted versions and the challenger have values.
    files : dict
        File name → bytes of the comparisons.
    """

    good: bool = True
    lines: list[str] = field(default_factory=list)
    best: dict[str, str] = field(default_factory=dict)
    judged: set[str] = field(default_factory=set)
    files: dict[str, bytes] = field(default_factory=dict)

    def add(self, passed: bool, line: str) -> None:
        """A line, and whether what it says speaks for promotion."""
        self.good = self.good and passed
        self.lines.append(line)


def values_of(report: Report, method: str, metric: str) -> dict[str, dict[str, float]]:
    """Corpus → clip → value of a method in a metric, where it has one."""
    found: dict[str, dict[str, float]] = {}
    for row in report.rows:
        if row["method"] == method and row["metric"] == metric and math.isfinite(row["value"]):
            found.setdefault(row["corpus"], {})[row["clip"]] = float(row["value"])
    return found


def moved_controls(found: Comparison) -> list[str]:
    """The controls that moved: by more than rounding, and 0 lies outside of the interval (or there is none, from one
    speaker).
    """
    lines = []
    for row in found.control_rows:
        beyond = abs(row.difference) > CONTROL_TOLERANCE * max(1.0, abs(row.mean_a))
        if beyond and (row.low is None or row.high is None or not row.low <= 0 <= row.high):
            lines.append(
                f"{row.metric} of {row.method} on {row.corpus} moved from {row.mean_a:.4g} to {row.mean_b:.4g}"
            )
    return lines


def lost_clips(found: Comparison) -> tuple[bool, list[str]]:
    """Whether the challenger was measured on the champion's test clips, but for MOST_LOST of a corpus; a line where not
    on all of them.
    """
    lines, good = [], True
    for corpus, (common, lost, _) in found.clips.items():
        passed = lost <= MOST_LOST * (common + lost)
        good = good and passed
        if lost:
            word = "tolerated" if passed else "NOT shown to be no worse"
            lines.append(
                f"{lost} of the champion's {common + lost} test clips on {corpus} were not measured again: {word}"
            )
    return good, lines


def behind(row: Row, direction: str) -> float:
    """By how much B is worse than A in the mean; below 0 where it is better."""
    return row.difference if direction == "down" else -row.difference


def within(row: Row, margin: float, direction: str, name: str) -> tuple[bool, str]:
    """Whether the bad end of a difference's interval lies within ``margin`` times A's mean, and a line that says so.

    With one speaker there is no interval, and nothing is shown: it does not pass.
    """
    worst = row.high if direction == "down" else (None if row.low is None else -row.low)
    allowed = margin * abs(row.mean_a)
    passed = worst is not None and worst <= allowed
    shown = "no interval from one speaker" if worst is None else f"at worst {worst:+.4g}, {allowed:.4g} allowed"
    word = "no worse" if passed else "NOT shown to be no worse"
    return passed, f"{row.metric} on {row.corpus}: {row.mean_a:.4g} ({name}) → {row.mean_b:.4g}; {shown}: {word}"


def _judge_metric(
    done: Judgement,
    metric: str,
    margin: float,
    direction: str,
    held: Sequence[tuple[Reference, Comparison]],
    new: Report,
) -> bool:
    """Add what one metric comes to on each corpus; whether it was judged on any. ``held``: references that count in
    it.
    """
    ours = new.document["methods"]["ours"]
    tonight = values_of(new, ours, metric)
    before = [(reference, values_of(reference.report, ours, metric)) for reference, _ in held]
    measured = {(row["corpus"], row["clip"]) for row in new.rows}
    judged = False
    for corpus in sorted({corpus for _, values in before for corpus in values}):
        rows = [
            (reference, row)
            for reference, found in held
            for row in found.rows
            if (row.method, row.metric, row.corpus) == (ours, metric, corpus)
        ]
        # a clip that is not among tonight's at all is lost_clips' business
        common = [{c for c in values.get(corpus, {}) if (corpus, c) in measured} for _, values in before]
        lost = max((len(clips - tonight.get(corpus, {}).keys()) / len(clips) for clips in common if clips), default=0.0)
        if lost > MOST_LOST:
            judged = True
            done.add(
                False, f"{metric} on {corpus}: no value any more on {lost:.0%} of the clips: NOT shown to be no worse"
            )
        if not rows:
            continue
        judged = True
        reference, row = max(rows, key=lambda pair: behind(pair[1], direction))
        done.add(*within(row, margin, direction, reference.name))
        if reference.version:
            done.judged.add(f"{corpus}/{metric}")
            if behind(row, direction) > 0:
                done.best[f"{corpus}/{metric}"] = reference.version
    if not judged:
        names = " and ".join(reference.name for reference, _ in held) or "any earlier report"
        here = "tonight, but not in" if tonight else "neither tonight nor in"
        done.lines.append(f"{metric}: measured {here} {names}: does not gate")
    return judged


def judge(
    new: Report, promoted: Sequence[Reference], fixed: Reference | None, margins: Mapping[str, float]
) -> Judgement:
    """Hold tonight's report against those of promoted versions, the champion first, and against a fixed reference.

    See the module for the rule. Raises NotComparable where a report was measured otherwise in a metric in which it
    counts, ReportError.
    """
    done = Judgement()
    references = [*promoted, *([fixed] if fixed and fixed.metrics else [])]
    held = [(reference, compare(reference.report, new, metrics=reference.metrics)) for reference in references]
    for number, (reference, found) in enumerate(held):
        name = "comparison" if number == 0 else f"comparison_{reference.name.replace(' ', '_')}"
        done.files |= {f"{name}.md": markdown(found).encode(), f"{name}.html": page(found).encode()}
        if reference.again:
            done.files[f"{reference.name.replace(' ', '_')}_clips.parquet"] = reference.report.files["clips.parquet"]
        done.lines += [f"not checked in full: {line}" for line in found.unchecked]
    if promoted:
        champion, found = held[0]
        done.lines.insert(0, f"beside {champion.report.name}: {found.verdict()}")
        for line in champion.against:
            done.add(False, line)
        whole, missing = lost_clips(found)
        done.good = done.good and whole
        done.lines += missing
    directions = {m["name"]: m["direction"] for m in new.document["metrics"]}
    judged = False
    for of_the_promoted in (True, False):
        for metric, margin in margins.items():
            counting = [pair for pair in held if metric in pair[0].metrics and bool(pair[0].version) == of_the_promoted]
            if promoted if of_the_promoted else counting:
                judged |= _judge_metric(done, metric, margin, directions.get(metric, "up"), counting, new)
    if fixed and not fixed.metrics:
        done.add(
            False, f"{fixed.report.name} cannot be compared in any metric that gates: name another with --reference"
        )
    if not judged:
        done.add(False, "no metric that gates was measured in both: NOT shown to be no worse")
    return done
