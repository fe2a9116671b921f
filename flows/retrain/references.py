"""The reports that a night's challenger is held against: which versions of the registry count, in which metrics, and
which of them have to be measured again.

A version is measured again (:mod:`flows.retrain.rescoring`) where its report cannot be compared with tonight's in a
metric in which it counts: another version of the metric, another judge, no value then and one tonight, people who
changed sides, or no report in this repository any more.
"""

from __future__ import annotations

from collections.abc import Set

from flows.audit import report_at
from flows.champion import Champion, History
from flows.report_tables import finder
from flows.retrain.judging import Reference, moved_controls, values_of
from flows.retrain.plan import Plan
from flows.retrain.rescoring import measured_again
from s3dnerf.reporting.comparison import compare, obstacles
from s3dnerf.reporting.report_files import Report, ReportError


def unlike(old: Report, new: Report, metrics: Set[str]) -> list[str]:
    """Why an earlier report cannot be compared with tonight's in these metrics; empty where it can."""
    ours, found = new.document["methods"]["ours"], obstacles(old, new, ())
    for metric in sorted(metrics):
        then, tonight = (report.versions.get(metric, "nothing that is stated") for report in (old, new))
        if values_of(new, ours, metric) and not values_of(old, ours, metric):
            found.append(f"{metric} was not measured then")
        elif then != tonight:
            found.append(f"{metric} was measured as {then} then and as {tonight} tonight")
    return found


def no_more(old: Report, new: Report, metrics: Set[str]) -> set[str]:
    """The metrics that an earlier report measured and tonight's did not."""
    ours = new.document["methods"]["ours"]
    return {metric for metric in metrics if values_of(old, ours, metric) and not values_of(new, ours, metric)}


def moved(old: Report, new: Report, metrics: Set[str]) -> list[str]:
    """The controls that moved between two reports, in those metrics that both measured in the same way."""
    same = {m for m in metrics if old.versions.get(m) == new.versions.get(m)}
    return moved_controls(compare(old, new, force=True, metrics=same))


def counting(history: History, current: Champion, new: Report, metrics: Set[str]) -> dict[str, set[str]]:
    """Version → the metrics in which it counts: the current one, which is first, in all; the best ones in theirs."""
    found = {current.version: set(metrics)}
    for corpus in sorted({row["corpus"] for row in new.rows}):
        for metric in sorted(metrics):
            found.setdefault(history.best_of(f"{corpus}/{metric}"), set()).add(metric)
    return found


def promoted_references(
    plan: Plan, new: Report, history: History, current: Champion
) -> tuple[list[Reference], list[str]]:
    """The promoted versions that a challenger is held against, the current one first, and what is to be said of them.

    Parameters
    ----------
    new : tonight's report
    current : the champion, or the newest promoted version where nothing carries the alias

    Raises MlflowError, ReportError, RetrainError.
    """
    found, lines = list[Reference](), list[str]()
    versions = {version.version: version for version in (*history.versions, current)}
    for number, metrics in counting(history, current, new, set(plan.options.margins)).items():
        version, shifted, lost = versions[number], list[str](), set[str]()
        try:
            report = report_at(version.report_commit, plan.settings.preset, plan.repository)
            report.find = finder(plan.repository, plan.place)  # it was made in the worktree
            lost = no_more(report, new, metrics)
            why = ["asked for"] if plan.options.rescore else unlike(report, new, metrics - lost)
            shifted = [] if plan.options.rescore else moved(report, new, metrics)
        except ReportError as error:
            report, why = new, [str(error)]
        if version != current and not why:  # the measuring changed since, and a champion was accepted by the new one
            why, shifted = shifted, []
        report.name = f"version {number} ({version.report_commit[:12]})"
        if why:
            report = measured_again(plan, version, new)
            lines.append(f"version {number} was measured again with tonight's code, judge and data: {'; '.join(why)}")
        against = [
            f"the data or the measuring changed, not only the model: {line}: nothing is promoted; where that was "
            "meant, --rescore measures the promoted versions again"
            for line in shifted
        ]
        against += [f"{m}: measured in version {number}, not tonight: NOT shown to be no worse" for m in sorted(lost)]
        against = against if version == current else []
        found.append(Reference(number, report, frozenset(metrics - lost), bool(why), tuple(against)))
    return found, lines


def fixed_reference(plan: Plan, new: Report) -> tuple[Reference | None, list[str]]:
    """The fixed reference report, where one is named, and what is to be said of it.

    Where it measured a metric otherwise and a version of the registry has its generator, that is measured again.
    Elsewhere such a metric does not gate beside it, and a line says so.

    Raises MlflowError, ReportError, RetrainError.
    """
    if not plan.options.reference:
        return None, []
    report = report_at(plan.options.reference, plan.settings.preset, plan.repository)
    report.name = f"the fixed reference {plan.options.reference}"
    gating, lines, ours = sorted(plan.options.margins), list[str](), new.document["methods"]["ours"]
    why = {metric: [*unlike(report, new, {metric}), *moved(report, new, {metric})] for metric in gating}
    other = [reason for metric in gating for reason in why[metric]]
    version = _registered(plan, report) if other else None
    if version is not None:
        name, report = report.name, measured_again(plan, version, new)
        report.name = name
        reasons = "; ".join(dict.fromkeys(other))
        lines.append(
            f"{name} was measured again with tonight's code, judge and data (version {version.version}): {reasons}"
        )
        why = {metric: [] for metric in gating}
    elif other:
        lines.append(
            f"{report.name} was not measured again: no version of the registry has its generator; what it measured "
            "otherwise does not gate"
        )
    metrics = set[str]()
    for metric in gating:
        if not why[metric] and not values_of(report, ours, metric):
            why[metric] = ["it was measured in neither"]
        if why[metric]:
            lines.append(f"{metric} does not gate beside {report.name}: {'; '.join(why[metric])}")
        else:
            metrics.add(metric)
    return Reference("", report, frozenset(metrics), version is not None), lines


def _registered(plan: Plan, report: Report) -> Champion | None:
    """The version of the registry whose generator a report is of, or None."""
    generator = report.document.get("networks", {}).get(plan.variant)
    return plan.registry().of_generator(generator) if generator else None
