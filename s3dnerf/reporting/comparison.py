"""Two reports side by side: what changed, and whether the metrics did, clip by clip.

Reads two :class:`s3dnerf.reporting.report_files.Report`; writes nothing: :func:`compare` gives a
:class:`Comparison`, which :mod:`s3dnerf.reporting.comparison_page` writes down. Clips are joined by id. Per corpus,
method and metric: the mean difference B − A over the common clips with a 95 % interval clustered by speaker, a paired
permutation p (signs of whole speakers flipped), and Holm's correction over all tests of the comparison that have enough
speakers, so that two equal systems are told apart in at most 5 % of comparisons.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from s3dnerf.core.errors import S3DNeRFError
from s3dnerf.reporting.audit import CONTROLS
from s3dnerf.reporting.membership import uses_of
from s3dnerf.reporting.membership_audit import roles
from s3dnerf.reporting.report_files import Report
from s3dnerf.reporting.statistics import holm, paired_difference, speakers_needed, with_enough_speakers
from s3dnerf.settings.dotted import differing

ALPHA = 0.05
EQUAL, BETTER, WORSE, UNCLEAR, TOO_FEW = (
    "equal on every clip",
    "better",
    "worse",
    "no difference shown",
    "too few speakers to tell",
)


class NotComparable(S3DNeRFError, RuntimeError):
    """Two reports whose numbers do not mean the same; the message says why."""


@dataclass(frozen=True)
class Row:
    """One metric of one method on one corpus: means over the common clips, difference B − A, interval, p, Holm's p,
    verdict.
    """

    corpus: str
    method: str
    metric: str
    unit: str
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    clips: int
    speakers: int
    verdict: str


@dataclass
class Comparison:
    """What :func:`compare` found.

    Attributes
    ----------
    forced : the reasons why it should have been refused
    control_rows : the controls that do not depend on the model (still, truth), metric by metric
    unchecked : what could not be checked: without a report's membership table, and how to get it; without a stated
        protocol
    """

    a: str
    b: str
    forced: list[str]
    settings: dict[str, tuple[Any, Any]]
    code: dict[str, tuple[Any, Any]]
    data: dict[str, tuple[Any, Any]]
    membership: dict[str, tuple[Any, Any]]
    clips: dict[str, tuple[int, int, int]]
    rows: list[Row] = field(default_factory=list)
    control_rows: list[Row] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    @property
    def controls(self) -> list[str]:
        """Controls that moved: they do not depend on the model, so the data or the measuring changed."""
        return [
            f"{r.metric} of {r.method} on {r.corpus} moved by {r.difference:+.4g}: the data or the measuring changed, "
            "not the model"
            for r in self.control_rows
            if r.verdict != EQUAL
        ]

    @property
    def worse(self) -> list[Row]:
        """Metrics that got worse."""
        return [r for r in self.rows if r.verdict == WORSE]

    @property
    def better(self) -> list[Row]:
        """Metrics that got better."""
        return [r for r in self.rows if r.verdict == BETTER]

    def verdict(self) -> str:
        """The comparison in words."""
        if not self.rows:
            return "Nothing to compare: no clip was measured by the same metric in both."
        if all(r.verdict == EQUAL for r in self.rows):
            return f"No difference: {len(self.rows)} metrics are equal on every common clip."
        parts = []
        for word, rows in (("worse", self.worse), ("better", self.better)):
            if rows:
                parts.append(
                    f"B is {word} in "
                    + ", ".join(f"{r.metric} of {r.method} on {r.corpus} ({change(r)})" for r in rows)
                    + "."
                )
        if not parts:
            parts.append("No difference shown; that is not the same as none: see the intervals.")
        return " ".join([*parts, *self._too_few()])

    def _too_few(self) -> list[str]:
        """A sentence a corpus with too few speakers for the tests asked."""
        asked = sum(r.verdict != EQUAL for r in self.rows)
        speakers = {r.corpus: r.speakers for r in sorted(self.rows, key=lambda r: r.speakers) if r.verdict == TOO_FEW}
        return [too_few(corpus, speakers[corpus], asked) for corpus in sorted(speakers)]


def too_few(corpus: str, speakers: int, tests: int) -> str:
    """One sentence: so few speakers can show nothing in so many tests, and how many are needed.

    Examples
    --------
    >>> too_few("mead", 4, 20)
    'mead: 4 speakers can show nothing in 20 tests; 10 are needed.'
    """
    needed = speakers_needed(tests, ALPHA)
    enough = f"{needed} are needed" if needed else "no number of speakers is enough for so many"
    people, asked = (f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((speakers, "speaker"), (tests, "test")))
    return f"{corpus}: {people} can show nothing in {asked}; {enough}."


def change(row: Row) -> str:
    """A difference in words: absolute, relative to A, and Holm's p."""
    relative = f", {100 * row.difference / row.mean_a:+.1f} %" if row.mean_a else ""
    p = "" if row.p_holm is None else f", p = {row.p_holm:.3g}"
    return f"{row.difference:+.4g}{' ' + row.unit if row.unit else ''}{relative}{p}"


def _tested(report: Report) -> dict[tuple[str, str], bool]:
    """(corpus, person) → whether the person is tested on (else trained on).

    Without the membership table: of the people measured, and of those that the networks' cards name.
    """
    if report.membership is not None:
        found = roles(report.membership)
        return dict(zip(zip(found["corpus"], found["speaker"]), found["test"].tolist()))
    tested: dict[tuple[str, str], bool] = {}
    for people in uses_of(report.document["cards"]).values():
        for person in people:
            corpus, _, who = person.partition("/")
            tested[corpus, who] = False
    return tested | {(row["corpus"], row["speaker"]): True for row in report.rows}


def obstacles(a: Report, b: Report, metrics: Collection[str] | None = None) -> list[str]:
    """Why two reports' numbers do not mean the same; empty where they do.

    Parameters
    ----------
    metrics : the metrics that matter; None: all of both
    """
    found = []
    for name in sorted(a.versions.keys() & b.versions.keys()):
        if (metrics is None or name in metrics) and a.versions[name] != b.versions[name]:
            found.append(f"metric {name} was measured as {a.versions[name]} in A and as {b.versions[name]} in B")
    one, other = _tested(a), _tested(b)
    moved = [f"{'/'.join(who)}" for who in sorted(one.keys() & other.keys()) if one[who] != other[who]]
    if moved:
        found.append(f"{len(moved)} people are trained on in one and tested on in the other: {', '.join(moved[:5])}")
    return found + _other_protocol(a, b)


def _other_protocol(a: Report, b: Report) -> list[str]:
    """One sentence where both reports state their protocol and the values differ, whatever the names."""
    one, other = (report.document.get("protocol") for report in (a, b))
    if not one or not other:
        return []
    changed = differing(one["values"], other["values"])
    values = "; ".join(f"{name}: {x} and {y}" for name, (x, y) in changed.items())
    return [f"the protocol is {one['name']} in A and {other['name']} in B ({values})"] if changed else []


def _unchecked(a: Report, b: Report) -> list[str]:
    """What :func:`obstacles` could not check for lack of a membership table or of a stated protocol."""
    tables = [
        f"{report.name}: whether anybody without a measured clip changed sides: {report.table_not_here}"
        for report in (a, b)
        if report.membership is None
    ]
    return tables + [
        f"{report.name}: whether both were measured by one protocol: this report states none, as those made before "
        "protocols had names; see the settings that changed"
        for report in (a, b)
        if not report.document.get("protocol")
    ]


def _values(report: Report) -> dict[tuple[str, str, str], dict[str, dict[str, Any]]]:
    """(corpus, method, metric) → clip → its row."""
    found: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in report.rows:
        found.setdefault((row["corpus"], row["method"], row["metric"]), {})[row["clip"]] = row
    return found


def _row(
    key: tuple[str, str, str], mine: dict[str, dict[str, Any]], theirs: dict[str, dict[str, Any]], resamples: int
) -> Row | None:
    """One comparison without Holm's p and without its final verdict; None where no clip has both values."""
    one = {clip: float(row["value"]) for clip, row in mine.items()}
    other = {clip: float(row["value"]) for clip, row in theirs.items()}
    speakers = {clip: row["speaker"] for clip, row in mine.items()}
    found = paired_difference(other, one, speakers, resamples)
    if found is None:
        return None
    common = sorted(c for c in one.keys() & other.keys() if math.isfinite(one[c]) and math.isfinite(other[c]))
    mean_a, mean_b = (sum(values[c] for c in common) / len(common) for values in (one, other))
    equal = all(one[c] == other[c] for c in common)
    unit = str(next(iter(mine.values()))["unit"])
    p, (corpus, method, metric) = None if equal else found.p, key
    numbers = (mean_a, mean_b, found.mean, found.low, found.high, p, None, found.clips, found.speakers)
    return Row(corpus, method, metric, unit, *numbers, verdict=EQUAL if equal else UNCLEAR)


def compare(
    a: Report,
    b: Report,
    force: bool = False,
    resamples: int = 2000,
    metrics: Collection[str] | None = None,
) -> Comparison:
    """Compare two reports.

    Parameters
    ----------
    force : compare also where metric versions, splits or protocols differ; the comparison then carries the reasons
    resamples : of each interval
    metrics : names of the metrics that are compared; None: all of both

    Raises NotComparable when the versions of these metrics, the splits or the protocols differ, unless ``force``.
    """
    against = obstacles(a, b, metrics)
    if against and not force:
        raise NotComparable(
            "; ".join(against)
            + " — numbers of the two do not mean the same (force: compared all the same, and said so)"
        )
    one, other = _values(a), _values(b)
    origin_a, origin_b = a.document["origin"], b.document["origin"]
    clips: dict[str, tuple[int, int, int]] = {}
    for corpus in sorted({r["corpus"] for r in [*a.rows, *b.rows]}):
        mine, theirs = ({r["clip"] for r in report.rows if r["corpus"] == corpus} for report in (a, b))
        clips[corpus] = (len(mine & theirs), len(mine - theirs), len(theirs - mine))

    def counted(report: Report) -> dict[str, int]:
        """Over all splits: reports of the first schema do not count by them."""
        keys, found = ("corpus", "kind", "status", "stage", "reason"), Counter[str]()
        for row in report.document["membership"]:
            found[" ".join(str(row[k]) for k in keys if row[k])] += row["count"]
        return found

    result = Comparison(
        a=a.name,
        b=b.name,
        forced=against,
        settings=differing(a.document["settings"], b.document["settings"]),
        code=differing(
            {
                "revision": origin_a["git"],
                "lock": origin_a["lock_sha256"],
                "packages": origin_a["packages"],
                "hardware": origin_a["hardware"],
            },
            {
                "revision": origin_b["git"],
                "lock": origin_b["lock_sha256"],
                "packages": origin_b["packages"],
                "hardware": origin_b["hardware"],
            },
        ),
        data=differing(origin_a["dvc_lock"], origin_b["dvc_lock"]),
        membership=differing(counted(a), counted(b)),
        clips=clips,
        unchecked=_unchecked(a, b),
    )
    directed = {m["name"]: m["direction"] for m in b.document["metrics"]}
    rows = []
    for key in sorted(one.keys() & other.keys()):
        if key[1] == "wrong_speech":  # a control of the model in hand, no system to be compared
            continue
        if metrics is not None and key[2] not in metrics:
            continue
        row = _row(key, one[key], other[key], resamples)
        if row is not None and key[1] in CONTROLS:
            result.control_rows.append(row)
        elif row is not None and directed.get(key[2]) in ("up", "down"):
            rows.append(row)
    result.rows = judged(rows, directed)
    return result


def judged(rows: Sequence[Row], directed: dict[str, str]) -> list[Row]:
    """Rows with Holm's p over all tests that have enough speakers to show anything, and verdicts.

    Parameters
    ----------
    directed : metric → ``up`` or ``down``
    """
    asked = [i for i, row in enumerate(rows) if row.p is not None]
    can = dict(zip(asked, with_enough_speakers([rows[i].speakers for i in asked], ALPHA)))
    tested = {i: p for i, row in enumerate(rows) if can.get(i) and (p := row.p) is not None}
    corrected = dict(zip(tested, holm(list(tested.values()))))
    done = []
    for i, row in enumerate(rows):
        if i in corrected:
            p, up = corrected[i], directed[row.metric] == "up"
            word = UNCLEAR if p >= ALPHA else BETTER if (row.difference > 0) == up else WORSE
            row = replace(row, p_holm=p, verdict=word)
        elif i in can:
            row = replace(row, p=None, verdict=TOO_FEW)
        done.append(row)
    return done
