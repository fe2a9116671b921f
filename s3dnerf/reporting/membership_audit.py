"""The auditor's rules over who and what was used: the membership table, people, and clips measured.

Reads a :class:`s3dnerf.reporting.report_files.Report`; writes nothing. The whole table may be under DVC alone. Where it
is not here, each rule checks what the counts in ``report.json`` and the other files of the report allow, and its
:class:`Finding` says what it could not check and how to get the table.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from s3dnerf.reporting.document import SCHEMA_1
from s3dnerf.reporting.membership import COUNTED, TABLE, UNACCOUNTED, USED, counts, table_path, uses_of
from s3dnerf.reporting.report_files import Finding, Report, ReportError, some

if TYPE_CHECKING:
    import pandas as pd


def _counted(listed: list[dict[str, Any]]) -> Counter[tuple[tuple[str, Any], ...]]:
    """Counts in whatever order they are listed."""
    return Counter({tuple(sorted((k, v) for k, v in row.items() if k != "count")): row["count"] for row in listed})


def table(report: Report) -> Finding:
    """The membership table is the one that report.json names, and gives the counts that stand there.

    Without the table: the counts add up to the number of rows that report.json states.
    """
    rule, stated = "membership", report.document["membership"]
    members, facts, wrong = report.membership, report.table, list[str]()
    if facts is None and report.document["schema"] != SCHEMA_1:
        raise ReportError(f"{report.name}/report.json: got no membership_table, expected its rows and hashes")
    if facts is not None:
        own = report.files.get(TABLE)
        if facts["path"] != table_path(report.document["preset"]):
            wrong.append(f"report.json names {facts['path']}, expected {table_path(report.document['preset'])}")
        if facts["in_report"] and own is None:
            wrong.append(f"{TABLE} is missing in the report, and report.json says that it is there")
        if own is not None and hashlib.sha256(own).hexdigest() != facts["sha256"]:
            wrong.append(f"{TABLE} is not the table that report.json names")
        if sum(row["count"] for row in stated) != facts["rows"]:
            wrong.append(f"the counts in report.json do not add up to its {facts['rows']} rows")
    if members is None:
        said = f"the counts in report.json add up to {(facts or {}).get('rows')} rows"
        return Finding(rule, not wrong, some(wrong) or said, f"the table itself: {report.table_not_here}")
    keys = COUNTED if facts is not None else tuple(key for key in COUNTED if key != "split")
    if _counted(counts(members, keys)) != _counted(stated):
        wrong.append(f"the counts in report.json are not those of {TABLE}")
    return Finding(rule, not wrong, some(wrong) or f"{len(members)} rows as counted in report.json")


def roles(members: pd.DataFrame) -> pd.DataFrame:
    """Who has usable clips to train on, and who to test on: columns ``corpus``, ``speaker``, ``test`` (bool), each
    once.
    """
    used = members[(members["kind"] == "clip") & (members["status"] == USED)]
    return used[["corpus", "speaker"]].assign(test=used["split"] == "test").drop_duplicates()


def people(report: Report) -> Finding:
    """Nobody was measured on whom a network was trained, or selected; nobody has clips to train and to test on.

    Without the membership table: the first of the two.
    """
    measured = {f"{r['corpus']}/{r['speaker']}" for r in report.rows}
    seen = {use: people & measured for use, people in uses_of(report.document["cards"]).items()}
    wrong = [f"{person} was measured and is in {use}" for use, both in sorted(seen.items()) for person in sorted(both)]
    unchecked, members = "", report.membership
    if members is None:
        unchecked = f"whether anybody has clips to train on and clips to test on: {report.table_not_here}"
    else:
        both = roles(members)[["corpus", "speaker"]]
        wrong += [
            f"{corpus}/{speaker} has clips to train on and clips to test on"
            for corpus, speaker in sorted(both[both.duplicated()].itertuples(index=False, name=None))
        ]
    said = f"{len(measured)} people measured, none of them trained on"
    return Finding("people", not wrong, some(wrong) or said, unchecked)


def _fates(members: pd.DataFrame, measured: set[str]) -> list[str]:
    """What is wrong with the rows of the whole table."""
    lost = members[members["status"] == UNACCOUNTED]
    wrong = [f"{corpus} {kind} {name} is unaccounted for" for corpus, kind, name in
             lost[["corpus", "kind", "name"]].itertuples(index=False, name=None)]  # fmt: skip
    silent = members[~members["status"].isin([USED, UNACCOUNTED]) & (members["reason"] == "")]
    wrong += [f"{name} is excluded without a reason" for name in silent["name"]]
    clips = members[(members["kind"] == "clip") & (members["status"] == USED) & (members["used_for"] == "evaluate")]
    meant = set(clips["name"])
    wrong += [f"{clip} is said to be measured and has no row" for clip in sorted(meant - measured)]
    return wrong + [f"{clip} has rows and is no held-out clip" for clip in sorted(measured - meant)]


def _counted_fates(stated: list[dict[str, Any]], clips: Counter[str]) -> list[str]:
    """What is wrong with the counts in report.json; ``clips``: corpus → clips measured."""
    wrong = [f"{row['count']} {row['kind']}s of {row['corpus']} are unaccounted for"
             for row in stated if row["status"] == UNACCOUNTED]  # fmt: skip
    wrong += [f"{row['count']} {row['kind']}s of {row['corpus']} are excluded without a reason"
              for row in stated if row["status"] not in (USED, UNACCOUNTED) and not row["reason"]]  # fmt: skip
    held_out: Counter[str] = Counter()
    for row in stated:
        if row["kind"] == "clip" and row["status"] == USED and row["split"] == "test":
            held_out[row["corpus"]] += row["count"]
    return wrong + [
        f"{count} clips of {corpus} have rows, of {held_out[corpus]} held out"
        for corpus, count in sorted(clips.items())
        if count > held_out[corpus]
    ]


def accounted(report: Report) -> Finding:
    """Every raw file and clip has a fate, every held-out clip meant to be measured was, and every missing value a
    reason.

    Without the membership table: the same of the counts by corpus.
    """
    members, stated, unchecked = report.membership, report.document["membership"], ""
    measured = {r["clip"] for r in report.rows}
    if members is not None:
        wrong, total = _fates(members, measured), len(members)
    else:
        of_corpus = Counter(corpus for corpus, _ in {(r["corpus"], r["clip"]) for r in report.rows})
        wrong, total = _counted_fates(stated, of_corpus), sum(row["count"] for row in stated)
        unchecked = f"that just the clips meant to be measured were: {report.table_not_here}"
    twice = [key for key, n in Counter((r["clip"], r["method"], r["metric"]) for r in report.rows).items() if n > 1]
    wrong += [f"{' '.join(key)} is there twice" for key in sorted(twice)]
    wrong += [
        f"{r['clip']} {r['method']} {r['metric']}: no value and no reason"
        for r in report.rows
        if not math.isfinite(r["value"]) and not r["reason"]
    ]
    said = f"{total} files and clips, {len(measured)} clips measured"
    return Finding("accounted for", not wrong, some(wrong) or said, unchecked)
